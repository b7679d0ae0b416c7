//! Paths and methods of the admin address.
//!
//! | path | answers |
//! |---|---|
//! | `GET /livez` | 200 if the master answers, and how quickly; else 503 |
//! | `GET /readyz` | 200 while new connections are served; 503 before, and once the server is to end |
//! | `GET /status` | the state as JSON (docs/status.md) |
//! | `GET /metrics` | the state as OpenMetrics (docs/metrics.md) |
//! | `GET /` | the dashboard |
//! | `POST /ctl` | carries a command out; over Unix sockets alone |
//!
//! Commands are taken over Unix sockets alone, whose file is its owner's: over TCP any page in an
//! operator's browser could send one (it may not read the answer, but needs none), and so could
//! everybody else on the machine. A Unix socket can be forwarded to a port of an operator's own
//! machine (`ssh -L`), and then pages reach it as well: what a browser sends for one says so by its
//! Origin (Fetch Standard, 3.2: each POST has it), and is refused.
//!
//! Not here: HTTP itself (`worker`, `http`), what commands do (`master::admin`).

use std::sync::Arc;
use std::time::Instant;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method};
use serde_json::json;
use tracing::{info, warn};

use crate::admin::frame::Command;
use crate::admin::link::{Link, NoAnswer};
use crate::admin::order::Order;
use crate::admin::seeing::Seeing;
use crate::admin::{dashboard, metrics};
use crate::app::{
    self, Handler, Request, RequestBody, Response, StatusCode, method_not_allowed, options,
};
use crate::config::{ADMIN_ANSWER_MAX, ADMIN_BODY_SIZE_MAX, ADMIN_COMMAND_MAX};
use crate::ident::PeerAddress;
use crate::observe::status::ReadError;
use crate::observe::view::View;

/// What a page of ours may do: run what stands beside it, and ask where it came from.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const READ: &str = "GET, HEAD, OPTIONS";
const ORDER: &str = "POST, OPTIONS";

/// Sets what is worth a line of this process's log; or says why it cannot be.
pub type SetLogLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Answers operators.
pub(super) struct Routes {
    pub(super) link: Arc<Link>,
    pub(super) seeing: Arc<Seeing>,
    pub(super) set_log_level: SetLogLevel,
}

impl Handler for Routes {
    fn handle(&self, request: Request) -> Response {
        let mut response = self.route(request);
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let is_page = headers
            .get(CONTENT_TYPE)
            .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/html"));
        if is_page {
            headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
        }
        response
    }
}

impl Routes {
    fn route(&self, request: Request) -> Response {
        let answer: fn(&Routes) -> Response = match request.path() {
            "/ctl" => return self.order(request),
            "/livez" => Routes::live,
            "/readyz" => Routes::ready,
            "/status" => Routes::status,
            "/metrics" => Routes::metrics,
            path => match dashboard::find(path) {
                Some(page) => return only_read(&request).unwrap_or(page),
                None => return app::text(StatusCode::NOT_FOUND, "There is nothing here.\n"),
            },
        };
        only_read(&request).unwrap_or_else(|| answer(self))
    }

    /// Asks the master, and says how long its answer took.
    fn live(&self) -> Response {
        let began = Instant::now();
        let answered = self.link.ask(Command::Ping, ADMIN_ANSWER_MAX);
        let seconds = began.elapsed().as_secs_f64();
        let (is_live, what) = match answered {
            Ok(_) => (true, "the master has answered"),
            // It is the same process, and executes another version of the program.
            Err(NoAnswer::Gone) if self.seeing.is_running() => (true, "the master is replaced"),
            Err(NoAnswer::Gone) => (false, "the master has gone"),
            Err(NoAnswer::Late) => (false, "the master has not answered in time"),
        };
        probe(is_live, &json!({ "live": is_live, "what": what, "seconds": seconds }))
    }

    /// Whether new connections are served.
    fn ready(&self) -> Response {
        let asked = self.link.ask(Command::Ping, ADMIN_ANSWER_MAX);
        let (is_ready, what) = match (asked, self.seeing.view()) {
            (Err(NoAnswer::Late), _) => (false, "the master has not answered in time".to_owned()),
            (_, Err(_)) => (false, "starting".to_owned()),
            (_, Ok(view)) if !view.serving => (false, view.phase),
            (_, Ok(view)) => match serves(&view) {
                true => (true, view.phase),
                false => (false, "no worker serves".to_owned()),
            },
        };
        probe(is_ready, &json!({ "ready": is_ready, "what": what }))
    }

