//! A worker that breaks the protocol, floods, or has closed its channel: it is heard no more.
//!
//! From the moment that a worker is to be killed its channel, bell and alarm are out of the loop: a
//! flood stops costing at once, however long the process takes to end. What it has not claimed goes
//! to others at once too; the rest is settled when its pidfd says that it has ended.
//!
//! Not here: what breaks the protocol (`supervise::Breach`), how much noise is too much
//! (`supervise::flood`).

use tracing::error;

use crate::config::CHANNEL_CLOSED_MAX;
use crate::master::Master;
use crate::master::roster::{Member, Stage};
use crate::supervise::Breach;
use crate::supervise::flood::Noise;
use crate::sys::epoll;
use crate::time::Nanos;

impl Master {
    /// A worker has woken the master: once too often?
    pub(super) fn hear_noise(&mut self, place: u32, noise: Noise) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if let Err(breach) = member.flood.handle_noise(noise, self.now) {
            self.handle_breach(place, breach, "too many in too short a time");
        }
    }

    /// A worker has broken the protocol: it is killed and replaced. Its first breach alone counts;
    /// what it says afterwards is not heard.
    pub(super) fn handle_breach(&mut self, place: u32, breach: Breach, detail: &str) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if member.breach.is_some() {
            return;
        }
        member.breach = Some(breach);
        let who = member.who;
        error!(
            worker = who.slot.0, gen = who.generation.0, pid = member.child.pid(),
            reason = %breach, detail, "protocol error"
        );
        self.counters.count_breach(breach);
        self.supervisor.handle_misbehaved(who);
        self.isolate(place);
    }

    /// A worker that is going to be killed: it gets nothing, it is not heard, and what it has not
    /// claimed is not its any more.
    pub(super) fn isolate(&mut self, place: u32) {
        self.stop_lending_to(place);
        let Some(member) = self.roster.get_mut(place) else { return };
        member.stage = Stage::Ending;
        member.unlisten(self.poll.registry());
        self.counters.outlived += self.take_back_unclaimed(place, false);
        self.tell_recalls(place);
    }

    /// Its channel is at its end, or broken: it gets nothing more. That it has ended only its pidfd
    /// says.
    pub(super) fn handle_channel_closed(&mut self, place: u32) {
        self.stop_lending_to(place);
        let Some(member) = self.roster.get_mut(place) else { return };
        // The end would be reported for ever.
        epoll::unwatch(self.poll.registry(), member.channel_descriptor());
        if member.closed_at.is_none() {
            member.closed_at = Some(self.now);
            // Most often it is dying, and this is seen before its end.
            self.counters.outlived += self.take_back_unclaimed(place, false);
        }
        if let Some(member) = self.roster.get_mut(place) {
            // Nobody will ever read it.
            member.forget_debts();
        }
    }

    /// What has been waited for long enough: the end of those without a channel, and the leave of
    /// those that asked for it.
    pub(super) fn hear_leavers(&mut self) {
        let now = self.now;
        let waits = |member: &Member| member.leave_at.is_some() || member.closed_at.is_some();
        let places = self.roster.iter().filter(|(_, member)| waits(member));
        let places: Vec<_> = places.map(|(place, _)| place).collect();
        for place in places {
            let Some(member) = self.roster.get_mut(place) else { continue };
            let who = member.who;
            if member.leave_at.take_if(|at| *at <= now).is_some() {
                self.supervisor.recycle(who, now);
            }
            if self
                .roster
                .get(place)
                .and_then(|member| self.closed_deadline(member))
                .is_some_and(|at| at <= now)
            {
                self.handle_breach(place, Breach::ChannelClosed, "nothing can be said to it");
            }
        }
    }

    /// When [`Master::hear_leavers`] is due.
    pub(super) fn next_leaver(&self) -> Option<Nanos> {
        let members = self.roster.iter().map(|(_, member)| member);
        members.flat_map(|member| [member.leave_at, self.closed_deadline(member)]).flatten().min()
    }

    /// By when a worker that serves, and whose channel is closed, must have ended. One that is not
    /// to serve any more has its own deadline with the supervisor.
    fn closed_deadline(&self, member: &Member) -> Option<Nanos> {
        let closed_at = member.closed_at.filter(|_| self.supervisor.is_serving(member.who))?;
        Some(closed_at + CHANNEL_CLOSED_MAX)
    }
}
