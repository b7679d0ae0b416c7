//! What a server is told to be: settings, already validated, and the named limits behind them.
//!
//! The command line parses flags into a raw struct and resolves them into [`Settings`] (`cli`);
//! everything else reads `Settings` and cannot hold an impossible combination. Defaults stand
//! here, once, so that `--help`, the library and the tests agree.
//!
//! Not here: parsing of flags and variables (`cli`).

mod accept;
mod access_format;
mod fleet;
mod guard;
pub mod limits;
mod logs;
mod names;
mod peers;
mod python;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use accept::{Accept, Arm, Queues, Selector};
pub use access_format::{
    ATOMS, AccessFormat, Atom, Escaping, Form, FormatError, Piece, WantedFields,
};
pub use fleet::{FleetOptions, LoadForm};
pub use guard::{
    FORWARDED_ALLOW_IPS, Forwarded, ForwardedFields, Identity, Owner, PROXY_PROTOCOL_FROM,
    Privileges, ProxyProtocol, Sandbox,
};
pub use limits::*;
pub use logs::{AccessLogOptions, Facility, LogDestination, LogTag};
pub use peers::PeerList;
pub use python::{
    AsgiOptions, EventLoop, HttpProtocol, Interface, Lifespan, PythonApp, WatchFiles, WebSockets,
};

/// Everything that master and workers need to know, resolved and in bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What answers the requests.
    pub app: App,
    /// Where to listen, in order; a listener's id is its place here.
    pub binds: Vec<Bind>,
    /// Options that every listener gets.
    pub listen: ListenOptions,
    /// Who accepts connections.
    pub accept: Accept,
    /// Worker processes; with `scaling` those that the server begins with.
    pub workers: u16,
    /// How far their number follows the load; `None` leaves it as it is.
    pub scaling: Option<ScaleLimits>,
    /// Handler threads in each worker; 0 runs handlers on the worker's loop.
    pub threads: u16,
    /// Which worker a connection is seated at.
    pub balance: Balance,
    /// One weight a slot, for [`Balance::Weighted`]; slots beyond the list weigh 1.
    pub weights: Vec<u32>,
    /// Whether idle connections may move between workers.
    pub rebalance: Rebalance,
    /// How many connections may wait at a worker; `None` lets the worker's kind decide.
    pub credit: Option<u16>,
    /// A connection that has waited for so long without room gets a 503; `None` lets it wait.
    pub queue_timeout: Option<Duration>,
    /// How many connections may wait; the newest beyond get a 503. `None` has no limit.
    pub max_queue: Option<u32>,
    /// When a worker counts as stuck.
    pub stall_after: Duration,
    /// For experiments: how old a look at the workers becomes before the next, while the policy
    /// knows nothing of what is lent; `None` looks in every turn, and counts.
    pub report_age: Option<Duration>,
    /// Deadlines of the worker processes.
    pub lifecycle: Lifecycle,
    /// When a worker that serves well is replaced all the same.
    pub recycle: RecycleLimits,
    /// Where the master writes its process id.
    pub pid_file: Option<PathBuf>,
    /// What one HTTP connection may cost.
    pub http: HttpLimits,
    /// Who the workers are, and what they cannot become.
    pub privileges: Privileges,
    /// What else workers give up.
    pub sandbox: Sandbox,
    /// Every connection begins with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whose fields say who the client is.
    pub forwarded: Forwarded,
    /// Every request has an id, which its response carries.
    pub request_id: bool,
    /// Adds `x-maitred-worker: SLOT` to every response.
    pub worker_header: bool,
    /// What balancers of a fleet are told.
    pub fleet: FleetOptions,
    /// Logs a line a request, if there is one.
    pub access_log: Option<AccessLogOptions>,
    /// Logs requests that take at least so long.
    pub slow_log: Option<Duration>,
    /// Where the master says what it does and has done, for other processes to read.
    pub status_file: Option<PathBuf>,
    /// Where operators find the helper process; none of these is [`Bind::Inherited`].
    pub admin: Vec<Bind>,
    /// The configuration file that these settings come from, as it was read.
    pub config: Option<ConfigText>,
    /// Where the workers run; the master's own directory if `None`.
    pub chdir: Option<PathBuf>,
    /// Variables that the workers get beside the master's own: a file of KEY=VALUE lines.
    pub env_file: Option<PathBuf>,
    /// Files whose change replaces all workers.
    pub reload: Option<WatchFiles>,
    /// Seed of every random choice; `None` draws one at start and logs it.
    pub seed: Option<u64>,
}

