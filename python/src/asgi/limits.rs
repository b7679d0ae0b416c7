//! The limits on a request's head that Uvicorn's parsers do not know, checked when the head is whole.
//!
//! The numbers, and which status answers what is beyond them, are those of the server's own engine
//! (`maitred::http`).
//!
//! Not here: a head that does not end (`worker`), answering (`maitred.asgi.refusals`).

use maitred::config::HttpLimits;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

/// Nothing to refuse.
const FITS: u16 = 0;
const PAYLOAD_TOO_LARGE: u16 = 413;
const URI_TOO_LONG: u16 = 414;
const FIELDS_TOO_LARGE: u16 = 431;

/// `METHOD target HTTP/1.1`, without the target: a method of usual length.
const LINE_BESIDE_TARGET: usize = "OPTIONS  HTTP/1.1".len();

/// What a request's head may be.
#[pyclass(frozen, module = "maitred._native")]
pub(crate) struct HeadLimits {
    line_max: usize,
    fields_max: usize,
    field_size_max: usize,
    body_max: Option<u64>,
}

impl HeadLimits {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        HeadLimits {
            line_max: limits.request_line_max,
            fields_max: limits.fields_max,
            field_size_max: limits.field_size_max,
            body_max: limits.body_max,
        }
    }
}

#[pymethods]
impl HeadLimits {
    /// The status that refuses this head, or 0.
    fn refusal(&self, target_length: usize, headers: &Bound<'_, PyList>) -> PyResult<u16> {
        if target_length.saturating_add(LINE_BESIDE_TARGET) > self.line_max {
            return Ok(URI_TOO_LONG);
        }
        if headers.len() > self.fields_max {
            return Ok(FIELDS_TOO_LARGE);
        }
        for entry in headers.iter() {
            let entry = entry.cast_into::<PyTuple>()?;
            let (name, value) = (entry.get_item(0)?, entry.get_item(1)?);
            let (name, value) = (name.cast::<PyBytes>()?, value.cast::<PyBytes>()?);
            let (name, value) = (name.as_bytes(), value.as_bytes());
            // The colon and the space behind it are of the field too.
            if name.len() + value.len() + 2 > self.field_size_max {
                return Ok(FIELDS_TOO_LARGE);
            }
            if let Some(most) = self.body_max
                && name == b"content-length"
            {
                let length =
                    std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
                // More digits than a number has are more bytes than anybody allows.
                if length.is_none_or(|length: u64| length > most) {
                    return Ok(PAYLOAD_TOO_LARGE);
                }
            }
        }
        Ok(FITS)
    }
}
