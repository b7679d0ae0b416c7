//! Admission: when the master accepts although nobody has room, and who is turned away.
//!
//! Without `--queue-timeout` and `--max-queue` nothing here ever happens: the kernel's queue waits.
//! With one of them a **waiting room** opens when the limit may have been passed, and only then:
//! what the kernel holds can be neither aged nor answered.
//!
//! ```text
//!             look: longer than max_queue, or of unknown length,
//!             or not empty for as long as queue_timeout
//!   Closed ─────────────────────────────────────────────────────→ Open
//!      ↑  accepts as far as there is credit     accepts without credit │
//!      └───────────────────────────────────────────────────────────────┘
//!                          decided, and nobody is in the room
//! ```
//!
//! The room opens early rather than late, which costs descriptors and nobody an answer: whom it
//! concerns is found out in the room, where arrivals keep their order. Who can be seated at once is
//! seated, however old; of the others those go that have waited for `queue_timeout`, and then the
//! newest of what is more than `max_queue`.
//!
//! Not here: the queues (`dispatch`), how long the kernel's is (`sys::listener`), the answer to
//! those who are turned away (`master::shedding`).

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::config::{SHED_LOOK, WAITING_ROOM_MAX};
use crate::dispatch::{Effect, Queued};
use crate::time::Nanos;

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShedReason {
    /// It has waited for too long.
    TooOld,
    /// Too many came before it and wait.
    TooMany,
}

impl fmt::Display for ShedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ShedReason::TooOld => "it had waited for --queue-timeout",
            ShedReason::TooMany => "--max-queue others were waiting before it",
        })
    }
}

/// The limits, and what is known of those who wait.
///
/// The order of calls is the dispatcher's: the time, facts, then [`Admission::shed`].
#[derive(Debug)]
pub(super) struct Admission {
    queue_timeout: Option<Duration>,
    max_queue: Option<u32>,
    now: Nanos,
    /// Since when the kernel's queue has not been seen empty: nobody in it came before.
    kernel_waits_since: Option<Nanos>,
    looked_at: Option<Nanos>,
    open: bool,
    /// Nobody who waits here came before. It may be too early, when that one has been seated.
    oldest: Nanos,
}

impl Admission {
    pub(super) fn new(queue_timeout: Option<Duration>, max_queue: Option<u32>) -> Self {
        Admission {
            queue_timeout,
            max_queue,
            now: Nanos::default(),
            kernel_waits_since: None,
            looked_at: None,
            open: false,
            oldest: Nanos::NEVER,
        }
    }

    pub(super) fn handle_time(&mut self, now: Nanos) {
        self.now = now;
    }

    /// Whether connections are known to wait in the kernel's queue.
    pub(super) fn handle_kernel_waits(&mut self, waits: bool) {
        self.kernel_waits_since =
            if waits { self.kernel_waits_since.or(Some(self.now)) } else { None };
    }

    /// The look that [`Admission::next_look`] asked for: the length of the kernel's queue, if it is
    /// known, and of ours.
    pub(super) fn handle_backlog(&mut self, kernel: Option<u32>, held: usize) {
        self.looked_at = Some(self.now);
        if kernel == Some(0) {
            self.kernel_waits_since = None;
            return;
        }
        // What cannot be counted or aged where it is must be taken in to be.
        let Some(kernel) = kernel else {
            self.open = self.is_on();
            return;
        };
        let too_many = self.max_queue.is_some_and(|most| {
            let waiting = u64::from(kernel).saturating_add(held as u64);
            waiting > u64::from(most)
        });
        let too_old = self.kernel_too_old_at().is_some_and(|at| at <= self.now);
        self.open |= too_many || too_old;
    }

    /// Somebody waits here who came then.
    pub(super) fn handle_queued(&mut self, since: Nanos) {
        self.oldest = self.oldest.min(since);
    }

