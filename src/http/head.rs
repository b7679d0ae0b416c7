//! The request head: what a client asked for, after every check.
//!
//! httparse splits the head, fast, and refuses most of what RFC 9112 forbids. What it lets pass is
//! caught around it: a bare LF and empty lines in front by the scan, bytes from 0x80 in the target
//! by [`Target`], and the meaning of fields by `fields`.
//!
//! Not here: where the head ends (`scan`), what its fields mean for the connection (`fields`).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use crate::config::{FIELDS_ON_STACK_MAX, HttpLimits};
use crate::http::error::HttpError;
use crate::http::fields::{Steering, SteeringFields};
use crate::http::scan::{HeadFound, is_token_byte};
use crate::http::target::Target;

/// A request's first line and fields, checked against RFC 9112 and RFC 9110.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method; case matters. Never CONNECT.
    pub method: Method,
    /// The target as it was sent: visible ASCII only.
    pub target: Target,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields, in order of arrival for each name. Host is there in HTTP/1.1, once and valid,
    /// and is the target's authority where that is absolute (RFC 9112 section 3.2.2).
    pub headers: HeaderMap,
}

impl RequestHead {
    /// Parses a complete head that the scan has found.
    ///
    /// The bytes are copied once, and shared by the target and all field values. That keeps them
    /// alive together: who wants one value for longer than the request should copy it.
    pub(super) fn parse(
        head: &[u8],
        found: HeadFound,
        limits: &HttpLimits,
    ) -> Result<(RequestHead, Steering), HttpError> {
        let shared = Bytes::copy_from_slice(head);
        if found.fields <= FIELDS_ON_STACK_MAX {
            let mut places = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK_MAX];
            Self::parse_into(&shared, &mut places, limits)
        } else {
            let mut places: Vec<_> = (0..found.fields).map(|_| MaybeUninit::uninit()).collect();
            Self::parse_into(&shared, &mut places, limits)
        }
    }

    fn parse_into<'a>(
        shared: &'a Bytes,
        places: &mut [MaybeUninit<httparse::Header<'a>>],
        limits: &HttpLimits,
    ) -> Result<(RequestHead, Steering), HttpError> {
        let mut parsed = httparse::Request::new(&mut []);
        let size = match parsed.parse_with_uninit_headers(shared, places) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) => return Err(HttpError::RequestLineInvalid),
            Err(error) => return Err(explain(shared, error)),
        };
        let (Some(method), Some(target), Some(minor_version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(HttpError::RequestLineInvalid);
        };
        assert_eq!(size, shared.len(), "scan and parser end the head at the same empty line");

        let method = Method::from_bytes(method.as_bytes()).map_err(|_| HttpError::MethodInvalid)?;
        if method == Method::CONNECT {
            return Err(HttpError::ConnectNotImplemented);
        }
        let target = Target::parse(&method, shared.slice_ref(target.as_bytes()))?;
        let version = if minor_version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };

        let mut headers = HeaderMap::try_with_capacity(parsed.headers.len())
            .map_err(|_| HttpError::FieldsTooMany)?;
        let mut steering = SteeringFields::default();
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| HttpError::FieldNameInvalid)?;
            // httparse cuts whitespace off, and points at the field's line even if nothing is left.
            let value = field.value.trim_ascii();
            steering.observe(&name, value)?;
            let value = HeaderValue::from_maybe_shared(shared.slice_ref(value))
                .map_err(|_| HttpError::FieldValueInvalid)?;
            headers.try_append(name, value).map_err(|_| HttpError::FieldsTooMany)?;
        }
        let steering = steering.conclude(version, limits)?;
        if let Some(authority) = target.authority_bytes() {
            let host =
                HeaderValue::from_maybe_shared(authority).map_err(|_| HttpError::HostInvalid)?;
            headers.insert(HOST, host);
        }
        Ok((RequestHead { method, target, version, headers }, steering))
    }
}

/// Finds out what httparse did not like: it says no more than which part of the head it was in.
/// Only for the explanation; whether a head passes has been decided.
fn explain(head: &[u8], error: httparse::Error) -> HttpError {
    let bare_return = head.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n');
    if bare_return {
        return HttpError::BareCarriageReturn;
    }
    let mut lines =
        head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    match error {
        httparse::Error::HeaderName => {
            lines.skip(1).find_map(explain_name).unwrap_or(HttpError::FieldNameInvalid)
        }
        httparse::Error::HeaderValue => HttpError::FieldValueInvalid,
        httparse::Error::TooManyHeaders => HttpError::FieldsTooMany,
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => explain_request_line(lines.next().unwrap_or_default()),
    }
}

fn explain_name(line: &[u8]) -> Option<HttpError> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Some(HttpError::ObsoleteFold);
    }
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let trimmed = name.trim_ascii_end();
    match name.iter().all(|&byte| is_token_byte(byte)) {
        true if name.len() < line.len() && !name.is_empty() => None,
        true if line.is_empty() => None,
        false
            if name.len() < line.len()
                && trimmed.len() < name.len()
                && trimmed.iter().all(|&byte| is_token_byte(byte)) =>
        {
            Some(HttpError::SpaceBeforeColon)
        }
        true | false => Some(HttpError::FieldNameInvalid),
    }
}

fn explain_request_line(line: &[u8]) -> HttpError {
    let mut parts = line.split(|&byte| byte == b' ');
    let method = parts.next().unwrap_or_default();
    if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
        return HttpError::MethodInvalid;
    }
    match (parts.next(), parts.next(), parts.next()) {
        (Some(target), Some(_), None)
            if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) =>
        {
            HttpError::TargetInvalid
        }
        (Some(_), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None)
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HttpError::VersionUnsupported
        }
        (_, _, _) => HttpError::RequestLineInvalid,
    }
}
