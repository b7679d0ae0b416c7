//! Worker processes: what the master remembers of each, and what each is doing.
//!
//! Not here: what they do next (`worker`), their lives (`lives`).

use std::collections::VecDeque;

use crate::ident::{Generation, Incarnation, Slot};
use crate::supervise::Exit;
use crate::time::Nanos;

/// Where a process is in its life, as the master sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Starting,
    Serving,
    Leaving,
    /// It has ended, and the master has not heard of it.
    Dead,
    /// Its place is free.
    Gone,
}

/// A connection as somebody has written it down: true while that stay goes on.
pub(super) type Noted = (u32, u32);

/// Why a loan is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    Ended,
    Given,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) who: Incarnation,
    pub(super) stage: Stage,
    pub(super) threads: u16,
    /// Nanoseconds that it takes for a thousand of work.
    pub(super) pace: u64,
    pub(super) ready_at: Nanos,
    /// How it has ended, once it has.
    pub(super) exit: Exit,

    // The page.
    pub(super) started: u64,
    pub(super) finished: u64,
    pub(super) services: u64,
    pub(super) busy_ns: u64,
    pub(super) turn_entered: Nanos,
    pub(super) all_busy_since: Nanos,
    pub(super) ring: Vec<(u32, LetGo)>,
    pub(super) bell_at_load: Option<u32>,
    pub(super) bell_when_given: bool,

    // The master's record.
    /// Lent and not claimed.
    pub(super) waiting: u32,
    /// Those, oldest first, with what has been claimed meanwhile between them.
    pub(super) unclaimed: VecDeque<Noted>,
    pub(super) claimed_at: Nanos,
    pub(super) has_claimed: bool,
    /// Loans that are out.
    pub(super) open: u32,
    pub(super) outbox: Vec<u32>,
    /// Packets that it has not heard.
    pub(super) packets: u32,
    pub(super) is_watched: bool,
    pub(super) knows_stopped: bool,
    /// Its page has changed since the last look.
    pub(super) is_dirty: bool,
    pub(super) look_due: Nanos,

    // The process.
    /// Connections that it may claim: lent, or readable.
    pub(super) inbox: VecDeque<Noted>,
    /// Of its requests in service.
    pub(super) active: Vec<u32>,
    /// When its loop runs next, if that is on the agenda.
    pub(super) runs_at: Nanos,
    pub(super) stopped_since: Option<Nanos>,
    /// Rings at this time, if it is wound; and when that is on the agenda.
    pub(super) alarm_at: Nanos,
    pub(super) alarm_on_agenda: Nanos,
    /// In the kernel's arms: since which event it has been watching its listener.
    pub(super) watches_since: u64,
    /// Connections that are its own.
    pub(super) own: u32,
}

impl Member {
    pub(super) fn new(slot: Slot, generation: Generation, threads: u16, speed: f64) -> Self {
        Member {
            who: Incarnation { slot, generation },
            stage: Stage::Starting,
            threads,
            pace: (1000.0 / speed.max(1e-6)).round() as u64,
            ready_at: Nanos(0),
            exit: Exit::NeverStarted,
            started: 0,
            finished: 0,
            services: 0,
            busy_ns: 0,
            turn_entered: Nanos(0),
            all_busy_since: Nanos(0),
            ring: Vec::new(),
            bell_at_load: None,
            bell_when_given: false,
            waiting: 0,
            unclaimed: VecDeque::new(),
            claimed_at: Nanos(0),
            has_claimed: false,
            open: 0,
            outbox: Vec::new(),
            packets: 0,
            is_watched: false,
            knows_stopped: false,
            is_dirty: false,
            look_due: Nanos::NEVER,
            inbox: VecDeque::new(),
            active: Vec::new(),
            runs_at: Nanos::NEVER,
            stopped_since: None,
            alarm_at: Nanos(0),
            alarm_on_agenda: Nanos::NEVER,
            watches_since: 0,
            own: 0,
        }
    }

    /// Requests in service.
    pub(super) fn busy(&self) -> u16 {
        self.active.len() as u16
    }

    /// Requests that can be in service.
    pub(super) fn places(&self) -> u16 {
        self.threads.max(1)
    }

    /// Whether it would serve one more now.
    pub(super) fn has_place(&self) -> bool {
        self.busy() < self.places()
    }

    /// Serves, or finishes what it has.
    pub(super) fn lives(&self) -> bool {
        matches!(self.stage, Stage::Serving | Stage::Leaving)
    }

    /// Neither in service of anything that keeps its loop, nor on its way to run.
    pub(super) fn sleeps(&self) -> bool {
        let keeps_loop = self.threads == 0 && !self.active.is_empty();
        self.runs_at == Nanos::NEVER && !keeps_loop && self.stopped_since.is_none()
    }
}
