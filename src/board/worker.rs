//! The worker's side of its page.
//!
//! Used from the worker's loop alone; handler threads never touch a claim word. Most calls are one
//! store or one compare-exchange. The master's exchange is acquire and every store here that makes
//! a loan takeable (IDLE, GIVEN) is release: what the worker wrote of the terms is seen by whoever
//! takes the loan.
//!
//! Not here: the transitions and why they are these (`loan`), the master's side (`master`).

use std::time::Duration;

use crate::board::bell;
use crate::board::doing::DoingTable;
use crate::board::layout::{
    AT_LOANS_MAX, AT_MAGIC, AT_RING_HEAD, AT_STALL_AFTER, Layout, MAGIC, PageError, Words,
};
use crate::board::node::{self, NodeWords};
use crate::board::report::{self, Field};
use crate::board::sync::{AtomicU64, Ordering};
use crate::board::terms::Terms;
use crate::ident::LoanId;
use crate::loan::{ClaimWord, How, LoanState, Side, transition};
use crate::time::Nanos;

/// A page, as its worker uses it.
#[derive(Debug)]
pub struct WorkerPage<M> {
    pub(super) memory: M,
    layout: Layout,
    /// Ids that went into the ring, ever.
    ring_head: u64,
}

impl<M: Words> WorkerPage<M> {
    /// Attaches to a page that a master has laid out.
    ///
    /// # Errors
    /// The memory is no page, or one of another layout.
    pub fn attach(memory: M) -> Result<Self, PageError> {
        let words = memory.words();
        Layout { loans_max: 0 }.check(words)?;
        let found = words[AT_MAGIC].load(Ordering::Acquire);
        if found != MAGIC {
            return Err(PageError::Foreign { found, known: MAGIC });
        }
        let loans_max = u32::try_from(words[AT_LOANS_MAX].load(Ordering::Relaxed))
            .map_err(|_| PageError::Foreign { found, known: MAGIC })?;
        WorkerPage::play(memory, loans_max)
    }

    /// The worker's side of a page, played by the master that has laid it out: it knows for how
    /// many loans, and does not ask a page that its worker can write to.
    ///
    /// # Errors
    /// The memory is too short, or a page without places.
    pub fn play(memory: M, loans_max: u32) -> Result<Self, PageError> {
        if loans_max == 0 {
            return Err(PageError::NoPlaces);
        }
        let layout = Layout { loans_max };
        layout.check(memory.words())?;
        let ring_head = memory.words()[AT_RING_HEAD].load(Ordering::Relaxed);
        Ok(WorkerPage { memory, layout, ring_head })
    }

    /// The table of what this worker is doing.
    pub fn doing(&self) -> DoingTable<M>
    where
        M: Clone,
    {
        DoingTable { memory: self.memory.clone(), layout: self.layout }
    }

    /// LENT or IDLE → ACTIVE, directly before the first read of a request. False if the master was
    /// quicker: the worker drops its copy then, and lets the loan go.
    pub fn claim(&self, loan: LoanId, from: LoanState) -> bool {
        // Published before the word leaves LENT: a master that sees the word changed also sees the
        // request counted. The other way round the worker would look idle for a moment.
        report::add(&self.memory, Field::Started, 1);
        let won = self.exchange(loan, from, LoanState::Active);
        if !won {
            self.claim_came_to_nothing();
        }
        won
    }

    /// ACTIVE → IDLE: the claim found nothing to read.
    pub fn claim_was_empty(&self, loan: LoanId, terms: &Terms) {
        terms.store(&self.memory, self.layout, loan.index);
        self.claim_came_to_nothing();
        self.store(loan, LoanState::Active, LoanState::Idle);
    }

    /// ACTIVE → ANSWERING: the first byte of a response is about to leave.
    pub fn answering(&self, loan: LoanId) {
        self.store(loan, LoanState::Active, LoanState::Answering);
    }

    /// ANSWERING → ACTIVE: a request has been answered, and the next one has been read already.
    pub fn active_again(&self, loan: LoanId) {
        report::add(&self.memory, Field::Started, 1);
        report::add(&self.memory, Field::Finished, 1);
        self.store(loan, LoanState::Answering, LoanState::Active);
    }

    /// ANSWERING → IDLE: a request has been answered, and nothing more has been read.
    pub fn idle(&self, loan: LoanId, terms: &Terms) {
        terms.store(&self.memory, self.layout, loan.index);
        report::add(&self.memory, Field::Finished, 1);
        self.store(loan, LoanState::Answering, LoanState::Idle);
    }

    /// LENT or IDLE → GIVEN. False if the master took it first. The worker has dropped its copy
    /// before it lets the loan go.
    pub fn give(&self, loan: LoanId, from: LoanState) -> bool {
        self.exchange(loan, from, LoanState::Given)
    }

    /// ACTIVE or ANSWERING → PINNED: this connection cannot move any more. Its request is over.
    pub fn pin(&self, loan: LoanId, from: LoanState) {
        report::add(&self.memory, Field::Finished, 1);
        self.store(loan, from, LoanState::Pinned);
    }

