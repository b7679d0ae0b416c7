//! What a client gets: every endpoint of the demonstration, HTTP's finer points over a real socket,
//! files, and every kind of listener.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use common::client::Client;
use common::{DEADLINE, Server, eventually};

/// Every endpoint, over one connection.
fn every_endpoint_answers(arguments: &[&str]) {
    let server = Server::start(arguments);
    let mut client = Client::connect(server.address());

    let hello = client.get("/");
    assert_eq!((hello.status, hello.text().as_str()), (200, "Hello from maitred\n"));
    assert_eq!(hello.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(hello.header("content-length"), Some("19"));
    assert!(hello.header("date").is_some_and(|date| date.ends_with(" GMT")), "{hello:?}");

    assert_eq!(client.get("/sleep/1.5").text(), "slept 1.500 ms\n");
    assert_eq!(client.get("/spin/0.5").text(), "spun 0.500 ms\n");
    assert_eq!(client.get("/sleep/exp:0.1").status, 200);
    let who = client.get("/whoami");
    assert!(server.worker_pids().contains(&who.number("pid")), "{}", who.text());
    assert!(who.number("generation") >= 1);

    for length in [0, 1, 65_536, 3_000_000] {
        let answer = client.get(&format!("/bytes/{length}"));
        assert_eq!(answer.header("content-length"), Some(length.to_string().as_str()));
        assert_eq!(answer.body.len(), length);
    }
    let sent = vec![b'x'; 300_000];
    let echoed = client.request("POST", "/echo", &[("Content-Type", "text/csv")], &sent);
    assert_eq!(echoed.header("content-type"), Some("text/csv"));
    assert_eq!(echoed.body, sent);

    assert_eq!(client.get("/nothing").status, 404);
    assert_eq!(client.get("/bytes/x").status, 400);
    let refused = client.request("DELETE", "/", &[], b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn every_endpoint_answers_with_one_handler_thread() {
    every_endpoint_answers(&["serve", "-w", "2"]);
}

#[test]
fn every_endpoint_answers_on_the_loop() {
    every_endpoint_answers(&["serve", "-w", "2", "--threads", "0"]);
}

#[test]
fn every_endpoint_answers_with_four_handler_threads() {
    every_endpoint_answers(&["serve", "-w", "1", "--threads", "4"]);
}

#[test]
fn an_answer_to_head_has_the_length_and_no_body() {
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    for (path, length) in [("/", "19"), ("/bytes/18446744073709551615", "18446744073709551615")] {
        let answer = client.request("HEAD", path, &[], b"");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some(length)));
    }
    assert_eq!(client.get("/").text(), "Hello from maitred\n");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for threads in ["0", "4"] {
        let server = Server::start(&["serve", "-w", "2", "--threads", threads]);
        let mut client = Client::connect(server.address());
        // The first is the slowest: an answer that overtook it would be seen.
        let mut requests = String::from("GET /sleep/30 HTTP/1.1\r\nHost: test\r\n\r\n");
        for length in 1..=50 {
            requests.push_str(&format!("GET /bytes/{length} HTTP/1.1\r\nHost: test\r\n\r\n"));
        }
        client.send(requests.as_bytes());
        assert_eq!(client.answer(false).text(), "slept 30.000 ms\n");
        for length in 1..=50 {
            assert_eq!(client.answer(false).body.len(), length);
        }
    }
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    for byte in b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc" {
        client.send(&[*byte]);
    }
    assert_eq!(client.answer(false).text(), "abc");
}

#[test]
fn five_chunked_megabytes_come_back() {
    // On the loop a body must be whole before its handler is called, so the buffer bounds it.
    for (threads, buffer) in [("0", "8MiB"), ("1", "1MiB"), ("4", "64KiB")] {
        let server =
            Server::start(&["serve", "-w", "1", "--threads", threads, "--buffer-request", buffer]);
        let mut client = Client::connect(server.address());
        let chunks: Vec<Vec<u8>> = (0..80_u8).map(|number| vec![number; 64 * 1024]).collect();
        let answer = client.request_chunked("/echo", chunks.clone());
        assert_eq!(answer.status, 200);
        assert!(answer.body == chunks.concat(), "{} bytes came back", answer.body.len());
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn on_the_loop_a_body_is_refused_where_it_is_not_buffered() {
    let server = Server::start(&["serve", "-w", "1", "--threads", "0"]);
    let mut client = Client::connect(server.address());
    client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n");
    assert_eq!(client.answer(false).status, 413);
}

#[test]
fn a_body_is_sent_once_the_server_says_continue() {
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    client.send(
        b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.answer(false).status, 100);
    client.send(b"12345");
    assert_eq!(client.answer(false).text(), "12345");
}

#[test]
fn http_1_0_closes_and_close_closes() {
    let server = Server::start(&["serve", "-w", "1"]);
    for request in
        ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
    {
        let mut client = Client::connect(server.address());
        client.send(request.as_bytes());
        let answer = client.answer(false);
        assert_eq!(answer.text(), "Hello from maitred\n");
        assert_eq!(answer.header("connection"), Some("close"));
        client.expect_eof();
    }
}

#[test]
fn a_client_that_half_closes_still_gets_its_answer() {
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    client.send(b"GET /sleep/20 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.finish_sending();
    assert_eq!(client.answer(false).status, 200);
    client.expect_eof();
}

#[test]
fn what_is_no_request_is_refused_and_closed() {
    let server = Server::start(&["serve", "-w", "1"]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}", 400),
    ] {
        let mut client = Client::connect(server.address());
        client.send(request.as_bytes());
        // What a bad start leaves open (a length, a line) the client's end of sending settles.
        client.finish_sending();
        assert_eq!(client.answer(false).status, status, "{request:?}");
        client.expect_eof();
    }
    let mut client = Client::connect(server.address());
    client.send(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(5000)).as_bytes());
    assert_eq!(client.answer(false).status, 414);
    let mut client = Client::connect(server.address());
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(101)).as_bytes());
    assert_eq!(client.answer(false).status, 431);
}

