//! The result of a bench: its form, the files that are made of it, and its page.
//!
//! Not here: how the figures come about (`measure`).

pub mod csv;
pub mod digits;
pub mod folder;
pub mod json;
pub mod schema;
pub mod table;
