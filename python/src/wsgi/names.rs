//! The keys of an environ: header fields as CGI variables, each made once.
//!
//! Not here: what stands behind the keys (`environ`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use maitred::app::HeaderName;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Names of fields that are kept as Python strings. Clients invent names; an application meets a
/// few dozen, and whoever comes later than that has its own made for each request.
const NAMES_MAX: usize = 256;

/// Bytes of the longest name that is kept.
const NAME_SIZE_MAX: usize = 64;

/// Names of fields and the Python strings that they become.
#[derive(Default)]
pub(super) struct Names {
    /// Never locked while Python code could run: whoever waited for it would hold the GIL.
    known: Mutex<HashMap<HeaderName, Py<PyString>>>,
}

impl Names {
    /// The key of a field; `None` for one that has no place in an environ.
    pub(super) fn key<'py>(
        &self,
        py: Python<'py>,
        name: &HeaderName,
    ) -> Option<Bound<'py, PyString>> {
        if let Some(key) = self.lock().get(name) {
            return Some(key.bind(py).clone());
        }
        let key = PyString::intern(py, &key_of(name.as_str())?);
        if name.as_str().len() <= NAME_SIZE_MAX {
            let mut known = self.lock();
            if known.len() < NAMES_MAX {
                known.insert(name.clone(), key.clone().unbind());
            }
        }
        Some(key)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HeaderName, Py<PyString>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `accept-language` is `HTTP_ACCEPT_LANGUAGE` (RFC 3875 section 4.1.18). A name with an underscore
/// has no key: it could not be told from its neighbour with a hyphen, and has been used to get past
/// proxies that look for that one.
fn key_of(name: &str) -> Option<String> {
    if name.contains('_') {
        return None;
    }
    let mut key = String::with_capacity("HTTP_".len() + name.len());
    key.push_str("HTTP_");
    key.extend(name.chars().map(|byte| match byte {
        '-' => '_',
        other => other.to_ascii_uppercase(),
    }));
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_becomes_a_variable() {
        assert_eq!(key_of("host").as_deref(), Some("HTTP_HOST"));
        assert_eq!(key_of("accept-language").as_deref(), Some("HTTP_ACCEPT_LANGUAGE"));
        assert_eq!(key_of("x-a.b").as_deref(), Some("HTTP_X_A.B"));
    }

    #[test]
    fn underscores_have_no_variable() {
        assert_eq!(key_of("x_forwarded_for"), None);
        assert_eq!(key_of("x-forwarded_for"), None);
    }
}
