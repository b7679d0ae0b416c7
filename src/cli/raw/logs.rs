//! The flags of logs: the access log's, and the log's own.
//!
//! Not here: what the values mean and how far they may go (`resolve::logs`).

use std::ffi::OsString;

use clap::Args;

/// What was typed of logs.
#[derive(Args, Clone, Debug, Default)]
pub struct RawLogs {
    /// A line a request: true (stdout), false, PATH, syslog or journald
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Logs")]
    pub access_log: Option<OsString>,

    /// As in Gunicorn: --access-log=PATH, or - for stdout.
    #[arg(long, hide = true)]
    pub access_logfile: Option<OsString>,

    /// As in Uvicorn: --access-log=false.
    #[arg(long, hide = true)]
    pub no_access_log: bool,

    /// maitred, common, combined, json, or a template as in Gunicorn: '%(h)s %(r)s'
    #[arg(long, value_name = "FORMAT", alias = "access-logformat", help_heading = "Logs")]
    pub access_log_format: Option<String>,

    /// Logs requests that take at least so long
    #[arg(long, value_name = "TIME", help_heading = "Logs")]
    pub slow_log: Option<String>,

    /// Where the log goes: stderr, stdout, PATH, syslog or journald
    #[arg(
        long,
        value_name = "WHERE",
        aliases = ["log-file", "error-logfile"],
        help_heading = "Logs"
    )]
    pub log_to: Option<OsString>,

    /// Form of the log: text or json
    #[arg(long, value_name = "FORMAT", help_heading = "Logs")]
    pub log_format: Option<String>,

    /// off, error, warn, info, debug, trace, or TARGET=LEVEL,…
    #[arg(long, value_name = "LEVEL", help_heading = "Logs")]
    pub log_level: Option<String>,
}

/// The default of a flag as the help text shows it; none where absence says it all.
pub(super) fn default_of(id: &str) -> Option<String> {
    let text = match id {
        "access_log_format" => "maitred",
        "slow_log" => "off",
        "log_to" => "stderr",
        "log_format" => "text",
        "log_level" => "info",
        _ => return None,
    };
    Some(text.to_owned())
}
