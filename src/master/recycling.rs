//! Workers that have served for long enough: what the master sees of each, and what follows.
//!
//! Not here: who is due (`supervise::recycling`), and how many at a time (`supervise`).

use tracing::{debug, info};

use crate::master::Master;
use crate::master::roster::{Member, Stage};
use crate::supervise::recycling::Vitals;
use crate::sys::memory;

impl Master {
    /// Has workers replaced that are due.
    pub(super) fn recycle(&mut self) {
        let Some(recycling) = &mut self.recycling else { return };
        if !recycling.wants_look(self.now) {
            return;
        }
        let with_rss = recycling.wants_rss();
        let serving = self.roster.iter().filter(|(_, member)| member.stage == Stage::Serving);
        let vitals: Vec<_> = serving.map(|(_, member)| vitals(member, with_rss)).collect();
        for (who, reason) in recycling.look(&vitals, self.now) {
            if self.supervisor.recycle_in_turn(who, self.now) {
                recycling.count(reason);
                let (slot, generation) = (who.slot.0, who.generation.0);
                info!(worker = slot, gen = generation, %reason, "worker is recycled");
            }
        }
    }
}

fn vitals(member: &Member, with_rss: bool) -> Vitals {
    let rss = with_rss.then(|| memory::resident_bytes(member.child.pid()));
    if let Some(Err(cause)) = &rss {
        debug!(%cause, pid = member.child.pid(), "reading a resident set");
    }
    let requests = match &member.reported {
        Some(report) => report.finished,
        None => {
            let report = member.page.report();
            report.requests_finished.saturating_sub(report.claims_empty)
        }
    };
    let rss = rss.and_then(Result::ok);
    Vitals { who: member.who, ready_at: member.ready_at, requests, rss }
}
