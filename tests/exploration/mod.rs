//! The world that `loan_exploration` explores: both sides of one page, the packets between them, and
//! what really happened to every connection.
//!
//! Not here: which orders of steps are taken (`loan_exploration`).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use maitred::board::{LetGoHow, MasterPage, Recall, Terms, Words, WorkerPage, page_bytes};
use maitred::ident::{ConnectionId, LoanId};
use maitred::loan::{LoanState, MasterState, ResetReason, Settlement};
use maitred::time::Nanos;

/// A page whose words stay out of what identifies a state: the model lists those that matter.
struct Memory(Vec<AtomicU64>);

impl Words for Memory {
    fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("page")
    }
}

/// How much may happen in one run.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) places: u32,
    pub(super) connections: usize,
    pub(super) requests: u8,
    pub(super) lends: u8,
    pub(super) rules: Rules,
}

/// What the two sides keep to beyond the claim words: each mode's own order of steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Anything that the claim words allow.
    Any,
    /// `--rebalance always`: what has been answered, and nothing more of it read, is given back.
    Always,
    /// `--rebalance auto`: an idle loan is recalled only after it was found readable; it may have
    /// been claimed, and more, between the finding and the recall.
    Rescue,
    /// At some moment the master drains the worker: it says so, takes back all that is LENT or IDLE,
    /// and lends nothing more; the worker gives what it has not claimed, and what becomes idle.
    Drain,
}

impl Rules {
    pub(super) const ALL: [Rules; 4] = [Rules::Any, Rules::Always, Rules::Rescue, Rules::Drain];
}

/// How far a drain has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// The master takes back what it found on loan, one after the other, and does nothing else.
    Recalling {
        left: Vec<LoanId>,
        taken: Vec<LoanId>,
    },
    Said,
}

/// What really happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Truth {
    sent: u8,
    read: u8,
    answered: u8,
    /// The master has it and may do with it what it likes.
    in_hand: bool,
    over: bool,
}

/// A packet on its way to the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ToWorker {
    Lend(LoanId, usize),
    Recall(LoanId),
    Drain,
}

/// What the worker does with one loan.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    loan: LoanId,
    connection: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting(LoanState),
    /// To be given back before anything else happens here.
    Giving(LoanState),
    /// Claimed; whether a request has been read.
    Active(bool),
    Answering,
    Pinned,
    /// It is not this worker's any more: the copy is to be closed.
    Dropping,
    /// The copy is closed: the id is to go into the ring.
    LettingGo,
}

/// One step of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Send(usize),
    Lend(usize),
    Recall(usize),
    Find(usize),
    Rescue,
    Drain,
    RecallNext,
    Harvest,
    Deliver,
    Refuse,
    Claim(usize),
    Read(usize),
    Nothing(usize),
    Answer(usize),
    Idle(usize),
    Next(usize),
    Give(usize),
    Pin(usize),
    End(usize),
    Close(usize),
    LetGo(usize),
}

pub(super) struct World {
    bounds: Bounds,
    memory: Arc<Memory>,
    master: MasterPage<Arc<Memory>>,
    worker: WorkerPage<Arc<Memory>>,
    truths: Vec<Truth>,
    sessions: Vec<Session>,
    packets: VecDeque<ToWorker>,
    lends_left: u8,
    /// A loan that was found LENT, or IDLE and readable.
    found: Option<(LoanId, LoanState)>,
    drain: Drain,
    /// The worker has heard of the drain.
    hands_over: bool,
}

impl World {
    pub(super) fn new(bounds: Bounds) -> Self {
        let words = page_bytes(bounds.places) / 8;
        let memory = Arc::new(Memory((0..words).map(|_| AtomicU64::new(0)).collect()));
        let master = MasterPage::new(Arc::clone(&memory), bounds.places).expect("long enough");
        let worker = WorkerPage::attach(Arc::clone(&memory)).expect("a page");
        let truth = Truth { sent: 0, read: 0, answered: 0, in_hand: true, over: false };
        World {
            bounds,
            memory,
            master,
            worker,
            truths: vec![truth; bounds.connections],
            sessions: Vec::new(),
            packets: VecDeque::new(),
            lends_left: bounds.lends,
            found: None,
            drain: Drain::No,
            hands_over: false,
        }
    }

