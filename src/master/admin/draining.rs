//! Slots that an operator has taken out of service.
//!
//! Nothing more is lent there, what its worker has not claimed comes back, and its idle connections
//! are taken back as they become idle. What it is answering it finishes, and it lives on, to be
//! looked at.
//!
//! Out of service is the slot, not the process: a worker that takes the place of one that died there,
//! or was replaced, gets nothing either, until the slot is put into service again or scaled away. An
//! operator's decision does not end with a crash.
//!
//! Not here: workers that leave (`settling`).

use std::collections::BTreeSet;

use crate::account::HappenedKind;
use crate::config::DRAINED_LOOK;
use crate::ident::Slot;
use crate::master::Master;
use crate::time::Nanos;

/// Those slots.
#[derive(Debug, Default)]
pub(super) struct Drained {
    slots: BTreeSet<Slot>,
    /// When their workers' idle connections are taken back next, if they have any.
    look_at: Option<Nanos>,
}

impl Drained {
    /// As another image has left it.
    pub(super) fn resume(slots: &[Slot]) -> Self {
        Drained { slots: slots.iter().copied().collect(), look_at: None }
    }

    pub(super) fn slots(&self) -> Vec<Slot> {
        self.slots.iter().copied().collect()
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.slots.contains(&slot)
    }

    pub(super) fn next_look(&self) -> Option<Nanos> {
        self.look_at
    }
}

impl Master {
    pub(super) fn drain_slot(&mut self, slot: Slot) -> Result<String, String> {
        self.check_slot(slot)?;
        let workers = self.supervisor.workers();
        if self.admin.is_drained(slot) {
            return Ok(format!("slot {slot} is out of service already"));
        }
        let mut others = (0..workers).map(Slot).filter(|other| *other != slot);
        if others.all(|other| self.admin.is_drained(other)) {
            return Err(format!("slot {slot} is the last one in service"));
        }
        self.admin.drained.slots.insert(slot);
        self.admin.drained.look_at = Some(self.now);
        let place = self.roster.serving(slot);
        let mut worker = None;
        if let Some((place, member)) = place.and_then(|at| Some((at, self.roster.get_mut(at)?))) {
            worker = Some((member.who, member.child.pid()));
            // Nobody waits for it any more.
            (member.stuck_since, member.stuck_told) = (None, false);
            self.dispatcher.handle_worker_gone(slot);
            self.take_back_unclaimed(place, false);
            self.tell_recalls(place);
        }
        self.happened(HappenedKind::Drain, worker, "out of service: nothing more is lent to it");
        tracing::info!(worker = slot.0, "drained: nothing more is lent to it");
        Ok(format!("slot {slot} is out of service"))
    }

    pub(super) fn undrain_slot(&mut self, slot: Slot) -> Result<String, String> {
        self.check_slot(slot)?;
        if !self.admin.drained.slots.remove(&slot) {
            return Ok(format!("slot {slot} is in service"));
        }
        let place = self.roster.serving(slot);
        let member = place.and_then(|place| self.roster.get(place));
        let worker = member.map(|member| (member.who, member.child.pid()));
        if let Some(shape) = member.and_then(|member| member.shape) {
            self.dispatcher.handle_worker_ready(slot, shape);
        }
        self.happened(HappenedKind::Undrain, worker, "in service again");
        tracing::info!(worker = slot.0, "in service again");
        Ok(format!("slot {slot} is in service again"))
    }

    /// There are so many slots now: those beyond are forgotten, and one at least is in service.
    pub(in crate::master) fn settle_drained(&mut self, workers: u16) {
        self.admin.drained.slots.retain(|slot| slot.0 < workers);
        let all = (0..workers).map(Slot).all(|slot| self.admin.is_drained(slot));
        if all && workers > 0 {
            // Refused of the last one in service, and so undone where the others are taken away.
            let _ = self.undrain_slot(Slot(0));
        }
    }

    /// Takes back what workers out of service have finished with.
    pub(super) fn empty_drained(&mut self) {
        if self.admin.drained.look_at.is_none_or(|at| at > self.now) {
            // A worker that was not ready when its slot was drained, or has come since, has nothing.
            return;
        }
        let mut any = false;
        for slot in self.admin.drained.slots() {
            let Some(place) = self.roster.serving(slot) else { continue };
            if self.roster.get(place).is_some_and(|member| member.page.on_loan() > 0) {
                self.take_back_unclaimed(place, true);
                self.tell_recalls(place);
                any |= self.roster.get(place).is_some_and(|member| member.page.on_loan() > 0);
            }
        }
        self.admin.drained.look_at = any.then(|| self.now + DRAINED_LOOK);
    }

    fn check_slot(&self, slot: Slot) -> Result<(), String> {
        if !self.acceptor.lends() {
            let arm = self.settings.accept.arm;
            return Err(format!("with --accept {arm} workers accept by themselves"));
        }
        let workers = self.supervisor.workers();
        if slot.0 >= workers {
            return Err(format!("there is no slot {slot}: they are 0 to {}", workers - 1));
        }
        Ok(())
    }
}
