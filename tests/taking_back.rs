//! What the dispatcher takes back from a worker that is stuck, and when it leaves it where it is:
//! two workers in numbers, and a look at each.
//!
//! What moves behind another busy worker has lost its place in a queue and won nothing: newer
//! requests that stay where they are overtake it, and it moves again when that worker is stuck too.
//! (Four loops at the limit of two cores answered most requests in 5 ms, and some in 100.)
//!
//! Not here: whatever may happen in any order (`dispatch_properties`, `rebalancing_simulation`).

use std::time::Duration;

use maitred::config::{Balance, PREFETCH_MAX, RESCUE_PATIENCE, Rebalance, UNRUN_STALLS};
use maitred::dispatch::{DispatchSettings, Dispatcher, Effect, Sample, Shape, Wish};
use maitred::ident::Slot;
use maitred::time::Nanos;

const STALL: Duration = Duration::from_millis(1);
const BEGAN: Nanos = Nanos(1_000_000_000);
const BUSY: Slot = Slot(0);
const OTHER: Slot = Slot(1);

struct Master {
    dispatcher: Dispatcher,
    threads: u16,
    now: Nanos,
}

impl Master {
    /// Both workers serve since long; with this many threads, or loops.
    fn new(threads: u16) -> Master {
        let mut dispatcher = Dispatcher::new(&DispatchSettings {
            balance: Balance::LeastLoaded,
            weights: Vec::new(),
            rebalance: Rebalance::Auto,
            stall_after: STALL,
            queue_timeout: None,
            max_queue: None,
            credit: None,
            seed: 1,
        });
        dispatcher.handle_time(Nanos(1));
        for slot in [BUSY, OTHER] {
            dispatcher.handle_worker_ready(slot, Shape { threads, credit: 0, recallable: true });
        }
        Master { dispatcher, threads, now: BEGAN }
    }

    /// A look at a worker that has been busy with one request since then, and has so many unread.
    fn finds_busy(&mut self, slot: Slot, since: Nanos, unread: u32) {
        let lent_at = (unread > 0).then_some(since);
        let mut sample = Sample {
            waiting: unread,
            oldest_waiting: lent_at,
            nothing_claimed_since: lent_at,
            started: 101,
            finished: 100,
            open: 1 + unread,
            ..self.experience()
        };
        if self.threads > 0 {
            (sample.threads_busy, sample.all_busy_since) = (u32::from(self.threads), since);
        } else {
            sample.turn_entered = since;
        }
        self.dispatcher.handle_sample(slot, &sample, self.now);
    }

    fn finds_idle(&mut self, slot: Slot) {
        let sample = Sample { started: 100, finished: 100, ..self.experience() };
        self.dispatcher.handle_sample(slot, &sample, self.now);
    }

    /// Requests of 5 ms each.
    fn experience(&self) -> Sample {
        Sample { services: 100, busy_ns: 500_000_000, ..Sample::default() }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.dispatcher.handle_time(self.now);
    }

    /// Whether it asks which idle loans are readable although nobody has room for one.
    fn looks_without_room(&mut self) -> bool {
        self.dispatcher.decide();
        std::iter::from_fn(|| self.dispatcher.poll_effect())
            .filter(|effect| matches!(effect, Effect::Rescue { slot: BUSY, count: 0 }))
            .count()
            > 0
    }

    /// How many of the busy worker's loans it wants back, and how many idle ones.
    fn takes_back(&mut self) -> (u32, u32) {
        self.dispatcher.decide();
        self.dispatcher.check_invariants();
        let (mut recalled, mut rescued) = (0, 0);
        while let Some(effect) = self.dispatcher.poll_effect() {
            match effect {
                Effect::Recall { slot: BUSY, count } => recalled += count,
                Effect::Rescue { slot: BUSY, count } => rescued += count,
                Effect::Watch(_) | Effect::Unwatch(_) => {}
                other => panic!("{other:?}"),
            }
        }
        (recalled, rescued)
    }
}

