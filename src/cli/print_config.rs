//! Every flag with its value and where that comes from, as a configuration file that says the same:
//! `serve --print-config`, and `check` beside it.
//!
//! Not here: what the values mean (`resolve`).

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::cli::config_file::ConfigFile;
use crate::cli::faults::Variables;
use crate::cli::raw::{self, Flag};
use crate::config::ConfigText;

/// Where a value comes from.
enum Origin {
    Typed,
    /// A variable, or a line of the file, by its name.
    Named(String),
    Default,
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
    let mut text = String::new();
    let app = Flag {
        id: "app".to_owned(),
        name: "--app".to_owned(),
        variable: "MAITRED_APP".to_owned(),
        default: None,
    };
    for flag in std::iter::once(&app).chain(&flags) {
        if matches!(flag.id.as_str(), "config" | "print_config" | "help") {
            continue;
        }
        let key = flag.name.trim_start_matches('-');
        let (values, origin) = value(flag, serve, variables, &file);
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
    text
}

fn value(
    flag: &Flag,
    serve: &ArgMatches,
    variables: Variables<'_>,
    file: &ConfigFile,
) -> (Option<Vec<String>>, Origin) {
    let shown = |value: &OsString| value.to_string_lossy().into_owned();
    let is_typed = |id: &str| serve.value_source(id) == Some(ValueSource::CommandLine);
    // Other servers' spellings of one flag, which are flags of their own.
    let id = match flag.id.as_str() {
        "access_log" if is_typed("no_access_log") => {
            return (Some(vec!["false".to_owned()]), Origin::Typed);
        }
        "access_log" if is_typed("access_logfile") => "access_logfile",
        id => id,
    };
    if is_typed(id)
        && let Ok(Some(typed)) = serve.try_get_raw(id)
    {
        let typed = typed.map(|value| value.to_string_lossy().into_owned()).collect();
        return (Some(typed), Origin::Typed);
    }
    if let Some(value) = variables(&flag.variable).filter(|value| !value.is_empty()) {
        return (Some(vec![shown(&value)]), Origin::Named(flag.variable.clone()));
    }
    let values = file.values(&flag.variable);
    if let Some(first) = values.first() {
        let origin = first.name.rsplit_once(": ").map_or(&*first.name, |(place, _)| place);
        let values = values.iter().map(|given| shown(&given.value)).collect();
        return (Some(values), Origin::Named(origin.to_owned()));
    }
    (flag.default.clone().map(|text| vec![text]), Origin::Default)
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
