//! From the path in a target to a path beneath the root: decoded, and free of every trick.
//!
//! No name that begins with a dot comes through, so that `..` is impossible here already, whatever
//! its spelling; the kernel refuses to leave the root once more (`root`). `.well-known` is the one
//! exception (RFC 8615), and only as the first name.
//!
//! Not here: opening anything (`root`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Everything but RFC 3986's unreserved characters: right in a path, a link and an attribute.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path beneath the root: names joined by single slashes, none at either end; empty for the
/// root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CleanPath {
    relative: Vec<u8>,
    is_directory: bool,
}

/// Why a path is refused. The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathError {
    /// Not an absolute path, a `%` without two hexadecimal digits, or an encoded NUL.
    Malformed,
    /// A hidden name, or one that no file can have: as if it were not there.
    Hidden,
}

impl PathError {
    /// What to answer. An encoded slash is 404, as at Apache: no file has such a name.
    pub(super) fn status(self) -> StatusCode {
        match self {
            PathError::Malformed => StatusCode::BAD_REQUEST,
            PathError::Hidden => StatusCode::NOT_FOUND,
        }
    }
}

impl CleanPath {
    /// Reads the path of a target, as it was sent. Empty names are skipped, as nginx does.
    pub(super) fn parse(sent: &str) -> Result<CleanPath, PathError> {
        let names = sent.strip_prefix('/').ok_or(PathError::Malformed)?;
        let mut relative = Vec::with_capacity(names.len());
        for (place, name) in names.split('/').filter(|name| !name.is_empty()).enumerate() {
            let start = relative.len();
            if start > 0 {
                relative.push(b'/');
            }
            let name_start = relative.len();
            decode_into(name, &mut relative)?;
            let decoded = &relative[name_start..];
            if decoded.contains(&0) {
                return Err(PathError::Malformed);
            }
            let is_hidden = decoded.starts_with(b".") && !(place == 0 && decoded == b".well-known");
            if is_hidden || decoded.contains(&b'/') {
                return Err(PathError::Hidden);
            }
        }
        Ok(CleanPath { relative, is_directory: names.is_empty() || names.ends_with('/') })
    }

    /// Whether the client asks for a directory: the path ends in a slash.
    pub(super) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// The path to open, relative to the root; `.` for the root itself.
    pub(super) fn to_open(&self) -> &Path {
        let relative = if self.relative.is_empty() { b".".as_slice() } else { &self.relative };
        Path::new(OsStr::from_bytes(relative))
    }

    /// The path of a name in this directory. The name is trusted: ours, or the kernel's.
    pub(super) fn child(&self, name: &OsStr) -> CleanPath {
        let mut relative = self.relative.clone();
        if !relative.is_empty() {
            relative.push(b'/');
        }
        relative.extend_from_slice(name.as_bytes());
        CleanPath { relative, is_directory: false }
    }

    /// This directory as a target, encoded, with its slash. It begins with exactly one slash:
    /// `//host/` in a `Location` would lead to another server.
    pub(super) fn directory_target(&self) -> String {
        let mut target = String::from("/");
        for name in self.relative.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            target.push_str(&encode(name));
            target.push('/');
        }
        target
    }

    /// The decoded path for people to read, with slashes around it.
    pub(super) fn display(&self) -> String {
        if self.relative.is_empty() {
            return "/".to_owned();
        }
        format!("/{}/", String::from_utf8_lossy(&self.relative))
    }
}

/// One name, percent-encoded so that it can stand in a path.
pub(super) fn encode(name: &[u8]) -> String {
    percent_encode(name, RESERVED).to_string()
}

/// Decodes strictly: the percent-encoding crate passes a lone `%` through, and a server that
/// guesses what was meant opens another file than the proxy in front of it has checked.
fn decode_into(name: &str, decoded: &mut Vec<u8>) -> Result<(), PathError> {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hexadecimal).ok_or(PathError::Malformed)?;
        let low = bytes.next().and_then(hexadecimal).ok_or(PathError::Malformed)?;
        decoded.push(high << 4 | low);
    }
    Ok(())
}

fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn opened(sent: &str) -> Result<(String, bool), PathError> {
        CleanPath::parse(sent)
            .map(|path| (path.to_open().to_string_lossy().into_owned(), path.is_directory()))
    }

    #[test]
    fn paths_are_decoded_and_joined() {
        for (sent, expected, is_directory) in [
            ("/", ".", true),
            ("//", ".", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a/b.txt", "a/b.txt", false),
            ("//a//b//", "a/b", true),
            ("/a%20b", "a b", false),
            ("/%41", "A", false),
            ("/%e2%82%ac", "€", false),
            ("/a.b..c", "a.b..c", false),
            ("/a%3Fb%25", "a?b%", false),
            ("/.well-known/acme-challenge/x", ".well-known/acme-challenge/x", false),
        ] {
            assert_eq!(opened(sent), Ok((expected.to_owned(), is_directory)), "{sent}");
        }
    }

    #[test]
    fn tricks_are_refused() {
        for (sent, expected) in [
            ("", PathError::Malformed),
            ("*", PathError::Malformed),
            ("a", PathError::Malformed),
            ("/%", PathError::Malformed),
            ("/%4", PathError::Malformed),
            ("/%zz", PathError::Malformed),
            ("/%+4", PathError::Malformed),
            ("/a%00b", PathError::Malformed),
            ("/a%2Fb", PathError::Hidden),
            ("/%2e%2e%2fetc/passwd", PathError::Hidden),
            ("/..", PathError::Hidden),
            ("/../", PathError::Hidden),
            ("/a/../b", PathError::Hidden),
            ("/%2e%2E/b", PathError::Hidden),
            ("/.%2e/b", PathError::Hidden),
            ("/./a", PathError::Hidden),
            ("/.git/config", PathError::Hidden),
            ("/a/.htaccess", PathError::Hidden),
            ("/%2egit", PathError::Hidden),
            ("/a/.well-known/x", PathError::Hidden),
            ("/.well-known/.x", PathError::Hidden),
            ("/.well-known2", PathError::Hidden),
        ] {
            assert_eq!(opened(sent), Err(expected), "{sent}");
        }
    }

    #[test]
    fn a_redirect_stays_on_this_server() {
        let target = |sent| CleanPath::parse(sent).unwrap().directory_target();
        assert_eq!(target("//evil.example/a"), "/evil.example/a/");
        assert_eq!(target("/a%0d%0aSet-Cookie:x"), "/a%0D%0ASet-Cookie%3Ax/");
        assert_eq!(target("/"), "/");
        assert_eq!(target("/a b\"<é"), "/a%20b%22%3C%C3%A9/");
    }

    #[test]
    fn a_child_stands_behind_its_directory() {
        let child = |sent| CleanPath::parse(sent).unwrap().child(OsStr::new("index.html"));
        assert_eq!(child("/").to_open(), Path::new("index.html"));
        assert_eq!(child("/a/b/").to_open(), Path::new("a/b/index.html"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_path_leaves_the_root(sent in "/([./a]|%2[eEfF]|%00|%){0,12}") {
            if let Ok(path) = CleanPath::parse(&sent) {
                for component in path.to_open().components() {
                    prop_assert!(matches!(component, Component::Normal(_) | Component::CurDir));
                }
                prop_assert!(!path.to_open().as_os_str().as_bytes().contains(&0));
            }
        }

        #[test]
        fn what_is_encoded_is_decoded_again(name in "[^/.\0][^/\0]{0,20}") {
            let path = CleanPath::parse(&format!("/{}", encode(name.as_bytes()))).unwrap();
            prop_assert_eq!(path.to_open(), Path::new(&name));
        }

        #[test]
        fn no_text_panics(sent in any::<String>()) {
            let _ = CleanPath::parse(&sent).map(|path| (path.directory_target(), path.display()));
        }
    }
}
