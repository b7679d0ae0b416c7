//! The page at the admin address.
//!
//! Not here: the numbers on it (`GET /status`).

use crate::app::{Response, StatusCode, html};

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>maitred</title>\
    <h1>maitred</h1><p><a href=\"/status\">/status</a> <a href=\"/metrics\">/metrics</a>";

/// What stands at a path of the page: itself, or a file that it needs.
pub fn find(path: &str) -> Option<Response> {
    (path == "/").then(|| html(StatusCode::OK, PAGE))
}
