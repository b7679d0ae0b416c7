//! A reading for programs: JSON of a documented schema (docs/status.md).
//!
//! Not here: its fields (`observe::view`), the form for people (`text`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::account::{Group, NodeStatus, Outcome, Status, WorkerStatus};
use crate::observe::status::Reading;
use crate::observe::status::processes::Processes;
use crate::observe::status::text::moment;
use crate::observe::view::{
    AccountView, KernelQueueView, NodeView, Numbers, PolicyView, ReloadView, SCHEMA, ScalingView,
    SlotView, View, WorkerView,
};

/// One JSON object of several lines.
pub fn json(reading: &Reading) -> String {
    let mut view = view(reading);
    Processes::default().fill(&mut view);
    // Strings, numbers and maps with text keys: nothing here can fail to be written.
    serde_json::to_string_pretty(&view).unwrap_or_default()
}

/// What a status page says; what it does not say is absent.
pub fn view(reading: &Reading) -> View {
    let Reading { status, stamp, is_running, read_at: _ } = reading;
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
        policy: PolicyView {
            balance: status.policy.balance.name().to_owned(),
            rebalance: status.policy.rebalance.name().to_owned(),
            credit: status.policy.credit.map(u32::from),
            stall_after: status.policy.stall_after.as_secs_f64(),
        },
        scaling: ScalingView {
            workers_wanted: status.scaling.wanted,
            workers_min: status.scaling.min,
            workers_max: status.scaling.max,
        },
        kernel_queue: status.kernel_queue.map(|queue| KernelQueueView {
            length: queue.length.into(),
            limit: queue.limit.into(),
            overflows: 0,
        }),
        node: status.node.as_ref().map(node),
        account: account(status),
        events: events.filter(|(name, _)| *name != "accepted").collect(),
        workers_in_all: status.workers_in_all,
        workers: status.workers.iter().map(|one| worker(one, reading)).collect(),
        slots: slots
            .map(|(slot, counted)| SlotView {
                slot,
                seated: counted.seated,
                starts: counted.starts,
                ..SlotView::default()
            })
            .collect(),
        histogram_bounds: Vec::new(),
        jain: jain(&status.workers),
        happened: Vec::new(),
    }
}

fn node(node: &NodeStatus) -> NodeView {
    let millionths = |number: u32| f64::from(number) / 1e6;
    NodeView {
        weight_percent: node.weight_percent,
        busy: millionths(node.busy_millionths),
        load: millionths(node.load_millionths),
        requests_per_second: node.requests_per_1000_s as f64 / 1e3,
        errors_per_second: node.errors_per_1000_s as f64 / 1e3,
        queue_wait: node.queue_wait.as_secs_f64(),
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

/// Jain's index of the requests that the processes which are here have begun, summed up by slot:
/// (Σx)² / n·Σx²; none before the first one (Jain, Chiu and Hawe, 1984).
fn jain(workers: &[WorkerStatus]) -> Option<f64> {
    let mut by_slot: BTreeMap<_, f64> = BTreeMap::new();
    for worker in workers {
        *by_slot.entry(worker.who.slot).or_default() += worker.requests_started as f64;
    }
    let sum: f64 = by_slot.values().sum();
    let squares: f64 = by_slot.values().map(|number| number * number).sum();
    (sum > 0.0).then(|| sum * sum / (by_slot.len() as f64 * squares))
}

fn worker(worker: &WorkerStatus, reading: &Reading) -> WorkerView {
    WorkerView {
        slot: worker.who.slot.0,
        generation: worker.who.generation.0,
        pid: worker.pid,
        stage: worker.stage.name().to_owned(),
        age: reading.is_running.then(|| reading.read_at.since(worker.started_at).as_secs_f64()),
        on_loan: worker.on_loan,
        waiting: worker.waiting,
        active: worker.active(),
        queued: worker.queued,
        threads: worker.threads.into(),
        threads_busy: worker.threads_busy,
        requests_started: worker.requests_started,
        requests_finished: worker.requests_finished,
        errors: worker.errors,
        own_accepted: worker.own_accepted,
        own_open: worker.own_open,
        restarts: reading.status.restarts(worker.who.slot),
        stuck: worker.is_stuck,
        stopped: worker.is_stopped,
        drained: worker.is_drained,
        stalls: worker.stalls,
        busy_seconds: Duration::from_nanos(worker.busy_ns).as_secs_f64(),
        ..WorkerView::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::account::page::Stamp;
    use crate::account::{Counters, KernelQueue};
    use crate::ident::{Generation, Incarnation, Slot};
    use crate::time::Nanos;

    fn reading(status: Status, is_running: bool) -> Reading {
        Reading { status, stamp: Stamp::default(), is_running, read_at: Nanos(3_000_000_000) }
    }

    #[test]
    fn requests_that_one_slot_has_all_of_are_as_unfair_as_can_be() {
        let worker = |slot, requests_started| WorkerStatus {
            who: Incarnation { slot: Slot(slot), generation: Generation(1) },
            requests_started,
            ..WorkerStatus::default()
        };
        assert_eq!(jain(&[worker(0, 0), worker(1, 0)]), None);
        assert_eq!(jain(&[worker(0, 8), worker(1, 0), worker(2, 0), worker(3, 0)]), Some(0.25));
        // A slot that is being replaced has two processes, and is one.
        assert_eq!(jain(&[worker(0, 5), worker(0, 5), worker(1, 10)]), Some(1.0));
    }

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
        let one = WorkerStatus { started_at: Nanos(1_000_000_000), ..WorkerStatus::default() };
        let mut status = Status {
            workers: vec![one],
            kernel_queue: Some(KernelQueue { length: 1, limit: 2 }),
            ..Status::default()
        };
        status.account.counters.slot_mut(Slot(0)).starts = 2;
        let reading = reading(status, true);
        let document: Value = serde_json::from_str(&json(&reading)).unwrap();
        assert_eq!(document["schema"], SCHEMA);
        assert_eq!(document["workers"][0]["restarts"], 1);
        assert_eq!(document["workers"][0]["age"], 2.0);
        assert_eq!(document["kernel_queue"]["length"], 1);
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
        let text = json(&reading(status, false));
        for (name, number) in numbers {
            assert_eq!(text.matches(&number.to_string()).count(), 1, "{name}");
        }
    }
}
