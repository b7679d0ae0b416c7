//! The flags of the admin address, and of `ctl`, which talks to it.
//!
//! Not here: what the values mean and how far they may go (`resolve::admin`, `ctl`).

use std::ffi::OsString;

use clap::{ArgAction, Args, Subcommand};

/// Where operators find the server.
#[derive(Args, Clone, Debug, Default)]
pub struct RawAdmin {
    /// Where operators see and command the server.
    #[arg(long, value_name = "ADDR", action = ArgAction::Append,
          help = "Where operators see the server, HOST:PORT, and command it, unix:PATH; repeatable",
          help_heading = "Observing")]
    pub admin: Vec<OsString>,
}

/// The flags of `ctl`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_override_self = true,
    arg_required_else_help = true,
    after_help = "\
Commands that change something need a Unix socket. What is switched holds until the configuration is
read again (reload).

Exit codes: 0 done; 1 refused, or with --wait the reload has failed; of status as of `maitred
status`; 2 usage; 3 nobody answers there, or the server does not serve; 4 the answer cannot be read."
)]
pub struct RawCtl {
    /// The server's --admin address: unix:PATH or HOST:PORT; MAITRED_ADMIN if it is left out
    #[arg(long, value_name = "ADDR", global = true)]
    pub admin: Option<OsString>,

    /// JSON in place of text
    #[arg(long, global = true)]
    pub json: bool,

    /// What is to be done.
    #[command(subcommand)]
    pub command: Option<RawCtlCommand>,
}

/// What is to be done.
#[derive(Clone, Debug, Subcommand)]
pub enum RawCtlCommand {
    /// What the server does and has done
    Status,
    /// Its workers, one a line
    Workers,
    /// Asks whether the master answers
    Ping,
    /// So many workers
    Scale {
        /// How many
        #[arg(value_name = "N")]
        workers: u16,
    },
    /// Replaces all workers, by the configuration as it is now (HUP)
    Reload {
        /// Until they are replaced, or were not
        #[arg(long)]
        wait: bool,
    },
    /// Lends nothing more to a slot; without one stops the server, which first says that it is not
    /// ready
    Drain {
        /// Which
        #[arg(value_name = "SLOT")]
        slot: Option<u16>,
    },
    /// Puts a slot into service again
    Undrain {
        /// Which
        #[arg(value_name = "SLOT")]
        slot: u16,
    },
    /// Stops the server (TERM)
    Stop {
        /// At once: what is being answered is cut off (QUIT)
        #[arg(long)]
        now: bool,
    },
    /// Another policy, as --balance takes it
    Balance {
        /// Which
        #[arg(value_name = "POLICY")]
        policy: String,
    },
    /// Another way of rebalancing, as --rebalance takes it
    Rebalance {
        /// Which
        #[arg(value_name = "MODE")]
        mode: String,
    },
    /// What the master logs, as --log-level takes it
    LogLevel {
        /// Which
        #[arg(value_name = "LEVEL")]
        level: String,
    },
    /// Opens log files again (USR1)
    Reopen,
}
