//! Looking at pages: what the dispatcher is told of each worker in a turn.
//!
//! The master looks at every page in every turn. Here, with many workers, a page is looked at if it
//! has changed, or if time alone makes something of it (a loan has waited for so long, a turn lasts
//! for so long): any other look would tell the dispatcher what it knows. A test runs both ways side
//! by side (`tests/sim_server.rs`). Two things remain: the alarm for the dispatcher's next look is
//! asked for at most eight times in each `--stall-after`, and bells keep the threshold with which
//! they were raised.
//!
//! Not here: what follows (`crate::dispatch`).

use std::cmp::Reverse;
use std::time::Duration;

use crate::config::{RECALL_PATIENCE_SHARE, RESCUE_PATIENCE, UNRUN_STALLS};
use crate::dispatch::Sample;
use crate::sim::server::Server;
use crate::sim::server::connections::Word;
use crate::sim::server::members::{Member, Stage};
use crate::time::Nanos;

impl Server {
    pub(super) fn look_at_board(&mut self, now: Nanos) {
        if let Some(age) = self.setup.report_age {
            if now < self.master.reports_until {
                return;
            }
            self.master.reports_until = now + age;
        }
        let spares_looks = self.spares_looks();
        if spares_looks {
            self.note_dues(now);
        } else {
            self.master.dirty.clear();
            self.master.dirty.extend(self.serving.iter().flatten().copied());
        }
        let mut dirty = std::mem::take(&mut self.master.dirty);
        for place in dirty.drain(..) {
            self.members[place as usize].is_dirty = false;
            if self.members[place as usize].stage == Stage::Serving {
                self.look_at(place, now, spares_looks);
            }
        }
        self.master.dirty.append(&mut dirty);
    }

    fn look_at(&mut self, place: u32, now: Nanos, spares_looks: bool) {
        let sample = self.sample(place, now);
        let slot = self.members[place as usize].who.slot;
        let sample = if self.forging > 0 { self.forged(sample) } else { sample };
        self.dispatcher.handle_sample(slot, &sample, now);
        if spares_looks {
            let is_stuck = self.dispatcher.candidate(slot).is_some_and(|one| one.stuck);
            let member = &mut self.members[place as usize];
            let due = next_change(&sample, member, is_stuck, self.setup.stall_after, now);
            if due < member.look_due {
                member.look_due = due;
                self.master.dues.push(Reverse((due, place)));
            }
        }
    }

    /// Those of whom time has made something.
    fn note_dues(&mut self, now: Nanos) {
        while let Some(Reverse((due, place))) = self.master.dues.peek().copied() {
            if due > now {
                return;
            }
            self.master.dues.pop();
            let member = &mut self.members[place as usize];
            if member.look_due == due {
                member.look_due = Nanos::NEVER;
                self.changed(place);
            }
        }
    }

    /// As `master::looking` makes it.
    fn sample(&mut self, place: u32, now: Nanos) -> Sample {
        let member = &mut self.members[place as usize];
        while let Some((number, stay)) = member.unclaimed.front().copied() {
            let is_lent = self.connections.stays(number, stay, place)
                && self.connections.get(number).word == Word::Lent;
            if is_lent {
                break;
            }
            member.unclaimed.pop_front();
        }
        if std::mem::take(&mut member.has_claimed) {
            member.claimed_at = now;
        }
        let oldest = member.unclaimed.front().map(|one| self.connections.get(one.0).lent_at);
        let threads_busy = if member.threads > 0 { u32::from(member.busy()) } else { 0 };
        Sample {
            waiting: member.waiting,
            oldest_waiting: oldest,
            nothing_claimed_since: oldest.map(|lent_at| lent_at.max(member.claimed_at)),
            started: member.started,
            finished: member.finished,
            queued: 0,
            threads_busy,
            all_busy_since: member.all_busy_since,
            turn_entered: member.turn_entered,
            open: member.open,
            busy_ns: member.busy_ns,
            services: member.services,
            stopped: member.knows_stopped,
        }
    }

    /// What a worker that lies, or a report that comes late, might say.
    fn forged(&mut self, sample: Sample) -> Sample {
        if self.rng.u16(..1000) >= self.forging {
            return sample;
        }
        self.counts.forged += 1;
        let now = self.master.reports_until.0.max(1);
        let rng = &mut self.rng;
        let any = |rng: &mut fastrand::Rng| match rng.u8(..4) {
            0 => 0,
            1 => u64::MAX,
            2 => rng.u64(..now.saturating_mul(2)),
            _ => rng.u64(..64),
        };
        let small = |rng: &mut fastrand::Rng| any(rng) as u32;
        match rng.u8(..3) {
            // An old one: counters that run backwards.
            0 => Sample { started: sample.started / 2, finished: sample.finished / 3, ..sample },
            // Twice the same, or half of another.
            1 => Sample { services: sample.services / 2, open: sample.open / 2, ..sample },
            _ => Sample {
                started: any(rng),
                finished: any(rng),
                queued: small(rng),
                threads_busy: small(rng),
                all_busy_since: Nanos(any(rng)),
                turn_entered: Nanos(any(rng)),
                busy_ns: any(rng),
                services: any(rng),
                // These the master knows itself.
                waiting: sample.waiting,
                oldest_waiting: sample.oldest_waiting,
                nothing_claimed_since: sample.nothing_claimed_since,
                open: sample.open,
                stopped: sample.stopped,
            },
        }
    }
}

/// When the same page, looked at again, says something else.
fn next_change(
    sample: &Sample,
    member: &Member,
    is_stuck: bool,
    stall_after: Duration,
    now: Nanos,
) -> Nanos {
    let moment = Duration::from_nanos(1);
    let stuck_at = |since: Nanos| (since != Nanos(0)).then(|| since + stall_after + moment);
    let all_busy = (member.threads > 0).then_some(sample.all_busy_since);
    let patience = stall_after / RECALL_PATIENCE_SHARE;
    let changes = [
        stuck_at(sample.turn_entered),
        all_busy.and_then(stuck_at),
        sample.nothing_claimed_since.and_then(stuck_at),
        sample.nothing_claimed_since.map(|since| since + stall_after * UNRUN_STALLS + moment),
        sample.oldest_waiting.map(|lent_at| lent_at + stall_after * UNRUN_STALLS),
        sample.oldest_waiting.map(|lent_at| lent_at + patience),
        is_stuck.then(|| now + RESCUE_PATIENCE),
    ];
    changes.into_iter().flatten().filter(|at| *at > now).min().unwrap_or(Nanos::NEVER)
}
