//! A body that an application makes while it is sent: its iterable, pulled piece by piece.
//!
//! Each piece takes the GIL for as long as the application needs to make it. Whatever becomes of
//! the response, `close` is called exactly once: after the last piece, after a failure, and when
//! the client has gone (the engine then drops the body, in a thread that runs handlers).
//!
//! Not here: the first piece, before which the head cannot leave (`answer`).

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};

use super::attached;
use super::failure::Subject;
use super::start_response::not_bytes;

/// Pieces up to this size are copied; larger ones are kept as the Python object that they are.
const COPIED_MAX: usize = 64 << 10;

/// The rest of a body.
pub(super) struct Streamed {
    /// Pieces that are here already.
    pub(super) ready: VecDeque<Bytes>,
    /// What makes the others.
    pub(super) iterator: Py<PyIterator>,
    /// Bytes that Content-Length still allows, if it was set.
    pub(super) left: Option<u64>,
    /// What has to be closed.
    pub(super) closing: Closing,
    /// What the log says of a failure.
    pub(super) subject: Subject,
    pub(super) is_over: bool,
}

/// Calls an iterable's `close` when it is dropped.
pub(super) struct Closing {
    close: Option<Py<PyAny>>,
    subject: Subject,
}

impl Iterator for Streamed {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let piece = match self.ready.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None => attached(|py| self.pull(py)),
        };
        match piece {
            Ok(Some(piece)) => self.within_length(piece).map(Ok),
            Ok(None) => {
                self.end();
                None
            }
            Err(error) => {
                self.end();
                Some(Err(error))
            }
        }
    }
}

impl Streamed {
    fn pull(&self, py: Python<'_>) -> io::Result<Option<Bytes>> {
        let next = next_piece(&mut self.iterator.bind(py).clone());
        next.map_err(|error| {
            self.subject.log(py, &error);
            io::Error::other("the application failed within its response")
        })
    }

    /// Cuts off what exceeds the declared length: the client would take it for the next response.
    fn within_length(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let Some(left) = &mut self.left else { return Some(piece) };
        let size = piece.len() as u64;
        if size <= *left {
            *left -= size;
            return Some(piece);
        }
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX);
        *left = 0;
        self.subject.warn_too_long();
        piece.truncate(allowed);
        self.end();
        (!piece.is_empty()).then_some(piece)
    }

    /// Nothing more comes: the application's end of the response is over before the client's.
    fn end(&mut self) {
        self.is_over = true;
        self.closing.close();
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.closing.close();
    }
}

impl Closing {
    /// Of what an application has returned.
    pub(super) fn of(result: &Bound<'_, PyAny>, subject: &Subject) -> PyResult<Closing> {
        // Built-in sequences have nothing to close, and are what most answers are.
        let is_sequence =
            result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>();
        let close = match is_sequence {
            true => None,
            false => result.getattr_opt(intern!(result.py(), "close"))?.map(Bound::unbind),
        };
        Ok(Closing { close, subject: subject.clone() })
    }

    pub(super) fn close(&mut self) {
        let Some(close) = self.close.take() else { return };
        attached(|py| {
            if let Err(error) = close.bind(py).call0() {
                self.subject.log(py, &error);
            }
            drop(close);
        });
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.close();
    }
}

/// The next piece that is not empty.
pub(super) fn next_piece(iterator: &mut Bound<'_, PyIterator>) -> PyResult<Option<Bytes>> {
    for piece in iterator {
        let piece = piece?;
        let bytes = piece.cast::<PyBytes>().map_err(|_| not_bytes(&piece))?;
        if !bytes.as_bytes().is_empty() {
            return Ok(Some(shared(bytes)));
        }
    }
    Ok(None)
}

/// The bytes of a Python object, for as long as they are needed.
pub(super) fn shared(bytes: &Bound<'_, PyBytes>) -> Bytes {
    match bytes.as_bytes() {
        small if small.len() <= COPIED_MAX => Bytes::copy_from_slice(small),
        _ => Bytes::from_owner(PyBackedBytes::from(bytes.clone())),
    }
}
