//! What the logs say of a request, from what Python knows of it.
//!
//! Not here: a line's form (`maitred::observe::access`), when there is one (`maitred.asgi.access`).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::{HeaderName, StatusCode, Version};
use maitred::ident::PeerAddress;
use maitred::meters::Counter;
use maitred::observe::access::{AccessRecord, FieldValues, Parts, RequestLine};
use maitred::sys::clock;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::asgi::shared::Shared;

/// What Python tells of a request that was answered.
#[derive(FromPyObject)]
pub(super) struct Answered<'py> {
    client: Option<(String, u16)>,
    method: String,
    path: Bound<'py, PyBytes>,
    query: Bound<'py, PyBytes>,
    http_version: String,
    headers: Bound<'py, PyAny>,
    status: u16,
    response_headers: Bound<'py, PyAny>,
    bytes: u64,
    complete: bool,
    /// From the call of the application to the first message of its answer, and to the last.
    handler_seconds: f64,
    seconds: f64,
    queue_seconds: Option<f64>,
}

/// Copies of the fields that the form wants, by their places.
struct Fields {
    request: Vec<Option<Vec<u8>>>,
    response: Vec<Option<Vec<u8>>>,
}

impl FieldValues for Fields {
    fn of_request(&self, place: usize) -> Option<&[u8]> {
        self.request.get(place)?.as_deref()
    }

    fn of_response(&self, place: usize) -> Option<&[u8]> {
        self.response.get(place)?.as_deref()
    }
}

/// Leaves the line to be written; never waits.
pub(super) fn log(shared: &Shared, answered: &Answered<'_>) {
    let duration = seconds(answered.seconds);
    let client = answered.client.as_ref().and_then(|(host, port)| {
        let host: IpAddr = host.parse().ok()?;
        Some(PeerAddress::Inet(SocketAddr::new(host, *port)))
    });
    let (path, query) = (answered.path.as_bytes(), answered.query.as_bytes());
    let target = match query {
        [] => path.to_vec(),
        query => [path, b"?", query].concat(),
    };
    let version = if answered.http_version == "1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    let handling = seconds(answered.handler_seconds);
    // Looking into Python's objects may run Python: the core is not held meanwhile.
    let Some(wanted) = shared.core().request_log.as_ref().map(|log| log.fields().clone()) else {
        return;
    };
    let fields = Fields {
        request: found(&answered.headers, &wanted.request),
        response: found(&answered.response_headers, &wanted.response),
    };
    // The request that the application has seen; without the flag the field is a client's, which
    // names nothing.
    let request_id = found(&answered.headers, &[HeaderName::from_static("x-request-id")]).remove(0);
    let mut core = shared.core();
    let (worker, has_ids) = (core.who, core.request_ids.is_some());
    let Some(log) = &mut core.request_log else { return };
    let record = AccessRecord {
        peer: client.unwrap_or(PeerAddress::Local),
        time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
        request: Some(RequestLine {
            method: answered.method.as_bytes(),
            target: &target,
            path,
            query: (!query.is_empty()).then_some(query),
            version,
        }),
        status: StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK),
        bytes: answered.bytes,
        complete: answered.complete,
        fields: &fields,
        request_id: request_id.as_deref().filter(|_| has_ids),
        worker,
        queue_time: answered.queue_seconds.map(seconds),
        duration,
        parts: Some(Parts {
            receiving: Duration::ZERO,
            handling,
            sending: duration.saturating_sub(handling),
        }),
    };
    log.write(&record, clock::now());
    let lost = log.newly_dropped();
    if lost > 0 {
        core.count(Counter::LogLinesDropped, lost);
    }
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

/// The first value of each of these fields, in a list of pairs as ASGI has it. Names in a scope are
/// in lower case; those of an answer should be.
fn found(headers: &Bound<'_, PyAny>, names: &[HeaderName]) -> Vec<Option<Vec<u8>>> {
    let mut values = vec![None; names.len()];
    if names.is_empty() {
        return values;
    }
    let Ok(pairs) = headers.try_iter() else { return values };
    for pair in pairs.flatten() {
        let Ok(pair) = pair.cast_into::<PyTuple>() else { continue };
        let (Ok(name), Ok(value)) = (pair.get_item(0), pair.get_item(1)) else { continue };
        let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) else {
            continue;
        };
        let is_it =
            |wanted: &HeaderName| wanted.as_str().as_bytes().eq_ignore_ascii_case(name.as_bytes());
        if let Some(place) = names.iter().position(is_it) {
            values[place].get_or_insert_with(|| value.as_bytes().to_vec());
        }
    }
    values
}
