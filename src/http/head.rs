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
