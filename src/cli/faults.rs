//! Where each value came from, and everything that is wrong with all of them at once.
//!
//! A flag beats its variable, a variable beats the configuration file, that beats the default. What
//! is refused is collected, not thrown: who has three typing errors hears of three.
//!
//! Not here: what a value may be (`values`, `addresses`).

use std::ffi::{OsStr, OsString};
use std::fmt;

use crate::cli::config_file::ConfigFile;
use crate::cli::values::Refusal;

/// Reads one variable of the environment.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// One refused value: where it stood, what it was, what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `--workers`, `MAITRED_WORKERS`, `application`.
    pub name: String,
    /// The text as it was given; none where the flag itself is the fault.
    pub value: Option<OsString>,
    /// What it must be, as a sentence without its subject.
    pub refusal: Refusal,
}

/// Everything that was refused, in the order of `--help`; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// A value with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The flag or the variable.
    pub name: String,
    /// What it says.
    pub value: T,
    /// It was typed, not found in the environment.
    pub typed: bool,
}

/// Looks values up in flags and variables, and collects what is refused.
pub struct Reader<'a> {
    variables: Variables<'a>,
    file: ConfigFile,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Nothing refused so far.
    pub fn new(variables: Variables<'a>) -> Self {
        Reader { variables, file: ConfigFile::default(), faults: Vec::new() }
    }

    /// With a configuration file, whose faults are told with all others.
    pub fn with_file(variables: Variables<'a>, file: ConfigFile, faults: Vec<Fault>) -> Self {
        Reader { variables, file, faults }
    }

    /// The value of a flag, or of the variable that stands for it, through a parser. What the
    /// parser refuses counts as absent and is remembered.
    pub fn value<T>(
        &mut self,
        flag: &str,
        typed: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Option<Given<T>> {
        let given = match typed {
            Some(text) => Given { name: flag.to_owned(), value: OsString::from(text), typed: true },
            None => self.variable(&variable_of(flag))?,
        };
        self.parsed(given, parse)
    }

    /// The value of a flag, or of its variable, or else the default.
    pub fn value_or<T>(
        &mut self,
        flag: &str,
        typed: Option<&str>,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> T {
        self.value(flag, typed, parse).map_or(default, |given| given.value)
    }

    /// A variable that is set and not empty: `docker run -e PORT=` means "not set". Where it is not,
    /// what the configuration file says in its place.
    pub fn variable(&self, name: &str) -> Option<Given<OsString>> {
        self.variable_or_list(name).into_iter().next_back()
    }

    /// What the platform says in place of a flag ([`platform_variable_of`]).
    pub fn platform(&self, flag: &str) -> Option<Given<OsString>> {
        self.variable(platform_variable_of(flag)?)
    }

    /// The same as [`variable`](Reader::variable) for what can be said several times: a variable says
    /// one, a file any number.
    pub fn variable_or_list(&self, name: &str) -> Vec<Given<OsString>> {
        match (self.variables)(name).filter(|value| !value.is_empty()) {
            Some(value) => vec![Given { name: name.to_owned(), value, typed: false }],
            None => self.file.values(name).to_vec(),
        }
    }

    /// A given text through a parser.
    pub fn parsed<T>(
        &mut self,
        given: Given<OsString>,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Option<Given<T>> {
        self.parsed_raw(given, |text| match text.to_str() {
            Some(text) => parse(text),
            None => Err("must be text in UTF-8".to_owned()),
        })
    }

    /// A given text that may be any bytes, through a parser.
    pub fn parsed_raw<T>(
        &mut self,
        given: Given<OsString>,
        parse: impl FnOnce(&OsStr) -> Result<T, Refusal>,
    ) -> Option<Given<T>> {
        match parse(&given.value) {
            Ok(value) => Some(Given { name: given.name, value, typed: given.typed }),
            Err(refusal) => {
                self.refuse(&given.name, Some(given.value), refusal);
                None
            }
        }
    }

    /// Remembers a fault.
    pub fn refuse(&mut self, name: &str, value: Option<OsString>, refusal: impl Into<Refusal>) {
        self.faults.push(Fault { name: name.to_owned(), value, refusal: refusal.into() });
    }

    /// Ends the reading: the result, if nothing was refused.
    pub fn finish<T>(self, result: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(result) } else { Err(Faults(self.faults)) }
    }
}

/// The variable that stands for a flag: `--header-timeout` is `MAITRED_HEADER_TIMEOUT`.
pub fn variable_of(flag: &str) -> String {
    let name = flag.trim_start_matches('-').replace('-', "_").to_ascii_uppercase();
    format!("MAITRED_{name}")
}

/// The variable that says something in place of a flag where neither the flag nor its own variable
/// nor the file does: what platforms set, and Gunicorn and Uvicorn read; and what the programs of
/// this ecosystem call the level of their log (RUST_LOG).
pub fn platform_variable_of(flag: &str) -> Option<&'static str> {
    match flag {
        "--bind" => Some("PORT"),
        "--workers" => Some("WEB_CONCURRENCY"),
        "--forwarded-allow-ips" => Some("FORWARDED_ALLOW_IPS"),
        "--log-level" => Some("MAITRED_LOG"),
        _ => None,
    }
}

impl Faults {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            let is_variable = |one: char| one == '_' || one.is_ascii_uppercase();
            let is_variable = self.name.chars().all(is_variable);
            let joint = if is_variable { "=" } else { " " };
            // The value goes to a terminal and may hold anything: Debug escapes control bytes.
            write!(f, "{joint}{value:?}")?;
        }
        write!(f, ": {}", self.refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::values::whole;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "MAITRED_WORKERS" => Some("3".into()),
            "MAITRED_BACKLOG" => Some("many".into()),
            "MAITRED_EMPTY" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn a_flag_beats_its_variable_and_a_variable_the_default() {
        let mut reader = Reader::new(&environment);
        let parse = |text: &str| whole(text, 1..=8);
        assert_eq!(reader.value_or("--workers", Some("5"), 1, parse), 5);
        assert_eq!(reader.value_or("--workers", None, 1, parse), 3);
        assert_eq!(reader.value_or("--absent", None, 1, parse), 1);
        assert_eq!(reader.value_or("--empty", None, 1, parse), 1);
        assert_eq!(reader.finish(()), Ok(()));
    }

    #[test]
    fn every_fault_is_told_with_its_source() {
        let mut reader = Reader::new(&environment);
        let parse = |text: &str| whole(text, 1..=8);
        reader.value_or("--workers", Some("\u{1b}[31m"), 1, parse);
        reader.value_or("--backlog", None, 1, parse);
        reader.refuse("--browse", None, "needs static:DIR");
        let faults = reader.finish(()).unwrap_err();
        assert_eq!(
            faults.to_string(),
            "--workers \"\\u{1b}[31m\": must be a whole number from 1 to 8\n\
             MAITRED_BACKLOG=\"many\": must be a whole number from 1 to 8\n\
             --browse: needs static:DIR"
        );
        assert_eq!(faults.iter().count(), 3);
    }

    #[test]
    fn a_variable_is_called_like_its_flag() {
        assert_eq!(variable_of("--header-timeout"), "MAITRED_HEADER_TIMEOUT");
        assert_eq!(variable_of("--bind"), "MAITRED_BIND");
    }
}
