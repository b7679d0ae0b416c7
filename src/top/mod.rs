//! `maitred top`: a server in a terminal, once a second.
//!
//! ```text
//! GET /status ──▶ View ──▶ Model ◀── keys        pure; cli::top has the terminal and the clock
//!                            └──▶ draw::draw ──▶ a frame of any size
//! ```
//!
//! ```
//! use maitred::observe::view::View;
//! use maitred::time::Nanos;
//! use maitred::top::{Key, Model};
//!
//! let mut model = Model::new("unix:/run/maitred/admin", true);
//! model.handle_view(View::default(), Nanos(0));
//! model.handle_key(Key::Char('s'));
//! model.handle_failure("connection refused".to_owned(), Nanos(2_000_000_000));
//! assert!(!model.is_over());
//! ```
//!
//! Counters of the server only rise, so every rate is a difference of two pictures. What a picture
//! does not say is shown as a dash: unknown is never zero.
//!
//! Not here: the page in a browser (`admin::dashboard`), where pictures come from and
//! the terminal (`cli::top`).

mod columns;
mod draw;
mod history;
mod model;
mod trouble;
mod words;

pub use draw::draw;
pub use model::{Key, Model};
