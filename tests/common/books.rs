//! The clients' own count of connections, by the address that they went to, to be held against the
//! server's account.
//!
//! A connection that the kernel made for a client may never reach the server (it was deferred and
//! left in silence, or waited in a queue whose listener closed). So there are two bounds: the
//! server has accepted at least those that had an answer, and at the most those that were made.
//!
//! Not here: the server's account (`Server::account`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the clients of one address have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Connections that were made.
    pub(crate) connected: u64,
    /// Of those, how many have had an answer or more.
    pub(crate) answered: u64,
    /// Answers with 502, which the master alone gives.
    pub(crate) bad_gateway: u64,
    /// Answers with 503, likewise.
    pub(crate) unavailable: u64,
}

static SEEN: Mutex<BTreeMap<String, Seen>> = Mutex::new(BTreeMap::new());

/// One client's connection, which is counted when it is made and when it has its first answer.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As the server names it when it is ready: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
    address: String,
    has_answer: bool,
}

impl Entry {
    /// A connection has been made.
    pub(crate) fn connected(address: String) -> Entry {
        all().entry(address.clone()).or_default().connected += 1;
        Entry { address, has_answer: false }
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, status: u16) {
        let mut all = all();
        let seen = all.entry(self.address.clone()).or_default();
        seen.answered += u64::from(!std::mem::replace(&mut self.has_answer, true));
        seen.bad_gateway += u64::from(status == 502);
        seen.unavailable += u64::from(status == 503);
    }
}

/// A server begins to listen there: what was counted of another one is over.
pub(crate) fn begin(address: &str) {
    all().remove(address);
}

/// What the clients of these addresses have seen, together.
pub(crate) fn seen(addresses: &[String]) -> Seen {
    let all = all();
    let mut sum = Seen::default();
    for seen in addresses.iter().filter_map(|address| all.get(address)) {
        sum.connected += seen.connected;
        sum.answered += seen.answered;
        sum.bad_gateway += seen.bad_gateway;
        sum.unavailable += seen.unavailable;
    }
    sum
}

fn all() -> MutexGuard<'static, BTreeMap<String, Seen>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}
