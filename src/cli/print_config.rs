//! Every flag with its value and where that comes from, as a configuration file that says the same:
//! `serve --print-config`, and `check` beside it.
//!
//! Not here: what the values mean (`resolve`).

use std::ffi::OsStr;
use std::fmt::Write as _;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::cli::config_file::ConfigFile;
use crate::cli::faults::{Variables, platform_variable_of, variable_of};
use crate::cli::raw::{self, Flag};
use crate::cli::values;
use crate::config::ConfigText;

/// Other servers' spellings of switches that are off: flags of their own, which beat all else.
const DENIED_BY: [(&str, &str); 4] = [
    ("access_log", "no_access_log"),
    ("proxy_headers", "no_proxy_headers"),
    ("server_header", "no_server_header"),
    ("date_header", "no_date_header"),
];

/// The flags that name addresses alone, and those of which each is half of one (`binds`).
const ADDRESSES: [&str; 3] = ["bind", "uds", "fd"];
const HALVES: [&str; 2] = ["host", "port"];

/// Where a value comes from.
enum Origin {
    Typed,
    /// A variable, or a line of the file, by its name.
    Named(String),
    Default,
}

/// A value, and where it comes from; by default there may be none.
type Found = (Option<Vec<String>>, Origin);

/// All places where values stand.
struct Sources<'a> {
    /// What was typed behind `serve`.
    serve: &'a ArgMatches,
    variables: Variables<'a>,
    file: ConfigFile,
}

/// The text of a file with all values. `serve` is what was typed behind that word.
pub(super) fn print(
    serve: &ArgMatches,
    variables: Variables<'_>,
    config: Option<&ConfigText>,
) -> String {
    let flags = raw::flags();
    let names: Vec<String> = flags.iter().map(|flag| flag.name.clone()).collect();
    let file = config.map(|config| ConfigFile::parse(config, &names).0).unwrap_or_default();
    let sources = Sources { serve, variables, file };
    let mut text = String::new();
    for (key, found) in sources.served() {
        put_line(key, found, &mut text);
    }
    for flag in &flags {
        if !matches!(flag.id.as_str(), "config" | "print_config" | "help") {
            put_line(flag.name.trim_start_matches('-'), sources.of_flag(flag), &mut text);
        }
    }
    text
}

fn put_line(key: &str, (values, origin): Found, text: &mut String) {
    let values = values.as_deref().map(written).unwrap_or_default();
    // Some defaults are words about what is found out: none of them belongs into a file.
    let (mark, origin) = match origin {
        Origin::Typed => ("", "typed".to_owned()),
        Origin::Named(name) => ("", name),
        Origin::Default => ("# ", "default".to_owned()),
    };
    let line = format!("{mark}{key} = {values}");
    // A string takes whatever is written.
    let _ = writeln!(text, "{line:<50} # {origin}");
}

