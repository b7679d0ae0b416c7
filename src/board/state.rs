//! The master's own record of a page, as one master image leaves it to the next.
//!
//! Claim words, terms and the ring stand in memory that both images map: they are not copied, and
//! workers go on changing them meanwhile. Only what the master knows by itself has to travel.
//!
//! Not here: the file that it stands in (`master::upgrade`).

use serde::{Deserialize, Serialize};

use crate::board::layout::{Layout, MAGIC, PageError, Words};
use crate::board::master::{MasterPage, Record};
use crate::ident::ConnectionId;
use crate::loan::MasterState;

/// What a page's layout is called; a master cannot go on with pages of another one.
pub const PAGE_LAYOUT: u64 = MAGIC;

/// One record for each place that was ever used, and how far the ring has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageState {
    records: Vec<(ConnectionId, u32, MasterState)>,
    ring_tail: u64,
}

impl PageState {
    /// Places that were ever used.
    pub fn places(&self) -> usize {
        self.records.len()
    }

    /// Connections that are at the worker, with the index of the place of each.
    pub fn on_loan(&self) -> impl Iterator<Item = (u32, u32, ConnectionId)> {
        (0_u32..)
            .zip(&self.records)
            .filter(|(_, (.., state))| *state == MasterState::OnLoan)
            .map(|(index, (connection, sequence, _))| (index, *sequence, *connection))
    }
}

impl<M: Words> MasterPage<M> {
    /// What the next image must know.
    pub fn state(&self) -> PageState {
        let records = self.records.iter();
        PageState {
            records: records
                .map(|record| (record.connection, record.sequence, record.state))
                .collect(),
            ring_tail: self.ring_tail,
        }
    }

    /// Goes on with a page for `loans_max` loans that is in use, and in [`PAGE_LAYOUT`]. What the
    /// page says of itself is not asked: its worker can write to it.
    ///
    /// # Errors
    /// The memory is too short for so many loans, or the state has more.
    pub fn resume(memory: M, loans_max: u32, state: &PageState) -> Result<Self, PageError> {
        let layout = Layout { loans_max };
        layout.check(memory.words())?;
        if state.records.len() > loans_max as usize {
            return Err(PageError::NoPlaces);
        }
        let records: Vec<Record> = state
            .records
            .iter()
            .map(|&(connection, sequence, state)| Record { connection, sequence, state })
            .collect();
        let count = |wanted| records.iter().filter(|record| record.state == wanted).count() as u32;
        let (on_loan, owed) = (count(MasterState::OnLoan), count(MasterState::Recalled));
        let free = (0_u32..)
            .zip(&records)
            .filter(|(_, record)| record.state == MasterState::Free)
            .map(|(index, _)| index)
            .collect();
        Ok(MasterPage { memory, layout, records, free, ring_tail: state.ring_tail, on_loan, owed })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::board::{Recall, Terms, WorkerPage, page_bytes};
    use crate::ident::LoanId;
    use crate::loan::LoanState;
    use crate::time::Nanos;

    fn memory(loans_max: u32) -> Arc<Vec<AtomicU64>> {
        Arc::new((0..page_bytes(loans_max) / 8).map(|_| AtomicU64::new(0)).collect())
    }

    fn lend(master: &mut MasterPage<Arc<Vec<AtomicU64>>>, id: u32) -> LoanId {
        master.lend(ConnectionId(id), &Terms::new(Nanos(5))).unwrap()
    }

    #[test]
    fn the_next_image_knows_every_loan_whatever_its_worker_did_meanwhile() {
        let memory = memory(8);
        let mut master = MasterPage::new(Arc::clone(&memory), 8).unwrap();
        let mut worker = WorkerPage::attach(Arc::clone(&memory)).unwrap();
        let loans: Vec<_> = (0..5).map(|id| lend(&mut master, id)).collect();
        assert!(matches!(master.recall(loans[1]), Recall::Taken { .. }));
        assert!(worker.claim(loans[2], LoanState::Lent));
        master.undo_lend(loans[4]);
        let text = serde_json::to_string(&master.state()).unwrap();
        drop(master);
        // Between the two images the worker goes on.
        worker.end(loans[2], LoanState::Active);
        worker.let_go(loans[2]);
        worker.let_go(loans[1]);
        let state: PageState = serde_json::from_str(&text).unwrap();
        let mut next = MasterPage::resume(memory, 8, &state).unwrap();
        next.check_invariants();
        assert_eq!((next.on_loan(), next.owed()), (3, 1));
        let mut out = Vec::new();
        next.drain_ring(64, &mut out).unwrap();
        let let_go: Vec<_> = out.iter().map(|one| (one.loan, one.connection)).collect();
        assert_eq!(let_go, [(loans[2], ConnectionId(2)), (loans[1], ConnectionId(1))]);
        assert_eq!((next.on_loan(), next.owed()), (2, 0));
        let again = lend(&mut next, 9);
        assert!(again.sequence > 0, "a place that was used has another sequence");
        next.check_invariants();
    }

    #[test]
    fn a_state_that_does_not_fit_its_page_is_refused() {
        let small = memory(2);
        MasterPage::new(Arc::clone(&small), 2).unwrap();
        let records = vec![(ConnectionId(0), 0, MasterState::Free); 3];
        let state = PageState { records, ring_tail: 0 };
        assert!(MasterPage::resume(Arc::clone(&small), 2, &state).is_err());
        assert!(MasterPage::resume(small, 4, &PageState::default()).is_err(), "too short");
    }
}
