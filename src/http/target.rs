//! The request target: what stands between method and version.
//!
//! It is kept as it was sent. Decoding and resolving `..` belong to who maps it to something: two
//! decodings are one too many.
//!
//! Not here: the rest of the head (`head`).

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::Method;

use crate::http::authority::is_host_and_port;
use crate::http::error::HttpError;

/// A request target as it was sent: origin-form, absolute-form or `*` (RFC 9112 section 3.2).
///
/// Visible ASCII without `#`. The authority-form belongs to CONNECT, which is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Bytes);

impl Target {
    /// Checks a target that came with this method.
    ///
    /// # Errors
    /// [`HttpError::TargetFragment`]; [`HttpError::HostInvalid`] where an absolute target's
    /// authority is not `host[:port]`; [`HttpError::TargetInvalid`] for all else.
    pub fn parse(method: &Method, bytes: Bytes) -> Result<Target, HttpError> {
        if let Some(bad) = bytes.iter().find(|byte| !byte.is_ascii_graphic() || **byte == b'#') {
            return Err(match bad {
                b'#' => HttpError::TargetFragment,
                _ => HttpError::TargetInvalid,
            });
        }
        let target = Target(bytes);
        match target.0.first() {
            Some(b'/') => Ok(target),
            Some(b'*') if target.0.len() == 1 && method == Method::OPTIONS => Ok(target),
            Some(_) | None => match target.authority_range() {
                Some(authority) if is_host_and_port(&target.0[authority.clone()]) => Ok(target),
                Some(_) => Err(HttpError::HostInvalid),
                None => Err(HttpError::TargetInvalid),
            },
        }
    }

    /// The whole target.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("every byte of a target is visible ASCII")
    }

    /// What precedes `?`, raw. Of an absolute target: what follows the authority, `/` if nothing
    /// does (RFC 9110 section 4.2.3). `*` is its own path.
    pub fn path(&self) -> &str {
        let local = self.local();
        match local.split_once('?').map_or(local, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?`, raw.
    pub fn query(&self) -> Option<&str> {
        self.local().split_once('?').map(|(_, query)| query)
    }

    /// `host[:port]` of an absolute target.
    pub fn authority(&self) -> Option<&str> {
        self.authority_range().map(|range| &self.as_str()[range])
    }

    /// The same, sharing the target's memory.
    pub(super) fn authority_bytes(&self) -> Option<Bytes> {
        self.authority_range().map(|range| self.0.slice(range))
    }

    /// Path and query.
    fn local(&self) -> &str {
        let start = self.authority_range().map_or(0, |range| range.end);
        &self.as_str()[start..]
    }

    /// Where the authority of an absolute target stands. Only `http` and `https` have a meaning
    /// here; the latter comes from proxies that end TLS in front of us.
    fn authority_range(&self) -> Option<Range<usize>> {
        if self.0.first() == Some(&b'/') {
            return None;
        }
        let start = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
            let prefix = self.0.get(..scheme.len())?;
            prefix.eq_ignore_ascii_case(scheme).then_some(scheme.len())
        })?;
        let rest = &self.0[start..];
        let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
        Some(start..start + length.unwrap_or(rest.len()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Target, HttpError> {
        Target::parse(&Method::GET, Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_target_has_a_path_and_perhaps_a_query() {
        for (text, path, query, authority) in [
            ("/", "/", None, None),
            ("/a/b?c=d?e", "/a/b", Some("c=d?e"), None),
            ("/?", "/", Some(""), None),
            ("/http://a/", "/http://a/", None, None),
            ("//a/b", "//a/b", None, None),
            ("http://a", "/", None, Some("a")),
            ("HTTP://a:80/b?c", "/b", Some("c"), Some("a:80")),
            ("https://[::1]:8?c/d", "/", Some("c/d"), Some("[::1]:8")),
        ] {
            let target = parse(text).unwrap();
            assert_eq!(target.as_str(), text);
            assert_eq!(target.path(), path, "{text}");
            assert_eq!(target.query(), query, "{text}");
            assert_eq!(target.authority(), authority, "{text}");
        }
    }

    #[test]
    fn an_asterisk_is_for_options_alone() {
        let asterisk = Bytes::from_static(b"*");
        assert_eq!(Target::parse(&Method::OPTIONS, asterisk).unwrap().path(), "*");
        assert_eq!(parse("*"), Err(HttpError::TargetInvalid));
        let longer = Target::parse(&Method::OPTIONS, Bytes::from_static(b"*a"));
        assert_eq!(longer, Err(HttpError::TargetInvalid));
    }

    #[test]
    fn all_else_is_refused() {
        for (text, error) in [
            ("", HttpError::TargetInvalid),
            ("a", HttpError::TargetInvalid),
            ("a:80", HttpError::TargetInvalid),
            ("ftp://a/", HttpError::TargetInvalid),
            ("/a b", HttpError::TargetInvalid),
            ("/\u{e9}", HttpError::TargetInvalid),
            ("/\x7f", HttpError::TargetInvalid),
            ("/a#b", HttpError::TargetFragment),
            ("http:///a", HttpError::HostInvalid),
            ("http://user@a/", HttpError::HostInvalid),
            ("http://a:b/", HttpError::HostInvalid),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
