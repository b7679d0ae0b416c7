//! `environ`: a request as PEP 3333 has it.
//!
//! Most of it is the same for every request of a listener. That part is made once and copied, with
//! a place for whatever is always set, so that the copy rarely has to grow.
//!
//! Not here: names of fields (`names`), whom a proxy speaks for (`maitred::http::forwarded`), the
//! body (`input`).

use std::borrow::Cow;

use maitred::app::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRANSFER_ENCODING};
use maitred::app::{HeaderMap, HeaderName, HeaderValue, Method, Origin, RequestBody, Version};
use maitred::config::{Bind, PeerList, PythonApp, Settings};
use maitred::http::RequestHead;
use maitred::http::forwarded::{client_name, is_secure};
use maitred::ident::PeerAddress;
use percent_encoding::percent_decode_str;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::file_wrapper::FileWrapper;
use super::input::Input;
use super::names::Names;

/// Makes environs.
pub(super) struct Environs {
    /// One for each listener, in order.
    templates: Vec<Template>,
    keys: Keys,
    values: Values,
    names: Names,
    /// Whose X-Forwarded fields count; nobody's without `--proxy-headers`.
    believed: Option<PeerList>,
    /// `--root-path` without a slash at its end.
    root_path: String,
    /// What a request without a body reads from: one for all, since it is always at its end.
    no_body: Py<Input>,
}

struct Template {
    environ: Py<PyDict>,
    /// Where the server cannot know its own name, the client's Host says it.
    names_itself: bool,
}

/// Keys that are set for each request.
struct Keys {
    content_length: Py<PyString>,
    content_type: Py<PyString>,
    path_info: Py<PyString>,
    query_string: Py<PyString>,
    raw_uri: Py<PyString>,
    remote_addr: Py<PyString>,
    remote_port: Py<PyString>,
    request_method: Py<PyString>,
    request_uri: Py<PyString>,
    server_name: Py<PyString>,
    server_port: Py<PyString>,
    server_protocol: Py<PyString>,
    url_scheme: Py<PyString>,
    wsgi_input: Py<PyString>,
}

/// Values that most requests share.
struct Values {
    get: Py<PyString>,
    post: Py<PyString>,
    http_10: Py<PyString>,
    slash: Py<PyString>,
    https: Py<PyString>,
    no_port: Py<PyString>,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Environs {
    pub(super) fn new(py: Python<'_>, app: &PythonApp, settings: &Settings) -> PyResult<Environs> {
        let text = |text: &str| PyString::intern(py, text).unbind();
        let keys = Keys {
            content_length: text("CONTENT_LENGTH"),
            content_type: text("CONTENT_TYPE"),
            path_info: text("PATH_INFO"),
            query_string: text("QUERY_STRING"),
            raw_uri: text("RAW_URI"),
            remote_addr: text("REMOTE_ADDR"),
            remote_port: text("REMOTE_PORT"),
            request_method: text("REQUEST_METHOD"),
            request_uri: text("REQUEST_URI"),
            server_name: text("SERVER_NAME"),
            server_port: text("SERVER_PORT"),
            server_protocol: text("SERVER_PROTOCOL"),
            url_scheme: text("wsgi.url_scheme"),
            wsgi_input: text("wsgi.input"),
        };
        let values = Values {
            get: text("GET"),
            post: text("POST"),
            http_10: text("HTTP/1.0"),
            slash: text("/"),
            https: text("https"),
            no_port: text("0"),
        };
        let no_body = Py::new(py, Input::new(RequestBody::default()))?;
        let root_path = app.root_path.trim_end_matches('/').to_owned();
        let mut environs = Environs {
            templates: Vec::with_capacity(settings.binds.len()),
            keys,
            values,
            names: Names::default(),
            believed: app.proxy_headers.then(|| PeerList::parse(&app.forwarded_allow_ips)),
            root_path,
            no_body,
        };
        for bind in &settings.binds {
            let template = environs.template(py, bind, settings)?;
            environs.templates.push(template);
        }
        Ok(environs)
    }

    /// The environ of a request. The body, if there is one, comes as `wsgi.input`.
    pub(super) fn environ<'py>(
        &self,
        py: Python<'py>,
        head: &RequestHead,
        origin: &Origin,
        body: RequestBody,
    ) -> PyResult<(Bound<'py, PyDict>, Option<Bound<'py, Input>>)> {
        let listener = usize::from(origin.listener.0).min(self.templates.len().saturating_sub(1));
        let template = &self.templates[listener];
        let environ = template.environ.bind(py).copy()?;
        self.set_request_line(&environ, head)?;
        self.set_client(&environ, head, origin)?;
        let is_decoded = self.set_fields(&environ, head, &body)?;
        if !template.names_itself {
            self.set_server(&environ, &head.headers)?;
        }
        let input = match body {
            RequestBody::Complete(bytes) if bytes.is_empty() => None,
            body => {
                if let (true, RequestBody::Complete(bytes)) = (is_decoded, &body) {
                    let length = PyString::new(py, &bytes.len().to_string());
                    environ.set_item(&self.keys.content_length, length)?;
                }
                let input = Bound::new(py, Input::new(body))?;
                environ.set_item(&self.keys.wsgi_input, &input)?;
                Some(input)
            }
        };
        Ok((environ, input))
    }

