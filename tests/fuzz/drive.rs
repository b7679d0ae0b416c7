//! Drives a connection over bytes that come in pieces, and writes down what it told.
//!
//! Whoever includes a target includes this beside it, as `crate::drive`.
//!
//! Not here: what is asked of the transcript (`request_head`, `chunked_body`).

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use maitred::config::HttpLimits;
use maitred::http::{BodyKind, BodyLength, Connection, Event, HttpError, Next, RequestHead};

/// What a connection told of, with the pieces of bodies joined.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// Each request, in order.
    pub(crate) requests: Vec<Request>,
    /// Why the connection was refused, if it was.
    pub(crate) refused: Option<HttpError>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    /// As it was understood.
    pub(crate) head: RequestHead,
    /// How its body is delimited.
    pub(crate) kind: BodyKind,
    /// Where its head ended in the input.
    pub(crate) head_end: usize,
    /// Its body, as far as it came.
    pub(crate) body: Vec<u8>,
    /// Where it ended in the input, if it did.
    pub(crate) end: Option<usize>,
}

impl Transcript {
    /// Hands `input` over in pieces that end at `cuts` (ascending) and answers every request with
    /// an empty response, which must itself be in order.
    pub(crate) fn of(input: &[u8], cuts: &[usize], limits: HttpLimits) -> Transcript {
        let mut connection = Connection::new(Arc::new(limits));
        let mut transcript = Transcript::default();
        let mut consumed = 0;
        for &cut in cuts.iter().chain([&input.len()]) {
            loop {
                let offered = &input[consumed..cut];
                let outcome = connection.handle_bytes(offered);
                connection.check_invariants();
                let (used, event) = match outcome {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        transcript.refused = Some(error);
                        return transcript;
                    }
                };
                assert!(used <= offered.len(), "no more is consumed than was offered");
                consumed += used;
                match event {
                    Event::Partial => break,
                    Event::Head(head, kind) => {
                        let head_end = consumed;
                        let (body, end) = (Vec::new(), None);
                        transcript.requests.push(Request { head, kind, head_end, body, end });
                    }
                    Event::Data(range) => {
                        assert!(range.end <= used, "data lies within what was consumed");
                        transcript.last().body.extend_from_slice(&offered[range]);
                    }
                    Event::RequestEnd => transcript.last().end = Some(consumed),
                    Event::Paused if !answer(&mut connection) => return transcript,
                    Event::Paused => {}
                }
            }
        }
        transcript
    }

    /// The same, for every way of cutting that is tried; all must tell the same.
    pub(crate) fn in_pieces(input: &[u8], limits: HttpLimits) -> Transcript {
        let whole = Transcript::of(input, &[], limits);
        let bytes: Vec<usize> = (0..input.len()).collect();
        let thirds = [input.len() / 3, input.len() / 3 * 2];
        for cuts in [&bytes[..], &thirds] {
            let cut = Transcript::of(input, cuts, limits);
            assert_eq!(format!("{whole:?}"), format!("{cut:?}"), "pieces change nothing");
        }
        whole
    }

    fn last(&mut self) -> &mut Request {
        self.requests.last_mut().expect("a body follows its head")
    }
}

/// Returns whether the connection goes on.
fn answer(connection: &mut Connection) -> bool {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let mut out = Vec::new();
    connection
        .respond(StatusCode::OK, &HeaderMap::new(), BodyLength::Unknown, date, false, &mut out)
        .expect("a complete request can be answered");
    connection.finish_response(&mut out).expect("an empty body of unknown length is complete");
    connection.check_invariants();
    connection.next() == Next::KeepAlive
}
