//! Measuring servers: every way of distributing connections under every load, side by side.
//!
//! ```text
//! preset or file → plan → run ──→ trials → measure → report → json, csv, html
//!                          │ ↑
//!                    server └─── load
//! ```
//!
//! | room | what |
//! |---|---|
//! | `plan` | arms, workloads, predictions: files and presets; pure |
//! | `run` | servers, order, runs |
//! | `load` | the load generator: requests at their own times, and what became of each |
//! | `measure` | from what was observed to figures; pure |
//! | `report` | the result: its form, its files, its page |
//!
//! The server that is measured is another process; nothing of it is shared but the clock.
//!
//! Not here: the ways of distributing themselves (`master`, `worker`).

pub mod load;
pub mod measure;
pub mod plan;
pub mod report;
pub mod run;
