//! The dashboard: a page that asks `/status` once a second and draws what it says.
//!
//! No build step, no framework, no request elsewhere. Script and style are files of the same origin,
//! not parts of the page: so the policy needs no hash and no exception (`script-src 'self'`), what is
//! served is what lies here, line for line, and a browser's tools name the lines. All addresses in
//! the page are relative: it works behind a proxy under any path that ends with a slash.
//!
//! ```
//! use maitred::admin::dashboard::{FILES, find};
//!
//! let page = find("/").expect("the page");
//! assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
//! assert!(FILES.iter().all(|file| find(file.path).is_some()));
//! assert!(find("/status").is_none());
//! ```
//!
//! Not here: who serves it (`admin`), what it draws (`observe::view`), the same in a terminal
//! (`top`).

use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

use crate::app::{Response, StatusCode, text};

/// Nothing but its own script, style and `/status`; the icon is in the page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// What is said with each of them.
const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    // After an upgrade of the server its page is the new one.
    (CACHE_CONTROL, "no-cache"),
];

/// One file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// As it is asked for: "/dashboard.js".
    pub path: &'static str,
    /// With its charset.
    pub content_type: &'static str,
    /// All of it.
    pub text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All of them, the page first.
pub const FILES: [File; 10] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        text: include_str!("dashboard.html"),
    },
    File {
        path: "/dashboard.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("dashboard.css"),
    },
    File { path: "/dashboard.js", content_type: SCRIPT, text: include_str!("dashboard.js") },
    File { path: "/elements.js", content_type: SCRIPT, text: include_str!("elements.js") },
    File { path: "/figures.js", content_type: SCRIPT, text: include_str!("figures.js") },
    File { path: "/model.js", content_type: SCRIPT, text: include_str!("model.js") },
    File { path: "/panels.js", content_type: SCRIPT, text: include_str!("panels.js") },
    File { path: "/plan.js", content_type: SCRIPT, text: include_str!("plan.js") },
    File { path: "/table.js", content_type: SCRIPT, text: include_str!("table.js") },
    File { path: "/words.js", content_type: SCRIPT, text: include_str!("words.js") },
];

/// What stands at a path of the page; none if that is none of its files.
pub fn find(path: &str) -> Option<Response> {
    let file = FILES.iter().find(|file| file.path == path)?;
    let mut response = text(StatusCode::OK, file.text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_page_names_is_one_of_its_files() {
        let is_file = |name: &str| FILES.iter().any(|file| file.path == format!("/{name}"));
        for file in FILES {
            for quoted in file.text.split('"').skip(1).step_by(2) {
                let name = quoted.strip_prefix("./").unwrap_or(quoted);
                if name.ends_with(".js") || name.ends_with(".css") {
                    assert!(is_file(name), "{} names {quoted}", file.path);
                }
            }
        }
    }

    #[test]
    fn no_file_asks_elsewhere_or_makes_markup_of_text() {
        for file in FILES {
            for wrong in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"]
            {
                assert!(!file.text.contains(wrong), "{}: {wrong}", file.path);
            }
            let without_names = file.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_names.contains("://"), "{} has an address", file.path);
        }
    }
}
