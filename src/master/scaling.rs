//! The number of workers follows the load: what the master sees of it, and what is done.
//!
//! Not here: when it is another one (`supervise::scaling`), which slots come and go (`supervise`).

use tracing::{debug, info};

use crate::account::HappenedKind;
use crate::config::{ScaleLimits, WORKERS_MAX};
use crate::ident::Slot;
use crate::loan::LoanState;
use crate::master::Master;
use crate::master::roster::{Member, Stage};
use crate::supervise::scaling::{Effort, Load, Scaling};
use crate::sys::cpu_clock;
use crate::time::Nanos;

impl Master {
    /// An operator wants so many workers more, or fewer; where their number follows the load, it
    /// stays for a while. How many there are then.
    pub(super) fn scale(&mut self, by: i32) -> u16 {
        let workers = self.supervisor.scale(by, self.now);
        info!(workers, "scaled");
        if let Some(scaling) = &mut self.scaling {
            scaling.hold(self.now);
        }
        self.scaled(workers, "");
        workers
    }

    /// What follows whenever the number of workers has changed.
    fn scaled(&mut self, workers: u16, why: &str) {
        self.settle_drained(workers);
        self.happened(HappenedKind::Scale, None, &format!("{workers} workers are wanted{why}"));
    }

    /// What `--workers` says has changed: a number, or bounds.
    pub(super) fn rescale(&mut self, limits: Option<ScaleLimits>, workers: u16) {
        let now = self.now;
        match (limits, &mut self.scaling) {
            (None, _) => {
                self.scaling = None;
                let more = i32::from(workers) - i32::from(self.supervisor.workers());
                self.supervisor.set_bounds(1, WORKERS_MAX);
                self.supervisor.scale(more, now);
            }
            (Some(limits), Some(scaling)) => scaling.set_limits(limits, now),
            (Some(limits), none) => *none = Some(Scaling::new(limits, now)),
        }
        if let Some(limits) = limits {
            self.supervisor.set_bounds(limits.min, limits.max);
            self.supervisor.scale(0, now);
        }
        let workers = self.supervisor.workers();
        info!(workers, "scaled");
        self.scaled(workers, "");
    }

    /// Adds workers, or takes one out, where it is time to.
    pub(super) fn follow_load(&mut self) {
        let kernel_waits = self.acceptor.kernel_waits() && !self.dispatcher.has_free_credit();
        let Some(scaling) = &mut self.scaling else { return };
        let serving = || self.roster.iter().filter(|(_, member)| member.stage == Stage::Serving);
        let waits = kernel_waits
            || self.dispatcher.queued() > 0
            || serving().any(|(_, member)| !member.unclaimed.is_empty());
        let rests = !waits && serving().all(|(_, member)| member.page.on_loan() == 0);
        scaling.handle_turn(waits, rests, self.now);
        if self.stopping.is_stopping() || !scaling.wants_look(self.now) {
            return;
        }
        let unclaimed = serving().filter_map(|(_, member)| member.unclaimed.front());
        let unclaimed = unclaimed.map(|(_, lent_at)| *lent_at);
        let queued = self.dispatcher.waiting().map(|(_, since)| since);
        let wanted = self.supervisor.workers();
        let last = wanted.checked_sub(1).and_then(|last| self.roster.serving(Slot(last)));
        let load = Load {
            wanted,
            waits_since: unclaimed.chain(queued).min(),
            // A queue that was left with room for nobody may have been empty all the time.
            kernel_waits: kernel_waits && self.acceptor.backlog() != Some(0),
            efforts: serving()
                .map(|(_, member)| effort(member, self.admin.is_drained(member.who.slot)))
                .collect(),
            rests,
            last_is_idle: !waits
                && last.and_then(|place| self.roster.get(place)).is_some_and(is_idle),
        };
        let Some(step) = scaling.look(&load, self.now) else { return };
        let workers = self.supervisor.scale(i32::from(step.to) - i32::from(wanted), self.now);
        info!(from = wanted, workers, reason = %step.reason, "scaled by the load");
        self.scaled(workers, &format!(": {}", step.reason));
    }
}

fn effort(member: &Member, is_drained: bool) -> Effort {
    let threads = member.shape.map_or(0, |shape| shape.threads);
    let report = member.page.report();
    let (busy_ns, full_since) = match &member.reported {
        Some(report) => (report.busy_ns, None),
        None if threads > 0 => (report.busy_ns, Some(report.all_busy_since)),
        None => (report.busy_ns, Some(report.turn_entered)),
    };
    let processor = cpu_clock::processor_time(member.child.pid());
    if let Err(cause) = &processor {
        debug!(%cause, pid = member.child.pid(), "reading a process's clock");
    }
    Effort {
        who: member.who,
        places: if is_drained { 0 } else { u32::from(threads).max(1) },
        busy_ns,
        processor: processor.ok(),
        full_since: member.stopped_at.or(full_since).filter(|since| *since != Nanos(0)),
    }
}

/// Nothing is being answered there, nothing waits, and no client's state is in it (WebSockets).
fn is_idle(member: &Member) -> bool {
    let (started, finished) = match &member.reported {
        Some(report) => (report.started, report.finished),
        None => {
            let report = member.page.report();
            (report.requests_started, report.requests_finished)
        }
    };
    let is_kept = |loan| match member.page.look(loan) {
        LoanState::Lent | LoanState::Active | LoanState::Answering | LoanState::Pinned => true,
        LoanState::Free
        | LoanState::Idle
        | LoanState::Recalled
        | LoanState::Given
        | LoanState::Ended => false,
    };
    started <= finished && !member.page.loans().any(|(loan, ..)| is_kept(loan))
}
