//! The master's side of a page: lending, taking back, and believing nothing it has not checked.
//!
//! The master keeps a record of its own for every place: which connection is there, under which
//! sequence, and whether it has been taken back. Where the page says otherwise the record is right.
//! Bytes in the page can only make a worker lose what is its own.
//!
//! Not here: the transitions (`loan`), the worker's side (`worker`), descriptors (`master`).

use std::time::Duration;

use thiserror::Error;

use crate::board::bell::{self, Call};
use crate::board::doing::{self, Doing, DoingEntry};
use crate::board::layout::{
    AT_LOANS_MAX, AT_MAGIC, AT_RING_HEAD, AT_STALL_AFTER, Layout, MAGIC, PageError, Words,
};
use crate::board::node::{self, NodeWords};
use crate::board::report::LoadReport;
use crate::board::sync::{AtomicU64, Ordering};
use crate::board::terms::Terms;
use crate::ident::{ConnectionId, LoanId};
use crate::loan::{ClaimWord, LoanState, MasterState, Settlement, settle};
use crate::time::Nanos;

/// A page, as the master uses it.
#[derive(Debug)]
pub struct MasterPage<M> {
    pub(super) memory: M,
    pub(super) layout: Layout,
    /// One for each place that was ever used; grows with use, up to `loans_max`.
    pub(super) records: Vec<Record>,
    /// Places that are free again; the last one freed is used first, so that few are touched.
    pub(super) free: Vec<u32>,
    /// Ids taken out of the ring, ever.
    pub(super) ring_tail: u64,
    pub(super) on_loan: u32,
    pub(super) owed: u32,
}

/// The master's own knowledge of one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) connection: ConnectionId,
    pub(super) sequence: u32,
    pub(super) state: MasterState,
}

const _: () = assert!(size_of::<Record>() <= 24);

/// How an attempt to take a loan back went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The connection is the master's again; its place stays taken until the worker lets go.
    Taken {
        /// The connection.
        connection: ConnectionId,
        /// LENT: nobody has read from it here. IDLE: between two requests.
        was: LoanState,
        /// What its next worker must know.
        terms: Terms,
    },
    /// The worker has claimed it, or has it in a state that is not taken back.
    Claimed,
    /// There is no such loan any more.
    Over,
}

/// A loan that its worker has let go of; the place is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetGo {
    /// Which.
    pub loan: LoanId,
    /// The connection that was there.
    pub connection: ConnectionId,
    /// Why.
    pub how: LetGoHow,
}

/// Why a worker let go of a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGoHow {
    /// The connection is over, and shut down: the master closes its copy.
    Ended,
    /// Given back: the master parks or seats it.
    Given(Terms),
    /// It had been recalled, and went elsewhere then.
    Recalled,
}

/// A ring entry that no honest worker writes. The worker is to be replaced.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RingError {
    /// More ids at once than there are places.
    #[error("the ring's head moved by {0} places at once")]
    Overrun(u64),
    /// No loan of that id is out.
    #[error("the ring names {0}, which is not on loan")]
    Unknown(LoanId),
    /// The word does not say that the worker is done with it.
    #[error("the ring names {0}, whose claim word is {1:#x}")]
    NotLetGo(LoanId, u64),
}

/// A loan of a worker that has ended, and what becomes of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub loan: LoanId,
    /// The connection that was there.
    pub connection: ConnectionId,
    /// What becomes of it.
    pub settlement: Settlement,
    /// What its next worker must know, if it gets one.
    pub terms: Terms,
}

impl<M: Words> MasterPage<M> {
    /// Lays out a page for `loans_max` loans in zeroed memory.
    ///
    /// # Errors
    /// The memory is too short.
    pub fn new(memory: M, loans_max: u32) -> Result<Self, PageError> {
        let layout = Layout { loans_max };
        layout.check(memory.words())?;
        memory.words()[AT_LOANS_MAX].store(u64::from(loans_max), Ordering::Relaxed);
        memory.words()[AT_MAGIC].store(MAGIC, Ordering::Release);
        Ok(MasterPage {
            memory,
            layout,
            records: Vec::new(),
            free: Vec::new(),
            ring_tail: 0,
            on_loan: 0,
            owed: 0,
        })
    }

