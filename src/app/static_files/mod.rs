//! `static:DIR`: the regular files beneath a directory.
//!
//! ```text
//! target → path → root (openat2) → validators → conditional → range → response
//!                   └ a directory: index.html, else listing, else 404
//! ```
//!
//! GET and HEAD, conditional requests, one range, no compression. A file's bytes go out by
//! sendfile(2) ([`Body::File`]); a file that is cut short while it is sent ends its connection.
//!
//! Not here: sending (`worker`), dropping the body of an answer to HEAD (`http`).

mod conditional;
mod listing;
mod path;
mod range;
mod root;
mod validators;

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::path::Path;
use std::time::SystemTime;

use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    LAST_MODIFIED, LOCATION,
};
use http::{HeaderValue, Method, StatusCode};

use self::conditional::Decision;
use self::path::CleanPath;
use self::range::Selection;
use self::root::{Found, Miss, Root};
use self::validators::Validators;
use crate::app::{self, Body, Handler, Request, Response, response};

pub use root::RootError;

const ALLOW: &str = "GET, HEAD, OPTIONS";
const INDEX: &str = "index.html";

/// Serves the files beneath a directory.
#[derive(Debug)]
pub struct StaticFiles {
    root: Root,
    is_browsable: bool,
}

impl StaticFiles {
    /// Opens the directory `root`; with `browse`, a directory without index.html is listed.
    ///
    /// # Errors
    ///
    /// [`RootError`], which names the directory: it is missing, no directory, not readable, or
    /// the system has no openat2(2).
    pub fn open(root: &Path, browse: bool) -> Result<StaticFiles, RootError> {
        Ok(StaticFiles { root: Root::open(root)?, is_browsable: browse })
    }
}

impl Handler for StaticFiles {
    fn handle(&self, request: Request) -> Response {
        match request.head.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return app::options(ALLOW),
            _ => return app::method_not_allowed(ALLOW),
        }
        let path = match CleanPath::parse(request.path()) {
            Ok(path) => path,
            Err(error) => return refusal(error.status()),
        };
        match self.answer(&request, &path) {
            Ok(response) => response,
            Err(miss) => {
                if let Miss::Failed(error) = &miss {
                    tracing::error!(path = %path.to_open().display(), %error, "opening a file");
                }
                refusal(miss.status())
            }
        }
    }
}

impl StaticFiles {
    fn answer(&self, request: &Request, path: &CleanPath) -> Result<Response, Miss> {
        if path.is_directory() {
            return self.answer_directory(request, path);
        }
        match self.root.find(path)? {
            Found::File(file, metadata) => Ok(answer_file(request, path, file, &metadata)),
            Found::Directory => Ok(redirect_to_directory(request, path)),
        }
    }

    fn answer_directory(&self, request: &Request, path: &CleanPath) -> Result<Response, Miss> {
        let index = path.child(OsStr::new(INDEX));
        match self.root.find(&index) {
            Ok(Found::File(file, metadata)) => {
                return Ok(answer_file(request, &index, file, &metadata));
            }
            Ok(Found::Directory) | Err(Miss::NotFound) => {}
            Err(miss) => return Err(miss),
        }
        if !self.is_browsable {
            return Err(Miss::NotFound);
        }
        let page = listing::page(path, self.root.list(path)?);
        // Names come from whoever can write here; should escaping ever fail, nothing runs.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
        let response = app::html(StatusCode::OK, page);
        Ok(response::with(response, CONTENT_SECURITY_POLICY, policy))
    }
}

fn answer_file(request: &Request, path: &CleanPath, file: File, metadata: &Metadata) -> Response {
    let fields = &request.head.headers;
    let validators = Validators::of(metadata, SystemTime::now());
    let size = metadata.len();
    let mut response = match conditional::decide(fields, &validators) {
        Decision::Proceed => {
            let selection = if request.head.method == Method::GET
                && conditional::range_counts(fields, &validators)
            {
                Selection::of(fields, size)
            } else {
                Selection::Whole
            };
            answer_selection(selection, file, size)
        }
        Decision::NotModified => app::empty(StatusCode::NOT_MODIFIED),
        Decision::Failed => return refusal(StatusCode::PRECONDITION_FAILED),
    };
    set(&mut response, ETAG, &validators.etag.to_field());
    if let Some(date) = validators.last_modified {
        set(&mut response, LAST_MODIFIED, &httpdate::fmt_http_date(date));
    }
    if matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        set(&mut response, CONTENT_TYPE, &content_type(path.to_open()));
        set(&mut response, ACCEPT_RANGES, "bytes");
    }
    response
}

fn answer_selection(selection: Selection, file: File, size: u64) -> Response {
    match selection {
        Selection::Whole if size == 0 => app::empty(StatusCode::OK),
        Selection::Whole => Response::new(Body::File { file, offset: 0, length: size }),
        Selection::Part { first, length } => {
            let mut response = Response::new(Body::File { file, offset: first, length });
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let last = first + length - 1;
            set(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            response
        }
        Selection::Unsatisfiable => {
            let mut response = refusal(StatusCode::RANGE_NOT_SATISFIABLE);
            set(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
            response
        }
    }
}

/// 301 to the same directory with its slash, so that relative links in its pages lead beneath it.
fn redirect_to_directory(request: &Request, path: &CleanPath) -> Response {
    let mut location = path.directory_target();
    if let Some(query) = request.query() {
        location.push('?');
        location.push_str(query);
    }
    let mut response = refusal(StatusCode::MOVED_PERMANENTLY);
    set(&mut response, LOCATION, &location);
    response
}

/// The type of a file by its name. Text is announced as UTF-8: without a charset, browsers guess.
fn content_type(path: &Path) -> String {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    if mime.type_() == "text" && mime.get_param("charset").is_none() {
        return format!("{mime}; charset=utf-8");
    }
    mime.to_string()
}

/// A status with its own name as its text.
fn refusal(status: StatusCode) -> Response {
    app::text(status, format!("{}\n", status.canonical_reason().unwrap_or("Refused")))
}

/// Sets a field that is made here of digits, hexadecimal digits, encoded names, or of a query that
/// the head parser has checked: visible ASCII in each case.
fn set(response: &mut Response, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(response.headers_mut().insert(name, value)),
        Err(error) => tracing::error!(field = %name, %error, "a field that cannot be sent"),
    }
}

#[cfg(test)]
mod tests;
