//! What has happened of late: kept for the helper, and for the one after it.
//!
//! The master keeps the last [`HAPPENED_KEPT_MAX`] and tells its helper of each, in order. They are
//! the queue of a channel that is full, too: what has fallen out of it by then is seen by the gap in
//! the numbers. A helper that is started anew, and another image of the master, begin with them.
//!
//! Not here: what is only counted (`account::Counters`), the log.

use std::collections::VecDeque;

use crate::account::{Happened, HappenedKind};
use crate::admin::frame::bounded;
use crate::config::{HAPPENED_KEPT_MAX, STUCK_TOLD_AFTER};
use crate::ident::{Incarnation, Slot};
use crate::master::publishing::wall_clock_ms;
use crate::master::{Master, naming};
use crate::time::Nanos;

/// The last things, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    kept: VecDeque<Happened>,
    last: u64,
}

impl History {
    /// As another image has left it.
    pub(super) fn resume(kept: Vec<Happened>) -> Self {
        let last = kept.last().map_or(0, |happened| happened.sequence);
        History { kept: kept.into(), last }
    }

    pub(super) fn kept(&self) -> Vec<Happened> {
        self.kept.iter().cloned().collect()
    }

    /// The number of the last one.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The first one behind this number.
    pub(super) fn after(&self, sequence: u64) -> Option<&Happened> {
        let place = self.kept.partition_point(|happened| happened.sequence <= sequence);
        self.kept.get(place)
    }

    fn add(
        &mut self,
        kind: HappenedKind,
        worker: Option<(Incarnation, u32)>,
        text: &str,
        at_ms: u64,
    ) {
        self.last += 1;
        if self.kept.len() == HAPPENED_KEPT_MAX {
            self.kept.pop_front();
        }
        let text = bounded(text).to_owned();
        self.kept.push_back(Happened { sequence: self.last, at_ms, kind, worker, text });
    }
}

impl Master {
    /// Something has happened that people ask about later.
    pub(in crate::master) fn happened(
        &mut self,
        kind: HappenedKind,
        worker: Option<(Incarnation, u32)>,
        text: &str,
    ) {
        if self.admin.is_on() {
            self.admin.history.add(kind, worker, text, wall_clock_ms());
        }
    }

    /// A worker has become stuck. Most are for a moment, and only counted.
    pub(in crate::master) fn note_stuck(&mut self, slot: Slot) {
        let place = self.roster.serving(slot);
        if let Some(member) = place.and_then(|place| self.roster.get_mut(place)) {
            member.stalls += 1;
            member.stuck_since = Some(self.now);
        }
    }

    /// A worker makes progress again.
    pub(in crate::master) fn note_moving(&mut self, slot: Slot) {
        let place = self.roster.serving(slot);
        let Some(member) = place.and_then(|place| self.roster.get_mut(place)) else { return };
        let since = member.stuck_since.take();
        if let Some(since) = since.filter(|_| std::mem::take(&mut member.stuck_told)) {
            let worker = (member.who, member.child.pid());
            let lasted = self.now.since(since).as_secs_f64();
            let text = format!("makes progress again, after {lasted:.1} s");
            self.happened(HappenedKind::Recovered, Some(worker), &text);
        }
    }

    /// Those that have been stuck for so long that it is worth a word.
    pub(super) fn tell_stuck(&mut self) {
        if self.next_stuck().is_none_or(|at| at > self.now) {
            return;
        }
        let mut told = Vec::new();
        for (_, member) in self.roster.iter_mut() {
            let due = member.stuck_since.filter(|since| *since + STUCK_TOLD_AFTER <= self.now);
            if let Some(since) = due.filter(|_| !member.stuck_told) {
                member.stuck_told = true;
                let lasted = self.now.since(since).as_secs_f64();
                let running = match (member.stopped_at, naming::running_calls(member, self.now)) {
                    (Some(_), _) => "a signal has stopped it".to_owned(),
                    (None, Some(running)) => running,
                    (None, None) => "no handler runs".to_owned(),
                };
                let text = format!("no progress for {lasted:.1} s: {running}");
                told.push(((member.who, member.child.pid()), text));
            }
        }
        for (worker, text) in told {
            self.happened(HappenedKind::Stuck, Some(worker), &text);
        }
    }

    /// When the next one is.
    pub(in crate::master) fn next_stuck(&self) -> Option<Nanos> {
        if !self.admin.is_on() {
            return None;
        }
        let untold = self.roster.iter().filter(|(_, member)| !member.stuck_told);
        untold.filter_map(|(_, member)| member.stuck_since).min().map(|at| at + STUCK_TOLD_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_in_order_and_a_gap_is_seen() {
        let mut history = History::default();
        assert_eq!((history.last(), history.after(0)), (0, None));
        let most = HAPPENED_KEPT_MAX as u64;
        for number in 1..=most + 3 {
            history.add(HappenedKind::Scale, None, &number.to_string(), number);
        }
        assert_eq!(history.after(0).unwrap().sequence, 4, "three were forgotten");
        assert_eq!(history.after(5).unwrap().text, "6");
        assert_eq!(history.after(most + 3), None);
        let resumed = History::resume(history.kept());
        assert_eq!((resumed.last(), resumed.kept.len()), (most + 3, HAPPENED_KEPT_MAX));
    }
}
