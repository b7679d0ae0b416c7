//! The admin address.

pub mod dashboard;