#[test]
fn what_waits_at_a_stuck_worker_moves_to_a_thread_that_is_idle_and_not_behind_a_busy_one() {
    let mut master = Master::new(1);
    master.wait(STALL * 2);
    let just_now = master.now;
    master.finds_busy(BUSY, BEGAN, 3);
    master.finds_busy(OTHER, just_now, 0);
    let other = master.dispatcher.candidate(OTHER).expect("it serves");
    assert!(!other.stuck && other.credit == u32::from(PREFETCH_MAX), "it would take it");
    assert_eq!(master.takes_back(), (0, 0));
    // It rings when its thread is idle: there is one place.
    let wish = master.dispatcher.wish(false);
    assert_eq!(master.dispatcher.bell_threshold(OTHER, wish), Some(0));
    master.finds_idle(OTHER);
    assert_eq!(master.takes_back(), (1, 0));
}

#[test]
fn the_same_with_loops() {
    let mut master = Master::new(0);
    master.wait(STALL * 2);
    let just_now = master.now;
    master.finds_busy(BUSY, BEGAN, 3);
    master.finds_busy(OTHER, just_now, 0);
    assert_eq!(master.takes_back(), (0, 0), "its turn takes 5 ms as well");
    let wish = master.dispatcher.wish(false);
    assert_eq!(master.dispatcher.bell_threshold(OTHER, wish), Some(0));
    master.finds_idle(OTHER);
    assert_eq!(master.takes_back(), (1, 0));
}

#[test]
fn a_loop_of_quick_handlers_takes_what_it_is_through_with_at_once() {
    let mut master = Master::new(0);
    master.wait(STALL * 2);
    let just_now = master.now;
    master.finds_busy(BUSY, BEGAN, 3);
    // 35 µs each, and 15 around them: ten of them in half a millisecond.
    let quick = Sample { services: 1000, busy_ns: 35_000_000, ..Sample::default() };
    let sample =
        Sample { turn_entered: just_now, waiting: 8, oldest_waiting: Some(just_now), ..quick };
    master.dispatcher.handle_sample(OTHER, &sample, master.now);
    assert_eq!(master.takes_back(), (2, 0), "eight wait there already");
}

#[test]
fn idle_connections_follow_the_same_rule() {
    for threads in [0, 1] {
        let mut master = Master::new(threads);
        master.wait(STALL * 2);
        let just_now = master.now;
        master.finds_busy(BUSY, BEGAN, 0);
        master.finds_busy(OTHER, just_now, 0);
        assert_eq!(master.takes_back(), (0, 0), "{threads} threads");
        master.finds_idle(OTHER);
        assert_eq!(master.takes_back(), (0, 1), "{threads} threads");
    }
}

/// A burst on cores that are all taken: who was dealt its share keeps it, although others are done.
#[test]
fn what_was_lent_to_a_worker_that_the_system_has_not_run_is_left_to_it() {
    for threads in [0, 1] {
        let mut master = Master::new(threads);
        let unrun = Sample {
            waiting: 3,
            oldest_waiting: Some(BEGAN),
            nothing_claimed_since: Some(BEGAN),
            started: 100,
            finished: 100,
            open: 3,
            ..master.experience()
        };
        let looks = (1..UNRUN_STALLS).filter(|stall| {
            let looks_at = master.dispatcher.next_look();
            master.wait(STALL);
            master.dispatcher.handle_sample(BUSY, &unrun, master.now);
            master.finds_idle(OTHER);
            assert_eq!(master.takes_back(), (0, 0), "{threads} threads");
            // Before the first look nothing was known of it.
            *stall == 1 || looks_at.is_some_and(|at| at <= master.now + STALL / 2)
        });
        assert_eq!(looks.count(), UNRUN_STALLS as usize - 1, "it may begin something at any time");
        master.wait(STALL);
        master.dispatcher.handle_sample(BUSY, &unrun, master.now);
        assert_eq!(master.takes_back(), (1, 0), "{threads} threads: the system had its time");
    }
}

