//! What one node of a fleet says of itself, so that engines beyond this machine can balance by it.
//!
//! ```text
//!  workers' reports ──▶ NodeFacts ──▶ load of the node ──▶ WeightLaw ──▶ agent check (HAProxy)
//!                                            └───────────────────────▶ ORCA report  (Envoy, gRPC)
//! ```
//!
//! maitred seats the connections of one machine. Which machine a connection comes to is decided by
//! a balancer that people already run; this room turns what the master knows into what those
//! balancers ask for, in their own protocols. Everything here is arithmetic and text: no socket,
//! no clock, no file.
//!
//! | file | what |
//! |---|---|
//! | `load` | how loaded a node is, as one number |
//! | `weight` | from that number to a weight that lets no fleet oscillate |
//! | `node` | from workers' counters to rates and that number |
//! | `agent` | the answers to HAProxy's agent check |
//! | `orca` | the report that Envoy and gRPC read |
//!
//! Not here: who looks, and who answers.

pub mod agent;
pub mod load;
pub mod node;
pub mod orca;
pub mod weight;

pub use load::NodeFacts;
pub use node::{Node, NodeLoad, NodeLook, WorkerLook};
pub use weight::{WeightLaw, WeightSettings};