    fn template(&self, py: Python<'_>, bind: &Bind, settings: &Settings) -> PyResult<Template> {
        let environ = PyDict::new(py);
        environ.set_item("wsgi.version", (1, 0))?;
        environ.set_item("wsgi.url_scheme", "http")?;
        environ.set_item("wsgi.input", &self.no_body)?;
        environ.set_item("wsgi.errors", py.import("sys")?.getattr("stderr")?)?;
        environ.set_item("wsgi.multithread", settings.threads > 1)?;
        environ.set_item("wsgi.multiprocess", settings.workers > 1)?;
        environ.set_item("wsgi.run_once", false)?;
        environ.set_item("wsgi.input_terminated", true)?;
        environ.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        environ.set_item("SERVER_SOFTWARE", concat!("maitred/", env!("CARGO_PKG_VERSION")))?;
        environ.set_item("SCRIPT_NAME", text(py, self.root_path.as_bytes()))?;
        for key in [
            &self.keys.request_method,
            &self.keys.path_info,
            &self.keys.query_string,
            &self.keys.request_uri,
            &self.keys.raw_uri,
            &self.keys.remote_addr,
            &self.keys.remote_port,
        ] {
            environ.set_item(key, "")?;
        }
        environ.set_item(&self.keys.server_protocol, "HTTP/1.1")?;
        // Which port a 0 has become is the master's to know, and a Unix socket has no name.
        let name = match bind {
            Bind::Tcp(address) if address.port() != 0 => Some((address.ip(), address.port())),
            Bind::Tcp(_) | Bind::Unix(_) | Bind::Inherited(_) => None,
        };
        let (address, port) = match name {
            Some((address, port)) => (address.to_canonical().to_string(), port.to_string()),
            None => ("localhost".to_owned(), "80".to_owned()),
        };
        environ.set_item(&self.keys.server_name, address)?;
        environ.set_item(&self.keys.server_port, port)?;
        Ok(Template { environ: environ.unbind(), names_itself: name.is_some() })
    }

    fn set_request_line(&self, environ: &Bound<'_, PyDict>, head: &RequestHead) -> PyResult<()> {
        let py = environ.py();
        match head.method {
            Method::GET => environ.set_item(&self.keys.request_method, &self.values.get)?,
            Method::POST => environ.set_item(&self.keys.request_method, &self.values.post)?,
            ref other => {
                environ.set_item(&self.keys.request_method, PyString::new(py, other.as_str()))?;
            }
        }
        if head.version == Version::HTTP_10 {
            environ.set_item(&self.keys.server_protocol, &self.values.http_10)?;
        }
        let target = head.target.as_str();
        if target == "/" && self.root_path.is_empty() {
            environ.set_item(&self.keys.path_info, &self.values.slash)?;
            environ.set_item(&self.keys.request_uri, &self.values.slash)?;
            return environ.set_item(&self.keys.raw_uri, &self.values.slash);
        }
        let uri = PyString::new(py, target);
        environ.set_item(&self.keys.request_uri, &uri)?;
        environ.set_item(&self.keys.raw_uri, &uri)?;
        let decoded: Cow<'_, [u8]> = percent_decode_str(head.target.path()).into();
        let path = below(&decoded, self.root_path.as_bytes());
        if path == target.as_bytes() {
            return environ.set_item(&self.keys.path_info, &uri);
        }
        environ.set_item(&self.keys.path_info, text(py, path))?;
        match head.target.query() {
            Some(query) => environ.set_item(&self.keys.query_string, PyString::new(py, query)),
            None => Ok(()),
        }
    }

