//! The admin address: what operators see of a server, and what they tell it.
//!
//! ```text
//!   operator ──HTTP──▶ helper process ──frames──▶ master
//!                       ▲  one handler thread      │
//!                       └── status page, frames ◀──┘
//! ```
//!
//! The master parses no HTTP. It starts its own program once more as a helper, which is a worker
//! without a slot (`worker::alone`): it accepts from listeners of its own, reads what the master
//! writes of itself, asks it for commands by frames, and leaves with it. Whatever is sent to the
//! admin address meets the helper's limits, and can cost the server nothing but one process.
//!
//! | file | what |
//! |---|---|
//! | `frame` | what master and helper say to each other, pure |
//! | `helper` | the process |
//! | `agent_check` | the answers to HAProxy's agent check, beside HTTP |
//! | `link` | its end of the channel, and what has happened so far |
//! | `seeing` | the status page and /proc as a [`View`](crate::observe::view::View) |
//! | `routes` | paths and methods |
//! | `order` | the JSON of a command, pure |
//! | `reply` | an answer as a client reads it, pure |
//! | `metrics` | a view as OpenMetrics, pure |
//! | `dashboard` | the page |
//!
//! Not here: the master's side (`master::admin`), the client (`cli::ctl`).

pub mod frame;

#[cfg(feature = "cli")]
#[cfg(not(loom))]
mod agent_check;
#[cfg(feature = "cli")]
pub mod dashboard;
#[cfg(feature = "cli")]
#[cfg(not(loom))]
pub mod helper;
#[cfg(feature = "cli")]
#[cfg(not(loom))]
mod link;
#[cfg(feature = "cli")]
pub mod metrics;
pub mod order;
pub mod reply;
#[cfg(feature = "cli")]
#[cfg(not(loom))]
mod routes;
#[cfg(feature = "cli")]
#[cfg(not(loom))]
mod seeing;
