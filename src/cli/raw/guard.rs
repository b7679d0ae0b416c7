//! The flags of who workers are, what they may do, and whom they believe.
//!
//! Not here: what the values mean and how far they may go (`resolve::guard`).

use std::ffi::OsString;

use clap::Args;

use crate::config::{FORWARDED_ALLOW_IPS, Forwarded, PROXY_PROTOCOL_FROM};

/// What was typed of it.
#[derive(Args, Clone, Debug, Default)]
pub struct RawGuard {
    /// User that workers run as, by name or number; the master stays what it is
    #[arg(long, short = 'u', value_name = "USER", help_heading = "Privileges")]
    pub user: Option<String>,

    /// Group that workers run as [default: the user's, and its others beside it]
    #[arg(long, short = 'g', value_name = "GROUP", help_heading = "Privileges")]
    pub group: Option<String>,

    /// Permission bits that files of workers do not get, in octal
    #[arg(long, short = 'm', value_name = "MODE", help_heading = "Privileges")]
    pub umask: Option<String>,

    /// Root directory of workers: their program and all that it needs is in there
    #[arg(long, value_name = "DIR", help_heading = "Privileges")]
    pub chroot: Option<OsString>,

    /// Workers cannot become more by executing something (set-uid programs)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Privileges")]
    pub no_new_privs: Option<String>,

    /// Workers give up opening other files, connecting and executing: true, try (as far as the
    /// kernel can) or false
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Privileges")]
    pub sandbox: Option<String>,

    /// Whose Unix sockets are
    #[arg(long, value_name = "USER[:GROUP]", help_heading = "Privileges")]
    pub unix_owner: Option<String>,

    /// Every connection begins with a PROXY header, of version 1 or 2
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Proxies")]
    pub proxy_protocol: Option<String>,

    /// Who may send one: addresses, networks, unix, or *; others are closed
    #[arg(long, value_name = "LIST", aliases = ["proxy-allow-from", "proxy-allow-ips"],
          help_heading = "Proxies")]
    pub proxy_protocol_from: Option<String>,

    /// Which fields say who the client is: x-forwarded or forwarded
    #[arg(long, value_name = "FIELDS", help_heading = "Proxies")]
    pub forwarded_fields: Option<String>,

    /// Every request has an X-Request-ID: a believed peer's, or a new one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Proxies")]
    pub request_id: Option<String>,
}

/// The default of a flag as the help text shows it; none where absence says it all.
pub(super) fn default_of(id: &str) -> Option<String> {
    let text = match id {
        "no_new_privs" => "true; false for Python and CMD",
        "sandbox" => "false",
        "unix_owner" => "the workers' user",
        "proxy_protocol_from" => PROXY_PROTOCOL_FROM,
        "forwarded_allow_ips" => FORWARDED_ALLOW_IPS,
        "forwarded_fields" => Forwarded::default().fields.word(),
        _ => return None,
    };
    Some(text.to_owned())
}
