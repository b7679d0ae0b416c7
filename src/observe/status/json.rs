//! A reading for programs: JSON of a documented schema (docs/status.md).
//!
//! Not here: its fields (`observe::view`), the form for people (`text`).

use crate::account::{Group, Outcome, Status, WorkerStatus};
use crate::observe::status::Reading;
use crate::observe::status::text::moment;
use crate::observe::view::{
    AccountView, Numbers, PolicyView, ReloadView, SCHEMA, ScalingView, SlotView, View, WorkerView,
};

/// One JSON object of several lines.
pub fn json(reading: &Reading) -> String {
    // Strings, numbers and maps with text keys: nothing here can fail to be written.
    serde_json::to_string_pretty(&view(reading)).unwrap_or_default()
}

/// What a status page says; what it does not say is absent.
pub fn view(reading: &Reading) -> View {
    let Reading { status, stamp, is_running } = reading;
    let counters = &status.account.counters;
    let events = counters.events().into_iter().chain(counters.breaches());
    let events = events.chain(counters.restarts()).chain(counters.accept_errors());
    let slots = status.account.counters.slots().iter().enumerate();
    View {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        serving: reading.is_serving(),
        running: *is_running,
        phase: status.phase.name().to_owned(),
        accept: status.accept.name().to_owned(),
        pid: status.pid,
        started_at: moment(status.started_at_ms).to_string(),
        written_at: moment(stamp.written_at_ms).to_string(),
        sequence: stamp.sequence,
        generation: status.generation,
        reload: ReloadView {
            state: status.reload.state.name().to_owned(),
            replaced: status.reload.replaced,
            of: status.reload.of,
        },
        policy: PolicyView::default(),
        scaling: ScalingView::default(),
        kernel_queue: None,
        account: account(status),
        events: events.filter(|(name, _)| *name != "accepted").collect(),
        workers_in_all: status.workers_in_all,
        workers: status.workers.iter().map(|one| worker(one, status)).collect(),
        slots: slots
            .map(|(slot, counted)| SlotView {
                slot,
                seated: counted.seated,
                starts: counted.starts,
                ..SlotView::default()
            })
            .collect(),
        histogram_bounds: Vec::new(),
        jain: None,
        happened: Vec::new(),
    }
}

fn account(status: &Status) -> AccountView {
    let account = &status.account;
    let reasons = |group: Group| -> Numbers {
        let of_group = Outcome::ALL.into_iter().filter(|outcome| outcome.group() == group);
        of_group.map(|outcome| (outcome.reason(), account.counters.of(outcome))).collect()
    };
    AccountView {
        accepted: account.counters.accepted,
        here: account.here.list().into_iter().collect(),
        finished: account.counters.of(Outcome::Finished),
        ended_idle: reasons(Group::EndedIdle),
        shed: reasons(Group::Shed),
        aborted: reasons(Group::Aborted),
        missing: i64::try_from(account.missing()).unwrap_or(i64::MAX),
    }
}

fn worker(worker: &WorkerStatus, status: &Status) -> WorkerView {
    WorkerView {
        slot: worker.who.slot.0,
        generation: worker.who.generation.0,
        pid: worker.pid,
        stage: worker.stage.name().to_owned(),
        on_loan: worker.on_loan,
        waiting: worker.waiting,
        active: worker.active(),
        requests_started: worker.requests_started,
        requests_finished: worker.requests_finished,
        errors: worker.errors,
        own_accepted: worker.own_accepted,
        own_open: worker.own_open,
        restarts: status.restarts(worker.who.slot),
        stuck: worker.is_stuck,
        stopped: worker.is_stopped,
        ..WorkerView::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::account::Counters;
    use crate::account::page::Stamp;

    /// Every name in a document, however deep.
    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                found.insert(name.clone());
                names(value, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_name_of_the_schema_is_documented() {
        let mut status = Status { workers: vec![WorkerStatus::default()], ..Status::default() };
        status.account.counters.slot_mut(crate::ident::Slot(0)).starts = 2;
        let reading = Reading { status, stamp: Stamp::default(), is_running: true };
        let document: Value = serde_json::from_str(&json(&reading)).unwrap();
        assert_eq!(document["schema"], SCHEMA);
        assert_eq!(document["workers"][0]["restarts"], 1);
        let mut found = BTreeSet::new();
        names(&document, &mut found);
        let page = include_str!("../../../docs/status.md");
        for name in found {
            assert!(page.contains(&format!("`{name}`")), "docs/status.md lacks {name}");
        }
    }

    #[test]
    fn every_number_of_an_account_is_in_the_document_once() {
        let mut status = Status::default();
        let mut counters = Counters::default();
        // Numbers that occur nowhere else.
        let numbers: Vec<_> = counters.list().map(|(name, _)| name).zip(1_000_001..).collect();
        for (name, number) in &numbers {
            assert!(counters.set(name, *number));
        }
        status.account.counters = counters;
        let text = json(&Reading { status, stamp: Stamp::default(), is_running: false });
        for (name, number) in numbers {
            assert_eq!(text.matches(&number.to_string()).count(), 1, "{name}");
        }
    }
}