    fn set_client(
        &self,
        environ: &Bound<'_, PyDict>,
        head: &RequestHead,
        origin: &Origin,
    ) -> PyResult<()> {
        let py = environ.py();
        let address = match origin.peer {
            PeerAddress::Inet(address) => Some(address),
            PeerAddress::Local => None,
        };
        if let Some(believed) = self.believed.as_ref().filter(|list| list.has(origin.peer)) {
            let proto = head.headers.get_all(X_FORWARDED_PROTO).iter().next_back();
            if proto.and_then(|field| is_secure(field.to_str().ok()?)) == Some(true) {
                environ.set_item(&self.keys.url_scheme, &self.values.https)?;
            }
            let fields = head.headers.get_all(X_FORWARDED_FOR);
            let fields = fields.iter().filter_map(|field| field.to_str().ok());
            if let Some(client) = client_name(believed, fields) {
                environ.set_item(&self.keys.remote_addr, PyString::new(py, client))?;
                // The proxy does not say it.
                return environ.set_item(&self.keys.remote_port, &self.values.no_port);
            }
        }
        match address {
            Some(address) => {
                let name = address.ip().to_canonical().to_string();
                environ.set_item(&self.keys.remote_addr, PyString::new(py, &name))?;
                let port = PyString::new(py, &address.port().to_string());
                environ.set_item(&self.keys.remote_port, port)
            }
            // REMOTE_ADDR has to be there (RFC 3875 section 4.1.8).
            None => environ.del_item(&self.keys.remote_port),
        }
    }

    /// The header fields. True if Transfer-Encoding was left out: the body is all here and decoded,
    /// so that its length can be told instead (RFC 3875 section 4.1.2).
    fn set_fields(
        &self,
        environ: &Bound<'_, PyDict>,
        head: &RequestHead,
        body: &RequestBody,
    ) -> PyResult<bool> {
        let py = environ.py();
        let fields = &head.headers;
        let mut is_decoded = false;
        let is_repeated = fields.len() != fields.keys_len();
        let mut previous: Option<&HeaderName> = None;
        for (name, value) in fields {
            // All values of a name come in a row.
            if is_repeated && previous.replace(name) == Some(name) {
                continue;
            }
            let key = match *name {
                CONTENT_TYPE => self.keys.content_type.bind(py).clone(),
                CONTENT_LENGTH => self.keys.content_length.bind(py).clone(),
                TRANSFER_ENCODING if matches!(body, RequestBody::Complete(_)) => {
                    is_decoded = true;
                    continue;
                }
                _ => match self.names.key(py, name) {
                    Some(key) => key,
                    None => continue,
                },
            };
            let value = match is_repeated {
                true => joined(fields, name),
                false => Cow::Borrowed(value.as_bytes()),
            };
            environ.set_item(key, text(py, &value))?;
        }
        Ok(is_decoded)
    }

    /// SERVER_NAME and SERVER_PORT as the client has them.
    fn set_server(&self, environ: &Bound<'_, PyDict>, fields: &HeaderMap) -> PyResult<()> {
        let Some(host) = fields.get(HOST).and_then(|host| host.to_str().ok()) else {
            return Ok(());
        };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
            Some(_) | None => (host, ""),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if !name.is_empty() {
            environ.set_item(&self.keys.server_name, name)?;
        }
        if port.is_empty() { Ok(()) } else { environ.set_item(&self.keys.server_port, port) }
    }
}

/// Bytes as WSGI's strings have them: a character each.
fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(ascii) if ascii.is_ascii() => PyString::new(py, ascii),
        Ok(_) | Err(_) => {
            PyString::new(py, &bytes.iter().map(|&byte| char::from(byte)).collect::<String>())
        }
    }
}

/// What is left of a path beneath the root. A proxy may have cut the root off already: then all of
/// it.
fn below<'a>(path: &'a [u8], root: &[u8]) -> &'a [u8] {
    match path.strip_prefix(root) {
        Some(rest) if rest.is_empty() || rest[0] == b'/' => rest,
        Some(_) | None => path,
    }
}

/// All values of a name, in order (RFC 9110 section 5.3; cookies, RFC 6265 section 5.4).
fn joined<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Cow<'a, [u8]> {
    let mut values = fields.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = values.next().unwrap_or_default();
    let between: &[u8] = if *name == COOKIE { b"; " } else { b"," };
    values.fold(Cow::Borrowed(first), |mut joined, value| {
        joined.to_mut().extend_from_slice(between);
        joined.to_mut().extend_from_slice(value);
        joined
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_its_root_or_all_there_is() {
        assert_eq!(below(b"/api/x", b"/api"), b"/x");
        assert_eq!(below(b"/api", b"/api"), b"");
        assert_eq!(below(b"/apix", b"/api"), b"/apix");
        assert_eq!(below(b"/x", b"/api"), b"/x");
        assert_eq!(below(b"/x", b""), b"/x");
    }

    #[test]
    fn repeated_fields_are_joined() {
        let mut fields = HeaderMap::new();
        for value in ["a=1", "b=2"] {
            fields.append(COOKIE, HeaderValue::from_static(value));
            fields.append(HOST, HeaderValue::from_static(value));
        }
        assert_eq!(joined(&fields, &COOKIE), &b"a=1; b=2"[..]);
        assert_eq!(joined(&fields, &HOST), &b"a=1,b=2"[..]);
    }
}
