//! A load generator that sends at its own times, whatever the server does.
//!
//! Open loop: a request is due when its arrival process says so, and its latency counts from then.
//! A generator that waits for answers before it sends slows down with a stalled server and so hides
//! the stall ("coordinated omission"). How late the generator itself is, is measured too and stands
//! beside the result.
//!
//! | file | what |
//! |---|---|
//! | `plan` | what is sent: classes of requests, sets of connections |
//! | `arrivals` | when requests are due |
//! | `service` | how long they ask to be worked on |
//! | `replay` | both, from a trace |
//! | `generator` | the front door: opens sets, runs plans |
//! | `stream` | the requests of one class, as they become due |
//! | `run` | one run: what is due, on which connection, and what became of it |
//! | `sample` | one request, whole |
//! | `connections` | non-blocking sockets, one request at a time each |
//! | `answer`, `chunks` | one answer, read without I/O |
//! | `timer` | wakes the loop on time |
//! | `report` | latencies, failures, lag |
//! | `limits` | named maxima |
//!
//! One generator is one thread, and drives thousands of connections. More threads are more
//! generators, and their reports add up ([`Report::add`]).
//!
//! ```
//! use std::time::Duration;
//!
//! use maitred::experiment::load::{Arrivals, Ask, Choice, Class, Generator, Opening, Pace, Plan};
//!
//! fn measure(server: std::net::SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut generator = Generator::new(server)?;
//!     let set = generator.open(&Opening { count: 64, at_once: 16, path: "/".to_owned() })?;
//!     let plan = Plan {
//!         classes: vec![Class {
//!             name: "hello".to_owned(),
//!             ask: Ask::Path("/".to_owned()),
//!             pace: Pace::Open(Arrivals::Poisson { rate: 1000.0 }),
//!             set,
//!             choice: Choice::Random,
//!         }],
//!         duration: Duration::from_secs(10),
//!         warm_up: Duration::from_secs(1),
//!         answer_within: Duration::from_secs(30),
//!         seed: 1,
//!         keep_samples: false,
//!     };
//!     let report = generator.run(&plan)?;
//!     println!("p99 {:?}, lag {:?}", report.classes[0].latency_at(0.99), report.lag_at(0.99));
//!     Ok(())
//! }
//! ```
//!
//! Not here: starting servers (`run`), what results mean (`measure`), tables of them (`report`).

pub mod answer;
pub mod arrivals;
mod chunks;
mod connections;
pub mod generator;
pub mod limits;
pub mod plan;
pub mod replay;
pub mod report;
mod run;
pub mod sample;
pub mod service;
pub(crate) mod stream;
pub mod timer;

pub use arrivals::Arrivals;
pub use generator::{Generator, GeneratorError, Opening};
pub use plan::{Ask, Choice, Class, Pace, Plan, PlanError, SetId};
pub use replay::Due;
pub use report::{ClassReport, Failure, Failures, Report};
pub use sample::Sample;
pub use service::{ServiceKind, ServiceTimes};

#[cfg(test)]
mod tests;
