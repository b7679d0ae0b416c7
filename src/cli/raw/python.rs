//! The flags of Python applications, spelled as Uvicorn spells them.
//!
//! Not here: what the values mean and how far they may go (`resolve::python`).

use std::ffi::OsString;

use clap::{ArgAction, Args};

use crate::cli::values::show_duration;
use crate::config::{AsgiOptions, PythonApp, WatchFiles};

/// What was typed of a Python application, and of the surroundings of its workers.
#[derive(Args, Clone, Debug, Default)]
pub struct RawPython {
    /// What a Python application is called by: auto, asgi or wsgi
    #[arg(long, value_name = "KIND", help_heading = "Python")]
    pub interface: Option<String>,

    /// MODULE:NAME is called, and answers with the application
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Python")]
    pub factory: Option<String>,

    /// Where modules are looked for first
    #[arg(long, value_name = "DIR", help_heading = "Python")]
    pub app_dir: Option<OsString>,

    /// Directory that workers run in
    #[arg(long, value_name = "DIR", help_heading = "Python")]
    pub chdir: Option<OsString>,

    /// File of KEY=VALUE lines: variables for the workers
    #[arg(long, value_name = "PATH", help_heading = "Python")]
    pub env_file: Option<OsString>,

    /// The interpreter that runs the workers
    #[arg(long, value_name = "PATH", help_heading = "Python")]
    pub python: Option<OsString>,

    /// Replaces all workers when a file changes, for development
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Python")]
    pub reload: Option<String>,

    /// Directory that is watched; repeatable
    #[arg(long, value_name = "DIR", action = ArgAction::Append, help_heading = "Python")]
    pub reload_dir: Vec<OsString>,

    /// Pattern of the names of files that count; repeatable
    #[arg(long, value_name = "GLOB", action = ArgAction::Append, help_heading = "Python")]
    pub reload_include: Vec<String>,

    /// Pattern of the names of files that do not; repeatable
    #[arg(long, value_name = "GLOB", action = ArgAction::Append, help_heading = "Python")]
    pub reload_exclude: Vec<String>,

    /// How long nothing more must change before the workers are replaced
    #[arg(long, value_name = "TIME", help_heading = "Python")]
    pub reload_delay: Option<String>,

    /// Where the application is mounted: root_path, SCRIPT_NAME
    #[arg(long, value_name = "PATH", help_heading = "Python")]
    pub root_path: Option<String>,

    /// Takes the client and the scheme from X-Forwarded-For and -Proto
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Proxies")]
    pub proxy_headers: Option<String>,

    /// As in Uvicorn: --proxy-headers=false.
    #[arg(long, hide = true)]
    pub no_proxy_headers: bool,

    /// Whose forwarded fields are believed: addresses, networks, unix, or *
    #[arg(long, value_name = "LIST", help_heading = "Proxies")]
    pub forwarded_allow_ips: Option<String>,

    /// A Server field in every response
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Python")]
    pub server_header: Option<String>,

    /// As in Uvicorn: --server-header=false.
    #[arg(long, hide = true)]
    pub no_server_header: bool,

    /// A Date field in every response
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Python")]
    pub date_header: Option<String>,

    /// As in Uvicorn: --date-header=false.
    #[arg(long, hide = true)]
    pub no_date_header: bool,

    /// Field that every response gets; repeatable
    #[arg(long, value_name = "NAME:VALUE", action = ArgAction::Append, help_heading = "Python")]
    pub header: Vec<String>,

    /// File for Python's logging.config: .json, else INI
    #[arg(long, value_name = "PATH", help_heading = "Python")]
    pub log_config: Option<OsString>,

    /// Event loop of ASGI workers: auto, asyncio or uvloop
    #[arg(long = "loop", value_name = "LOOP", help_heading = "Python")]
    pub event_loop: Option<String>,

    /// Uvicorn's protocol class for HTTP: auto, h11 or httptools
    #[arg(long, value_name = "HTTP", help_heading = "Python")]
    pub http: Option<String>,

    /// Uvicorn's protocol class for WebSockets: auto, none, websockets, websockets-sansio or wsproto
    #[arg(long, value_name = "WS", help_heading = "Python")]
    pub ws: Option<String>,

    /// Size of the largest WebSocket message
    #[arg(long, value_name = "SIZE", help_heading = "Python")]
    pub ws_max_size: Option<String>,

    /// WebSocket messages that wait for the application
    #[arg(long, value_name = "N", help_heading = "Python")]
    pub ws_max_queue: Option<String>,

    /// How often a WebSocket is pinged; 0 never
    #[arg(long, value_name = "TIME", help_heading = "Python")]
    pub ws_ping_interval: Option<String>,

    /// How long the answer to a ping may take; 0 for ever
    #[arg(long, value_name = "TIME", help_heading = "Python")]
    pub ws_ping_timeout: Option<String>,

    /// Whether WebSocket messages may be compressed
    #[arg(long, value_name = "BOOL", help_heading = "Python")]
    pub ws_per_message_deflate: Option<String>,

    /// Whether an ASGI application is told of start and end: auto, on or off
    #[arg(long, value_name = "MODE", help_heading = "Python")]
    pub lifespan: Option<String>,

    /// Connections, or tasks, of one ASGI worker beyond which it answers 503
    #[arg(long, value_name = "N", help_heading = "Python")]
    pub limit_concurrency: Option<String>,

    /// Bytes of an incomplete event that h11 keeps
    #[arg(long, value_name = "SIZE", help_heading = "Python")]
    pub h11_max_incomplete_event_size: Option<String>,
}

/// The default of a flag as the help text shows it; none where absence says it all.
pub(super) fn default_of(id: &str) -> Option<String> {
    let app = PythonApp::new("");
    let asgi = AsgiOptions::default();
    let watch = WatchFiles::default();
    let text = match id {
        "interface" => app.interface.word().to_owned(),
        "python" => "this interpreter, .venv/bin/python or python3".to_owned(),
        "reload_dir" => "the working directory".to_owned(),
        "reload_include" => watch.includes.join(", "),
        "reload_exclude" => watch.excludes.join(", "),
        "reload_delay" => show_duration(watch.delay),
        "proxy_headers" => app.proxy_headers.to_string(),
        "server_header" => app.server_header.to_string(),
        "date_header" => app.date_header.to_string(),
        "event_loop" => asgi.event_loop.word().to_owned(),
        "http" => asgi.http.word().to_owned(),
        "ws" => asgi.websockets.word().to_owned(),
        "ws_max_size" => crate::cli::values::show_size(asgi.ws_max_size),
        "ws_max_queue" => asgi.ws_max_queue.to_string(),
        "ws_ping_interval" => show_duration(asgi.ws_ping_interval?),
        "ws_ping_timeout" => show_duration(asgi.ws_ping_timeout?),
        "ws_per_message_deflate" => asgi.ws_per_message_deflate.to_string(),
        "lifespan" => asgi.lifespan.word().to_owned(),
        _ => return None,
    };
    Some(text)
}
