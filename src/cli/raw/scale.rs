//! The flags that say how the number of workers follows the load.
//!
//! Not here: what they mean and how far they may go (`resolve::scale`).

use clap::Args;

use crate::cli::values::show_duration;
use crate::config::ScaleLimits;

/// Beside `--workers MIN..MAX`.
#[derive(Args, Clone, Debug, Default)]
pub struct RawScale {
    /// With MIN..MAX: workers are added where somebody has waited for so long
    #[arg(long, value_name = "TIME", help_heading = "Workers")]
    pub scale_up_after: Option<String>,

    /// With MIN..MAX: a worker goes where one fewer has been enough for so long
    #[arg(long, value_name = "TIME", help_heading = "Workers")]
    pub scale_down_after: Option<String>,
}

/// The default of a flag as the help text shows it.
pub(super) fn default_of(id: &str) -> Option<String> {
    match id {
        "scale_up_after" => Some(show_duration(ScaleLimits::UP_AFTER)),
        "scale_down_after" => Some(show_duration(ScaleLimits::DOWN_AFTER)),
        _ => None,
    }
}
