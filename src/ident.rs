//! Names of things: slots, generations, incarnations, connections, loans, listeners.
//!
//! Bare integers of one type get swapped in argument lists; these do not. Each is as small as the
//! shared page and the frames allow, since thousands of them are held.
//!
//! Not here: what a connection or a loan *is* (`master::connections`, `loan`).

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The stable number of a worker's place; it survives restarts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Slot(pub u16);

/// Counts the worker processes that a master has started, over all slots; never reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation(pub u32);

/// One worker process: a slot, as one generation. During a reload a slot has two.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Incarnation {
    /// The place it fills.
    pub slot: Slot,
    /// Which process fills it.
    pub generation: Generation,
}

/// The master's name for a connection that it holds: a place in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u32);

/// A loan: a place in the page of one incarnation, with a sequence against reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LoanId {
    /// The place in the page's loan table, below `config::LOANS_MAX`.
    pub index: u32,
    /// How often that place had been used before.
    pub sequence: u32,
}

/// Which listener accepted a connection: its place in the order of `--bind`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ListenerId(pub u16);

/// The client's end of a connection, as the kernel named it at accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerAddress {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// A client of a Unix socket; those have no address of their own.
    Local,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Inet(address) => address.fmt(f),
            PeerAddress::Local => f.write_str("unix:"),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LoanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index, self.sequence)
    }
}
