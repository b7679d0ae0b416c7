//! The counters of connections that a worker has accepted itself (`--accept`, the kernel's arms).
//!
//! Nobody else can have them: there is no claim word to exchange, no terms, no ring. The load
//! report is kept all the same, call for call as for a loan (`worker`), so that status, recycling
//! and the judge of hangs see one kind of worker, and so that both kinds pay the same for it.
//!
//! Not here: loans (`worker`), accepting (`crate::worker`).

use crate::board::layout::Words;
use crate::board::report::{self, Field};
use crate::board::worker::WorkerPage;
use crate::loan::LoanState;

impl<M: Words> WorkerPage<M> {
    /// A connection has been accepted here.
    pub fn own_accepted(&self) {
        report::add(&self.memory, Field::OwnAccepted, 1);
    }

    /// A request is about to be read.
    pub fn own_claim(&self) {
        report::add(&self.memory, Field::Started, 1);
    }

    /// There was nothing to read.
    pub fn own_claim_was_empty(&self) {
        self.claim_came_to_nothing();
    }

    /// A request has been answered, and the next one has been read already.
    pub fn own_active_again(&self) {
        report::add(&self.memory, Field::Started, 1);
        report::add(&self.memory, Field::Finished, 1);
    }

    /// A request has been answered, and nothing more has been read.
    pub fn own_idle(&self) {
        report::add(&self.memory, Field::Finished, 1);
    }

    /// The connection has ended; `from` is what its claim word would say.
    pub fn own_end(&self, from: LoanState) {
        self.count_end(from);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::board::{MasterPage, Terms, page_bytes};
    use crate::ident::ConnectionId;
    use crate::time::Nanos;

    /// The same life as a loan and as a connection of the worker's own leaves the same report, but
    /// for where it came from.
    #[test]
    fn a_connection_counts_the_same_whoever_accepted_it() {
        let memory: Vec<_> = (0..page_bytes(4) / 8).map(|_| AtomicU64::new(0)).collect();
        let memory = Arc::new(memory);
        let mut master = MasterPage::new(Arc::clone(&memory), 4).unwrap();
        let worker = WorkerPage::attach(memory).unwrap();
        let terms = Terms::new(Nanos(5));
        let loan = master.lend(ConnectionId(1), &terms).unwrap();
        assert!(worker.claim(loan, LoanState::Lent));
        worker.claim_was_empty(loan, &terms);
        assert!(worker.claim(loan, LoanState::Idle));
        worker.answering(loan);
        worker.active_again(loan);
        worker.answering(loan);
        worker.idle(loan, &terms);
        assert!(worker.claim(loan, LoanState::Idle));
        worker.end(loan, LoanState::Active);
        let lent = master.report();

        let memory: Vec<_> = (0..page_bytes(4) / 8).map(|_| AtomicU64::new(0)).collect();
        let memory = Arc::new(memory);
        let master = MasterPage::new(Arc::clone(&memory), 4).unwrap();
        let worker = WorkerPage::attach(memory).unwrap();
        worker.own_accepted();
        worker.own_claim();
        worker.own_claim_was_empty();
        worker.own_claim();
        worker.own_active_again();
        worker.own_idle();
        worker.own_claim();
        worker.own_end(LoanState::Active);
        let own = master.report();
        assert_eq!((lent.own_accepted, own.own_accepted), (0, 1));
        assert_eq!(own.own_open(), 0);
        assert_eq!(crate::board::LoadReport { own_accepted: 0, ..own }, lent);
    }
}
