//! The flags of `top`.
//!
//! Not here: what an address is (`cli::ctl::client`).

use std::ffi::OsString;

use clap::Args;

/// The flags of `top`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_override_self = true,
    after_help = "\
Keys: ? help, q quit, space pause, s and S sort, arrows select. See docs/dashboard.md.

Exit codes: 0 quit, 1 the terminal failed, 2 usage."
)]
pub struct RawTop {
    /// The server's --admin address, unix:PATH or HOST:PORT; MAITRED_ADMIN if it is left out
    #[arg(value_name = "ADDRESS")]
    pub address: Option<OsString>,
}
