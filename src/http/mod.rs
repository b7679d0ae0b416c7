//! HTTP/1.1 without I/O.

pub mod head;

pub use head::{RequestHead, Target};