    /// Turns away what is too old or too many of what is still in the two queues, and closes the
    /// room if nobody is in it.
    pub(super) fn shed(
        &mut self,
        fresh: &mut VecDeque<Queued>,
        returned: &mut VecDeque<Queued>,
        effects: &mut VecDeque<Effect>,
    ) {
        if self.due().is_some_and(|due| due <= self.now) {
            self.oldest = Nanos::NEVER;
            self.shed_too_old(returned, effects);
            self.shed_too_old(fresh, effects);
        }
        let most = self.max_queue.map_or(usize::MAX, |most| most as usize);
        while fresh.len() + returned.len() > most {
            // The one that came last, in whichever queue; the kernel's if nobody can tell.
            let in_fresh = fresh.back().map(|queued| queued.since);
            let in_returned = returned.back().map(|queued| queued.since);
            let newest = if in_fresh >= in_returned { &mut *fresh } else { &mut *returned };
            if let Some(Queued { connection, .. }) = newest.pop_back() {
                effects.push_back(Effect::Shed { connection, reason: ShedReason::TooMany });
            }
        }
        if fresh.is_empty() {
            self.open = false;
            if returned.is_empty() {
                // Nobody waits: no deadline is left of those who were seated.
                self.oldest = Nanos::NEVER;
            }
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.queue_timeout.is_some() || self.max_queue.is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// How many more may be accepted without credit.
    pub(super) fn free_places(&self, in_room: usize) -> usize {
        match self.max_queue {
            _ if !self.open => 0,
            // All there are: who is beyond the limit is known when those before are counted.
            Some(_) => usize::MAX,
            None => WAITING_ROOM_MAX.saturating_sub(in_room),
        }
    }

    /// When the length of the kernel's queue is of interest, if there is no credit.
    pub(super) fn next_look(&self) -> Option<Nanos> {
        if !self.is_on() || self.open {
            return None;
        }
        let waits_since = self.kernel_waits_since?;
        let pause = self.queue_timeout.map_or(SHED_LOOK, |timeout| timeout.min(SHED_LOOK));
        let next = self.looked_at.map_or(waits_since, |looked_at| looked_at + pause);
        // Its length is of interest again and again; that its time cannot be told, once.
        let has_looked = self.looked_at.is_some_and(|looked_at| looked_at >= waits_since);
        Some(match (self.kernel_too_old_at(), self.max_queue) {
            (Some(too_old_at), None) if has_looked => too_old_at,
            (Some(too_old_at), _) => next.min(too_old_at),
            (None, _) => next,
        })
    }

    /// When somebody who waits here will have waited too long.
    pub(super) fn due(&self) -> Option<Nanos> {
        let timeout = self.queue_timeout?;
        (self.oldest != Nanos::NEVER).then(|| self.oldest + timeout)
    }

    /// - nobody waits here who came before `oldest`
    /// - an open room has somebody in it
    pub(super) fn check_invariants(&self, fresh: &VecDeque<Queued>, returned: &VecDeque<Queued>) {
        for queued in fresh.iter().chain(returned) {
            assert!(self.oldest <= queued.since, "nobody came before the oldest");
        }
        assert!(!self.open || !fresh.is_empty(), "nobody is in the open room");
    }

    fn shed_too_old(&mut self, queue: &mut VecDeque<Queued>, effects: &mut VecDeque<Effect>) {
        let Some(timeout) = self.queue_timeout else { return };
        queue.retain(|queued| {
            let stays = self.now.since(queued.since) < timeout;
            if stays {
                self.oldest = self.oldest.min(queued.since);
            } else {
                let (connection, reason) = (queued.connection, ShedReason::TooOld);
                effects.push_back(Effect::Shed { connection, reason });
            }
            stays
        });
    }

    /// When the first of the kernel's queue may have waited for too long.
    fn kernel_too_old_at(&self) -> Option<Nanos> {
        Some(self.kernel_waits_since? + self.queue_timeout?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::ConnectionId;

    const MS: u64 = 1_000_000;
    const TIMEOUT: Duration = Duration::from_millis(200);

    /// An admission with its queues.
    struct Hall {
        admission: Admission,
        fresh: VecDeque<Queued>,
        returned: VecDeque<Queued>,
    }

    impl Hall {
        fn new(queue_timeout: Option<Duration>, max_queue: Option<u32>) -> Self {
            Hall {
                admission: Admission::new(queue_timeout, max_queue),
                fresh: VecDeque::new(),
                returned: VecDeque::new(),
            }
        }

        fn at(&mut self, ms: u64) -> &mut Self {
            self.admission.handle_time(Nanos(ms * MS));
            self
        }

        fn queued(&mut self, number: u32, since_ms: u64) -> Queued {
            let since = Nanos(since_ms * MS);
            self.admission.handle_queued(since);
            Queued { connection: ConnectionId(number), affinity: 0, since, recalled: false }
        }

        fn accepted(&mut self, number: u32, since_ms: u64) {
            let queued = self.queued(number, since_ms);
            self.fresh.push_back(queued);
        }

        fn came_back(&mut self, number: u32, since_ms: u64) {
            let queued = self.queued(number, since_ms);
            self.returned.push_back(queued);
        }

        fn shed(&mut self) -> Vec<(u32, ShedReason)> {
            let mut effects = VecDeque::new();
            self.admission.shed(&mut self.fresh, &mut self.returned, &mut effects);
            self.admission.check_invariants(&self.fresh, &self.returned);
            effects
                .into_iter()
                .map(|effect| match effect {
                    Effect::Shed { connection, reason } => (connection.0, reason),
                    other => panic!("{other:?}"),
                })
                .collect()
        }
    }

    #[test]
    fn without_limits_nothing_ever_happens() {
        let mut hall = Hall::new(None, None);
        hall.at(1).admission.handle_kernel_waits(true);
        assert_eq!(hall.admission.next_look(), None);
        hall.accepted(1, 1);
        hall.at(1_000_000).admission.handle_backlog(None, 1);
        assert_eq!(hall.admission.free_places(0), 0);
        assert_eq!(hall.admission.due(), None);
        assert_eq!(hall.shed(), []);
    }

    #[test]
    fn nobody_waiting_needs_no_timer() {
        let mut hall = Hall::new(Some(TIMEOUT), Some(5));
        assert_eq!(hall.at(7).admission.next_look(), None);
        hall.admission.handle_kernel_waits(true);
        assert_eq!(hall.admission.next_look(), Some(Nanos(7 * MS)));
        hall.admission.handle_backlog(Some(0), 0);
        assert_eq!(hall.admission.next_look(), None);
        hall.admission.handle_kernel_waits(true);
        hall.at(8).admission.handle_kernel_waits(false);
        assert_eq!(hall.admission.next_look(), None);
    }

    #[test]
    fn looks_are_apart_whatever_wakes_the_master() {
        let mut hall = Hall::new(None, Some(5));
        hall.at(1).admission.handle_kernel_waits(true);
        hall.admission.handle_backlog(Some(3), 0);
        assert_eq!(hall.admission.next_look(), Some(Nanos(MS) + SHED_LOOK));
        hall.at(2).admission.handle_kernel_waits(false);
        hall.at(3).admission.handle_kernel_waits(true);
        assert_eq!(hall.admission.next_look(), Some(Nanos(MS) + SHED_LOOK));
        let mut patient = Hall::new(Some(TIMEOUT), None);
        patient.at(1).admission.handle_kernel_waits(true);
        patient.admission.handle_backlog(Some(3), 0);
        assert_eq!(patient.admission.next_look(), Some(Nanos(201 * MS)), "nothing until then");
        let mut hurried = Hall::new(Some(Duration::from_millis(2)), Some(5));
        hurried.at(1).admission.handle_kernel_waits(true);
        hurried.admission.handle_backlog(Some(3), 0);
        assert_eq!(hurried.admission.next_look(), Some(Nanos(3 * MS)));
    }

    #[test]
    fn the_room_opens_when_the_kernels_queue_has_not_been_empty_for_the_timeout() {
        let mut hall = Hall::new(Some(TIMEOUT), None);
        hall.at(10).admission.handle_kernel_waits(true);
        hall.admission.handle_backlog(Some(9), 0);
        hall.at(205).admission.handle_backlog(Some(9), 0);
        assert!(!hall.admission.is_open());
        assert_eq!(hall.admission.next_look(), Some(Nanos(210 * MS)), "not a pause later");
        hall.at(210).admission.handle_backlog(Some(9), 0);
        assert_eq!(hall.admission.free_places(0), WAITING_ROOM_MAX);
        assert_eq!(hall.admission.free_places(WAITING_ROOM_MAX - 3), 3);
        assert_eq!(hall.admission.next_look(), None, "who is in the room has a deadline");
    }

    #[test]
    fn the_oldest_go_in_their_order_and_the_room_closes_behind_the_last() {
        let mut hall = Hall::new(Some(TIMEOUT), None);
        hall.at(10).admission.handle_kernel_waits(true);
        hall.at(210).admission.handle_backlog(Some(3), 0);
        hall.accepted(1, 10);
        hall.accepted(2, 11);
        hall.accepted(3, 100);
        assert_eq!(hall.at(211).shed(), [(1, ShedReason::TooOld), (2, ShedReason::TooOld)]);
        assert_eq!(hall.admission.due(), Some(Nanos(300 * MS)));
        assert_eq!(hall.at(299).shed(), []);
        assert!(hall.admission.is_open());
        assert_eq!(hall.at(300).shed(), [(3, ShedReason::TooOld)]);
        assert!(!hall.admission.is_open());
        assert_eq!(hall.admission.due(), None);
    }

    #[test]
    fn the_room_opens_when_the_kernels_queue_and_ours_are_longer_than_the_limit() {
        let mut hall = Hall::new(None, Some(5));
        hall.at(1).admission.handle_kernel_waits(true);
        hall.admission.handle_backlog(Some(3), 2);
        assert!(!hall.admission.is_open());
        hall.admission.handle_backlog(Some(3), 3);
        assert!(hall.admission.is_open());
        assert_eq!(hall.admission.free_places(5), usize::MAX);
    }

    #[test]
    fn what_cannot_be_counted_is_taken_in_at_once() {
        for limits in [(Some(TIMEOUT), None), (None, Some(5))] {
            let mut hall = Hall::new(limits.0, limits.1);
            hall.at(1).admission.handle_kernel_waits(true);
            hall.admission.handle_backlog(None, 0);
            assert!(hall.admission.is_open(), "{limits:?}");
        }
    }

    #[test]
    fn the_newest_go_from_whichever_queue() {
        let mut hall = Hall::new(None, Some(3));
        hall.came_back(1, 10);
        hall.accepted(2, 5);
        hall.accepted(3, 20);
        hall.came_back(4, 30);
        hall.accepted(5, 40);
        assert_eq!(hall.shed(), [(5, ShedReason::TooMany), (4, ShedReason::TooMany)]);
        assert_eq!((hall.fresh.len(), hall.returned.len()), (2, 1));
    }

    #[test]
    fn the_old_go_before_the_many_are_counted() {
        let mut hall = Hall::new(Some(TIMEOUT), Some(1));
        hall.accepted(1, 0);
        hall.accepted(2, 150);
        hall.accepted(3, 160);
        assert_eq!(hall.at(200).shed(), [(1, ShedReason::TooOld), (3, ShedReason::TooMany)]);
    }

    #[test]
    fn a_clock_at_its_end_turns_nobody_away_twice_and_does_not_overflow() {
        let mut hall = Hall::new(Some(Duration::MAX), Some(u32::MAX));
        hall.admission.handle_time(Nanos::NEVER);
        hall.admission.handle_kernel_waits(true);
        hall.admission.handle_backlog(Some(u32::MAX), usize::MAX);
        hall.accepted(1, 0);
        assert_eq!(hall.shed(), []);
        assert_eq!(hall.fresh.len(), 1);
    }
}
