//! The built-in demonstration: small targets with a known cost, to try and to measure a server by.
//!
//! | target | answer |
//! |---|---|
//! | `/` | a greeting |
//! | `/sleep/MS` | after so many milliseconds without work ([`Amount`]) |
//! | `/spin/MS` | after so many milliseconds of CPU time of the calling thread |
//! | `/bytes/N` | N bytes, streamed |
//! | `/echo` | the request's body |
//! | `/whoami` | `{"slot":0,"generation":1,"pid":123}`: which process answered |
//! | `/client` | `{"address":"192.0.2.7","port":4711,"secure":false,"request_id":null}`: who asks, as this server understands it |
//!
//! Not here: reading numbers of milliseconds (`amount`), the body back (`app::echo`).

mod amount;

use std::time::Duration;
use std::{io, process, thread};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use rustix::time::{ClockId, clock_gettime};

use crate::app::{self, Body, Handler, Origin, Request, Response, response};
use crate::config::STREAM_PIECE_SIZE;
use crate::ident::PeerAddress;

pub use amount::{Amount, AmountError};

const HELLO: &str = "Hello from maitred\n";
const READS: &str = "GET, HEAD, OPTIONS";
const READS_AND_WRITES: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The demonstration. It has no state, so that any worker gives the same answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demo;

impl Handler for Demo {
    fn handle(&self, request: Request) -> Response {
        let Some(route) = Route::of(request.path()) else {
            return not_found();
        };
        let allow = route.allow();
        if request.head.method == Method::OPTIONS {
            return app::options(allow);
        }
        if !allow.split(", ").any(|method| method == request.head.method.as_str()) {
            return app::method_not_allowed(allow);
        }
        match route {
            Route::Hello => app::text(StatusCode::OK, HELLO),
            Route::Sleep(text) => work(text, "slept", thread::sleep),
            Route::Spin(text) => work(text, "spun", spin),
            Route::Bytes(text) => bytes(text),
            Route::Echo => app::echo::echo(request),
            Route::WhoAmI => who_am_i(request.origin),
            Route::Client => client(&request),
            // Only OPTIONS may ask about the server as a whole, and it has been answered.
            Route::Server => app::method_not_allowed(allow),
        }
    }
}

/// What a path asks for, with the rest of the path where it carries an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'path> {
    Hello,
    Sleep(&'path str),
    Spin(&'path str),
    Bytes(&'path str),
    Echo,
    WhoAmI,
    Client,
    Server,
}

impl<'path> Route<'path> {
    fn of(path: &'path str) -> Option<Route<'path>> {
        match path {
            "/" => Some(Route::Hello),
            "/echo" => Some(Route::Echo),
            "/whoami" => Some(Route::WhoAmI),
            "/client" => Some(Route::Client),
            "*" => Some(Route::Server),
            _ => {
                let (name, argument) = path.strip_prefix('/')?.split_once('/')?;
                match name {
                    "sleep" => Some(Route::Sleep(argument)),
                    "spin" => Some(Route::Spin(argument)),
                    "bytes" => Some(Route::Bytes(argument)),
                    _ => None,
                }
            }
        }
    }

    fn allow(self) -> &'static str {
        match self {
            Route::Echo | Route::Server => READS_AND_WRITES,
            Route::Hello
            | Route::Sleep(_)
            | Route::Spin(_)
            | Route::Bytes(_)
            | Route::WhoAmI
            | Route::Client => READS,
        }
    }
}

fn not_found() -> Response {
    const TARGETS: &str = "Not found. There are: / /sleep/MS /spin/MS /bytes/N /echo /whoami \
                           /client\n";
    app::text(StatusCode::NOT_FOUND, TARGETS)
}

/// Works for the time that `text` asks for, and says for how long.
fn work(text: &str, did: &str, work_for: impl FnOnce(Duration)) -> Response {
    match Amount::parse(text) {
        Ok(amount) => {
            let duration = amount.draw(fastrand::f64());
            work_for(duration);
            let milliseconds = duration.as_secs_f64() * 1000.0;
            app::text(StatusCode::OK, format!("{did} {milliseconds:.3} ms\n"))
        }
        Err(error) => app::text(StatusCode::BAD_REQUEST, format!("{text:?}: {error}\n")),
    }
}

/// Burns CPU time of this thread: under load a spin of 5 ms takes longer than 5 ms by the clock,
/// as real work does, so that a worker's capacity does not grow with the number of its threads.
fn spin(duration: Duration) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let end = now() + duration;
    while now() < end {
        // The clock is a system call; a few rounds between two looks keep the time in user space.
        for _ in 0..100 {
            std::hint::spin_loop();
        }
    }
}

fn bytes(text: &str) -> Response {
    const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(length) = text.parse::<u64>().ok().filter(|_| is_digits) else {
        let body = format!("{text:?}: expected a number of bytes, at most {}\n", u64::MAX);
        return app::text(StatusCode::BAD_REQUEST, body);
    };
    let body = Body::Stream { length: Some(length), source: Box::new(Filler { left: length }) };
    response::with(Response::new(body), CONTENT_TYPE, OCTETS)
}

fn client(request: &Request) -> Response {
    let (address, port) = match request.origin.client {
        PeerAddress::Inet(client) => (format!("\"{}\"", client.ip()), client.port().to_string()),
        PeerAddress::Local => ("null".to_owned(), "null".to_owned()),
    };
    let is_secure = request.origin.is_secure;
    let id = request.head.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let id = serde_json::to_string(&id).unwrap_or_default();
    let body = format!(
        "{{\"address\":{address},\"port\":{port},\"secure\":{is_secure},\"request_id\":{id}}}\n"
    );
    app::json(StatusCode::OK, body)
}

fn who_am_i(origin: Origin) -> Response {
    let worker = origin.worker;
    let body = format!(
        "{{\"slot\":{},\"generation\":{},\"pid\":{}}}\n",
        worker.slot,
        worker.generation,
        process::id()
    );
    app::json(StatusCode::OK, body)
}

/// Lines of 64 characters, the same in every process: a client can check what it got.
static BLOCK: [u8; STREAM_PIECE_SIZE] = block();

const fn block() -> [u8; STREAM_PIECE_SIZE] {
    const LINE: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n";
    let mut block = [0; STREAM_PIECE_SIZE];
    let mut index = 0;
    while index < block.len() {
        block[index] = LINE[index % LINE.len()];
        index += 1;
    }
    block
}

/// Pieces of [`BLOCK`], none of them copied.
struct Filler {
    left: u64,
}

impl Iterator for Filler {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(BLOCK.len());
        self.left -= length as u64;
        (length > 0).then(|| Ok(Bytes::from_static(&BLOCK[..length])))
    }
}

