//! The admin address: what operators see of a server.
//!
//! Not here: the master (`master`), what a view says (`observe::view`).

#[cfg(feature = "cli")]
pub mod metrics;
