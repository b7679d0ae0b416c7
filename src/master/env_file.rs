//! `--env-file`: variables for the workers, from KEY=VALUE lines as python-dotenv reads them.
//!
//! ```text
//! # a comment            export NAME=value          NAME='as it stands'
//! NAME = value # cut     NAME="with \n escapes"     NAME=${OTHER:-default}
//! ```
//!
//! Quoted values may go over several lines. The process's own environment wins. Own code, because
//! dotenvy refuses `NAME=two words` and takes `$` without braces for a name, which breaks passwords
//! that python-dotenv reads.
//!
//! Not here: who gets the variables (`lifecycle`, `cli`).

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::config::ENV_FILE_SIZE_MAX;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// Names and values, in order; of a name that stands there twice the last one counts.
    pub(crate) variables: Vec<(String, String)>,
    /// Lines that say nothing, counted from 1.
    pub(crate) unreadable: Vec<usize>,
}

/// Reads a file. `own` looks into the process's environment.
///
/// # Errors
/// There is no such file, it is too large, or no text in UTF-8.
pub(crate) fn read(path: &Path, own: &dyn Fn(&str) -> Option<OsString>) -> io::Result<EnvFile> {
    if std::fs::metadata(path)?.len() > ENV_FILE_SIZE_MAX {
        let refusal = format!("more than {ENV_FILE_SIZE_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, refusal));
    }
    let text = std::fs::read_to_string(path)?;
    Ok(parse(&text, own))
}

/// Makes variables of a text.
pub(crate) fn parse(text: &str, own: &dyn Fn(&str) -> Option<OsString>) -> EnvFile {
    let mut file = EnvFile::default();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while let Some(start) = rest.find(|one: char| !one.is_whitespace()) {
        rest = &rest[start..];
        if rest.starts_with('#') {
            rest = behind_line(rest);
            continue;
        }
        match binding(rest) {
            Some((name, value, behind)) => {
                rest = behind;
                if let Some(value) = value {
                    let value = expanded(&value, &file.variables, own);
                    file.variables.retain(|(other, _)| other != name);
                    file.variables.push((name.to_owned(), value));
                }
            }
            None => {
                let before = &text[..text.len() - rest.len()];
                file.unreadable.push(before.matches('\n').count() + 1);
                rest = behind_line(rest);
            }
        }
    }
    file
}

/// One binding: name, value (none where there is no `=`), and what follows it.
fn binding(text: &str) -> Option<(&str, Option<String>, &str)> {
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => skip_blanks(rest),
        _ => text,
    };
    let (name, rest) = match text.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'')?,
        None => {
            let end = text.find(|one: char| one == '=' || one == '#' || one.is_whitespace());
            text.split_at(end.unwrap_or(text.len()))
        }
    };
    // What no environment can hold.
    if name.is_empty() || name.contains(['\0', '=']) {
        return None;
    }
    let Some(value) = skip_blanks(rest).strip_prefix('=') else {
        return Some((name, None, end_of_line(rest)?));
    };
    let value = skip_blanks(value);
    let (value, rest) = match value.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(&value[1..], quote)?,
        _ => {
            let line = value.lines().next().unwrap_or_default();
            let (_, rest) = value.split_at(line.len());
            (without_comment(line).to_owned(), rest)
        }
    };
    if value.contains('\0') {
        return None;
    }
    Some((name, Some(value), end_of_line(rest)?))
}

/// A quoted value, and what stands behind its closing quote.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.char_indices();
    while let Some((at, one)) = rest.next() {
        if one == quote {
            return Some((value, &text[at + 1..]));
        }
        if one != '\\' {
            value.push(one);
            continue;
        }
        let (_, escaped) = rest.next()?;
        match escaped {
            '\\' | '\'' => value.push(escaped),
            '"' if quote == '"' => value.push('"'),
            'a' if quote == '"' => value.push('\x07'),
            'b' if quote == '"' => value.push('\x08'),
            'f' if quote == '"' => value.push('\x0c'),
            'n' if quote == '"' => value.push('\n'),
            'r' if quote == '"' => value.push('\r'),
            't' if quote == '"' => value.push('\t'),
            'v' if quote == '"' => value.push('\x0b'),
            other => value.extend(['\\', other]),
        }
    }
    None
}