    fn status(&self) -> Response {
        match self.view() {
            // Strings, numbers and maps with text keys: nothing here can fail to be written.
            Ok(view) => {
                app::json(StatusCode::OK, serde_json::to_string(&view).unwrap_or_default() + "\n")
            }
            Err(error) => unavailable(&error),
        }
    }

    fn metrics(&self) -> Response {
        match self.view() {
            Ok(view) => app::response::with(
                app::text(StatusCode::OK, metrics::render(&view)),
                CONTENT_TYPE,
                HeaderValue::from_static(metrics::CONTENT_TYPE),
            ),
            Err(error) => unavailable(&error),
        }
    }

    /// This moment. The master is asked to write it down first; one that does not answer has written
    /// something before.
    fn view(&self) -> Result<View, ReadError> {
        let _ = self.link.ask(Command::Ping, ADMIN_ANSWER_MAX);
        self.seeing.view()
    }

    fn order(&self, request: Request) -> Response {
        if request.head.method == Method::OPTIONS {
            return options(ORDER);
        }
        if request.head.method != Method::POST {
            return method_not_allowed(ORDER);
        }
        if request.origin.peer != PeerAddress::Local {
            warn!(peer = %request.origin.peer, "a command over TCP was refused");
            let why = "commands are taken over a Unix socket alone: --admin unix:PATH";
            return told(StatusCode::FORBIDDEN, false, why);
        }
        if let Some(origin) = request.head.headers.get(ORIGIN) {
            warn!(?origin, "a command from a web page was refused");
            let why = "commands are not taken from web pages";
            return told(StatusCode::FORBIDDEN, false, why);
        }
        let body = match request.body {
            RequestBody::Complete(body) => Ok(body),
            body @ RequestBody::Streaming(_) => body.read_all(ADMIN_BODY_SIZE_MAX),
        };
        let order = match body {
            Ok(body) => Order::read(&body),
            Err(error) => Err(format!("no command: {error}")),
        };
        let command = order.and_then(|order| Ok((order.command()?, order)));
        let (command, order) = match command {
            Ok(found) => found,
            Err(why) => return told(StatusCode::BAD_REQUEST, false, &why),
        };
        self.carry_out(command, &order)
    }

    fn carry_out(&self, command: Command, order: &Order) -> Response {
        let within = match command {
            Command::Ping => ADMIN_ANSWER_MAX,
            _ => ADMIN_COMMAND_MAX,
        };
        match self.link.ask(command, within) {
            Ok(answer) => {
                if let (true, Order::LogLevel { level }) = (answer.is_done, order)
                    && let Err(why) = (self.set_log_level)(level)
                {
                    info!(why, "this process logs as before");
                }
                let status = if answer.is_done { StatusCode::OK } else { StatusCode::CONFLICT };
                told(status, answer.is_done, &answer.text)
            }
            Err(no_answer) => told(StatusCode::SERVICE_UNAVAILABLE, false, &no_answer.to_string()),
        }
    }
}

/// Why a request that only reads is not answered, if it is not.
fn only_read(request: &Request) -> Option<Response> {
    match request.head.method {
        Method::GET | Method::HEAD => None,
        Method::OPTIONS => Some(options(READ)),
        _ => Some(method_not_allowed(READ)),
    }
}

/// Whether any worker may be lent something.
pub(super) fn serves(view: &View) -> bool {
    view.workers.iter().any(|worker| worker.stage == "serving" && !worker.drained)
}

fn probe(is_well: bool, what: &serde_json::Value) -> Response {
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    app::json(status, format!("{what}\n"))
}

fn told(status: StatusCode, is_done: bool, text: &str) -> Response {
    app::json(status, format!("{}\n", json!({ "done": is_done, "text": text })))
}

fn unavailable(error: &ReadError) -> Response {
    app::text(StatusCode::SERVICE_UNAVAILABLE, format!("The master says nothing: {error}\n"))
}