#[test]
fn a_body_past_its_limit_is_refused() {
    let server = Server::start(&["serve", "-w", "1", "--limit-request-body", "1000"]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.request("POST", "/echo", &[], &[b'x'; 1000]).status, 200);
    client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.answer(false).status, 413);
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let server = Server::start(&["serve", "-w", "1", "--header-timeout", "300ms"]);
    let mut client = Client::connect(server.address());
    client.send(b"GET / HTTP/1.1\r\nHost: ");
    assert_eq!(client.answer(false).status, 408);
    client.expect_eof();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = Server::start(&["serve", "-w", "1", "--keep-alive", "300ms"]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/").status, 200);
    client.expect_eof();
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_others_up() {
    for threads in ["0", "1"] {
        let server = Server::start(&["serve", "-w", "1", "--threads", threads]);
        let mut silent = Client::connect(server.address());
        silent.send(b"GET /bytes/18446744073709551615 HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut client = Client::connect(server.address());
        for _ in 0..20 {
            assert_eq!(client.get("/").status, 200);
        }
    }
}

#[test]
fn each_answer_can_name_its_worker() {
    let server = Server::start(&["serve", "-w", "2", "--worker-header"]);
    for _ in 0..8 {
        let answer = Client::connect(server.address()).get("/whoami");
        let slot = answer.number("slot").to_string();
        assert_eq!(answer.header("x-maitred-worker"), Some(slot.as_str()));
    }
}

#[test]
fn the_echo_application_takes_any_method_and_target() {
    let server = Server::start(&["serve", "echo", "-w", "1"]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.request("BREW", "/pot?sugar=0", &[], b"coffee").text(), "coffee");
    assert_eq!(client.get("/none").status, 200);
}

#[test]
fn files_are_served_whole_in_part_or_not_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let content: Vec<u8> = (0..2_000_000_u32).map(|number| (number % 251) as u8).collect();
    fs::write(directory.path().join("large.bin"), &content).expect("it can be written");
    fs::write(directory.path().join("index.html"), "<p>index").expect("it can be written");
    fs::create_dir(directory.path().join("sub")).expect("it can be made");
    let application = format!("static:{}", directory.path().display());
    let server = Server::start(&["serve", &application, "-w", "1"]);
    let mut client = Client::connect(server.address());

    let index = client.get("/");
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(index.text(), "<p>index");
    let whole = client.get("/large.bin");
    assert!(whole.status == 200 && whole.body == content, "{} bytes", whole.body.len());

    let part = client.request("GET", "/large.bin", &[("Range", "bytes=1000000-1000099")], b"");
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), Some("bytes 1000000-1000099/2000000"));
    assert_eq!(part.body, content[1_000_000..1_000_100]);
    let past = client.request("GET", "/large.bin", &[("Range", "bytes=2000000-")], b"");
    assert_eq!((past.status, past.header("content-range")), (416, Some("bytes */2000000")));

    let head = client.request("HEAD", "/large.bin", &[], b"");
    assert_eq!(head.header("content-length"), Some("2000000"));
    let etag = head.header("etag").expect("files have tags").to_owned();
    let again = client.request("GET", "/large.bin", &[("If-None-Match", &etag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));

    let moved = client.get("/sub");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/sub/")));
    for path in ["/sub/", "/none", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(client.request("PUT", "/index.html", &[], b"new").status, 405);
}

#[test]
fn a_directory_is_listed_with_browse() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("<a>&b.txt"), "").expect("it can be written");
    let application = format!("static:{}", directory.path().display());
    let server = Server::start(&["serve", &application, "-w", "1", "--browse"]);
    let page = Client::connect(server.address()).get("/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("./%3Ca%3E%26b.txt\">&lt;a&gt;&amp;b.txt<"), "{}", page.text());
}

#[test]
fn a_unix_socket_serves_and_goes_with_its_server() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("door");
    let bind = format!("unix:{}", path.display());
    let mut server = Server::start(&["serve", "-w", "2", "-b", &bind]);
    let mode = fs::metadata(&path).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.get("/").text(), "Hello from maitred\n");
    assert_eq!(client.get("/bytes/100000").body.len(), 100_000);
    drop(client);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_exit(DEADLINE).success());
    assert!(!path.exists());
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("door");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket can be bound"));
    assert!(path.exists());
    let server = Server::start(&["serve", "-w", "1", "-b", &format!("unix:{}", path.display())]);
    assert_eq!(Client::connect_unix(&path).get("/").status, 200);
    drop(server);
}

#[test]
fn two_listeners_share_the_workers() {
    let server = Server::start(&["serve", "-w", "2", "-b", "127.0.0.1:0", "-b", "127.0.0.1:0"]);
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        assert_eq!(Client::connect(address).get("/").status, 200);
    }
}

#[test]
fn a_silent_connection_occupies_nobody() {
    let server = Server::start(&["serve", "-w", "1", "--header-timeout", "300ms"]);
    let mut speaking = Client::connect(server.address());
    assert_eq!(speaking.get("/").status, 200);
    let baseline = server.descriptors();
    let mut silent: Vec<_> = (0..20).map(|_| Client::connect(server.address())).collect();
    assert_eq!(speaking.get("/").status, 200);
    for client in &mut silent {
        client.finish_sending();
    }
    drop(silent);
    eventually(Duration::from_secs(10), "silent connections are given up", || {
        server.descriptors() <= baseline
    });
}