    /// FREE → LENT, before the packet is sent. `None` when every place is taken: no credit.
    pub fn lend(&mut self, connection: ConnectionId, terms: &Terms) -> Option<LoanId> {
        let index = self.free.pop().or_else(|| self.new_place())?;
        let record = self.records.get_mut(index as usize)?;
        record.connection = connection;
        record.state = MasterState::OnLoan;
        let loan = LoanId { index, sequence: record.sequence };
        self.on_loan += 1;
        terms.store(&self.memory, self.layout, index);
        // Release: the worker's acquiring claim sees the terms. (Its first sight of the loan is the
        // packet, which orders them too; a second incarnation must not depend on that.)
        self.store(loan, LoanState::Lent);
        Some(loan)
    }

    /// LENT → FREE: the packet was not sent. The worker does not know of the loan, so that whatever
    /// it has written over the word means nothing; the connection is the caller's.
    pub fn withdraw(&mut self, loan: LoanId) {
        if self.record(loan).is_some_and(|record| record.state == MasterState::OnLoan) {
            self.release(loan);
        }
    }

    /// Whether a worker may refuse this loan: one that it has not claimed, or that was taken back
    /// before it could say so.
    pub fn may_refuse(&self, loan: LoanId) -> bool {
        self.record(loan).is_some_and(|record| {
            record.state == MasterState::Recalled || self.look(loan) == LoanState::Lent
        })
    }

    /// LENT or RECALLED → FREE: the worker has refused it. Returns the connection if it was still
    /// the master's to place; false ids return nothing.
    pub fn undo_lend(&mut self, loan: LoanId) -> Option<ConnectionId> {
        let record = *self.record(loan)?;
        let state = self.look(loan);
        match (record.state, state) {
            (MasterState::OnLoan, LoanState::Lent) => {
                self.release(loan);
                Some(record.connection)
            }
            (MasterState::Recalled, _) => {
                self.release(loan);
                None
            }
            // A worker that refuses what it has claimed has both: it is believed in the word.
            (MasterState::OnLoan | MasterState::Free, _) => None,
        }
    }

