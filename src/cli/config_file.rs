//! The configuration file: a TOML table whose keys are the flags.
//!
//! A value in it counts as its flag's variable does, one step below: flag, variable, file, default.
//! So it goes through the same parsers, and what is wrong with it is told with its line.
//!
//! Pure: whoever calls has read the text ([`find`] says from where).
//!
//! Not here: what a value may be (`values`, `resolve`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::cli::faults::{Fault, Given, variable_of};
use crate::config::ConfigText;

/// The name by which it is found in the working directory.
pub const FOUND_AS: &str = "maitred.toml";

/// Keys beside the flags: what is served.
const APART: [&str; 2] = ["app", "command"];

/// Flags that decide about the file itself, or about this one call.
const NO_KEYS: [&str; 3] = ["--config", "--print-config", "--help"];

/// How unlike a key may be to the one that was meant (Jaro-Winkler; clap suggests from 0.7 on).
const SUGGESTED_FROM: f64 = 0.7;

/// What a file says: for each variable that a flag has, its values and where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    entries: BTreeMap<String, Vec<Given<OsString>>>,
}

/// Where the file is: the one that was named, else the one that lies in the working directory.
pub fn find(named: Option<&Path>, directory: &Path) -> Option<PathBuf> {
    match named {
        Some(named) => Some(directory.join(named)),
        None => Some(directory.join(FOUND_AS)).filter(|path| path.is_file()),
    }
}

impl ConfigFile {
    /// Reads a file's text, and everything that is wrong with it.
    pub fn parse(config: &ConfigText, flags: &[String]) -> (Self, Vec<Fault>) {
        let label = config.path.display().to_string();
        let place = |at: usize| format!("{label}:{}", line_of(&config.text, at));
        let table = match DeTable::parse(&config.text) {
            Ok(table) => table,
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let refusal = match config.path.extension() {
                    Some(extension) if extension == "py" => {
                        "is Python, as Gunicorn has it: flags, \
                        variables or TOML say the same here"
                            .to_owned()
                    }
                    Some(_) | None => format!("is no TOML: {}", error.message()),
                };
                return (ConfigFile::default(), vec![fault(place(at), refusal)]);
            }
        };
        let keys: Vec<String> = flags
            .iter()
            .filter(|flag| !NO_KEYS.contains(&flag.as_str()))
            .map(|flag| flag.trim_start_matches('-').to_owned())
            .chain(APART.map(str::to_owned))
            .collect();
        let (mut file, mut faults) = (ConfigFile::default(), Vec::new());
        for (key, value) in table.get_ref() {
            let name = format!("{}: {}", place(key.span().start), key.get_ref());
            let typed = key.get_ref().replace('_', "-");
            if !keys.contains(&typed) {
                faults.push(fault(name, unknown(&typed, &keys)));
                continue;
            }
            match texts(value.get_ref()) {
                Some(texts) => {
                    let given = |text| Given { name: name.clone(), value: text, typed: false };
                    let values = texts.into_iter().map(OsString::from).map(given).collect();
                    file.entries.insert(variable_of(&typed), values);
                }
                None => {
                    let refusal = "must be a string, a number, true or false, or a list of those";
                    faults.push(fault(name, refusal.to_owned()));
                }
            }
        }
        (file, faults)
    }

    /// All values of a variable's flag.
    pub fn values(&self, variable: &str) -> &[Given<OsString>] {
        self.entries.get(variable).map_or(&[], Vec::as_slice)
    }
}

fn fault(name: String, refusal: String) -> Fault {
    Fault { name, value: None, refusal }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn unknown(key: &str, keys: &[String]) -> String {
    let likeness = |other: &&String| (strsim::jaro_winkler(key, other) * 1000.0) as u64;
    let nearest = keys.iter().max_by_key(likeness);
    match nearest.filter(|other| strsim::jaro_winkler(key, other) >= SUGGESTED_FROM) {
        Some(meant) => format!("there is no such key; {meant} is one"),
        None => "there is no such key: keys are the flags of `serve`, and app".to_owned(),
    }
}

/// A value as it would be typed; none of what cannot be typed.
fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
        single => Some(vec![text(single)?]),
    }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (ConfigFile, Vec<String>) {
        let config = ConfigText { path: "m.toml".into(), text: text.to_owned() };
        let flags = ["--workers", "--keep-alive", "--bind", "--access-log", "--config"];
        let (file, faults) = ConfigFile::parse(&config, &flags.map(str::to_owned));
        (file, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_value_is_what_would_be_typed_and_knows_its_line() {
        let text =
            "# mine\nworkers = 4\nkeep_alive = 1.5\naccess-log = true\nbind = [\"a:1\", \"b:2\"]\n";
        let (file, faults) = parse(text);
        assert!(faults.is_empty(), "{faults:?}");
        let values = |variable: &str| -> Vec<(String, String)> {
            let pair = |given: &Given<OsString>| {
                (given.name.clone(), given.value.to_string_lossy().into_owned())
            };
            file.values(variable).iter().map(pair).collect()
        };
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(values("MAITRED_WORKERS"), one("m.toml:2: workers", "4"));
        assert_eq!(values("MAITRED_KEEP_ALIVE"), one("m.toml:3: keep_alive", "1.5"));
        assert_eq!(values("MAITRED_ACCESS_LOG"), one("m.toml:4: access-log", "true"));
        assert_eq!(values("MAITRED_BIND").len(), 2);
        assert_eq!(values("MAITRED_BACKLOG"), []);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_line() {
        let (_, faults) = parse("worker = 4\nzzz = 1\nconfig = \"x\"\nbind = {}\n");
        assert_eq!(
            faults,
            [
                "m.toml:4: bind: must be a string, a number, true or false, or a list of those",
                "m.toml:3: config: there is no such key: keys are the flags of `serve`, and app",
                "m.toml:1: worker: there is no such key; workers is one",
                "m.toml:2: zzz: there is no such key: keys are the flags of `serve`, and app",
            ]
        );
        let (_, faults) = parse("workers = 4\nbind = \n");
        assert!(faults[0].starts_with("m.toml:2: is no TOML: "), "{faults:?}");
    }
}
