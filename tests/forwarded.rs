//! Who the client is, where a believed proxy says so in a request's fields; and what a request is
//! called.

#![cfg(feature = "cli")]

mod common;

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use nix::sys::signal::Signal;

use common::client::Client;
use common::{DEADLINE, Output, Server};

const FIELDS: &str = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n";

#[track_caller]
fn told(server: &Server, fields: &str) -> String {
    let mut client = Client::connect(server.address());
    client.try_get("/client", fields).expect("an answer").text()
}

#[test]
fn a_believed_proxy_names_the_client_and_nobody_else_does() {
    let believing = Server::start(&["serve", "-w", "1"]);
    let text = told(&believing, FIELDS);
    assert!(text.starts_with("{\"address\":\"192.0.2.7\",\"port\":0,\"secure\":true"), "{text}");
    // One request's fields are not the next one's.
    let mut client = Client::connect(believing.address());
    client.try_get("/client", FIELDS).expect("an answer");
    let text = client.get("/client").text();
    assert!(text.starts_with("{\"address\":\"127.0.0.1\","), "{text}");
    assert!(text.contains("\"secure\":false"), "{text}");
    for more in [&["--forwarded-allow-ips", "10.0.0.0/8"][..], &["--no-proxy-headers"]] {
        let server = Server::start(&[&["serve", "-w", "1"], more].concat());
        let text = told(&server, FIELDS);
        assert!(text.starts_with("{\"address\":\"127.0.0.1\","), "{text}");
        assert!(text.contains("\"secure\":false"), "{text}");
    }
}

#[test]
fn the_standards_field_is_read_where_it_is_the_proxys() {
    let server = Server::start(&["serve", "-w", "1", "--forwarded-fields", "forwarded"]);
    let field = "Forwarded: for=\"[2001:db8::7]:99\";proto=https\r\nX-Forwarded-For: 6.6.6.6\r\n";
    let text = told(&server, field);
    assert!(text.starts_with("{\"address\":\"2001:db8::7\",\"port\":0,\"secure\":true"), "{text}");
}

#[test]
fn a_proxy_header_says_who_the_proxy_is_and_its_fields_who_the_client_is() {
    // A balancer of TCP in front of a proxy of HTTP: the first names the second, which is believed.
    let arguments = ["serve", "-w", "1", "--proxy-protocol", "--forwarded-allow-ips"];
    let server = Server::start(&[&arguments[..], &["10.0.0.0/8"]].concat());
    for (proxy, client) in [("10.0.0.5", "192.0.2.7"), ("11.0.0.5", "11.0.0.5")] {
        let mut connection = Client::connect(server.address());
        connection.send(format!("PROXY TCP4 {proxy} 198.51.100.1 4711 80\r\n").as_bytes());
        let text = connection.try_get("/client", FIELDS).expect("an answer").text();
        assert!(text.starts_with(&format!("{{\"address\":\"{client}\",")), "{proxy}: {text}");
    }
}

#[test]
fn a_request_has_one_id_everywhere() {
    let server = Server::start(&["serve", "-w", "1", "--request-id"]);
    let mut client = Client::connect(server.address());
    let given = client.try_get("/client", "X-Request-ID: abc-1\r\n").expect("an answer");
    assert_eq!(given.header("x-request-id"), Some("abc-1"));
    assert!(given.text().contains("\"request_id\":\"abc-1\""), "{}", given.text());
    // What is none is replaced, for the application too; and each request has its own.
    let mut seen = std::collections::BTreeSet::new();
    for field in ["", "X-Request-ID: \r\n", "X-Request-ID: a b\r\n", "X-Request-ID: \"x\"\r\n"] {
        let answer = client.try_get("/client", field).expect("an answer");
        let id = answer.header("x-request-id").expect("it has one").to_owned();
        assert_eq!(id.len(), 36, "{id}");
        assert!(answer.text().contains(&format!("\"request_id\":\"{id}\"")), "{}", answer.text());
        assert!(seen.insert(id), "twice the same");
    }
    let twice = "X-Request-ID: one\r\nX-Request-ID: two\r\n";
    let answer = client.try_get("/client", twice).expect("an answer");
    assert_eq!(answer.header("x-request-id"), Some("one"));
    let stranger = ["serve", "-w", "1", "--request-id", "--forwarded-allow-ips", "10.0.0.0/8"];
    let server = Server::start(&stranger);
    let mut client = Client::connect(server.address());
    let answer = client.try_get("/client", "X-Request-ID: abc-1\r\n").expect("an answer");
    assert_ne!(answer.header("x-request-id"), Some("abc-1"), "anybody could forge it");
    // Without the flag nothing is touched.
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    let answer = client.try_get("/client", "X-Request-ID: abc-1\r\n").expect("an answer");
    assert_eq!(answer.header("x-request-id"), None);
    assert!(answer.text().contains("\"request_id\":\"abc-1\""), "{}", answer.text());
}

