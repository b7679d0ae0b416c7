//! The result of a bench: its form, the files that are made of it, and its page.
//!
//! Not here: how the figures come about (`measure`).

pub mod compare;
pub mod csv;
pub mod folder;
pub mod format;
pub mod html;
pub mod json;
pub mod kinds;
pub mod ratio;
pub mod reading;
pub mod schema;
pub mod table;