/// A handler that never ends, on a server whose workers are never idle.
#[test]
fn from_a_worker_that_is_stuck_for_long_everything_moves() {
    for threads in [0, 1] {
        let mut master = Master::new(threads);
        master.wait(STALL * 2);
        let just_now = master.now;
        master.finds_busy(BUSY, BEGAN, 3);
        master.finds_busy(OTHER, just_now, 0);
        assert_eq!(master.takes_back(), (0, 0), "{threads} threads");
        let looks_at = master.dispatcher.next_look().expect("it is not forgotten");
        assert!(looks_at <= master.now + RESCUE_PATIENCE, "{threads} threads");
        master.wait(RESCUE_PATIENCE);
        let just_now = master.now;
        master.finds_busy(BUSY, BEGAN, 3);
        master.finds_busy(OTHER, just_now, 0);
        assert_eq!(master.takes_back(), (3, 5), "{threads} threads: all that there is credit for");
    }
}

/// Nobody knows when it goes on.
#[test]
fn from_a_worker_that_a_signal_has_stopped_everything_moves_at_once() {
    let mut master = Master::new(1);
    let stopped = Sample {
        waiting: 3,
        oldest_waiting: Some(BEGAN),
        nothing_claimed_since: Some(BEGAN),
        open: 3,
        stopped: true,
        ..master.experience()
    };
    master.dispatcher.handle_sample(BUSY, &stopped, master.now);
    master.finds_busy(OTHER, BEGAN, 0);
    let (recalled, _) = master.takes_back();
    assert_eq!(recalled, 3);
}

/// One look without room says whether anything waits; nobody rings for what is not there.
#[test]
fn idle_connections_that_say_nothing_are_looked_at_once_and_wake_nobody() {
    for threads in [0, 1] {
        let mut master = Master::new(threads);
        master.wait(STALL * 2);
        let just_now = master.now;
        master.finds_busy(BUSY, BEGAN, 0);
        master.finds_busy(OTHER, just_now, 0);
        assert!(master.looks_without_room(), "{threads} threads");
        assert_eq!(master.dispatcher.wish(false), Wish::Idle, "it may be that something is found");
        master.dispatcher.handle_rescue_over(BUSY, false);
        assert!(!master.looks_without_room(), "{threads} threads: once");
        assert_eq!(master.dispatcher.wish(false), Wish::Nothing, "{threads} threads");
        // Its own readiness says so when that changes.
        master.dispatcher.handle_idle_readable(BUSY);
        assert_eq!(master.dispatcher.wish(false), Wish::Idle, "{threads} threads");
    }
}

/// Its one loan has waited there for longer than a moment: what comes would wait behind that.
#[test]
fn nothing_moves_to_a_worker_that_the_system_does_not_run() {
    for threads in [0, 2] {
        let mut master = Master::new(threads);
        let unrun = Sample {
            waiting: 1,
            oldest_waiting: Some(BEGAN),
            nothing_claimed_since: Some(BEGAN),
            open: 1,
            ..master.experience()
        };
        master.wait(STALL * 2);
        master.finds_busy(BUSY, BEGAN, 3);
        master.dispatcher.handle_sample(OTHER, &unrun, master.now);
        let other = master.dispatcher.candidate(OTHER).expect("it serves");
        assert!(!other.stuck && other.credit > 0, "{threads} threads: for new ones it has room");
        assert_eq!(master.takes_back(), (0, 0), "{threads} threads");
    }
}

/// Nothing can be taken back from it: no look and no bell would help.
#[test]
fn a_worker_without_a_page_strands_nothing() {
    let mut master = Master::new(1);
    let shape = Shape { threads: 1, credit: 0, recallable: false };
    master.dispatcher.handle_worker_ready(BUSY, shape);
    master.wait(STALL * 2);
    master.finds_busy(BUSY, BEGAN, 3);
    let just_now = master.now;
    master.finds_busy(OTHER, just_now, 0);
    assert_eq!(master.takes_back(), (0, 0));
    assert_eq!(master.dispatcher.wish(false), Wish::Nothing);
}