impl Settings {
    /// Whether anything is to be known of each request.
    pub fn logs_requests(&self) -> bool {
        self.access_log.is_some() || self.slow_log.is_some()
    }
}

/// A configuration file, as it was read: master and workers go by one text, whatever becomes of the
/// file meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigText {
    /// Where it was.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

/// What answers the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum App {
    /// The built-in demonstration, or the handler that the embedding program brought.
    Embedded,
    /// Every target answers 200 with the request's body.
    Echo,
    /// Files beneath a directory.
    Static {
        /// The directory.
        root: PathBuf,
        /// Lists directories that have no index.html.
        browse: bool,
    },
    /// A Python application.
    Python(Box<PythonApp>),
    /// Any program that speaks the hand-off protocol.
    Command(Vec<OsString>),
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// `HOST:PORT` or `[v6]:PORT`, resolved.
    Tcp(SocketAddr),
    /// unix:PATH
    Unix(PathBuf),
    /// fd://N, or one that systemd passed: an inherited listening socket.
    Inherited(i32),
}

/// As it is written in settings.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::Tcp(address) => address.fmt(f),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
            Bind::Inherited(number) => write!(f, "fd://{number}"),
        }
    }
}

/// Options that every listener gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Length asked of the kernel's accept queue.
    pub backlog: u32,
    /// `TCP_DEFER_ACCEPT` in seconds; 0 switches it off.
    pub defer_accept_s: u32,
    /// Permission bits of a Unix socket's file.
    pub unix_mode: u32,
    /// Who owns it; the master if `None`.
    pub unix_owner: Option<Owner>,
}

/// Which worker a connection is seated at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn; a worker without credit is owed its turn.
    RoundRobin,
    /// Fewest waiting and active, then fewest open; ties rotate.
    #[default]
    LeastLoaded,
    /// The less loaded of two drawn at random.
    TwoChoices,
    /// Drawn at random.
    Random,
    /// In turn, in proportion to the slots' weights.
    Weighted,
    /// Least load × average service time.
    LeastLatency,
    /// By the client's address; the next one by rendezvous where that has no credit.
    IpHash,
}

/// Whether idle keep-alive connections may move between workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rebalance {
    /// An idle connection stays with its worker, as in every other server.
    Never,
    /// It stays until its worker is stuck; then what becomes readable is taken back and seated
    /// where there is room.
    #[default]
    Auto,
    /// Each response ends its stay: the next request is seated afresh.
    Always,
}

/// Deadlines of the worker processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// From start to Ready.
    pub boot_timeout: Duration,
    /// One loop turn or one handler call without a result; `None` never judges.
    pub timeout: Option<Duration>,
    /// `timeout` is for loop turns alone: nobody has said how long a handler call may take.
    pub timeout_spares_calls: bool,
    /// What a stopping worker, or a stopping server, has for what it is answering.
    pub graceful_timeout: Duration,
    /// After TERM: how long the server still accepts.
    pub drain_delay: Duration,
    /// A worker without a page that does not take a connection for so long is killed.
    pub handoff_timeout: Duration,
    /// How many slots a reload, or recycling, replaces at the same time.
    pub reload_parallel: u16,
}