#[cfg(test)]
mod tests {
    use http::header::ALLOW;

    use super::*;
    use crate::app::testing::{body_bytes, body_text, get, request, with_body, with_field};

    fn answer(target: &str) -> (StatusCode, String) {
        let response = Demo.handle(get(target));
        (response.status(), body_text(response))
    }

    #[test]
    fn every_target_answers() {
        assert_eq!(answer("/"), (StatusCode::OK, HELLO.to_owned()));
        assert_eq!(answer("/?query"), (StatusCode::OK, HELLO.to_owned()));
        assert_eq!(answer("/sleep/0.5"), (StatusCode::OK, "slept 0.500 ms\n".to_owned()));
        assert_eq!(answer("/spin/0.5"), (StatusCode::OK, "spun 0.500 ms\n".to_owned()));
        assert_eq!(answer("/spin/exp:0.01").0, StatusCode::OK);
        let who = format!("{{\"slot\":3,\"generation\":7,\"pid\":{}}}\n", process::id());
        assert_eq!(answer("/whoami"), (StatusCode::OK, who));
        let asked = with_field(get("/client"), "x-request-id", "a\"b");
        let client =
            "{\"address\":null,\"port\":null,\"secure\":false,\"request_id\":\"a\\\"b\"}\n";
        assert_eq!(body_text(Demo.handle(asked)), client);
    }

    #[test]
    fn bytes_are_streamed_at_their_length() {
        for length in [0, 1, 64, 65_535, 65_536, 65_537, 200_000] {
            let response = Demo.handle(get(&format!("/bytes/{length}")));
            assert_eq!(response.body().length(), Some(length as u64));
            let bytes = body_bytes(response);
            assert_eq!(bytes.len(), length);
            assert!(bytes.chunks(64).all(|line| BLOCK.starts_with(line)));
        }
        let endless = Demo.handle(get("/bytes/18446744073709551615"));
        assert_eq!(endless.body().length(), Some(u64::MAX));
    }

    #[test]
    fn what_is_no_number_is_told_what_is() {
        for target in ["/bytes/", "/bytes/-1", "/bytes/+1", "/bytes/1e3", "/bytes/%31"] {
            let (status, text) = answer(target);
            assert_eq!(status, StatusCode::BAD_REQUEST, "{target}");
            assert!(text.contains("expected a number of bytes"), "{text}");
        }
        assert_eq!(answer("/bytes/18446744073709551616").0, StatusCode::BAD_REQUEST);
        for target in ["/sleep/", "/sleep/x", "/spin/-1", "/spin/exp:", "/sleep/1/2"] {
            let (status, text) = answer(target);
            assert_eq!(status, StatusCode::BAD_REQUEST, "{target}");
            assert!(text.contains("expected milliseconds"), "{text}");
        }
        assert_eq!(
            answer("/sleep/60001"),
            (StatusCode::BAD_REQUEST, "\"60001\": at most 60000 ms\n".to_owned())
        );
    }

    #[test]
    fn other_paths_are_not_found() {
        for target in ["/favicon.ico", "/sleep", "/echo/", "/whoami/x", "//", "/x/1"] {
            assert_eq!(answer(target).0, StatusCode::NOT_FOUND, "{target}");
        }
    }

    #[test]
    fn other_methods_are_refused_with_those_allowed() {
        for target in ["/", "/sleep/1", "/spin/1", "/bytes/1", "/whoami", "/client"] {
            let response = Demo.handle(request(Method::POST, target));
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{target}");
            assert_eq!(response.headers()[ALLOW], READS);
            let response = Demo.handle(request(Method::OPTIONS, target));
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            assert_eq!(response.headers()[ALLOW], READS);
        }
        let response = Demo.handle(request(Method::from_bytes(b"GE").unwrap(), "/"));
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        let response = Demo.handle(request(Method::OPTIONS, "*"));
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }

    #[test]
    fn echo_takes_bodies() {
        let sent = with_body(request(Method::PUT, "/echo"), b"body");
        let response = Demo.handle(with_field(sent, "content-type", "text/plain"));
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(body_text(response), "body");
        let traced = Demo.handle(request(Method::TRACE, "/echo"));
        assert_eq!(traced.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_spin_costs_this_thread_its_time() {
        let clock = || clock_gettime(ClockId::ThreadCPUTime);
        let before = clock();
        spin(Duration::from_millis(3));
        let after = clock();
        let spun_ns =
            (after.tv_sec - before.tv_sec) * 1_000_000_000 + (after.tv_nsec - before.tv_nsec);
        assert!((3_000_000..30_000_000).contains(&spun_ns), "{spun_ns} ns");
    }
}
