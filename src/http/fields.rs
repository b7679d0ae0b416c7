//! The five fields that steer the connection: Host, Content-Length, Transfer-Encoding, Connection
//! and Expect.
//!
//! All other fields are the application's. These decide where the request ends and who it is for,
//! and a second opinion about either is an attack (RFC 9112 section 11.2), so that each has one
//! spelling that passes.
//!
//! Not here: the syntax of fields (`head`), of hosts (`authority`).

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderName, Version};

use crate::config::HttpLimits;
use crate::http::authority::is_host_and_port;
use crate::http::body::BodyKind;
use crate::http::error::HttpError;

/// What the head says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steering {
    /// How the body is delimited.
    pub(super) body: BodyKind,
    /// The client would like to go on after this request.
    pub(super) persist: bool,
    /// The client waits for 100 before it sends the body.
    pub(super) expects_continue: bool,
}

/// The fields seen so far; see [`SteeringFields::conclude`].
#[derive(Debug, Default)]
pub(super) struct SteeringFields {
    host_seen: bool,
    content_length: Option<u64>,
    transfer_encoding: Option<Encoding>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Chunked,
    Other,
}

impl SteeringFields {
    /// Takes note of a field, if it is one of the five.
    ///
    /// # Errors
    /// A Host or Content-Length that is a second one, or invalid; an unknown expectation.
    pub(super) fn observe(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), HttpError> {
        if name == HOST {
            if self.host_seen {
                return Err(HttpError::HostDuplicate);
            }
            if !is_host_and_port(value) {
                return Err(HttpError::HostInvalid);
            }
            self.host_seen = true;
        } else if name == CONTENT_LENGTH {
            if self.content_length.is_some() {
                return Err(HttpError::ContentLengthDuplicate);
            }
            self.content_length = Some(content_length(value)?);
        } else if name == TRANSFER_ENCODING {
            // A second field makes a list of two codings, and a list is not exactly `chunked`.
            let only = self.transfer_encoding.is_none() && value.eq_ignore_ascii_case(b"chunked");
            self.transfer_encoding = Some(if only { Encoding::Chunked } else { Encoding::Other });
        } else if name == CONNECTION {
            for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name == EXPECT {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(HttpError::ExpectationUnknown);
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    /// What all fields together mean for a request of this version.
    ///
    /// # Errors
    /// What no single field shows: no Host, a length beside an encoding, a body over the limit.
    pub(super) fn conclude(
        self,
        version: Version,
        limits: &HttpLimits,
    ) -> Result<Steering, HttpError> {
        let is_old = version == Version::HTTP_10;
        if !self.host_seen && !is_old {
            return Err(HttpError::HostMissing);
        }
        let body = match (self.content_length, self.transfer_encoding) {
            (_, Some(_)) if is_old => return Err(HttpError::EncodingBeforeItsTime),
            (Some(_), Some(_)) => return Err(HttpError::LengthAndEncoding),
            (None, Some(Encoding::Other)) => return Err(HttpError::EncodingUnknown),
            (None, Some(Encoding::Chunked)) => BodyKind::Chunked,
            (Some(length), None) if limits.body_max.is_some_and(|max| length > max) => {
                return Err(HttpError::BodyTooLarge);
            }
            (Some(0), None) | (None, None) => BodyKind::None,
            (Some(length), None) => BodyKind::Length(length),
        };
        // `close` wins over `keep-alive` (RFC 9112 section 9.3).
        let persist = !self.close && (!is_old || self.keep_alive);
        // An HTTP/1.0 client does not know 100 and must not be sent it, and who has no body to
        // send waits for nothing (RFC 9110 section 10.1.1).
        let expects_continue = self.expects_continue && !is_old && body != BodyKind::None;
        Ok(Steering { body, persist, expects_continue })
    }
}

/// `1*DIGIT` and nothing else: no sign, no list, no whitespace within, at most `u64::MAX`.
fn content_length(value: &[u8]) -> Result<u64, HttpError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::ContentLengthInvalid);
    }
    value
        .iter()
        .try_fold(0_u64, |number, &digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .ok_or(HttpError::ContentLengthOverflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steer(version: Version, fields: &[(HeaderName, &str)]) -> Result<Steering, HttpError> {
        let mut seen = SteeringFields::default();
        for (name, value) in fields {
            seen.observe(name, value.as_bytes())?;
        }
        seen.conclude(version, &HttpLimits::default())
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        let persists = |version, fields: &[(HeaderName, &str)]| {
            let host = (HOST, "a");
            steer(version, &[fields, &[host]].concat()).unwrap().persist
        };
        assert!(persists(Version::HTTP_11, &[]));
        assert!(persists(Version::HTTP_11, &[(CONNECTION, "keep-alive, Upgrade")]));
        assert!(!persists(Version::HTTP_11, &[(CONNECTION, "Close")]));
        assert!(!persists(Version::HTTP_11, &[(CONNECTION, "upgrade , close")]));
        assert!(!persists(Version::HTTP_11, &[(CONNECTION, "x"), (CONNECTION, "close")]));
        assert!(!persists(Version::HTTP_10, &[]));
        assert!(persists(Version::HTTP_10, &[(CONNECTION, "Keep-Alive")]));
        assert!(!persists(Version::HTTP_10, &[(CONNECTION, "keep-alive, close")]));
    }

    #[test]
    fn a_length_is_digits_only() {
        assert_eq!(content_length(b"0"), Ok(0));
        assert_eq!(content_length(b"007"), Ok(7));
        assert_eq!(content_length(b"18446744073709551615"), Ok(u64::MAX));
        let overflow = Err(HttpError::ContentLengthOverflow);
        assert_eq!(content_length(b"18446744073709551616"), overflow);
        for value in ["", "+1", "-1", "1,1", "1 1", "0x1", "1.0", "\u{661}"] {
            let invalid = Err(HttpError::ContentLengthInvalid);
            assert_eq!(content_length(value.as_bytes()), invalid, "{value:?}");
        }
    }

    #[test]
    fn an_old_client_expects_nothing() {
        let fields = [(CONTENT_LENGTH, "3"), (EXPECT, "100-Continue"), (HOST, "a")];
        assert!(steer(Version::HTTP_11, &fields).unwrap().expects_continue);
        assert!(!steer(Version::HTTP_10, &fields).unwrap().expects_continue);
        assert!(!steer(Version::HTTP_11, &fields[1..]).unwrap().expects_continue);
    }
}
