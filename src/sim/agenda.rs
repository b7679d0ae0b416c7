//! What happens when: events in the order of their times, and of their making among equals.
//!
//! Most events of a server follow from each other at the same moment, so those that are due at once
//! stand in a plain queue beside the heap: they cost no logarithm.
//!
//! Not here: what the events mean (`server`, and whoever drives it).

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use crate::time::Nanos;

/// Events to come.
#[derive(Clone, Debug)]
pub struct Agenda<E> {
    now: Nanos,
    later: BinaryHeap<Entry<E>>,
    /// Due now; made after everything in `later` that is due now.
    soon: VecDeque<E>,
    sequence: u64,
    handled: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<E> {
    at: Nanos,
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (Nanos, u64) {
        (self.at, self.sequence)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest: the standard heap has the greatest in front.
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<E: Copy> Agenda<E> {
    /// Nothing is to come, and it is this late.
    pub fn new(now: Nanos) -> Self {
        Agenda { now, later: BinaryHeap::new(), soon: VecDeque::new(), sequence: 0, handled: 0 }
    }

    /// What time it is.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// How many events have happened.
    pub fn handled(&self) -> u64 {
        self.handled
    }

    /// How many are to come.
    pub fn len(&self) -> usize {
        self.later.len() + self.soon.len()
    }

    /// Whether nothing is to come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This happens then; a time that has passed is now.
    pub fn at(&mut self, at: Nanos, event: E) {
        if at <= self.now {
            self.soon.push_back(event);
            return;
        }
        self.sequence += 1;
        self.later.push(Entry { at, sequence: self.sequence, event });
    }

    /// The next event that is due by then, and its time is now.
    pub fn next_until(&mut self, until: Nanos) -> Option<E> {
        let is_due_now = self.later.peek().is_some_and(|entry| entry.at <= self.now);
        let event = match self.soon.front() {
            Some(_) if !is_due_now => self.soon.pop_front(),
            _ => {
                if self.later.peek()?.at > until {
                    return None;
                }
                self.later.pop().map(|entry| {
                    self.now = entry.at;
                    entry.event
                })
            }
        };
        self.handled += u64::from(event.is_some());
        event
    }

    /// Nothing more happens until then.
    pub fn pass_until(&mut self, until: Nanos) {
        self.now = self.now.max(until);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn what_is_due_at_once_comes_behind_what_was_due_before() {
        let mut agenda = Agenda::new(Nanos(0));
        agenda.at(Nanos(5), 'a');
        agenda.at(Nanos(5), 'b');
        assert_eq!(agenda.next_until(Nanos(9)), Some('a'));
        agenda.at(Nanos(5), 'c');
        agenda.at(Nanos(6), 'e');
        agenda.at(Nanos(1), 'd');
        let rest: String = std::iter::from_fn(|| agenda.next_until(Nanos(9))).collect();
        assert_eq!(rest, "bcde");
        assert_eq!((agenda.now(), agenda.handled()), (Nanos(6), 5));
    }

    #[test]
    fn nothing_happens_before_its_time() {
        let mut agenda = Agenda::new(Nanos(3));
        agenda.at(Nanos(8), ());
        assert_eq!(agenda.next_until(Nanos(7)), None);
        assert_eq!(agenda.now(), Nanos(3));
        assert_eq!(agenda.next_until(Nanos(8)), Some(()));
    }

    proptest! {
        #[test]
        fn events_come_in_the_order_of_time_and_making(
            times in proptest::collection::vec(0_u64..20, 0..60),
        ) {
            let mut agenda = Agenda::new(Nanos(0));
            let mut expected: Vec<(u64, usize)> = Vec::new();
            for (number, time) in times.iter().enumerate() {
                agenda.at(Nanos(*time), number);
                expected.push((*time, number));
            }
            expected.sort();
            let found: Vec<usize> = std::iter::from_fn(|| agenda.next_until(Nanos(99))).collect();
            prop_assert_eq!(found, expected.into_iter().map(|(_, number)| number).collect::<Vec<_>>());
        }
    }
}