/// An unquoted value ends before a `#` that has a blank in front of it.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with([' ', '\t']));
    line[..comment.map_or(line.len(), |(at, _)| at)].trim_end()
}

/// `${NAME}` and `${NAME:-DEFAULT}`, whatever the quotes were; what is set to nothing is set.
fn expanded(
    value: &str,
    earlier: &[(String, String)],
    own: &dyn Fn(&str) -> Option<OsString>,
) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((reference, after)) = behind.split_once('}') else { break };
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        text.push_str(before);
        let found = own(name).map(|value| value.to_string_lossy().into_owned()).or_else(|| {
            earlier.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
        });
        text.push_str(&found.unwrap_or_else(|| default.unwrap_or_default().to_owned()));
        rest = after;
    }
    text + rest
}

/// What follows the line, if nothing but blanks and a comment is left of it.
fn end_of_line(text: &str) -> Option<&str> {
    let rest = skip_blanks(text);
    if rest.is_empty() || rest.starts_with(['#', '\n', '\r']) {
        Some(behind_line(rest))
    } else {
        None
    }
}

fn behind_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end + 1..])
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> Vec<(String, String)> {
        let file = parse(text, &|name| (name == "HOME").then(|| "/root".into()));
        assert_eq!(file.unreadable, Vec::<usize>::new(), "{text:?}");
        file.variables
    }

    /// Each of these python-dotenv 1.2 reads so (`load_dotenv`).
    #[test]
    fn the_usual_cases_are_read_as_python_dotenv_reads_them() {
        for (text, expected) in [
            ("A=b", "b"),
            (" A = b ", "b"),
            ("export A=b", "b"),
            ("'A'=b", "b"),
            ("A=", ""),
            ("A=\nB=c", ""),
            ("A=two words", "two words"),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=b # c # d", "b"),
            ("A='b # c'", "b # c"),
            ("A='b' # c", "b"),
            ("A='it\\'s'", "it's"),
            ("A='a\\nb'", "a\\nb"),
            ("A=\"a\\nb\\t\\\"c\\\"\"", "a\nb\t\"c\""),
            ("A=\"a\nb\"", "a\nb"),
            ("A=\"a\\qb\"", "a\\qb"),
            ("A=a\"b", "a\"b"),
            ("A=pa$$word$1", "pa$$word$1"),
            ("A=${HOME}/x", "/root/x"),
            ("A='${HOME}'", "/root"),
            ("A=${NOBODY}x", "x"),
            ("A=${NOBODY:-d}", "d"),
            ("A=${HOME:-d}", "/root"),
            ("A=${unclosed", "${unclosed"),
            ("A=b\r\nC=d", "b"),
            ("\u{feff}A=b", "b"),
            ("# c\n\nA=b", "b"),
            ("A=1\nA=2", "2"),
            ("A=ü", "ü"),
        ] {
            let found = variables(text);
            let value = found.iter().find(|(name, _)| name == "A").map(|(_, value)| value.as_str());
            assert_eq!(value, Some(expected), "{text:?}");
        }
    }

    #[test]
    fn a_value_may_name_an_earlier_one() {
        let found = variables("HOST=db\nURL=pg://${HOST}/x\nHOST=other\nHOME=/home/a\nA=${HOME}");
        let of = |name: &str| found.iter().find(|(other, _)| other == name).unwrap().1.as_str();
        assert_eq!(of("URL"), "pg://db/x");
        assert_eq!(of("HOST"), "other");
        assert_eq!(of("A"), "/root", "the process's own wins");
    }

    #[test]
    fn a_name_alone_is_no_variable() {
        assert_eq!(variables("A\nB=c"), [("B".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn a_line_that_says_nothing_is_named_and_the_others_count() {
        let file =
            parse("A=b\nnonsense here\n=c\nB='unclosed\nC=d\nD=e\0\nE='f' g\nF=h", &|_| None);
        assert_eq!(file.unreadable, [2, 3, 4, 6, 7]);
        let names: Vec<_> = file.variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["A", "C", "F"]);
    }
}
