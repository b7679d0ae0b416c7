//! Logs as operators have them: files that are rotated, forms that strict readers take, requests that
//! are slow.
//!
//! Not here: what a line looks like (`src/observe/access/`), hostile bytes by the thousand
//! (`tests/fuzz/access_line.rs`).

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::tempdir;

use common::client::Client;
use common::{DEADLINE, Server, binary, eventually};

/// Requests of a fuzzed run, for each form.
const FUZZED: usize = 150;

fn start(flags: &[&str]) -> Server {
    // A worker that is not scheduled for a while is no stuck one.
    let usual = ["serve", "-w", "2", "--stall-after", "1s"];
    Server::start(&[&usual, flags].concat())
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_rotated_access_log_goes_on_in_a_new_file() {
    let folder = tempdir().unwrap();
    let (path, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let server = start(&[&format!("--access-log={}", path.display())]);
    for place in 0..10 {
        assert_eq!(Client::connect(server.address()).get(&format!("/?before={place}")).status, 200);
    }
    eventually(DEADLINE, "ten lines", || lines(&path).len() == 10);
    fs::rename(&path, &rotated).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually(DEADLINE, "both workers say so", || {
        server.stderr().matches("reopened log=access-log").count() == 2
    });
    for place in 0..10 {
        assert_eq!(Client::connect(server.address()).get(&format!("/?after={place}")).status, 200);
    }
    eventually(DEADLINE, "ten lines more", || lines(&path).len() == 10);
    assert!(lines(&rotated).iter().all(|line| line.contains("GET /?before=")));
    assert!(lines(&path).iter().all(|line| line.contains("GET /?after=")));

    // Somebody has made a folder of that name: what is open stays so.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually(DEADLINE, "both workers complain", || {
        server.stderr().matches("it goes on as it was: opening").count() == 2
    });
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn a_log_that_cannot_be_opened_is_told_before_any_worker_starts() {
    let flags = ["--access-log=/nowhere/access.log", "--log-to=/nowhere/log"];
    for (flag, what) in flags.into_iter().zip(["access log", "log"]) {
        for command in ["serve", "check"] {
            let output = Command::new(binary())
                .args([command, "-b", "127.0.0.1:0", flag])
                .env_remove("MAITRED_STATUS_FILE")
                .output()
                .unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            let expected = format!("maitred: opening the {what} /nowhere/");
            assert!(stderr.starts_with(&expected) && stderr.lines().count() == 1, "{stderr}");
        }
    }
}

#[test]
fn the_log_goes_to_a_file_and_is_rotated_too() {
    let folder = tempdir().unwrap();
    let (path, rotated) = (folder.path().join("log"), folder.path().join("log.1"));
    let to = path.to_str().unwrap();
    let mut server = start(&["--log-to", to, "--log-format", "json", "--log-level", "debug"]);
    eventually(DEADLINE, "master and workers have said something", || {
        let lines = lines(&path);
        ["\"master\":", "\"worker\":0,", "\"worker\":1,"]
            .into_iter()
            .all(|who| lines.iter().any(|line| line.contains(who)))
    });
    fs::rename(&path, &rotated).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually(DEADLINE, "master and workers say so in the new file", || {
        lines(&path).iter().filter(|line| line.contains("reopened")).count() == 3
    });
    server.signal(Signal::SIGINT);
    assert!(server.wait_exit(DEADLINE).success());
    for line in lines(&path).iter().chain(&lines(&rotated)) {
        let read: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(read["time"].is_string() && read["level"].is_string(), "{line}");
    }
    let ready = format!("listening on http://{}\n", server.address());
    assert_eq!(server.stderr(), ready, "nothing else is left for stderr");
}

#[test]
fn a_slow_request_is_named_without_its_query() {
    for threads in ["0", "1"] {
        let server = start(&["--slow-log", "100ms", "--threads", threads]);
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/sleep/150?secret=hidden").status, 200);
        eventually(DEADLINE, "a warning", || server.stderr_contains("a slow request"));
        assert_eq!(client.get("/").status, 200);
        let stderr = server.stderr();
        let line = stderr.lines().find(|line| line.contains("a slow request")).unwrap();
        assert!(line.contains(" WARN  a slow request method=GET path=/sleep/150 status=200 time="));
        assert!(!stderr.contains("hidden"), "{stderr}");
        let milliseconds = |name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=")).expect(line);
            rest.split("ms").next().and_then(|number| number.parse::<f64>().ok()).expect(line)
        };
        assert!(milliseconds("handler") >= 150.0, "{line}");
        let parts = ["receiving", "handler", "sending"].map(milliseconds);
        let whole = milliseconds("time");
        assert!((parts.iter().sum::<f64>() - whole).abs() < 0.01, "{line}");
    }
}

