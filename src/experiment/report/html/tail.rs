//! What follows the figures: the arms and how they were started, what each measure means, and
//! where all of it ran.
//!
//! Not here: predictions (`predictions`).

use maud::{Markup, html};

use crate::experiment::report::format::{Significant, trimmed};
use crate::experiment::report::html::view::View;
use crate::experiment::report::schema::Better;

/// Every arm: its look, its command, and what the kernel does in it.
pub(super) fn arms(view: &View<'_>) -> Markup {
    html! {
        dl.arms {
            @for (index, arm) in view.arms.iter().enumerate() {
                dt {
                    (view.look(index).swatch()) " " (arm.name)
                    @if arm.is_foreign { " " span.badge { "another program" } }
                }
                dd {
                    @if !arm.about.is_empty() { p { (arm.about) } }
                    @if !arm.command.is_empty() { (command(&arm.command)) }
                }
            }
        }
    }
}

/// Every measure: what it means, and which end is the good one.
pub(super) fn measures(view: &View<'_>) -> Markup {
    html! {
        dl.measures {
            @for measure in &view.measures {
                dt {
                    (measure.title) @if !measure.unit.is_empty() { ", " (measure.unit) }
                    @match measure.better {
                        Better::Lower => { " " span.quiet { "lower is better" } }
                        Better::Higher => { " " span.quiet { "higher is better" } }
                        Better::Neither => {}
                    }
                }
                dd { (measure.about) " " code { (measure.key) } }
            }
        }
    }
}

/// Where, when and with what, and how to repeat it.
pub(super) fn environment(view: &View<'_>) -> Markup {
    let here = &view.report.environment;
    let memory = format!("{}\u{a0}GiB", trimmed(here.memory_bytes as f64 / f64::from(1 << 30)));
    let deferred = match here.defer_accept_s {
        0 => "off".to_owned(),
        seconds => format!("{seconds}\u{a0}s"),
    };
    let rows: [(&str, String); 13] = [
        ("maitred", here.version.clone()),
        ("revision", here.revision.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("build", if here.is_debug_build { "debug" } else { "release" }.to_owned()),
        ("kernel", here.kernel.clone()),
        ("processor", here.cpu.clone()),
        ("cores", here.cores.to_string()),
        ("who has which core", here.cores_note.clone()),
        ("memory", memory),
        ("deferred accept", deferred),
        ("backlog", here.backlog.to_string()),
        ("seed", here.seed.to_string()),
        ("began", here.began_at.clone()),
        ("took", format!("{}\u{a0}s", Significant(here.took_s))),
    ];
    html! {
        div.scroll tabindex="0" role="group" aria-label="Environment" {
            table.environment {
                caption { "Where, when and with what" }
                tbody {
                    @for (name, value) in rows {
                        @if !value.is_empty() { tr { th scope="row" { (name) } td { (value) } } }
                    }
                }
            }
        }
        @if !here.command.is_empty() {
            p { "To repeat it:" }
            (command(&here.command))
        }
    }
}

/// A command as it can be typed.
fn command(arguments: &[String]) -> Markup {
    let quoted: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
    html! { pre.command tabindex="0" { code { (quoted.join(" ")) } } }
}

/// An argument as a shell reads it.
fn quoted(argument: &str) -> String {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "-_./:=,@%+".contains(one);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again() {
        assert_eq!(quoted("--seed=7"), "--seed=7");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
    }
}
