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