#[test]
fn a_response_that_is_cut_off_has_a_line_that_says_so() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("access.log");
    let size = 50_000_000;
    let server = start(&[&format!("--access-log={}", path.display())]);
    let mut client = TcpStream::connect(server.address()).unwrap();
    write!(client, "GET /bytes/{size} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    eventually(DEADLINE, "a line", || lines(&path).len() == 1);
    let line = lines(&path).remove(0);
    assert!(line.ends_with(" cut-off"), "{line}");
    let (_, rest) = line.split_once("\" 200 ").expect(&line);
    let sent: u64 = rest.split(' ').next().and_then(|sent| sent.parse().ok()).expect(&line);
    assert!(sent < size, "{line}");
}

/// What a fuzzer sends: mostly requests, with any bytes where clients may choose them.
fn hostile_request(random: &mut fastrand::Rng) -> Vec<u8> {
    let bytes = |random: &mut fastrand::Rng| -> Vec<u8> {
        (0..random.usize(..40)).map(|_| random.u8(..)).collect()
    };
    // Of any bytes, those that a field may have (RFC 9110 section 5.5).
    let value = |random: &mut fastrand::Rng| -> Vec<u8> {
        bytes(random).into_iter().filter(|byte| *byte >= b' ' && *byte != 0x7f).collect()
    };
    let visible = |random: &mut fastrand::Rng| -> Vec<u8> {
        bytes(random)
            .into_iter()
            .filter(u8::is_ascii_graphic)
            .filter(|byte| *byte != b'#')
            .collect()
    };
    let mut request = b"GET /".to_vec();
    request.extend(visible(random));
    request.extend(b" HTTP/1.1\r\nHost: test\r\nUser-Agent: ");
    request.extend(value(random));
    request.extend(b"\r\nReferer: ");
    request.extend(value(random));
    request.extend(b"\r\nAuthorization: Basic ");
    request.extend(visible(random));
    request.extend(b"\r\n\r\n");
    // One in four is broken somewhere.
    if random.u8(..4) == 0 {
        let at = random.usize(..request.len());
        request[at] = random.u8(..);
    }
    request
}

/// Sends bytes and the end, and counts the answers.
fn answers_to(server: &Server, request: &[u8]) -> usize {
    let mut client = TcpStream::connect(server.address()).expect("the server accepts");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
    client.write_all(request).expect("the server reads");
    client.shutdown(Shutdown::Write).expect("the connection is open");
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).expect("an orderly end");
    // No answer of this application has these words in its body.
    answers.windows(9).filter(|window| window == b"HTTP/1.1 ").count()
}

