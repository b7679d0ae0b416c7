//! What `tests/rebalancing_chaos.rs` drives a server with: a plan that a seed decides, requests
//! that know their answers, clients that follow their part of the plan, and one thread that runs
//! them all.
//!
//! Not here: starting the server (`common`), which modes and seeds run (`rebalancing_chaos`).

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod plan;
pub(crate) mod request;