    /// LENT or IDLE → RECALLED, if the worker has not claimed it.
    pub fn recall(&mut self, loan: LoanId) -> Recall {
        let Some(record) = self.record(loan).copied() else { return Recall::Over };
        if record.state != MasterState::OnLoan {
            return Recall::Over;
        }
        let was = self.look(loan);
        if !matches!(was, LoanState::Lent | LoanState::Idle) {
            return Recall::Claimed;
        }
        let word = |state| ClaimWord { sequence: loan.sequence, state }.encode();
        // Acquire: sees the terms that the worker wrote before its releasing store of IDLE.
        let exchanged = self.word(loan).compare_exchange(
            word(was),
            word(LoanState::Recalled),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if exchanged.is_err() {
            return Recall::Claimed;
        }
        if let Some(record) = self.records.get_mut(loan.index as usize) {
            record.state = MasterState::Recalled;
        }
        self.on_loan -= 1;
        self.owed += 1;
        Recall::Taken { connection: record.connection, was, terms: self.terms(loan) }
    }

    /// Takes up to `budget` ids out of the ring, and frees their places.
    ///
    /// # Errors
    /// An entry that no honest worker writes. What came before it stands in `out` and is valid.
    pub fn drain_ring(&mut self, budget: usize, out: &mut Vec<LetGo>) -> Result<(), RingError> {
        // Acquire: the entries, and the words behind them, were written before the head.
        let head = self.memory.words()[AT_RING_HEAD].load(Ordering::Acquire);
        let waiting = head.wrapping_sub(self.ring_tail);
        if waiting > u64::from(self.layout.loans_max) {
            return Err(RingError::Overrun(waiting));
        }
        for _ in 0..waiting.min(budget as u64) {
            let at = self.layout.ring(self.ring_tail);
            let entry = self.memory.words()[at].load(Ordering::Relaxed);
            self.ring_tail = self.ring_tail.wrapping_add(1);
            let loan = LoanId { index: entry as u32, sequence: (entry >> 32) as u32 };
            out.push(self.take_back(loan)?);
        }
        Ok(())
    }

    /// Whether the ring holds something.
    pub fn ring_waits(&self) -> bool {
        self.memory.words()[AT_RING_HEAD].load(Ordering::Relaxed) != self.ring_tail
    }

    /// What the claim word of a loan says; FREE for one that is not out. A word that cannot be
    /// counts as PINNED: the worker has it in no state that could be taken back.
    pub fn look(&self, loan: LoanId) -> LoanState {
        match self.record(loan) {
            None => LoanState::Free,
            Some(_) => match ClaimWord::decode(self.word(loan).load(Ordering::Acquire)) {
                Ok(word) if word.sequence == loan.sequence => word.state,
                Ok(_) | Err(_) => LoanState::Pinned,
            },
        }
    }

    /// The connection of a loan that is at the worker.
    pub fn connection(&self, loan: LoanId) -> Option<ConnectionId> {
        self.record(loan)
            .filter(|record| record.state == MasterState::OnLoan)
            .map(|record| record.connection)
    }

    /// When a loan's connection must have begun its next request, as the page says now: good enough
    /// to choose by, and copied again once the loan is taken back.
    pub fn idle_deadline(&self, loan: LoanId) -> Nanos {
        self.terms(loan).idle_deadline
    }

    /// The worker's load as it says it is.
    pub fn report(&self) -> LoadReport {
        LoadReport::load(&self.memory)
    }

    /// The calls that the worker says it runs on its loop and in so many threads, up to `most`, those
    /// that have run for longest first.
    pub fn doing(&self, threads: u16, most: usize) -> Vec<Doing> {
        let entries = (0..=threads).map(DoingEntry);
        let load = |entry| doing::load(&self.memory, self.layout, entry);
        let mut calls: Vec<_> = entries.filter_map(load).collect();
        calls.sort_by_key(|call| call.began);
        calls.truncate(most);
        calls
    }

    /// For how long the calls that the worker says it runs, on its loop and in so many threads, have
    /// run by now, all together.
    pub fn running_ns(&self, threads: u16, now: Nanos) -> u64 {
        let entries = (0..=threads).map(DoingEntry);
        let began = entries.filter_map(|entry| doing::began(&self.memory, self.layout, entry));
        let running = began.map(|began| now.0.saturating_sub(began.0));
        running.fold(0, u64::saturating_add)
    }

    /// Tells the worker how the whole node stands.
    pub fn tell_of_node(&self, told: NodeWords) {
        node::store(&self.memory, told);
    }

    /// Asks the worker to ring for this. The caller looks at the report and into the ring again
    /// afterwards, before it sleeps.
    pub fn raise_bell(&self, call: Call) {
        bell::raise(&self.memory, call);
    }

    /// No longer waits for the worker.
    pub fn lower_bell(&self) {
        bell::lower(&self.memory);
    }

    /// Asks the worker to wind its alarm whenever it begins something that might keep it for so
    /// long; `None`: not any more.
    pub fn want_alarm(&self, stall_after: Option<Duration>) {
        let nanos = stall_after.map_or(0, |after| u64::try_from(after.as_nanos()).unwrap_or(0));
        self.memory.words()[AT_STALL_AFTER].store(nanos, Ordering::Relaxed);
    }

    /// Whether the worker has been asked to ring, and has not.
    pub fn bell_is_raised(&self) -> bool {
        bell::is_raised(&self.memory)
    }

    /// Every loan that is out or has not been returned.
    pub fn loans(&self) -> impl Iterator<Item = (LoanId, ConnectionId, MasterState)> {
        self.records.iter().enumerate().filter(|(_, record)| record.state != MasterState::Free).map(
            |(index, record)| {
                let loan = LoanId { index: index as u32, sequence: record.sequence };
                (loan, record.connection, record.state)
            },
        )
    }

    /// Connections that are at the worker.
    pub fn on_loan(&self) -> u32 {
        self.on_loan
    }

    /// Loans that were taken back, and whose places the worker has not let go of.
    pub fn owed(&self) -> u32 {
        self.owed
    }

    /// Settles everything: the worker has ended, and nobody writes to the page any more.
    pub fn settle_all(&mut self) -> Vec<Settled> {
        let loans: Vec<_> = self.loans().collect();
        loans
            .into_iter()
            .map(|(loan, connection, state)| {
                let word = self.word(loan).load(Ordering::Acquire);
                let settlement = settle(state, word, loan.sequence);
                let settled = Settled { loan, connection, settlement, terms: self.terms(loan) };
                self.release(loan);
                settled
            })
            .collect()
    }

    /// Panics if the master's own books do not agree: `places used = on loan + owed + free`.
    pub fn check_invariants(&self) {
        let count = |state| self.records.iter().filter(|record| record.state == state).count();
        assert_eq!(count(MasterState::OnLoan), self.on_loan as usize, "loans out");
        assert_eq!(count(MasterState::Recalled), self.owed as usize, "loans owed");
        assert_eq!(count(MasterState::Free), self.free.len(), "free places");
        assert!(self.records.len() <= self.layout.loans_max as usize, "places used");
    }

    fn take_back(&mut self, loan: LoanId) -> Result<LetGo, RingError> {
        let record = *self.record(loan).ok_or(RingError::Unknown(loan))?;
        let how = match (record.state, self.look(loan)) {
            (MasterState::Free, _) => return Err(RingError::Unknown(loan)),
            (MasterState::Recalled, _) => LetGoHow::Recalled,
            (MasterState::OnLoan, LoanState::Ended) => LetGoHow::Ended,
            (MasterState::OnLoan, LoanState::Given) => LetGoHow::Given(self.terms(loan)),
            (MasterState::OnLoan, _) => {
                let word = self.word(loan).load(Ordering::Relaxed);
                return Err(RingError::NotLetGo(loan, word));
            }
        };
        self.release(loan);
        Ok(LetGo { loan, connection: record.connection, how })
    }

    /// Frees a place. Its next loan has another sequence: stale frames and ring entries miss it.
    fn release(&mut self, loan: LoanId) {
        let Some(record) = self.records.get_mut(loan.index as usize) else { return };
        match record.state {
            MasterState::Free => return,
            MasterState::OnLoan => self.on_loan -= 1,
            MasterState::Recalled => self.owed -= 1,
        }
        record.state = MasterState::Free;
        record.sequence = record.sequence.wrapping_add(1);
        let next = LoanId { index: loan.index, sequence: record.sequence };
        self.free.push(loan.index);
        self.store(next, LoanState::Free);
    }

    fn new_place(&mut self) -> Option<u32> {
        let index = u32::try_from(self.records.len()).ok()?;
        (index < self.layout.loans_max).then(|| {
            let connection = ConnectionId(u32::MAX);
            self.records.push(Record { connection, sequence: 0, state: MasterState::Free });
            index
        })
    }

    /// The record of a loan that is out, under that sequence.
    fn record(&self, loan: LoanId) -> Option<&Record> {
        self.records
            .get(loan.index as usize)
            .filter(|record| record.sequence == loan.sequence && record.state != MasterState::Free)
    }

    fn terms(&self, loan: LoanId) -> Terms {
        Terms::load(&self.memory, self.layout, loan.index)
    }

    fn store(&self, loan: LoanId, state: LoanState) {
        let word = ClaimWord { sequence: loan.sequence, state }.encode();
        self.word(loan).store(word, Ordering::Release);
    }

    /// The claim word's place. `loan.index` is below `records.len()`, so it is in the page.
    fn word(&self, loan: LoanId) -> &AtomicU64 {
        &self.memory.words()[self.layout.claim(loan.index)]
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::board::page_bytes;
    use crate::board::worker::WorkerPage;
    use crate::loan::ResetReason;

    type Memory = Arc<Vec<AtomicU64>>;

    fn page(loans_max: u32) -> (MasterPage<Memory>, WorkerPage<Memory>) {
        let words = page_bytes(loans_max) / 8;
        let memory = Arc::new((0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let master = MasterPage::new(Arc::clone(&memory), loans_max).unwrap();
        (master, WorkerPage::attach(memory).unwrap())
    }

    fn terms() -> Terms {
        Terms::new(Nanos(5))
    }

    fn drain(master: &mut MasterPage<Memory>) -> Vec<LetGo> {
        let mut out = Vec::new();
        master.drain_ring(64, &mut out).unwrap();
        master.check_invariants();
        out
    }

    #[test]
    fn a_connection_is_lent_answered_twice_and_ended() {
        let (mut master, mut worker) = page(4);
        let loan = master.lend(ConnectionId(9), &terms()).unwrap();
        assert!(worker.claim(loan, LoanState::Lent));
        worker.answering(loan);
        let mut left = worker.terms(loan);
        left.requests_served = 1;
        left.context[3] = 7;
        worker.idle(loan, &left);
        assert_eq!(master.look(loan), LoanState::Idle);
        assert!(worker.claim(loan, LoanState::Idle));
        worker.answering(loan);
        worker.end(loan, LoanState::Answering);
        worker.let_go(loan);
        let report = master.report();
        assert_eq!((report.requests_started, report.requests_finished), (2, 2));
        assert_eq!((report.connections_ended, report.claims_empty), (1, 0));
        let expected = LetGo { loan, connection: ConnectionId(9), how: LetGoHow::Ended };
        assert_eq!(drain(&mut master), vec![expected]);
        assert_eq!((master.on_loan(), master.owed()), (0, 0));
    }

    #[test]
    fn what_is_recalled_cannot_be_claimed_and_carries_its_terms() {
        let (mut master, mut worker) = page(4);
        let loan = master.lend(ConnectionId(1), &terms()).unwrap();
        assert!(worker.claim(loan, LoanState::Lent));
        assert_eq!(master.recall(loan), Recall::Claimed);
        worker.answering(loan);
        let left = Terms { requests_served: 3, context: [8; 64], ..terms() };
        worker.idle(loan, &left);
        let taken =
            Recall::Taken { connection: ConnectionId(1), was: LoanState::Idle, terms: left };
        assert_eq!(master.recall(loan), taken);
        assert_eq!(master.recall(loan), Recall::Over);
        assert!(!worker.claim(loan, LoanState::Idle));
        let report = master.report();
        assert_eq!(report.requests_started, report.requests_finished);
        assert_eq!(report.claims_empty, 1);
        worker.let_go(loan);
        assert_eq!(drain(&mut master)[0].how, LetGoHow::Recalled);
    }

    #[test]
    fn the_end_of_an_idle_connection_is_no_request() {
        let (mut master, worker) = page(1);
        let loan = master.lend(ConnectionId(1), &terms()).unwrap();
        assert!(worker.claim(loan, LoanState::Lent));
        worker.end(loan, LoanState::Active);
        let report = master.report();
        assert_eq!((report.requests_started, report.requests_finished), (1, 1));
        assert_eq!(report.claims_empty, 1);
    }

    #[test]
    fn a_full_table_is_no_credit_and_a_freed_place_has_a_new_sequence() {
        let (mut master, mut worker) = page(1);
        let first = master.lend(ConnectionId(1), &terms()).unwrap();
        assert_eq!(master.lend(ConnectionId(2), &terms()), None);
        assert_eq!(master.undo_lend(first), Some(ConnectionId(1)));
        let second = master.lend(ConnectionId(2), &terms()).unwrap();
        assert_eq!((second.index, second.sequence), (first.index, first.sequence + 1));
        assert!(!worker.claim(first, LoanState::Lent), "a stale id claims nothing");
        assert!(worker.give(second, LoanState::Lent));
        worker.let_go(second);
        assert_eq!(drain(&mut master)[0].how, LetGoHow::Given(terms()));
    }

    #[test]
    fn what_was_never_sent_is_withdrawn_whatever_the_word_says() {
        for lie in [0, 1, 2, 4, 8, u64::MAX] {
            let (mut master, _worker) = page(2);
            let loan = master.lend(ConnectionId(1), &terms()).unwrap();
            master.word(loan).store(lie, Ordering::Relaxed);
            master.withdraw(loan);
            assert_eq!((master.on_loan(), master.connection(loan)), (0, None), "{lie:#x}");
            master.check_invariants();
            let next = master.lend(ConnectionId(2), &terms()).unwrap();
            assert_ne!(next, loan);
            master.withdraw(loan);
            assert_eq!(master.on_loan(), 1, "a stale id withdraws nothing");
        }
    }

    #[test]
    fn a_page_without_places_is_none() {
        let memory: Memory = Arc::new((0..page_bytes(4) / 8).map(|_| AtomicU64::new(0)).collect());
        let _master = MasterPage::new(Arc::clone(&memory), 4).unwrap();
        memory[AT_LOANS_MAX].store(0, Ordering::Relaxed);
        assert_eq!(WorkerPage::attach(Arc::clone(&memory)).unwrap_err(), PageError::NoPlaces);
        assert!(WorkerPage::play(memory, 4).is_ok(), "who knows does not ask the page");
    }

    #[test]
    fn a_ring_that_lies_is_an_error_and_harms_no_other_loan() {
        let (mut master, mut worker) = page(4);
        let good = master.lend(ConnectionId(1), &terms()).unwrap();
        let still_out = master.lend(ConnectionId(2), &terms()).unwrap();
        assert!(worker.claim(good, LoanState::Lent));
        worker.end(good, LoanState::Active);
        worker.let_go(good);
        worker.let_go(still_out);
        let mut out = Vec::new();
        let error = master.drain_ring(64, &mut out).unwrap_err();
        assert_eq!(out.len(), 1, "what came before the lie is valid");
        assert!(matches!(error, RingError::NotLetGo(loan, _) if loan == still_out));
        worker.let_go(good);
        let error = master.drain_ring(64, &mut out).unwrap_err();
        assert_eq!(error, RingError::Unknown(good), "an id comes through the ring once");
        worker.let_go(LoanId { index: u32::MAX, sequence: 0 });
        assert!(matches!(master.drain_ring(64, &mut out), Err(RingError::Unknown(_))));
        master.check_invariants();
    }

    #[test]
    fn a_head_that_jumps_is_an_overrun() {
        let (mut master, mut worker) = page(2);
        let nobody = LoanId { index: 0, sequence: 0 };
        (0..3).for_each(|_| worker.let_go(nobody));
        assert_eq!(master.drain_ring(64, &mut Vec::new()), Err(RingError::Overrun(3)));
    }

    #[test]
    fn a_dead_workers_loans_are_settled_by_their_words() {
        let (mut master, worker) = page(8);
        let loans: Vec<_> =
            (0..5).map(|id| master.lend(ConnectionId(id), &terms()).unwrap()).collect();
        assert!(worker.claim(loans[1], LoanState::Lent));
        assert!(worker.claim(loans[2], LoanState::Lent));
        worker.answering(loans[2]);
        assert!(worker.claim(loans[3], LoanState::Lent));
        worker.answering(loans[3]);
        worker.idle(loans[3], &terms());
        assert!(matches!(master.recall(loans[4]), Recall::Taken { .. }));
        let settled: Vec<_> =
            master.settle_all().iter().map(|settled| settled.settlement).collect();
        let expected = [
            Settlement::SeatAgain,
            Settlement::BadGateway,
            Settlement::Reset(ResetReason::Answering),
            Settlement::Idle,
            Settlement::Elsewhere,
        ];
        assert_eq!(settled, expected);
        assert_eq!((master.on_loan(), master.owed()), (0, 0));
        master.check_invariants();
    }

    #[test]
    fn the_bell_rings_once_at_or_below_its_threshold() {
        let (master, worker) = page(1);
        let below = |load| Call { at_load: Some(load), when_given: false };
        assert!(!worker.bell_due(0, true));
        master.raise_bell(below(2));
        assert!(!worker.bell_due(3, true), "nobody has asked for what is given back");
        assert!(worker.bell_due(2, false));
        assert!(!worker.bell_due(0, false));
        assert!(!master.bell_is_raised());
        master.raise_bell(below(0));
        master.lower_bell();
        assert!(!worker.bell_due(0, false));
    }

    #[test]
    fn the_bell_rings_for_what_is_given_back_where_that_is_asked_for() {
        let (master, worker) = page(1);
        master.raise_bell(Call { at_load: None, when_given: true });
        assert!(!worker.bell_due(0, false), "no load is low enough");
        assert!(worker.bell_due(9, true));
        assert!(!worker.bell_due(9, true));
        master.raise_bell(Call { at_load: Some(3), when_given: true });
        assert!(worker.bell_due(3, false), "either is enough");
    }

    #[test]
    fn the_alarm_is_wanted_until_it_is_not() {
        let (master, worker) = page(1);
        assert_eq!(worker.alarm_wanted(), None);
        master.want_alarm(Some(Duration::from_millis(1)));
        assert_eq!(worker.alarm_wanted(), Some(Duration::from_millis(1)));
        master.want_alarm(None);
        assert_eq!(worker.alarm_wanted(), None);
    }

    #[test]
    fn memory_that_is_no_page_is_refused() {
        let memory =
            Arc::new((0..page_bytes(4) / 8).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        assert!(matches!(WorkerPage::attach(memory), Err(PageError::Foreign { found: 0, .. })));
        let short = Arc::new((0..8).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        assert!(matches!(MasterPage::new(short, 4), Err(PageError::TooShort { .. })));
    }
}