#[test]
fn every_line_of_a_fuzzed_run_parses_in_every_form() {
    let object = r#"{"r": "%(r)s", "a": "%(a)s", "u": "%(u)s", "D": %(D)s, "s": %(s)s}"#;
    let forms = [("maitred", 6), ("combined", 6), ("common", 2), ("json", 0), (object, 0)];
    for (form, quotes) in forms {
        let folder = tempdir().unwrap();
        let path = folder.path().join("access.log");
        let access = format!("--access-log={}", path.display());
        let mut server = start(&[&access, "--access-log-format", form]);
        let mut random = fastrand::Rng::with_seed(7);
        let answered: usize =
            (0..FUZZED).map(|_| answers_to(&server, &hostile_request(&mut random))).sum();
        assert!(answered > FUZZED / 2, "{answered}");
        server.signal(Signal::SIGINT);
        assert!(server.wait_exit(DEADLINE).success());
        assert!(!server.stderr_contains("lines of the access log are lost"));
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8(bytes).expect("UTF-8 whatever came");
        assert!(text.ends_with('\n'));
        assert_eq!(text.lines().count(), answered, "{form}: a line an answer");
        for line in text.lines() {
            match quotes {
                0 => drop(serde_json::from_str::<serde_json::Value>(line).expect(line)),
                quotes => check_line(line, quotes),
            }
        }
    }
}

/// A strict reader of the common log format and of quoted fields behind it.
fn check_line(line: &str, quotes: usize) {
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
    let (client, rest) = line.split_once(" - ").expect(line);
    assert!(client.parse::<std::net::IpAddr>().is_ok(), "{line}");
    let (user, rest) = rest.split_once(" [").expect(line);
    assert!(!user.is_empty() && !user.contains([' ', '"']), "{line}");
    let (time, rest) = rest.split_once("] ").expect(line);
    assert_eq!(time.len(), "24/Nov/2026:08:52:10 +0000".len(), "{line}");
    let (request, rest) = quoted(rest, line);
    assert!(request == "-" || request.split(' ').count() == 3, "{line}");
    let mut numbers = rest.trim_start().splitn(3, ' ');
    let status: u16 = numbers.next().and_then(|text| text.parse().ok()).expect(line);
    assert!((100..600).contains(&status), "{line}");
    assert!(numbers.next().is_some_and(|text| text.parse::<u64>().is_ok()), "{line}");
    let mut rest = numbers.next().unwrap_or_default();
    for _ in 0..quotes / 2 - 1 {
        (_, rest) = quoted(rest.trim_start(), line);
    }
    assert!(!rest.contains('"'), "{line}");
}

/// What stands in quotes, as it stands, and what follows.
fn quoted<'a>(text: &'a str, line: &str) -> (&'a str, &'a str) {
    let inside = text.strip_prefix('"').expect(line);
    let mut escaped = false;
    let end = inside.find(|one: char| {
        let ends = one == '"' && !escaped;
        escaped = one == '\\' && !escaped;
        ends
    });
    let end = end.expect(line);
    (&inside[..end], &inside[end + 1..])
}

#[test]
fn a_reader_of_the_access_log_that_has_stopped_costs_lines_and_no_requests() {
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = ["serve", "-w", "1", "--stall-after", "1s", "--log-to", "stderr", "--access-log"];
    let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
    // Its stderr goes to the same pipe: nobody reads either.
    let mut server = Server::start_silent(&flags, common::Output::To(writer.into()));
    let mut client = Client::connect(server.address());
    let long = "x".repeat(3000);
    let answered = (0..1500)
        .filter(|_| client.request("GET", "/", &[("User-Agent", &long)], b"").status == 200)
        .count();
    assert_eq!(answered, 1500);
    drop(client);
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut reader = reader;
        reader.read_to_end(&mut all).map(|_| all)
    });
    server.signal(Signal::SIGINT);
    assert!(server.wait_exit(DEADLINE + Duration::from_secs(10)).success());
    drop(server);
    let all = String::from_utf8(read.join().unwrap().unwrap()).unwrap();
    let written = all.lines().filter(|line| line.contains("\"GET / HTTP/1.1\" 200 ")).count();
    let (_, dropped) = all.split_once("the access log is not complete dropped=").expect(&all);
    let dropped: usize = dropped.split(' ').next().and_then(|text| text.parse().ok()).unwrap();
    assert_eq!(written + dropped, 1500);
    assert!(dropped > 0);
}
