//! Looking at the board: what each worker holds and how busy it is; and when to look again.
//!
//! Not here: what follows from it (`dispatch`), the pages themselves (`crate::board`).

use std::time::Duration;

use tracing::debug;

use crate::board::Call;
use crate::config::Rebalance;
use crate::dispatch::Sample;
use crate::master::Master;
use crate::master::roster::{Member, Stage};
use crate::supervise::{Breach, is_late};
use crate::sys::clock;
use crate::time::Nanos;

impl Master {
    /// Looks at every page: what has been claimed, and how loaded each worker is.
    pub(super) fn look_at_board(&mut self) {
        let now = self.now;
        if let Some(age) = self.settings.report_age {
            if now < self.reports_until {
                return;
            }
            self.reports_until = now + age;
        }
        let mut overdue = Vec::new();
        self.handoff_due = None;
        for (place, member) in self.roster.iter_mut() {
            if member.stage != Stage::Serving {
                continue;
            }
            let sample = sample(member, now);
            if member.proxy.is_some()
                && let Some(lent_at) = sample.oldest_waiting
            {
                let timeout = self.settings.lifecycle.handoff_timeout;
                match judge_handoff(lent_at, &mut member.handoff_from, timeout, now) {
                    Handoff::Due(at) => {
                        self.handoff_due =
                            Some(self.handoff_due.map_or(at, |earlier: Nanos| earlier.min(at)));
                    }
                    Handoff::Overdue => overdue.push(place),
                }
            }
            self.dispatcher.handle_sample(member.who.slot, &sample, now);
            if member.refused_until > now {
                // Until then it is as good as full.
                self.dispatcher.handle_back_pressure(member.who.slot, &[]);
            }
        }
        for place in overdue {
            // What it was lent cannot be taken back while it lives.
            self.handle_breach(place, Breach::NotTaken, "it has no page");
        }
    }

    /// With `--report-age`: when workers are looked at again, if something waits for that.
    pub(super) fn next_report(&self) -> Option<Nanos> {
        let waits = self.dispatcher.queued() > 0 || self.acceptor.kernel_waits();
        (self.settings.report_age.is_some() && waits).then_some(self.reports_until)
    }

    /// Asks workers to say when they have room, where that is waited for. True if one was asked
    /// that had not been.
    pub(super) fn raise_bells(&mut self) -> bool {
        let wish = self.dispatcher.wish(self.acceptor.kernel_waits());
        let always = self.settings.rebalance == Rebalance::Always;
        let mut raised = false;
        self.uncalled = false;
        for (_, member) in self.roster.iter_mut() {
            let heard = matches!(member.stage, Stage::Serving | Stage::Leaving);
            if !heard || member.proxy.is_some() {
                continue;
            }
            let serves = member.stage == Stage::Serving;
            let at_load =
                serves.then(|| self.dispatcher.bell_threshold(member.who.slot, wish)).flatten();
            // A worker that leaves gives back what becomes idle, in every mode.
            let when_given = member.page.on_loan() > 0 && (always || !serves);
            let call = Call { at_load, when_given };
            if member.call != Call::NOTHING && !member.page.bell_is_raised() {
                // The worker has rung, and lowered its flag.
                member.call = Call::NOTHING;
            }
            if call == member.call {
                continue;
            }
            if call == Call::NOTHING {
                member.call = call;
                member.page.lower_bell();
            } else if member.flood.call(self.now) {
                member.call = call;
                member.page.raise_bell(call);
                raised = true;
            } else {
                self.uncalled = true;
            }
        }
        raised
    }

    /// When a worker that has refused a packet may be lent something again.
    pub(super) fn next_refused(&self) -> Option<Nanos> {
        let until = self.roster.iter().map(|(_, member)| member.refused_until);
        until.filter(|until| *until > self.now).min()
    }

    /// Winds the master's own alarm for the dispatcher's next look: an epoll timeout has a resolution
    /// of a millisecond, which is as long as a worker may be stuck unnoticed. False if it is due.
    pub(super) fn wind_look(&mut self) -> bool {
        let Some(at) = self.dispatcher.next_look() else { return true };
        // With `--report-age` nothing new is seen before: without it this is long past.
        let at = at.max(self.reports_until);
        if at <= clock::now() {
            return false;
        }
        // Once wound it is left alone: a look too early costs less than winding it each time.
        if at < self.look_at || self.look_at <= self.now {
            self.look_at = at;
            if let Err(cause) = self.look.wind(at) {
                debug!(%cause, "winding the master's alarm");
                return false;
            }
        }
        true
    }
}

