//! What is known of a Python application before an interpreter has seen it.
//!
//! The words are Uvicorn's where Uvicorn has the same thing: people switch from there.
//!
//! Not here: how they are typed (`cli`), what an interpreter makes of them (the Python package).

use std::path::PathBuf;
use std::time::Duration;

use crate::config::FORWARDED_ALLOW_IPS;

/// A Python application: `pkg.module:app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonApp {
    /// `pkg.module:attribute`, `pkg.module:make()`, or `pkg.module` alone.
    pub target: String,
    /// What it is called by.
    pub interface: Interface,
    /// The attribute is called without arguments, and answers with the application.
    pub factory: bool,
    /// Put before everything else that modules are looked for in; the working directory if empty.
    pub app_dir: PathBuf,
    /// The program that runs it; `None` is this process's own interpreter, or python3.
    pub interpreter: Option<PathBuf>,
    /// Where the application is mounted: SCRIPT_NAME, root_path.
    pub root_path: String,
    /// Whether the client's address and scheme are taken from X-Forwarded-For and -Proto.
    pub proxy_headers: bool,
    /// Whose such fields are believed: addresses and networks with commas between, or `*`.
    pub forwarded_allow_ips: String,
    /// A `Server` field in every response.
    pub server_header: bool,
    /// A `Date` field in every response.
    pub date_header: bool,
    /// Fields that every response gets, as name and value.
    pub headers: Vec<(String, String)>,
    /// A file for Python's `logging.config`: JSON, or INI.
    pub log_config: Option<PathBuf>,
    /// What holds for ASGI applications alone.
    pub asgi: AsgiOptions,
}

/// What holds for ASGI applications alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsgiOptions {
    /// Which event loop.
    pub event_loop: EventLoop,
    /// Which of Uvicorn's HTTP protocol classes.
    pub http: HttpProtocol,
    /// Which of Uvicorn's WebSocket protocol classes.
    pub websockets: WebSockets,
    /// Bytes of the largest WebSocket message.
    pub ws_max_size: u64,
    /// Messages that wait for the application.
    pub ws_max_queue: u32,
    /// How often a WebSocket is pinged; `None` never.
    pub ws_ping_interval: Option<Duration>,
    /// How long the answer to a ping may take; `None` for ever.
    pub ws_ping_timeout: Option<Duration>,
    /// Whether WebSocket messages may be compressed.
    pub ws_per_message_deflate: bool,
    /// Whether the application is told of start and end.
    pub lifespan: Lifespan,
    /// Connections and tasks of one worker beyond which it answers 503.
    pub limit_concurrency: Option<u32>,
    /// Bytes of an incomplete event that h11 keeps.
    pub h11_max_incomplete_event_size: Option<u32>,
}

/// What an application is called by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// Found out by looking at the callable.
    #[default]
    Auto,
    /// Asynchronous: `await app(scope, receive, send)`.
    Asgi,
    /// Synchronous: `app(environ, start_response)` (PEP 3333).
    Wsgi,
}

/// Which event loop serves an ASGI application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventLoop {
    /// uvloop where it is installed, else asyncio's own.
    #[default]
    Auto,
    /// asyncio's own.
    Asyncio,
    /// uvloop.
    Uvloop,
}

/// Which of Uvicorn's HTTP protocol classes serves an ASGI application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpProtocol {
    /// httptools where it is installed, else h11.
    #[default]
    Auto,
    /// h11.
    H11,
    /// httptools.
    Httptools,
}

/// Which of Uvicorn's WebSocket protocol classes serves an ASGI application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebSockets {
    /// websockets where it is installed, else wsproto, else none.
    #[default]
    Auto,
    /// WebSockets are refused.
    None,
    /// websockets.
    Websockets,
    /// websockets, without I/O of its own.
    WebsocketsSansIo,
    /// wsproto.
    Wsproto,
}

/// Whether an ASGI application is told of start and end (the lifespan protocol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifespan {
    /// If it does not refuse it.
    #[default]
    Auto,
    /// It must take it.
    On,
    /// It is not asked.
    Off,
}

/// Files whose change replaces all workers, for development.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFiles {
    /// The directories that are watched, with what is beneath them.
    pub directories: Vec<PathBuf>,
    /// Patterns of names that count.
    pub includes: Vec<String>,
    /// Patterns of names that do not.
    pub excludes: Vec<String>,
    /// How long nothing more must change before the workers are replaced.
    pub delay: Duration,
}

impl PythonApp {
    /// An application with nothing else said of it.
    pub fn new(target: impl Into<String>) -> Self {
        PythonApp {
            target: target.into(),
            interface: Interface::default(),
            factory: false,
            app_dir: PathBuf::new(),
            interpreter: None,
            root_path: String::new(),
            proxy_headers: true,
            forwarded_allow_ips: FORWARDED_ALLOW_IPS.to_owned(),
            server_header: true,
            date_header: true,
            headers: Vec::new(),
            log_config: None,
            asgi: AsgiOptions::default(),
        }
    }
}

impl Default for AsgiOptions {
    fn default() -> Self {
        AsgiOptions {
            event_loop: EventLoop::default(),
            http: HttpProtocol::default(),
            websockets: WebSockets::default(),
            ws_max_size: 16 << 20,
            ws_max_queue: 32,
            ws_ping_interval: Some(Duration::from_secs(20)),
            ws_ping_timeout: Some(Duration::from_secs(20)),
            ws_per_message_deflate: true,
            lifespan: Lifespan::default(),
            limit_concurrency: None,
            h11_max_incomplete_event_size: None,
        }
    }
}

impl Default for WatchFiles {
    fn default() -> Self {
        WatchFiles {
            directories: Vec::new(),
            includes: vec!["*.py".to_owned()],
            // Uvicorn's own: editors' and tools' files.
            excludes: vec![".*".into(), ".py[cod]".into(), ".sw.*".into(), "~*".into()],
            delay: Duration::from_millis(250),
        }
    }
}

/// The word by which each is typed, and by which a Python program knows it.
macro_rules! words {
    ($kind:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $kind {
            /// All of them, by their words.
            pub const WORDS: &'static [(&'static str, $kind)] =
                &[$(($word, $kind::$variant)),+];

            /// Its word.
            pub fn word(self) -> &'static str {
                match self {
                    $($kind::$variant => $word),+
                }
            }
        }
    };
}

words!(Interface { Auto = "auto", Asgi = "asgi", Wsgi = "wsgi" });
words!(EventLoop { Auto = "auto", Asyncio = "asyncio", Uvloop = "uvloop" });
words!(HttpProtocol { Auto = "auto", H11 = "h11", Httptools = "httptools" });
words!(WebSockets {
    Auto = "auto",
    None = "none",
    Websockets = "websockets",
    WebsocketsSansIo = "websockets-sansio",
    Wsproto = "wsproto",
});
words!(Lifespan { Auto = "auto", On = "on", Off = "off" });
