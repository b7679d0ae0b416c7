//! A line of the access log, from what Python knows of a request.
//!
//! Not here: the line's form (`maitred::observe::access`), when there is one (`maitred.asgi.access`).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};
use maitred::ident::PeerAddress;
use maitred::meters::Counter;
use maitred::observe::access::{AccessRecord, RequestLine};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::asgi::shared::Shared;

/// What Python tells of a request that was answered.
#[derive(FromPyObject)]
pub(super) struct Answered<'py> {
    client: Option<(String, u16)>,
    method: String,
    target: Bound<'py, PyBytes>,
    http_version: String,
    headers: Bound<'py, PyAny>,
    status: u16,
    bytes: u64,
    seconds: f64,
    queue_seconds: Option<f64>,
}

/// Leaves the line to be written; never waits.
pub(super) fn log(shared: &Shared, answered: &Answered<'_>) {
    let duration = seconds(answered.seconds);
    let client = answered.client.as_ref().and_then(|(host, port)| {
        let host: IpAddr = host.parse().ok()?;
        Some(PeerAddress::Inet(SocketAddr::new(host, *port)))
    });
    let method = Method::from_bytes(answered.method.as_bytes()).unwrap_or(Method::GET);
    let target = String::from_utf8_lossy(answered.target.as_bytes());
    let version = if answered.http_version == "1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    let (referer, user_agent) = (field(answered, b"referer"), field(answered, b"user-agent"));
    let request_id = field(answered, b"x-request-id");
    let mut core = shared.core();
    let (worker, has_ids) = (core.who, core.request_ids.is_some());
    let Some(log) = &mut core.access_log else { return };
    let dropped_before = log.dropped();
    log.write(&AccessRecord {
        peer: client.unwrap_or(PeerAddress::Local),
        time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
        request: Some(RequestLine { method: &method, target: &target, version }),
        status: StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK),
        bytes: answered.bytes,
        referer: referer.as_deref(),
        user_agent: user_agent.as_deref(),
        // Without the flag the field is a client's, which names nothing.
        request_id: request_id.as_deref().filter(|_| has_ids),
        worker,
        queue_time: answered.queue_seconds.map(seconds),
        duration,
    });
    // The log's own thread drops nothing: it is this line that found no room.
    let dropped = log.dropped().saturating_sub(dropped_before);
    if dropped > 0 {
        core.count(Counter::LogLinesDropped, dropped);
    }
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

fn field(answered: &Answered<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let headers = answered.headers.cast::<PyList>().ok()?;
    headers.iter().find_map(|entry| {
        let entry = entry.cast_into::<PyTuple>().ok()?;
        let found = entry.get_item(0).ok()?;
        let is_it = found.cast::<PyBytes>().is_ok_and(|found| found.as_bytes() == name);
        is_it.then(|| entry.get_item(1).ok()?.extract::<Vec<u8>>().ok()).flatten()
    })
}
