//! What the user typed for `sim`.
//!
//! Not here: what the values mean and how far they may go (`cli::sim`).

use std::ffi::OsString;

use clap::Args;

/// The flags of `sim`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_override_self = true,
    after_help = "\
A plan is one of `bench`: the same words, measures and reports, with virtual time in place of
processes. Presets of `bench` are presets here, and mmk and cluster beside them; cluster takes
the flags of mmk too. The same seed is the same
result. See docs/simulation.md for what is modelled and what is not.

Exit codes: 0 done; 1 nothing was simulated; 2 usage, or a plan that is none."
)]
pub struct RawSim {
    /// mmk, cluster, a preset (see --list), or the file of a plan: PLAN.toml
    #[arg(value_name = "PLAN")]
    pub plan: Option<OsString>,

    /// Decides arrivals, service times, choices and faults [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<String>,

    /// Directory of a plan's result; it is new, empty, or a former result [default: sim-PLAN-DATE]
    #[arg(long, value_name = "DIR")]
    pub out: Option<OsString>,

    /// Short runs and few of them, as with bench
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub quick: Option<String>,

    /// Lays p50 and p99 beside those of a bench: its report.json, or figures.csv
    #[arg(long, value_name = "FILE")]
    pub compare: Option<OsString>,

    /// JSON on standard output in place of text
    #[arg(long)]
    pub json: bool,

    /// Worker processes [default: 8]
    #[arg(long, value_name = "K", help_heading = "mmk and cluster")]
    pub workers: Option<String>,

    /// Load on each worker, above 0 and below 1 [default: 0.8]
    #[arg(long, value_name = "R", help_heading = "mmk and cluster")]
    pub rho: Option<String>,

    /// Of service times: exponential, fixed, bimodal [default: exponential]
    #[arg(long, value_name = "LAW", help_heading = "mmk and cluster")]
    pub law: Option<String>,

    /// least-loaded, two-choices, random, round-robin [default: least-loaded]
    #[arg(long, value_name = "POLICY", help_heading = "mmk and cluster")]
    pub balance: Option<String>,

    /// Requests that a worker may hold; with 1 there is one queue, and it is M/M/k [default: 1]
    #[arg(long, value_name = "N", help_heading = "mmk and cluster")]
    pub credit: Option<String>,

    /// Requests that are counted [default: 4 to 32 million, by load and workers]
    #[arg(long, value_name = "N", help_heading = "mmk and cluster")]
    pub requests: Option<String>,

    /// Nodes behind the balancer [default: 10]
    #[arg(long, value_name = "N", help_heading = "cluster")]
    pub nodes: Option<String>,

    /// round-robin, least-connections, reported-connections, agent-check, orca [default:
    /// least-connections]
    #[arg(long, value_name = "BALANCER", help_heading = "cluster")]
    pub balancer: Option<String>,

    /// How old what nodes say of themselves becomes, in which a mean service is 10ms [default: 1s]
    #[arg(long, value_name = "DURATION", help_heading = "cluster")]
    pub every: Option<String>,

    /// So many nodes are slow [default: 0]
    #[arg(long, value_name = "N", help_heading = "cluster")]
    pub slow_nodes: Option<String>,

    /// How fast they are, where the others have 1 [default: 1]
    #[arg(long, value_name = "X", help_heading = "cluster")]
    pub slow_speed: Option<String>,

    /// Lists the presets
    #[arg(long, exclusive = true)]
    pub list: bool,
}
