//! The page of a bench: one file that opens offline, reads without scripts, and prints.
//!
//! A pure function of the report. Every text of it is escaped by the macro that writes it; what is
//! no text at all is taken out at the end, wherever it came from.
//!
//! | file | what |
//! |---|---|
//! | `view`, `ranking`, `grid` | the report by name, who wins, what forms a grid |
//! | `words` | the summary |
//! | `scale`, `path`, `palette` | places, lines, looks |
//! | `chart`, `curves`, `dots`, `heat`, `bars`, `timelines` | plots, as embedded SVG |
//! | `table`, `notes`, `predictions`, `tail` | tables, warnings, what follows |
//!
//! Not here: the figures (`measure`), writing the file.

mod bars;
mod chart;
mod curves;
mod dots;
mod grid;
mod heat;
mod notes;
mod palette;
mod path;
mod predictions;
mod ranking;
mod scale;
mod table;
mod tail;
mod timelines;
mod view;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::experiment::report::format::{Significant, counted, is_odd, trimmed, with_unit};
use crate::experiment::report::schema::{BenchReport, MeasureInfo, WorkloadInfo};
use grid::{Grid, grids};
use view::{View, is_contest};

/// Elements without an end, written so that both HTML and XML take them; and nothing may be loaded
/// from anywhere, whatever a report says.
const HEAD: &str = concat!(
    r#"<meta charset="utf-8"/>"#,
    r#"<meta name="viewport" content="width=device-width, initial-scale=1"/>"#,
    r#"<meta name="color-scheme" content="light dark"/>"#,
    r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; "#,
    r#"style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "#,
    r#"form-action 'none'"/>"#,
);

const STYLE: &str = include_str!("page.css");

const SCRIPT: &str = include_str!("page.js");

/// The measures that have a plot over all workloads, if there is something to win by them.
const GLANCED: [&str; 4] = ["p99", "throughput", "cpu_us_per_connection", "cpu_us_per_request"];

/// The whole page.
pub fn page(report: &BenchReport) -> String {
    let view = View::new(report);
    let grids = grids(&view);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (PreEscaped(HEAD))
                title { (report.title) " · maitred bench" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(&view))
                main {
                    (summary(&view))
                    (glance(&view, &grids))
                    @if !report.predictions.is_empty() {
                        section id="predictions" {
                            h2 { "Predictions" }
                            (predictions::predictions(&view))
                        }
                    }
                    @for (place, grid) in grids.iter().enumerate() {
                        (grid_section(&view, place, grid))
                    }
                    (workloads(&view, &grids))
                    (closing(&view))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    clean(page.into_string())
}

fn header(view: &View<'_>) -> Markup {
    let report = view.report;
    let here = &report.environment;
    let machine = format!("{}, {}", here.cpu, counted(here.cores as usize, "core", "cores"));
    html! {
        header {
            p.eyebrow { "maitred bench" }
            h1 { (report.title) }
            p.about { (report.about) }
            p.badges {
                @if !report.is_complete {
                    span.badge.caution { "incomplete: stopped before its end" } " "
                }
                @if here.is_quick { span.badge.caution { "quick: a rehearsal" } " " }
                @if here.is_debug_build {
                    span.badge.caution { "debug build: times mean nothing" } " "
                }
            }
            p.facts {
                span { (here.began_at) } span { "took " (with_unit(here.took_s, "s")) }
                span { (machine) } span { "Linux " (here.kernel) }
                span {
                    "maitred " (here.version)
                    @if let Some(revision) = &here.revision { " (" (revision) ")" }
                }
                span { "seed " (here.seed) }
            }
            (banner(view))
        }
    }
}

/// What a reader must know before anything else.
fn banner(view: &View<'_>) -> Markup {
    let general = notes::general(view);
    html! {
        @if !general.is_empty() {
            ul.banner {
                @for (number, warning) in general {
                    li { (notes::mark(number)) " " (notes::about(warning)) (warning.text) }
                }
            }
        }
    }
}

fn summary(view: &View<'_>) -> Markup {
    let statements = words::statements(view);
    html! {
        section id="summary" {
            h2 { "In words" }
            @if statements.is_empty() {
                p { "There is nothing to compare: fewer than two arms were measured alike." }
            } @else {
                ul.words {
                    @for statement in &statements {
                        li {
                            @if let Some(subject) = &statement.subject { b { (subject) } ": " }
                            (statement.text)
                        }
                    }
                }
                p.legend {
                    "Beyond doubt: no other arm's 95 % interval leaves it open. Throughput counts "
                    "where somebody did not answer all that was offered, latency in open loops."
                 }
            }
            ul.looks aria-label="Arms" {
                @for (index, arm) in view.arms.iter().enumerate() {
                    li data-arm=(index) { (view.look(index).swatch()) " " (arm.name) }
                }
            }
        }
    }
}

fn glance(view: &View<'_>, grids: &[Grid<'_>]) -> Markup {
    let workloads = alone(view, grids);
    let mut measures: Vec<&MeasureInfo> =
        GLANCED.iter().filter_map(|key| view.measure(key)).filter(|one| is_contest(one)).collect();
    if measures.is_empty() {
        measures.extend(view.measures.iter().map(AsRef::as_ref).find(|one| is_contest(one)));
    }
    let list: Vec<&WorkloadInfo> = workloads.iter().map(|(_, workload)| *workload).collect();
    let plots: Vec<String> = measures
        .iter()
        .enumerate()
        .map(|(index, measure)| {
            dots::dots(view, &format!("dots-{index}"), measure, &list).into_string()
        })
        .filter(|plot| !plot.is_empty())
        .collect();
    html! {
        @if !plots.is_empty() {
            section id="glance" {
                h2 { "At a glance" }
                div.plots { @for plot in &plots { (PreEscaped(plot)) } }
            }
        }
    }
}

