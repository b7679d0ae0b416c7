//! What a server says about itself: the log, the access log, and what its master keeps in a status
//! file ([`status`]).
//!
//! Serving never waits for a reader of either: lines go into a bounded buffer that a thread
//! empties into a stream, a file or a daemon ([`sink`]), and what does not fit is counted and dropped
//! ([`lossy`]). Text that came from a client
//! is escaped on the way ([`escape`]), so that no request can move a cursor, forge a line or close
//! a quote.
//!
//! Not here: what is worth a line (the rooms themselves, through `tracing`).

pub mod access;
pub mod calendar;
pub mod datagram;
pub mod escape;
#[cfg(feature = "cli")]
pub mod log_line;
#[cfg(feature = "cli")]
pub mod logging;
pub mod lossy;
pub mod requests;
pub mod sink;
pub mod slow;
pub mod status;
pub mod view;
