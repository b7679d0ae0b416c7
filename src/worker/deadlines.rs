//! One deadline per session, cheap to move.
//!
//! Nearly every request moves its session's deadline later (keep-alive begins anew), so a move to
//! later touches no heap: the entry that is already there comes due, finds the session's own
//! deadline still ahead, and is pushed once more. Only a move to earlier pushes at once.
//!
//! Not here: what happens at a deadline (`session`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Nanos;
use crate::worker::sessions::SessionKey;

/// A session's deadline, and when the heap will next ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    at: Nanos,
    asked_at: Nanos,
}

impl Default for Deadline {
    fn default() -> Self {
        Deadline { at: Nanos::NEVER, asked_at: Nanos::NEVER }
    }
}

impl Deadline {
    /// When the session must have moved on.
    pub fn at(self) -> Nanos {
        self.at
    }
}

/// The deadlines of all sessions. Holds at most a few entries a session: one live, and those that
/// a move to earlier left behind until they come due.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(Nanos, SessionKey)>>,
}

impl Deadlines {
    /// Moves a session's deadline.
    pub fn set(&mut self, key: SessionKey, deadline: &mut Deadline, at: Nanos) {
        deadline.at = at;
        if at < deadline.asked_at {
            deadline.asked_at = at;
            self.heap.push(Reverse((at, key)));
        }
    }

    /// When [`Deadlines::pop`] may next have something.
    pub fn next(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next session to be asked, if its time has come.
    pub fn pop(&mut self, now: Nanos) -> Option<(SessionKey, Nanos)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, key))| (key, at))
    }

    /// Whether the session that [`Deadlines::pop`] named is really due; if it is not, it will be
    /// asked again in time.
    pub fn is_due(
        &mut self,
        key: SessionKey,
        deadline: &mut Deadline,
        asked_at: Nanos,
        now: Nanos,
    ) -> bool {
        if deadline.asked_at != asked_at {
            // Left behind by a move to earlier; another entry stands for this session.
            return false;
        }
        deadline.asked_at = Nanos::NEVER;
        if deadline.at <= now {
            return true;
        }
        if deadline.at < Nanos::NEVER {
            self.set(key, deadline, deadline.at);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moved_later_fires_once_and_on_time() {
        let (mut deadlines, mut one, key) =
            (Deadlines::default(), Deadline::default(), SessionKey(1));
        deadlines.set(key, &mut one, Nanos(10));
        for later in 11..100 {
            deadlines.set(key, &mut one, Nanos(later));
        }
        assert_eq!(deadlines.heap.len(), 1);
        assert_eq!(deadlines.pop(Nanos(9)), None);
        let (_, asked) = deadlines.pop(Nanos(10)).unwrap();
        assert!(!deadlines.is_due(key, &mut one, asked, Nanos(10)));
        assert_eq!(deadlines.next(), Some(Nanos(99)));
        let (_, asked) = deadlines.pop(Nanos(99)).unwrap();
        assert!(deadlines.is_due(key, &mut one, asked, Nanos(99)));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_that_moved_earlier_fires_early_and_only_once() {
        let (mut deadlines, mut one, key) =
            (Deadlines::default(), Deadline::default(), SessionKey(1));
        deadlines.set(key, &mut one, Nanos(75));
        deadlines.set(key, &mut one, Nanos(10));
        let (_, asked) = deadlines.pop(Nanos(12)).unwrap();
        assert!(deadlines.is_due(key, &mut one, asked, Nanos(12)));
        let (_, asked) = deadlines.pop(Nanos(80)).unwrap();
        assert!(!deadlines.is_due(key, &mut one, asked, Nanos(80)));
    }

    #[test]
    fn no_deadline_is_never_asked() {
        let (mut deadlines, mut one) = (Deadlines::default(), Deadline::default());
        deadlines.set(SessionKey(1), &mut one, Nanos::NEVER);
        assert_eq!(deadlines.next(), None);
    }
}
