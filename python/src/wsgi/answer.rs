//! What an application returns becomes a response.
//!
//! A list is a body that is there; its length is known, and declared. Anything else is iterated: up
//! to its first piece here, since until then the application may change its mind about the head,
//! and then while it is sent. HEAD, 204 and 304 take no piece more than the head needs.
//!
//! Not here: the call itself (`wsgi`), the pieces that follow (`body`), framing (`maitred::http`).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use maitred::app::header::CONTENT_LENGTH;
use maitred::app::{Body, HeaderValue, Method, Reason, Response, StatusCode};
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::body::{Closing, Streamed, next_piece, shared};
use super::failure::Subject;
use super::file_wrapper::FileWrapper;
use super::start_response::{Head, StartResponse, not_bytes};

/// Bytes of several pieces that are put together to leave at once; more leave piece by piece.
const JOINED_MAX: usize = 256 << 10;

/// Turns what the application has returned into a response.
///
/// # Errors
/// What the application has raised, or has to be told; nothing has been sent, and 500 is the
/// answer.
pub(super) fn answer(
    result: Bound<'_, PyAny>,
    start: &StartResponse,
    subject: &Subject,
) -> PyResult<Response> {
    let mut closing = Closing::of(&result, subject)?;
    if let Some(pieces) = pieces_at_hand(&result)? {
        let (head, written) = begun(start)?;
        return whole(head, written.into_iter().chain(pieces).collect(), subject);
    }
    if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
        return file(wrapper, start, closing, subject);
    }
    let mut iterator = result.try_iter()?;
    let first = next_piece(&mut iterator)?;
    let (head, mut ready) = begun(start)?;
    if is_bodiless(&head, subject) {
        closing.close();
        return Ok(bodiless(head));
    }
    let Some(first) = first else {
        closing.close();
        return whole(head, ready, subject);
    };
    ready.push_back(first);
    Ok(streamed(head, ready, iterator.unbind(), closing, subject))
}

/// The pieces of a list or a tuple; `None` for all else.
fn pieces_at_hand(result: &Bound<'_, PyAny>) -> PyResult<Option<Vec<Bytes>>> {
    let piece = |piece: Bound<'_, PyAny>| -> PyResult<Bytes> {
        Ok(shared(piece.cast::<PyBytes>().map_err(|_| not_bytes(&piece))?))
    };
    if let Ok(list) = result.cast_exact::<PyList>() {
        return list.iter().map(piece).collect::<PyResult<_>>().map(Some);
    }
    match result.cast_exact::<PyTuple>() {
        Ok(tuple) => tuple.iter().map(piece).collect::<PyResult<_>>().map(Some),
        Err(_) => Ok(None),
    }
}

fn begun(start: &StartResponse) -> PyResult<(Head, VecDeque<Bytes>)> {
    start.take().ok_or_else(|| {
        PyAssertionError::new_err(
            "the application has returned, or made the first piece of its body, without calling \
             start_response",
        )
    })
}

fn whole(head: Head, mut pieces: VecDeque<Bytes>, subject: &Subject) -> PyResult<Response> {
    pieces.retain(|piece| !piece.is_empty());
    let total: usize = pieces.iter().map(Bytes::len).sum();
    if is_bodiless(&head, subject) {
        // For HEAD the length is that which GET would have had.
        let length = (subject.head().method == Method::HEAD).then_some(total as u64);
        return Ok(bodiless(Head { length: head.length.or(length), ..head }));
    }
    let mut most = total;
    match head.length {
        Some(declared) if declared > total as u64 => {
            return Err(PyAssertionError::new_err(format!(
                "the response declares {declared} bytes in Content-Length, and its body has {total}"
            )));
        }
        Some(declared) if declared < total as u64 => {
            subject.warn_too_long();
            most = declared as usize;
        }
        Some(_) | None => {}
    }
    let body = match (pieces.len(), total) {
        (0, _) => Body::Empty,
        (1, _) => Body::Full(pieces.pop_front().unwrap_or_default().slice(..most)),
        (_, joined) if joined <= JOINED_MAX => {
            let mut body = BytesMut::with_capacity(total);
            for piece in &pieces {
                body.extend_from_slice(piece);
            }
            body.truncate(most);
            Body::Full(body.freeze())
        }
        (_, _) => {
            let mut left = most;
            let cut = move |mut piece: Bytes| {
                piece.truncate(left);
                left -= piece.len();
                (!piece.is_empty()).then_some(Ok(piece))
            };
            let source = Box::new(pieces.into_iter().map_while(cut));
            Body::Stream { length: Some(most as u64), source }
        }
    };
    Ok(response(head, body))
}

fn file(
    wrapper: &Bound<'_, FileWrapper>,
    start: &StartResponse,
    mut closing: Closing,
    subject: &Subject,
) -> PyResult<Response> {
    let (head, mut ready) = begun(start)?;
    if is_bodiless(&head, subject) {
        closing.close();
        return Ok(bodiless(head));
    }
    let stretch = match ready.is_empty() {
        true => wrapper.get().stretch(wrapper.py(), head.length),
        false => None,
    };
    if let Some(stretch) = stretch {
        closing.close();
        let (file, offset, length) = (stretch.file, stretch.offset, stretch.length);
        return Ok(response(head, Body::File { file, offset, length }));
    }
    let mut iterator = wrapper.as_any().try_iter()?;
    // With nothing in it the length is known, and a failure of the first read is answered with 500.
    match next_piece(&mut iterator)? {
        Some(first) => {
            ready.push_back(first);
            Ok(streamed(head, ready, iterator.unbind(), closing, subject))
        }
        None => {
            closing.close();
            whole(head, ready, subject)
        }
    }
}

fn streamed(
    head: Head,
    ready: VecDeque<Bytes>,
    iterator: Py<pyo3::types::PyIterator>,
    closing: Closing,
    subject: &Subject,
) -> Response {
    let left = head.length;
    let subject = subject.clone();
    let source = Streamed { ready, iterator, left, closing, subject, is_over: false };
    let body = Body::Stream { length: head.length, source: Box::new(source) };
    response(head, body)
}

fn is_bodiless(head: &Head, subject: &Subject) -> bool {
    subject.head().method == Method::HEAD
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// A head alone, with the length that its body would have had.
fn bodiless(head: Head) -> Response {
    let length = head.length;
    let mut response = response(head, Body::Empty);
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

fn response(head: Head, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    if let Some(reason) = head.reason.and_then(Reason::new) {
        response.extensions_mut().insert(reason);
    }
    response
}