    /// Everything that tells two states apart: the books of both sides, the claim words and the
    /// ring, and what really happened. Not the load report, whose counters only grow.
    pub(super) fn key(&self) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        let places = self.bounds.places as usize;
        let words: Vec<u64> =
            self.memory.0[32..40 + 2 * places].iter().map(|word| word.load(Relaxed)).collect();
        format!(
            "{:?} {:?} {words:?} {:?} {:?} {:?} {} {:?} {:?} {}",
            self.master,
            self.worker,
            self.truths,
            self.sessions,
            self.packets,
            self.lends_left,
            self.found,
            self.drain,
            self.hands_over
        )
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, truth) in self.truths.iter().enumerate() {
            if !truth.over && truth.sent < self.bounds.requests {
                steps.push(Step::Send(number));
            }
        }
        self.add_masters_steps(&mut steps);
        let gives_at_will = self.bounds.rules == Rules::Any;
        let may_pin = matches!(self.bounds.rules, Rules::Any | Rules::Drain);
        // A claim's first read, and what is to be given, come before the worker listens again.
        let listens = gives_at_will
            || !self
                .sessions
                .iter()
                .any(|session| matches!(session.stage, Stage::Giving(_) | Stage::Active(false)));
        if listens {
            match self.packets.front() {
                Some(ToWorker::Lend(..)) => steps.extend([Step::Deliver, Step::Refuse]),
                Some(ToWorker::Recall(_) | ToWorker::Drain) => steps.push(Step::Deliver),
                None => {}
            }
        }
        for (number, session) in self.sessions.iter().enumerate() {
            let truth = &self.truths[session.connection];
            match session.stage {
                Stage::Waiting(_) if gives_at_will => {
                    steps.extend([Step::Claim(number), Step::Give(number)]);
                }
                Stage::Waiting(_) => steps.push(Step::Claim(number)),
                Stage::Giving(_) => steps.push(Step::Give(number)),
                Stage::Active(false) if truth.sent > truth.read => {
                    steps.extend([Step::Read(number), Step::End(number)]);
                }
                Stage::Active(false) => steps.extend([Step::Nothing(number), Step::End(number)]),
                Stage::Active(true) => {
                    steps.extend([Step::Answer(number), Step::End(number)]);
                    if may_pin {
                        steps.push(Step::Pin(number));
                    }
                }
                Stage::Answering if truth.sent > truth.read => {
                    steps.extend([Step::Next(number), Step::Idle(number), Step::End(number)]);
                }
                Stage::Answering => steps.extend([Step::Idle(number), Step::End(number)]),
                Stage::Pinned => steps.push(Step::End(number)),
                Stage::Dropping => steps.push(Step::Close(number)),
                Stage::LettingGo => steps.push(Step::LetGo(number)),
            }
        }
        steps
    }

    fn add_masters_steps(&self, steps: &mut Vec<Step>) {
        if matches!(self.drain, Drain::Recalling { .. }) {
            steps.push(Step::RecallNext);
            return;
        }
        if self.master.ring_waits() {
            steps.push(Step::Harvest);
        }
        if self.drain == Drain::Said {
            return;
        }
        for (number, truth) in self.truths.iter().enumerate() {
            if truth.in_hand && !truth.over && self.lends_left > 0 {
                steps.push(Step::Lend(number));
            }
        }
        for (place, (loan, connection, _)) in self.master.loans().enumerate() {
            let truth = &self.truths[connection.0 as usize];
            match (self.bounds.rules, self.master.look(loan)) {
                (Rules::Any, _) | (Rules::Always, LoanState::Lent) => {
                    steps.push(Step::Recall(place));
                }
                (Rules::Rescue, LoanState::Lent) => steps.push(Step::Find(place)),
                (Rules::Rescue, LoanState::Idle) if truth.sent > truth.read => {
                    steps.push(Step::Find(place));
                }
                (Rules::Rescue | Rules::Drain | Rules::Always, _) => {}
            }
        }
        if self.found.is_some() {
            steps.push(Step::Rescue);
        }
        if self.bounds.rules == Rules::Drain {
            steps.push(Step::Drain);
        }
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Send(number) => self.truths[number].sent += 1,
            Step::Lend(number) => self.lend(number),
            Step::Recall(place) => self.recall(place),
            Step::Find(place) => {
                let found = self.master.loans().nth(place);
                self.found = found.map(|(loan, ..)| (loan, self.master.look(loan)));
            }
            Step::Rescue => self.rescue(),
            Step::Drain => {
                let on_loan = |(loan, _, state)| (state == MasterState::OnLoan).then_some(loan);
                let left = self.master.loans().filter_map(on_loan).collect();
                self.drain = Drain::Recalling { left, taken: Vec::new() };
            }
            Step::RecallNext => self.recall_next(),
            Step::Harvest => self.harvest(),
            Step::Deliver => self.deliver(),
            Step::Refuse => self.refuse(),
            Step::Claim(number) => self.claim(number),
            Step::Give(number) => {
                let Session { loan, stage: Stage::Waiting(from) | Stage::Giving(from), .. } =
                    self.sessions[number]
                else {
                    unreachable!("only what waits is given")
                };
                // Won or lost, the copy goes and the id follows.
                self.worker.give(loan, from);
                self.sessions[number].stage = Stage::Dropping;
            }
            Step::Read(number) => {
                let truth = &mut self.truths[self.sessions[number].connection];
                assert!(!truth.in_hand, "the worker reads what the master has in hand");
                truth.read += 1;
                self.sessions[number].stage = Stage::Active(true);
            }
            Step::Nothing(number) => {
                self.worker.claim_was_empty(self.sessions[number].loan, &Terms::new(Nanos(1)));
                self.sessions[number].stage = Stage::Waiting(LoanState::Idle);
            }
            Step::Answer(number) => {
                self.worker.answering(self.sessions[number].loan);
                self.sessions[number].stage = Stage::Answering;
            }
            Step::Next(number) => {
                let truth = &mut self.truths[self.sessions[number].connection];
                truth.answered += 1;
                truth.read += 1;
                self.worker.active_again(self.sessions[number].loan);
                self.sessions[number].stage = Stage::Active(true);
            }
            Step::Idle(number) => {
                self.truths[self.sessions[number].connection].answered += 1;
                self.worker.idle(self.sessions[number].loan, &Terms::new(Nanos(1)));
                let gives = self.hands_over || self.bounds.rules == Rules::Always;
                let stage = if gives { Stage::Giving } else { Stage::Waiting };
                self.sessions[number].stage = stage(LoanState::Idle);
            }
            Step::Pin(number) => {
                self.worker.pin(self.sessions[number].loan, LoanState::Active);
                self.sessions[number].stage = Stage::Pinned;
            }
            Step::End(number) => self.end(number),
            Step::Close(number) => self.sessions[number].stage = Stage::LettingGo,
            Step::LetGo(number) => {
                let session = self.sessions.remove(number);
                self.worker.let_go(session.loan);
            }
        }
        self.check();
    }

    fn lend(&mut self, number: usize) {
        let id = ConnectionId(number as u32);
        if let Some(loan) = self.master.lend(id, &Terms::new(Nanos(1))) {
            self.lends_left -= 1;
            self.truths[number].in_hand = false;
            self.packets.push_back(ToWorker::Lend(loan, number));
        }
    }

    fn recall(&mut self, place: usize) {
        let Some((loan, ..)) = self.master.loans().nth(place) else { return };
        if self.take_back(loan) {
            self.packets.push_back(ToWorker::Recall(loan));
        }
    }

    /// Takes back what was found, unless it is not what it was. What was found readable may have
    /// been answered meanwhile: then it is parked, and nothing is lost either.
    fn rescue(&mut self) {
        let Some((loan, was)) = self.found.take() else { return };
        let still_idle = self.master.look(loan) == LoanState::Idle;
        if (was == LoanState::Lent || still_idle) && self.take_back(loan) {
            self.packets.push_back(ToWorker::Recall(loan));
        }
    }

    fn recall_next(&mut self) {
        let drain = std::mem::replace(&mut self.drain, Drain::Said);
        let Drain::Recalling { mut left, mut taken } = drain else { return };
        if let Some(loan) = left.pop() {
            if self.take_back(loan) {
                taken.push(loan);
            }
            self.drain = Drain::Recalling { left, taken };
        } else {
            // The frame comes first, then the copies to drop (`master::roster`).
            self.packets.push_back(ToWorker::Drain);
            self.packets.extend(taken.into_iter().map(ToWorker::Recall));
        }
    }

    fn take_back(&mut self, loan: LoanId) -> bool {
        let Recall::Taken { connection, .. } = self.master.recall(loan) else { return false };
        let truth = &mut self.truths[connection.0 as usize];
        assert!(!truth.in_hand, "taken back twice");
        truth.in_hand = true;
        true
    }

    fn harvest(&mut self) {
        let mut out = Vec::new();
        self.master.drain_ring(1, &mut out).expect("an honest worker's entry is believed");
        for one in out {
            let truth = &mut self.truths[one.connection.0 as usize];
            match one.how {
                LetGoHow::Ended => assert!(truth.over, "ended without having ended"),
                LetGoHow::Given(_) => {
                    assert!(!truth.in_hand, "given what was in hand already");
                    truth.in_hand = true;
                }
                LetGoHow::Recalled => {}
            }
        }
    }

    fn deliver(&mut self) {
        match self.packets.pop_front() {
            Some(ToWorker::Lend(loan, connection)) => {
                let stage = Stage::Waiting(LoanState::Lent);
                self.sessions.push(Session { loan, connection, stage });
            }
            Some(ToWorker::Recall(loan)) => {
                // A loan that the worker has let go of meanwhile is ignored; one that waits is
                // dropped; any other cannot be, or the master would have lost the exchange.
                if let Some(session) = self.sessions.iter_mut().find(|one| one.loan == loan) {
                    match session.stage {
                        Stage::Waiting(_) => session.stage = Stage::Dropping,
                        Stage::Dropping | Stage::LettingGo => {}
                        Stage::Active(_) | Stage::Answering | Stage::Pinned | Stage::Giving(_) => {
                            panic!("recalled while the worker had claimed it")
                        }
                    }
                }
            }
            Some(ToWorker::Drain) => {
                self.hands_over = true;
                for session in &mut self.sessions {
                    if let Stage::Waiting(from) = session.stage {
                        session.stage = Stage::Giving(from);
                    }
                }
            }
            None => {}
        }
    }

    /// The worker has no descriptor for it. (The answer is immediate here; that a Recall may cross
    /// it on the way is explored, because the recall may come before.)
    fn refuse(&mut self) {
        let Some(ToWorker::Lend(loan, number)) = self.packets.pop_front() else { return };
        let back = self.master.undo_lend(loan);
        let truth = &mut self.truths[number];
        match back {
            Some(id) => {
                assert_eq!(id.0 as usize, number);
                assert!(!truth.in_hand, "refused what was in hand already");
                truth.in_hand = true;
            }
            None => {
                let owed = matches!(&self.drain, Drain::Recalling { taken, .. }
                    if taken.contains(&loan));
                let recalled = owed || self.packets.contains(&ToWorker::Recall(loan));
                assert!(recalled, "refused and lost");
            }
        }
    }

    fn claim(&mut self, number: usize) {
        let Session { loan, connection, stage: Stage::Waiting(from) } = self.sessions[number]
        else {
            unreachable!("only what waits is claimed")
        };
        let won = self.worker.claim(loan, from);
        assert!(!(won && self.truths[connection].in_hand), "both have it");
        self.sessions[number].stage = if won { Stage::Active(false) } else { Stage::Dropping };
    }

    fn end(&mut self, number: usize) {
        let session = &mut self.sessions[number];
        let from = match session.stage {
            Stage::Active(_) => LoanState::Active,
            Stage::Answering => LoanState::Answering,
            Stage::Pinned => LoanState::Pinned,
            Stage::Waiting(_) | Stage::Giving(_) | Stage::Dropping | Stage::LettingGo => {
                unreachable!("only what is claimed is ended")
            }
        };
        self.worker.end(session.loan, from);
        session.stage = Stage::Dropping;
        self.truths[session.connection].over = true;
    }

    fn check(&self) {
        self.master.check_invariants();
        for (number, truth) in self.truths.iter().enumerate() {
            let claimed = self.sessions.iter().filter(|session| {
                session.connection == number
                    && matches!(session.stage, Stage::Active(_) | Stage::Answering | Stage::Pinned)
            });
            let claimed = claimed.count();
            assert!(claimed <= 1, "two read one connection");
            assert!(claimed == 0 || !truth.in_hand, "read while it is in hand");
            let unanswered = truth.read - truth.answered;
            assert!(!truth.in_hand || truth.over || unanswered == 0, "it left with a request");
        }
        if self.hands_over && self.is_settled() {
            self.check_handed_over();
        }
    }

    /// Once the worker holds nothing, and both sides have heard everything, every place is free.
    pub(super) fn check_places_freed(&self) {
        let is_recalling = matches!(self.drain, Drain::Recalling { .. });
        if !is_recalling && self.sessions.is_empty() && self.is_settled() {
            assert_eq!(self.master.loans().count(), 0, "a place is never freed");
        }
    }

    /// Both sides have heard everything, and the worker has done what it does without its clients
    /// and handlers.
    fn is_settled(&self) -> bool {
        let in_between = |session: &Session| {
            matches!(session.stage, Stage::Giving(_) | Stage::Dropping | Stage::LettingGo)
        };
        self.packets.is_empty()
            && !self.master.ring_waits()
            && !self.sessions.iter().any(in_between)
    }

    /// After a drain the worker holds what it has claimed, and every other connection is the
    /// master's or over: each has exactly one owner.
    fn check_handed_over(&self) {
        assert!(
            self.sessions.iter().all(|session| {
                matches!(session.stage, Stage::Active(_) | Stage::Answering | Stage::Pinned)
            }),
            "a drained worker holds what it has not claimed: {:?}",
            self.sessions
        );
        assert_eq!(
            self.master.on_loan() as usize,
            self.sessions.len(),
            "loans of a drained worker"
        );
        for (number, truth) in self.truths.iter().enumerate() {
            let held = self.sessions.iter().any(|session| session.connection == number);
            let owners = [truth.in_hand && !truth.over, held, truth.over && !held];
            let owners = owners.into_iter().filter(|owns| *owns).count();
            assert_eq!(owners, 1, "connection {number}: {truth:?}");
        }
    }

    /// The worker dies here: settles, and checks every fate against what really happened.
    pub(super) fn die(mut self) {
        for settled in self.master.settle_all() {
            let number = settled.connection.0 as usize;
            let truth = &mut self.truths[number];
            let session = self.sessions.iter().find(|session| session.loan == settled.loan);
            let stage = session.map(|session| session.stage);
            let fate = settled.settlement;
            match fate {
                Settlement::Elsewhere => continue,
                Settlement::SeatAgain | Settlement::Idle => {
                    assert!(!truth.over, "what was shut down is seated again");
                    let is_unread =
                        !matches!(stage, Some(Stage::Active(_) | Stage::Answering | Stage::Pinned));
                    assert!(is_unread, "what was read goes to a second reader: {stage:?}");
                    assert_eq!(truth.read, truth.answered, "a request is lost");
                    assert!(!truth.in_hand, "settled twice");
                    truth.in_hand = true;
                }
                Settlement::BadGateway => assert!(matches!(stage, Some(Stage::Active(_)))),
                Settlement::Reset(why) => match why {
                    ResetReason::Answering => assert!(matches!(stage, Some(Stage::Answering))),
                    ResetReason::Pinned => assert!(matches!(stage, Some(Stage::Pinned))),
                    ResetReason::Garbled => panic!("an honest worker was settled as a liar"),
                },
                Settlement::Close => assert!(truth.over, "closed without having ended"),
            }
            if !truth.in_hand {
                truth.over = true;
            }
        }
        self.master.check_invariants();
        for (number, truth) in self.truths.iter().enumerate() {
            assert!(truth.in_hand || truth.over, "connection {number} is nowhere: {truth:?}");
        }
        assert_eq!(self.master.loans().count(), 0);
    }
}