/// How the number of workers follows the load (`--workers MIN..MAX`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleLimits {
    /// Never fewer.
    pub min: u16,
    /// Never more.
    pub max: u16,
    /// Where somebody has waited for so long, workers are added.
    pub up_after: Duration,
    /// Where one fewer would have done for so long, one is taken out.
    pub down_after: Duration,
}

impl ScaleLimits {
    /// What `--scale-up-after` is unless it is said: longer than a burst that is over when a worker
    /// has started, and hardly longer than people notice.
    pub const UP_AFTER: Duration = Duration::from_millis(250);

    /// What `--scale-down-after` is unless it is said: longer than the pauses of a minute's pattern.
    pub const DOWN_AFTER: Duration = Duration::from_secs(60);
}

/// When a worker that serves well is replaced all the same; nothing is set by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecycleLimits {
    /// After so many requests.
    pub requests_max: Option<u64>,
    /// Up to so many more, drawn for each incarnation.
    pub requests_jitter: u64,
    /// After so long a service.
    pub lifetime_max: Option<Duration>,
    /// Up to so much longer, drawn for each incarnation.
    pub lifetime_jitter: Duration,
    /// With more bytes than this in memory (resident set).
    pub rss_max: Option<u64>,
}

impl RecycleLimits {
    /// Whether any of them is set.
    pub fn is_set(&self) -> bool {
        self.requests_max.is_some() || self.lifetime_max.is_some() || self.rss_max.is_some()
    }
}

/// What one HTTP connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of the request line.
    pub request_line_max: usize,
    /// Header fields.
    pub fields_max: usize,
    /// Bytes of one header field.
    pub field_size_max: usize,
    /// Bytes of a request's body; `None` has no limit.
    pub body_max: Option<u64>,
    /// From the first wait for a request's bytes to its whole head.
    pub header_timeout: Duration,
    /// Between two reads of a body that make progress.
    pub body_timeout: Duration,
    /// Between a response and the next request.
    pub keep_alive: Duration,
    /// Between two writes that make progress.
    pub write_timeout: Duration,
    /// A body up to this size is complete before a handler thread is taken.
    pub buffer_request: usize,
    /// A response up to this size leaves its handler thread at once.
    pub buffer_response: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            app: App::Embedded,
            binds: vec![Bind::Tcp(SocketAddr::from(([127, 0, 0, 1], 8000)))],
            listen: ListenOptions::default(),
            accept: Accept::default(),
            workers: 1,
            scaling: None,
            threads: 1,
            balance: Balance::default(),
            weights: Vec::new(),
            rebalance: Rebalance::default(),
            credit: None,
            queue_timeout: None,
            max_queue: None,
            stall_after: Duration::from_millis(1),
            report_age: None,
            lifecycle: Lifecycle::default(),
            recycle: RecycleLimits::default(),
            pid_file: None,
            http: HttpLimits::default(),
            privileges: Privileges { no_new_privs: true, ..Privileges::default() },
            sandbox: Sandbox::default(),
            proxy_protocol: None,
            forwarded: Forwarded::default(),
            request_id: false,
            worker_header: false,
            fleet: FleetOptions::default(),
            access_log: None,
            slow_log: None,
            status_file: None,
            admin: Vec::new(),
            config: None,
            chdir: None,
            env_file: None,
            reload: None,
            seed: None,
        }
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { backlog: 2048, defer_accept_s: 1, unix_mode: 0o660, unix_owner: None }
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle {
            boot_timeout: Duration::from_secs(60),
            timeout: None,
            timeout_spares_calls: false,
            graceful_timeout: Duration::from_secs(30),
            drain_delay: Duration::from_secs(1),
            handoff_timeout: Duration::from_secs(10),
            reload_parallel: 1,
        }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            request_line_max: 4094,
            fields_max: 100,
            field_size_max: 8190,
            body_max: None,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            buffer_request: 1 << 20,
            buffer_response: 1 << 20,
        }
    }
}
