//! The dispatcher at a scale that no test machine has: servers, clients and fleets in virtual time.
//!
//! ```text
//! plan, preset ─► clients ─► server (the real dispatcher and supervisor) ─► report
//!                    │                       ▲
//!                    └─► balancer ─► nodes ──┘
//! ```
//!
//! | room | what |
//! |---|---|
//! | `agenda`, `seeds`, `crew` | what happens when; who draws what; runs on all cores |
//! | `costs` | what everything beside the work takes |
//! | `server` | one server: its master around the real machines, or one of the kernel's arms |
//! | `flow` | a stream of requests into one server, for theory |
//! | `theory`, `mmk` | what theory says, and whether it holds |
//! | `clients`, `trial`, `run` | plans of `bench`: their clients, one run, all of them |
//!
//! | `cluster` | a balancer in front of many servers |
//! | `against` | a simulation beside a measurement |
//!
//! Everything is decided by seeds: a run can be had again. No socket is opened, no clock is read.
//!
//! Not here: measuring real servers (`experiment`), whose words, measures and reports these are.

pub mod against;
pub mod agenda;
mod clients;
pub mod cluster;
pub mod costs;
pub mod crew;
pub mod flow;
pub mod mmk;
pub mod run;
pub mod seeds;
pub mod server;
pub mod theory;
mod trial;
