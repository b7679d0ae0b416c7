//! Meters: what requests took and came to, added up for each slot in memory that all workers share.
//!
//! ```text
//!   worker 0 ──add──▶ ┌ one memfd of the whole server ┐
//!   worker 1 ──add──▶ │ header │ slot 0 │ slot 1 │ …  │ ──read──▶ helper ──▶ /status, /metrics
//!                     └───────────────────────────────┘
//! ```
//!
//! A page dies with its process, and what it counted with it; a scraper that comes every fifteen
//! seconds would miss the end of each. These numbers belong to the slot: the next process of it
//! adds to the same words, and for a while (a reload) two do at once. So each is an atomic
//! addition, where a load report is stored; `benches/meters.rs` has what that costs.
//!
//! The master makes the memory and never looks into it. A worker that writes nonsense spoils what
//! is said of the server, and nothing that the server does.
//!
//! | file | what |
//! |---|---|
//! | `layout` | which word stands where |
//! | `buckets` | the bounds of all histograms |
//! | `recorder` | the worker's side: add |
//! | `reader` | the helper's side: read |
//!
//! Not here: who records what (`worker`, `python/src/asgi`), what is made of it (`admin::metrics`).

mod buckets;
mod layout;
mod reader;
mod recorder;

pub use buckets::{BOUNDS, BUCKETS, bucket_of};
pub use layout::{Counter, Histogram, METERS_BYTES, MetersError, lay_out};
pub use reader::{HistogramReading, Reader, SlotReading};
pub use recorder::SlotMeters;
