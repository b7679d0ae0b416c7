//! A client that keeps its own ledger: it sends at its own times, every request knows its answer,
//! and what became of each is written down by kind. Nothing that the server says of itself is
//! needed for it.
//!
//! Whoever declares this module declares `common` (`tests/common`), `answer` and `request`
//! (`tests/chaos`) beside it.
//!
//! Not here: what is done to the server meanwhile (`benches/faults`), load whose latencies are the
//! point (`maitred::experiment`, whose arrivals and timer this uses).

#![allow(dead_code, reason = "each user has its part of this")]

pub(crate) mod book;
pub(crate) mod connection;
pub(crate) mod load;
