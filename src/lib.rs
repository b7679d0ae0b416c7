//! maitred: a pre-fork HTTP server in which **only the master accepts** (or, to compare, the workers
//! in one of the kernel's ways: `--accept`).
//!
//! The master seats each connection at a chosen worker process by passing the connected descriptor
//! over that worker's own Unix socketpair (SCM_RIGHTS). It *lends*: it keeps its own copy from
//! accept to end, and one atomic word per loan says who may read next. So it can take back what a
//! worker has not claimed, and a worker's death loses nothing but what it was answering.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | master | the one process that owns the listeners and all connections, decides, supervises; it never reads a byte of HTTP |
//! | worker | a process that serves connections; lives in a **slot** (stable number), as an **incarnation** (generation) |
//! | hand-off | lending: one packet, one or more descriptors, master to worker |
//! | loan | a connection at a worker; has a **claim word** and a record in the worker's page |
//! | recall | the master takes a loan back that its worker has not claimed |
//! | rescue | a recall of an idle loan of a stuck worker, whose client has sent something |
//! | stuck | of a worker: it makes no progress, and a connection would wait there for longer than `--stall-after`; it ranks behind all that are not |
//! | parked | an idle connection that no worker holds: the master alone waits until it is readable |
//! | page, board | the shared-memory page of one incarnation (load report, claim words); all of them together |
//! | ledger | the master's own arithmetic on the board: what each worker holds right now |
//! | candidate | what a policy sees of a worker: numbers only |
//! | credit | how many connections may wait at a worker (with handler threads: wait or be served) |
//! | waiting room | connections accepted without credit, in order of arrival, once a limit to waiting may have been passed |
//! | shed | turned away with a 503 |
//! | account | every connection that was accepted: where it is, or how it has left |
//! | status file | what a master says of itself, for other processes to read |
//! | meters | what requests took and came to, added up for each slot in memory that all workers share |
//! | helper | the process that answers operators at the admin address: a worker without a slot |
//! | drained | of a slot: out of service, because an operator wants it so |
//! | intake | where a worker's connections come from: loans, or one of the kernel's ways |
//! | arm | one way of distributing connections over workers: the master's, or one of the kernel's |
//! | node | one server of a fleet: a master and its workers |
//! | own | what a worker has accepted itself, in one of the kernel's arms |
//!
//! # Rooms, in the order in which a connection travels

pub mod config;
pub mod exit;
pub mod ident;
pub mod time;

#[cfg(feature = "cli")]
#[cfg(not(loom))]
pub mod cli;

pub mod sys;

pub mod supervise;

// Under loom only the words of pages are of interest; real memory is none that loom could follow.
#[cfg(not(loom))]
pub mod master;

pub mod account;
pub mod dispatch;
pub mod loan;

pub mod board;
pub mod handoff;

#[cfg(not(loom))]
pub mod meters;

#[cfg(not(loom))]
pub mod worker;

pub mod proxy_protocol;

pub mod http;

pub mod app;

pub mod observe;

#[cfg(feature = "top")]
#[cfg(not(loom))]
pub mod top;

pub mod admin;
pub mod fleet;

#[cfg(feature = "experiments")]
#[cfg(not(loom))]
pub mod experiment;

#[cfg(feature = "experiments")]
#[cfg(not(loom))]
pub mod sim;

#[cfg(feature = "cli")]
#[cfg(not(loom))]
pub use cli::run;