impl Sources<'_> {
    /// What is served: an application, or else a program that speaks the hand-off protocol. The one
    /// that does not count is not said, as `resolve` has it: CMD is typed for this one call.
    fn served(&self) -> [(&'static str, Found); 2] {
        let nothing = || (None, Origin::Default);
        let command = self.typed("command");
        let app = self.typed("app").or_else(|| self.named(&variable_of("--app")));
        let app = app.filter(|_| command.is_none());
        let command = command.or_else(|| self.named(&variable_of("--command")));
        let command = command.filter(|_| app.is_none());
        [("app", app.unwrap_or_else(nothing)), ("command", command.unwrap_or_else(nothing))]
    }

    fn of_flag(&self, flag: &Flag) -> Found {
        let id = flag.id.as_str();
        let denied_by = DENIED_BY.iter().find(|(denied, _)| *denied == id);
        if denied_by.is_some_and(|(_, by)| self.is_typed(by)) {
            return (Some(vec!["false".to_owned()]), Origin::Typed);
        }
        // Gunicorn's spelling of the same is a flag of its own, too.
        let elsewhere = (id == "access_log").then(|| self.typed("access_logfile")).flatten();
        elsewhere
            .or_else(|| self.typed(id))
            .or_else(|| self.named(&flag.variable).filter(|_| !self.is_displaced(id)))
            .or_else(|| self.said_by_platform(flag))
            .or_else(|| (id == "access_log").then(|| self.logged_for_reload()).flatten())
            .unwrap_or_else(|| (flag.default.clone().map(|text| vec![text]), Origin::Default))
    }

    fn is_typed(&self, id: &str) -> bool {
        self.serve.value_source(id) == Some(ValueSource::CommandLine)
    }

    fn typed(&self, id: &str) -> Option<Found> {
        if !self.is_typed(id) {
            return None;
        }
        let typed = self.serve.try_get_raw(id).ok()??;
        Some((Some(typed.map(shown).collect()), Origin::Typed))
    }

    /// What a flag's own variable says, or else the file.
    fn named(&self, variable: &str) -> Option<Found> {
        if let Some(value) = self.variable(variable) {
            return Some((Some(vec![value]), Origin::Named(variable.to_owned())));
        }
        let values = self.file.values(variable);
        let name = &values.first()?.name;
        let origin = name.rsplit_once(": ").map_or(&**name, |(place, _)| place);
        let values = values.iter().map(|given| shown(&given.value)).collect();
        Some((Some(values), Origin::Named(origin.to_owned())))
    }

    /// What the platform's variable says in place of a flag.
    fn said_by_platform(&self, flag: &Flag) -> Option<Found> {
        let name = platform_variable_of(&flag.name)?;
        let mut value = self.variable(name)?;
        if flag.id == "bind" {
            let mut ids = ADDRESSES.into_iter().chain(HALVES);
            let is_said = |id: &str| {
                self.is_typed(id) || self.named(&variable_of(&format!("--{id}"))).is_some()
            };
            if ids.any(is_said) {
                return None;
            }
            value = format!("0.0.0.0:{value}");
        }
        Some((Some(vec![value]), Origin::Named(name.to_owned())))
    }

    /// Who develops wants to see what is asked for: `--reload` switches the access log on.
    fn logged_for_reload(&self) -> Option<Found> {
        let (values, _) = self.typed("reload").or_else(|| self.named(&variable_of("--reload")))?;
        let is_on = values?.last().is_some_and(|text| values::switch(text) == Ok(true));
        is_on.then(|| (Some(vec!["true".to_owned()]), Origin::Named("reload".to_owned())))
    }

    /// Whether others of the flags that name addresses were typed: then variables and the file say
    /// nothing, but for the other half of an address.
    fn is_displaced(&self, id: &str) -> bool {
        let any = |ids: &[&str]| ids.iter().any(|id| self.is_typed(id));
        match id {
            id if ADDRESSES.contains(&id) => any(&ADDRESSES) || any(&HALVES),
            id if HALVES.contains(&id) => any(&ADDRESSES) && !any(&HALVES),
            _ => false,
        }
    }

    /// A variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<String> {
        let value = (self.variables)(name).filter(|value| !value.is_empty())?;
        Some(shown(&value))
    }
}

fn shown(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// Values as TOML has them. Numbers and switches keep their form; all else is a string.
fn written(values: &[String]) -> String {
    let one = |value: &String| match value.as_str() {
        "true" | "false" => value.clone(),
        number if number.parse::<i64>().is_ok_and(|read| read.to_string() == number) => {
            value.clone()
        }
        text => quoted(text),
    };
    match values {
        [single] => one(single),
        several => format!("[{}]", several.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// A basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for one in text.chars() {
        match one {
            '"' | '\\' => quoted.extend(['\\', one]),
            control if control.is_control() => {
                // A string takes whatever is written.
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["plain", "it's", "a \"b\" \\c", "\u{1b}[31m\n\0", "é", "7x", "1.5", "-0"] {
            let line = format!("key = {}", written(&[text.to_owned()]));
            let read: toml::Table = toml::from_str(&line).unwrap();
            assert_eq!(read["key"].as_str(), Some(text), "{line}");
        }
        for text in ["true", "42", "-1"] {
            assert_eq!(written(&[text.to_owned()]), text);
        }
    }
}