/// How a hand-off to a worker without a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handoff {
    /// It must be taken by then.
    Due(Nanos),
    /// It was not.
    Overdue,
}

/// Judges the oldest loan that has not been taken. One that is found long overdue is the fault of a
/// master that was stopped: its time counts from now, once.
fn judge_handoff(lent_at: Nanos, from: &mut Nanos, timeout: Duration, now: Nanos) -> Handoff {
    let given_again = *from > lent_at;
    let due_at = lent_at.max(*from) + timeout;
    if now < due_at {
        return Handoff::Due(due_at);
    }
    if given_again || !is_late(due_at, now) {
        return Handoff::Overdue;
    }
    *from = now;
    Handoff::Due(now + timeout)
}

/// What the dispatcher is told of a worker. The claim words are read before the counters: a request
/// that begins meanwhile is counted twice then, and never not at all.
fn sample(member: &mut Member, now: Nanos) -> Sample {
    let unclaimed = member.still_unclaimed(now);
    let (waiting, oldest_waiting) = (unclaimed.count, unclaimed.oldest);
    let nothing_claimed_since = unclaimed.nothing_claimed_since;
    let open = member.page.on_loan();
    let stopped = member.stopped_at.is_some();
    if let Some(report) = &member.reported {
        return Sample {
            waiting,
            oldest_waiting,
            nothing_claimed_since,
            started: report.started,
            finished: report.finished,
            queued: report.queued,
            threads_busy: report.busy,
            open,
            busy_ns: report.busy_ns,
            services: report.finished,
            stopped,
            ..Sample::default()
        };
    }
    let report = member.page.report();
    Sample {
        waiting,
        oldest_waiting,
        nothing_claimed_since,
        started: report.requests_started,
        finished: report.requests_finished,
        queued: report.requests_queued,
        threads_busy: report.threads_busy,
        all_busy_since: report.all_busy_since,
        turn_entered: report.turn_entered,
        open,
        busy_ns: report.busy_ns,
        services: report.services,
        stopped,
    }
}

/// Since when a worker has been busy with one and the same thing; zero if it is not.
pub(super) fn busy_since(member: &Member, spares_calls: bool) -> Nanos {
    if let Some(stopped_at) = member.stopped_at {
        return stopped_at;
    }
    let report = member.page.report();
    let oldest_call = if spares_calls { Nanos(0) } else { report.oldest_call };
    [report.turn_entered, oldest_call]
        .into_iter()
        .filter(|stamp| *stamp != Nanos(0))
        .min()
        .unwrap_or(Nanos(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_hand_off_that_is_not_taken_in_time_is_overdue() {
        let (lent_at, mut from) = (Nanos(SECOND), Nanos(0));
        let due_at = Nanos(11 * SECOND);
        let before = judge_handoff(lent_at, &mut from, TIMEOUT, Nanos(due_at.0 - 1));
        assert_eq!(before, Handoff::Due(due_at));
        assert_eq!(judge_handoff(lent_at, &mut from, TIMEOUT, due_at), Handoff::Overdue);
    }

    #[test]
    fn a_master_that_was_stopped_gives_the_time_again_once_for_each_loan() {
        let (lent_at, mut from) = (Nanos(SECOND), Nanos(0));
        let back_at = Nanos(100 * SECOND);
        let again = Handoff::Due(back_at + TIMEOUT);
        assert_eq!(judge_handoff(lent_at, &mut from, TIMEOUT, back_at), again);
        let soon = back_at + TIMEOUT / 2;
        assert_eq!(judge_handoff(lent_at, &mut from, TIMEOUT, soon), again);
        let late = Nanos(200 * SECOND);
        assert_eq!(judge_handoff(lent_at, &mut from, TIMEOUT, late), Handoff::Overdue);
        // Another one, lent since.
        let (lent_at, late) = (Nanos(150 * SECOND), Nanos(300 * SECOND));
        assert_eq!(judge_handoff(lent_at, &mut from, TIMEOUT, late), Handoff::Due(late + TIMEOUT));
    }
}