/// Bytes, the status that they are refused with, and the id that they give, where it is read.
const REFUSED: [(&[u8], u16, Option<&str>); 7] = [
    (b"GET / HTTP/1.1\r\nX-Request-ID: abc-1\r\n\r\n", 400, None),
    (b"\x16\x03\x01", 400, None),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: abc-1\r\n", 408, None),
    (b"GET / HTTP/9.1\r\nHost: a\r\n\r\n", 505, None),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n", 413, None),
    (
        b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-ID: abc-1\r\nContent-Length: 9\r\n\r\nx",
        408,
        Some("abc-1"),
    ),
    (
        b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-ID: abc-2\r\nTransfer-Encoding: chunked\r\n\
          \r\nmany\r\n",
        400,
        Some("abc-2"),
    ),
];

#[test]
fn what_the_server_answers_itself_has_an_id_too_and_the_access_log_the_same() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let arguments = ["serve", "-w", "1", "--access-log", "--request-id", "--header-timeout"];
    let more = ["300ms", "--body-timeout", "300ms", "--limit-request-body", "50"];
    let arguments: Vec<String> = arguments.iter().chain(&more).map(ToString::to_string).collect();
    let mut server = Server::start_silent(&arguments, Output::To(OwnedFd::from(writer)));
    let mut seen = Vec::new();
    for (bytes, status, given) in REFUSED {
        let mut client = Client::connect(server.address());
        // A request that is in order first: its id is its own.
        let before = client.try_get("/client", "X-Request-ID: before\r\n").expect("an answer");
        assert_eq!(before.header("x-request-id"), Some("before"));
        client.send(bytes);
        let answer = client.answer(false);
        assert_eq!(answer.status, status, "{}", bytes.escape_ascii());
        let id = answer.header("x-request-id").expect("it has one").to_owned();
        match given {
            Some(given) => assert_eq!(id, given),
            None => assert_eq!(id.len(), 36, "a new one: {id}"),
        }
        assert!(!seen.contains(&(status, id.clone())), "twice the same: {id}");
        seen.push((status, id));
    }
    server.signal(Signal::SIGTERM);
    server.wait_exit(DEADLINE);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    for (status, id) in seen {
        let (status, id) = (format!("\" {status} "), format!(" request=\"{id}\""));
        let lines = text.lines().filter(|line| line.contains(&id) && line.contains(&status));
        assert_eq!(lines.count(), 1, "{status}{id} in {text}");
    }

    // Without the flag there is none.
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    client.send(REFUSED[0].0);
    assert_eq!(client.answer(false).header("x-request-id"), None);
}

#[test]
fn the_access_log_has_the_client_and_the_id() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let arguments = ["serve", "-w", "1", "--access-log", "--request-id"].map(str::to_owned);
    let mut server = Server::start_silent(&arguments, Output::To(OwnedFd::from(writer)));
    let mut client = Client::connect(server.address());
    let fields = format!("{FIELDS}X-Request-ID: abc-1\r\n");
    assert_eq!(client.try_get("/client", &fields).expect("an answer").status, 200);
    drop(client);
    server.signal(Signal::SIGTERM);
    server.wait_exit(DEADLINE);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    let line = text.lines().find(|line| line.contains("GET /client")).expect("a line");
    assert!(line.contains("192.0.2.7 - - ["), "{line}");
    assert!(line.contains("request=\"abc-1\""), "{line}");
}
