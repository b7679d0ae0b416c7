//! Whole requests against a directory on disk.
//!
//! Not here: tables of ranges, preconditions and paths; they stand beside their code.

use std::fs::{self, FileTimes};
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{ALLOW, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use tempfile::TempDir;

use super::*;
use crate::app::testing::{body_bytes, body_text, get, request, with_field};

/// A second long gone, so that tags are strong.
const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

/// hello.txt, empty, page/index.html, plain/a.txt, .hidden/key, a link to plain, a link outside.
fn tree() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    };
    write("hello.txt", "0123456789");
    write("empty", "");
    write("page/index.html", "<p>index");
    write("plain/a.txt", "a");
    write("plain/b c.bin", "b");
    write(".hidden/key", "secret");
    symlink("plain", directory.path().join("link")).unwrap();
    symlink("/etc/passwd", directory.path().join("out")).unwrap();
    directory
}

fn serve(directory: &TempDir) -> StaticFiles {
    StaticFiles::open(directory.path(), false).unwrap()
}

fn status(files: &StaticFiles, target: &str) -> u16 {
    files.handle(get(target)).status().as_u16()
}

fn field(response: &Response, name: HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_file_is_sent_with_what_describes_it() {
    let directory = tree();
    let response = serve(&directory).handle(get("/hello.txt?ignored"));
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(field(&response, CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(field(&response, LAST_MODIFIED), MODIFIED);
    assert_eq!(field(&response, ACCEPT_RANGES), "bytes");
    assert!(field(&response, ETAG).starts_with('"'));
    assert!(matches!(response.body(), Body::File { offset: 0, length: 10, .. }));
    assert_eq!(body_text(response), "0123456789");
}

#[test]
fn types_follow_names() {
    for (name, expected) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.png", "image/png"),
        ("a.svg", "image/svg+xml"),
        ("a.wasm", "application/wasm"),
        ("README", "application/octet-stream"),
        ("a.unknown-kind", "application/octet-stream"),
    ] {
        assert_eq!(content_type(Path::new(name)), expected, "{name}");
    }
}

#[test]
fn an_empty_file_has_an_empty_body() {
    let directory = tree();
    let files = serve(&directory);
    let response = files.handle(with_field(get("/empty"), "range", "bytes=0-5"));
    assert_eq!(response.status(), StatusCode::OK);
    assert!(matches!(response.body(), Body::Empty));
}

#[test]
fn a_part_is_sent_as_a_part() {
    let directory = tree();
    let files = serve(&directory);
    let response = files.handle(with_field(get("/hello.txt"), "range", "bytes=2-4"));
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(field(&response, CONTENT_RANGE), "bytes 2-4/10");
    assert_eq!(body_text(response), "234");

    let response = files.handle(with_field(get("/hello.txt"), "range", "bytes=-3"));
    assert_eq!(field(&response, CONTENT_RANGE), "bytes 7-9/10");
    assert_eq!(body_text(response), "789");

    let response = files.handle(with_field(get("/hello.txt"), "range", "bytes=10-"));
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(field(&response, CONTENT_RANGE), "bytes */10");

    let several = with_field(get("/hello.txt"), "range", "bytes=0-1,3-4");
    assert_eq!(files.handle(several).status(), StatusCode::OK);
    let head = with_field(request(Method::HEAD, "/hello.txt"), "range", "bytes=2-4");
    let response = files.handle(head);
    assert_eq!((response.status(), response.body().length()), (StatusCode::OK, Some(10)));
}

#[test]
fn a_copy_that_is_current_is_not_sent_again() {
    let directory = tree();
    let files = serve(&directory);
    let etag = field(&files.handle(get("/hello.txt")), ETAG).to_owned();
    for (name, value) in [(IF_NONE_MATCH, etag.as_str()), (IF_MODIFIED_SINCE, MODIFIED)] {
        let mut conditional = get("/hello.txt");
        conditional.head.headers.insert(name, value.parse().unwrap());
        let response = files.handle(conditional);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(field(&response, ETAG), etag);
        assert_eq!(field(&response, CONTENT_TYPE), "");
        assert!(matches!(response.body(), Body::Empty));
    }
    let response = files.handle(with_field(get("/hello.txt"), "if-match", "\"other\""));
    assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
}

#[test]
fn a_download_is_resumed_only_from_the_same_version() {
    let directory = tree();
    let files = serve(&directory);
    let etag = field(&files.handle(get("/hello.txt")), ETAG).to_owned();
    for (value, expected) in [(etag.as_str(), 206), (MODIFIED, 206), ("\"other\"", 200)] {
        let mut resumed = get("/hello.txt");
        resumed.head.headers.insert(RANGE, HeaderValue::from_static("bytes=5-"));
        resumed.head.headers.insert(IF_RANGE, value.parse().unwrap());
        assert_eq!(files.handle(resumed).status().as_u16(), expected, "{value}");
    }
}

#[test]
fn another_file_at_the_same_path_has_another_tag() {
    let directory = tree();
    let files = serve(&directory);
    let etag = field(&files.handle(get("/hello.txt")), ETAG).to_owned();
    fs::write(directory.path().join("hello.txt"), "9876543210").unwrap();
    let response = files.handle(get("/hello.txt"));
    assert_ne!(field(&response, ETAG), etag);
    assert!(field(&response, ETAG).starts_with("W/"), "just written");
}

#[test]
fn a_directory_is_its_index() {
    let directory = tree();
    let files = serve(&directory);
    let response = files.handle(get("/page/"));
    assert_eq!(field(&response, CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(body_text(response), "<p>index");
    let response = files.handle(get("/page?a=b"));
    assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(field(&response, LOCATION), "/page/?a=b");
    assert_eq!(field(&files.handle(get("//page")), LOCATION), "/page/");
}

#[test]
fn a_directory_is_listed_only_where_asked() {
    let directory = tree();
    let files = serve(&directory);
    assert_eq!(status(&files, "/plain/"), 404);
    assert_eq!(status(&files, "/"), 404);

    let browsable = StaticFiles::open(directory.path(), true).unwrap();
    let response = browsable.handle(get("/"));
    assert_eq!(field(&response, CONTENT_TYPE), "text/html; charset=utf-8");
    assert!(field(&response, CONTENT_SECURITY_POLICY).contains("default-src 'none'"));
    let page = body_text(response);
    assert!(page.contains("./plain/") && page.contains("./link/"), "{page}");
    assert!(!page.contains("hidden") && !page.contains("out"), "{page}");
    assert!(body_text(browsable.handle(get("/link/"))).contains("./b%20c.bin"));
    assert_eq!(body_text(browsable.handle(get("/page/"))), "<p>index");
}

#[test]
fn what_is_not_there_or_hidden_is_not_found() {
    let directory = tree();
    let files = StaticFiles::open(directory.path(), true).unwrap();
    for target in [
        "/none",
        "/hello.txt/",
        "/hello.txt/x",
        "/.hidden/key",
        "/%2ehidden/key",
        "/..",
        "/plain/../hello.txt",
        "/out",
        "/plain%2Fa.txt",
        "/none/",
        "/page/index.html/",
    ] {
        assert_eq!(status(&files, target), 404, "{target}");
    }
    for target in ["/%", "/%zz", "/%00"] {
        assert_eq!(status(&files, target), 400, "{target}");
    }
}

#[test]
fn only_reading_is_allowed() {
    let directory = tree();
    let files = serve(&directory);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
        let response = files.handle(request(method, "/hello.txt"));
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD, OPTIONS");
    }
    let response = files.handle(request(Method::OPTIONS, "*"));
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(body_bytes(files.handle(request(Method::HEAD, "/hello.txt"))).len(), 10);
}
