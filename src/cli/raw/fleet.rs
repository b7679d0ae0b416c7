//! The flags for what balancers of a fleet are told.
//!
//! Not here: what the values mean and how far they may go (`resolve::fleet`).

use std::ffi::OsString;

use clap::Args;

/// What was typed of the fleet.
#[derive(Args, Clone, Debug, Default)]
pub struct RawFleet {
    /// Where HAProxy's agent check is answered.
    #[arg(
        long,
        value_name = "ADDR",
        help_heading = "Fleet",
        help = "Where HAProxy's agent check is answered: HOST:PORT, [v6]:PORT, PORT or unix:PATH"
    )]
    pub agent_check: Option<OsString>,

    /// Load of this node on responses, for balancers: orca or off
    #[arg(long, value_name = "KIND", help_heading = "Fleet")]
    pub load_header: Option<String>,

    /// Its form: bin, json or text
    #[arg(long, value_name = "FORM", help_heading = "Fleet")]
    pub load_header_format: Option<String>,

    /// An application's own field of that name: keep or strip
    #[arg(long, value_name = "HOW", help_heading = "Fleet")]
    pub load_header_app: Option<String>,
}

/// The default of a flag as the help text shows it; none where absence says it all.
pub(super) fn default_of(id: &str) -> Option<String> {
    let text = match id {
        "agent_check" | "load_header" => "off",
        "load_header_format" => "bin",
        "load_header_app" => "keep",
        _ => return None,
    };
    Some(text.to_owned())
}