    /// → ENDED, from any state that this side holds; after the socket was shut down.
    pub fn end(&self, loan: LoanId, from: LoanState) {
        self.count_end(from);
        self.store(loan, from, LoanState::Ended);
    }

    /// What the connection came with, or what was left of it since.
    pub fn terms(&self, loan: LoanId) -> Terms {
        Terms::load(&self.memory, self.layout, loan.index)
    }

    /// Puts the loan's id into the ring: this worker's copy is closed. Once for each loan.
    pub fn let_go(&mut self, loan: LoanId) {
        let entry = u64::from(loan.sequence) << 32 | u64::from(loan.index);
        let words = self.memory.words();
        words[self.layout.ring(self.ring_head)].store(entry, Ordering::Relaxed);
        self.ring_head = self.ring_head.wrapping_add(1);
        // Release: the master's acquire of the head sees the entry, and the claim word behind it.
        words[AT_RING_HEAD].store(self.ring_head, Ordering::Release);
    }

    /// The loop begins a turn.
    pub fn turn_entered(&self, now: Nanos) {
        report::set(&self.memory, Field::TurnEntered, now.0);
    }

    /// The loop is going to wait.
    pub fn turn_left(&self) {
        report::set(&self.memory, Field::TurnEntered, 0);
    }

    /// A request is about to be claimed for a handler thread, beside those that are `queued` and
    /// those whose threads are `busy`; holds until the load is next published. To be called before
    /// [`WorkerPage::claim`]: who sees the claim also sees that a thread is wanted. The other way
    /// round the thread would look idle for a moment, and be lent more than it has room for.
    pub fn about_to_queue(&self, queued: u32, busy: u32) {
        report::set(&self.memory, Field::ThreadsBusy, u64::from(busy));
        report::set(&self.memory, Field::Queued, u64::from(queued).saturating_add(1));
    }

    /// How the handler threads stand.
    pub fn publish_threads(&self, queued: u32, busy: u32, all_busy_since: Nanos, oldest: Nanos) {
        // Busy first, and read last: a request that has gone from the queue to a thread may be
        // counted twice for a moment, and is never missed.
        report::set(&self.memory, Field::ThreadsBusy, u64::from(busy));
        report::set(&self.memory, Field::Queued, u64::from(queued));
        report::set(&self.memory, Field::AllBusySince, all_busy_since.0);
        report::set(&self.memory, Field::OldestCall, oldest.0);
    }

    /// A handler call took so long.
    pub fn add_service(&self, service: Duration) {
        report::add_service(&self.memory, service);
    }

    /// A request ended badly.
    pub fn count_error(&self) {
        report::add(&self.memory, Field::Errors, 1);
    }

    /// Whether the master waits to hear of this worker at this load, or of what it `gave` back. Says
    /// so once.
    pub fn bell_due(&self, load: u32, gave: bool) -> bool {
        bell::due(&self.memory, load, gave)
    }

    /// After how long with one and the same thing the alarm is to wake the master; `None` while
    /// nobody could help. One relaxed load of a line that is hardly ever written.
    pub fn alarm_wanted(&self) -> Option<Duration> {
        let nanos = self.memory.words()[AT_STALL_AFTER].load(Ordering::Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    /// What the master has told of the whole node.
    pub fn node(&self) -> NodeWords {
        node::load(&self.memory)
    }

    /// The counters that go with an end.
    pub(super) fn count_end(&self, from: LoanState) {
        if from != LoanState::Pinned {
            report::add(&self.memory, Field::Finished, 1);
        }
        if from == LoanState::Active {
            report::add(&self.memory, Field::ClaimsEmpty, 1);
        }
        report::add(&self.memory, Field::ConnectionsEnded, 1);
    }

    pub(super) fn claim_came_to_nothing(&self) {
        report::add(&self.memory, Field::ClaimsEmpty, 1);
        report::add(&self.memory, Field::Finished, 1);
    }

    fn exchange(&self, loan: LoanId, from: LoanState, to: LoanState) -> bool {
        debug_assert_eq!(transition(Side::Worker, from, to), Some(How::Exchange));
        let word = |state| ClaimWord { sequence: loan.sequence, state }.encode();
        // Acquire: sees the terms that the master wrote before LENT. Release: pairs with the
        // master's exchange and with its reading of the word after this worker's death.
        self.word(loan)
            .compare_exchange(word(from), word(to), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    fn store(&self, loan: LoanId, from: LoanState, to: LoanState) {
        debug_assert_eq!(transition(Side::Worker, from, to), Some(How::Store));
        let word = ClaimWord { sequence: loan.sequence, state: to }.encode();
        // Release: whoever takes the loan sees the terms and counters written before.
        self.word(loan).store(word, Ordering::Release);
    }

    fn word(&self, loan: LoanId) -> &AtomicU64 {
        &self.memory.words()[self.layout.claim(loan.index)]
    }
}
