//! Escaping: text that came from anywhere, made harmless for a line, a quote, a terminal, JSON.
//!
//! A log is read in terminals (control sequences would run), line by line (a newline would forge an
//! event) and by parsers (a quote would forge a field). Bytes that are harmless pass unchanged.
//!
//! Not here: how long a value may be (`config::LOG_VALUE_SIZE_MAX`, applied by the callers through
//! [`Bounded`]).

use std::fmt::{self, Write};

/// Appends bytes for a quoted field of the access log: printable ASCII as it is, quote and
/// backslash behind a backslash, everything else as `\xHH` (nginx's and Apache's form).
pub fn quoted_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    in_runs(bytes, out, |byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'));
}

/// The same for a field without quotes: a blank would be its end.
pub fn bare_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    in_runs(bytes, out, |byte| !matches!(byte, b'!'..=b'~') || matches!(byte, b'"' | b'\\'));
}

/// Copies what is harmless as it stands, in runs, and escapes the rest.
fn in_runs(bytes: &[u8], out: &mut Vec<u8>, is_harmful: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| is_harmful(*byte)) {
        let (harmless, behind) = rest.split_at(at);
        out.extend_from_slice(harmless);
        match behind[0] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                let [high, low] = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
        rest = &behind[1..];
    }
    out.extend_from_slice(rest);
}

/// Appends the inside of a JSON string, in UTF-8: bytes that are none become U+FFFD. As in [`json`],
/// more is escaped than JSON asks for.
pub fn json_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if bytes.iter().all(is_plain) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            json_character(character, &mut |text| out.extend_from_slice(text.as_bytes()));
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends a message: readable text as it is, whatever moves a cursor or hides escaped.
pub fn message(text: &str, out: &mut String) {
    for character in text.chars() {
        if is_harmful(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// Appends a value of a `name=value` field: bare where it has no blank, quote or backslash, else
/// in quotes, so that no value can forge another field.
pub fn value(text: &str, out: &mut String) {
    let bare = |character: char| {
        !character.is_whitespace() && !matches!(character, '"' | '\\') && !is_harmful(character)
    };
    if !text.is_empty() && text.chars().all(bare) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') || is_harmful(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

/// Appends a JSON string with its quotes (RFC 8259 section 7). More is escaped than JSON asks for,
/// because JSON logs are read in terminals too.
pub fn json(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        json_character(character, &mut |text| out.push_str(text));
    }
    out.push('"');
}

fn json_character(character: char, put: &mut impl FnMut(&str)) {
    match character {
        '"' => put("\\\""),
        '\\' => put("\\\\"),
        '\n' => put("\\n"),
        '\r' => put("\\r"),
        '\t' => put("\\t"),
        _ if is_harmful(character) => {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                put(&format!("\\u{unit:04x}"));
            }
        }
        _ => put(character.encode_utf8(&mut [0; 4])),
    }
}

/// Takes what is formatted into it up to a size, then an ellipsis and nothing more: a value of any
/// length costs a bounded amount of memory.
#[derive(Debug)]
pub struct Bounded {
    text: String,
    size_max: usize,
    cut: bool,
}

impl Bounded {
    /// Empty, for at most `size_max` bytes (and the ellipsis).
    pub fn new(size_max: usize) -> Self {
        Bounded { text: String::new(), size_max, cut: false }
    }

    /// Formats one value, and hands it out.
    pub fn format(size_max: usize, value: fmt::Arguments<'_>) -> String {
        let mut bounded = Bounded::new(size_max);
        // It fails when it is full, and if a Display is broken: what came so far is shown.
        let _ = bounded.write_fmt(value);
        bounded.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.cut {
            return Err(fmt::Error);
        }
        let room = self.size_max - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.text.push_str(&text[..end]);
        self.text.push('…');
        self.cut = true;
        Err(fmt::Error)
    }
}

/// Controls (C0, DEL, C1), line and paragraph separators, and what reorders or hides text
/// (Unicode TR 36, "Trojan Source", CVE-2021-42574).
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn appended(escape: fn(&str, &mut String), text: &str) -> String {
        let mut out = String::new();
        escape(text, &mut out);
        out
    }

    #[test]
    fn bytes_of_the_access_log() {
        let mut out = Vec::new();
        quoted_bytes(b"a \"b\" \\ \x1b[2J\r\n\x00\x7f\xff", &mut out);
        assert_eq!(out, br#"a \"b\" \\ \x1B[2J\x0D\x0A\x00\x7F\xFF"#);
        out.clear();
        bare_bytes(b"a \"b\xe4", &mut out);
        assert_eq!(out, br#"a\x20\"b\xE4"#);
        out.clear();
        json_bytes("a \"b\\ \u{1b} \u{202e} ü 🦀\n".as_bytes(), &mut out);
        json_bytes(b"\xff-\xc3(", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a \\\"b\\\\ \\u001b \\u202e ü 🦀\\n\u{fffd}-\u{fffd}("
        );
    }

    #[test]
    fn messages_keep_what_is_readable() {
        assert_eq!(appended(message, "grüße \"x\" a\\b"), "grüße \"x\" a\\b");
        assert_eq!(appended(message, "a\u{1b}[2J\r\nb"), "a\\u{1b}[2J\\r\\nb");
        assert_eq!(appended(message, "\u{9b}1m\u{202e}"), "\\u{9b}1m\\u{202e}");
    }

    #[test]
    fn values_are_quoted_where_they_could_be_misread() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a=b", "a=b"),
            ("/ü?q=1", "/ü?q=1"),
            ("", "\"\""),
            ("a worker=9", "\"a worker=9\""),
            ("a\"b", "\"a\\\"b\""),
            ("a\u{1b}b", "\"a\\u{1b}b\""),
            ("a\nb", "\"a\\nb\""),
            ("a\u{a0}b", "\"a\u{a0}b\""),
        ] {
            assert_eq!(appended(value, text), expected);
        }
    }

    #[test]
    fn json_strings() {
        assert_eq!(
            appended(json, "a\"\\\n\u{1b}\u{7f}\u{85}ü"),
            "\"a\\\"\\\\\\n\\u001b\\u007f\\u0085ü\""
        );
        assert_eq!(appended(json, "\u{feff}"), "\"\\ufeff\"");
    }

    #[test]
    fn a_bounded_text_ends_at_a_character() {
        assert_eq!(Bounded::format(4, format_args!("abcd")), "abcd");
        assert_eq!(Bounded::format(4, format_args!("abcde")), "abcd…");
        assert_eq!(Bounded::format(4, format_args!("abcü")), "abc…");
        assert_eq!(Bounded::format(0, format_args!("ü")), "…");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nothing_that_is_escaped_can_break_out(
            text in any::<String>(),
            bytes in any::<Vec<u8>>(),
        ) {
            for escape in [message, value, json] {
                let out = appended(escape, &text);
                prop_assert!(!out.chars().any(char::is_control), "{out:?}");
            }
            let mut out = Vec::new();
            quoted_bytes(&bytes, &mut out);
            prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
            out.clear();
            bare_bytes(&bytes, &mut out);
            prop_assert!(out.iter().all(|byte| (b'!'..=b'~').contains(byte)));
            out = b"\"".to_vec();
            json_bytes(&bytes, &mut out);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).expect("a JSON string");
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