fn grid_section(view: &View<'_>, place: usize, grid: &Grid<'_>) -> Markup {
    html! {
        section id={ "grid-" (place) } {
            h2 { (grid.x_name) " × " (grid.y_name) }
            (heat::heat_maps(view, place, grid))
            details {
                summary {
                    "All figures of its " (counted(grid.places.len(), "workload", "workloads"))
                }
                @for (_, _, workload) in &grid.places {
                    @let workload = &view.workloads[*workload];
                    h3 { (workload.name) (loop_badge(workload)) }
                    p.about { (about(workload)) }
                    (table::tables(view, workload))
                }
            }
        }
    }
}

/// The workloads that no grid has, with their places in the report.
fn alone<'a>(view: &'a View<'_>, grids: &[Grid<'_>]) -> Vec<(usize, &'a WorkloadInfo)> {
    let in_grid =
        |place: usize| grids.iter().any(|grid| grid.places.iter().any(|at| at.2 == place));
    let all = view.workloads.iter().map(AsRef::as_ref).enumerate();
    all.filter(|(place, _)| !in_grid(*place)).collect()
}

fn workloads(view: &View<'_>, grids: &[Grid<'_>]) -> Markup {
    let workloads = alone(view, grids);
    html! {
        @if !workloads.is_empty() {
            section id="workloads" {
                h2 { "Workloads" }
                @if workloads.len() > 1 {
                    nav aria-label="Workloads" {
                        ul.contents {
                            @for (place, workload) in &workloads {
                                li { a href={ "#workload-" (place) } { (workload.name) } }
                            }
                        }
                    }
                }
                @for (place, workload) in workloads {
                    article id={ "workload-" (place) } {
                        h3 { (workload.name) (loop_badge(workload)) }
                        p.about { (about(workload)) }
                        (table::tables(view, workload))
                        (curves::curves(view, place, workload))
                        (bars::bars(view, workload))
                        div.plots { (timelines::timelines(view, place, workload)) }
                    }
                }
            }
        }
    }
}

fn loop_badge(workload: &WorkloadInfo) -> Markup {
    html! {
        " "
        @if workload.is_open_loop { span.badge { "open loop" } } @else { (curves::closed_loop()) }
    }
}

fn about(workload: &WorkloadInfo) -> Markup {
    html! {
        (workload.about)
        @if let Some(rate) = workload.rate { " Offered: " (with_unit(rate, "requests/s")) "." }
        @if workload.duration_s > 0.0 {
            " A repetition takes " (trimmed(workload.duration_s)) " s, of which the first "
            (trimmed(workload.warm_up_s)) " s warm up."
        }
    }
}

fn closing(view: &View<'_>) -> Markup {
    let runs: usize = view.report.cells.iter().map(|cell| cell.trials.len()).sum();
    html! {
        section id="arms" { h2 { "Arms" } (tail::arms(view)) }
        @if !view.measures.is_empty() {
            section id="measures" { h2 { "Measures" } (tail::measures(view)) }
        }
        section id="environment" {
            h2 { "Environment" }
            (tail::environment(view))
            p.quiet {
                (Significant(view.report.cells.len() as f64)) " pairs of arm and workload, "
                (Significant(runs as f64)) " runs. All figures of this page, and the repetitions "
                "behind them, are in report.json beside it."
            }
        }
    }
}

/// Takes out what is no text: see [`is_odd`].
fn clean(page: String) -> String {
    let is_odd = |one: char| is_odd(one) && one != '\n';
    if page.contains(is_odd) { page.replace(is_odd, "\u{fffd}") } else { page }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_report_has_a_page() {
        let page = page(&BenchReport::default());
        assert!(page.starts_with("<!DOCTYPE html>"));
        assert!(page.contains("incomplete"));
        assert!(!page.contains("NaN"));
    }

    #[test]
    fn what_is_no_text_does_not_get_through() {
        let title = "a\u{0}b\u{1b}[31m\u{202e}c</title><script>".to_owned();
        let page = page(&BenchReport { title, ..BenchReport::default() });
        assert!(!page.contains(['\u{0}', '\u{1b}', '\u{202e}']));
        assert!(page.contains("a\u{fffd}b\u{fffd}[31m\u{fffd}c&lt;/title&gt;&lt;script&gt;"));
    }

    #[test]
    fn style_and_script_stand_in_the_page_as_they_are() {
        // Whatever of these a parser of HTML or XML would read as markup.
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains('<') && !text.contains('&') && !text.contains("]]>"));
            assert!(!text.contains("http") && !text.contains("url("));
        }
    }
}
