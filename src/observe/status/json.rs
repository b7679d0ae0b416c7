//! A reading for programs: JSON of a documented schema (docs/status.md).
//!
//! Names are only added within a version of the schema; one that goes or means something else makes
//! another version.
//!
//! Not here: the form for people (`text`).

use serde::{Serialize, Serializer};

use crate::account::{Group, Outcome, Status, WorkerStatus};
use crate::observe::status::Reading;
use crate::observe::status::text::moment;

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// One JSON object of several lines.
pub fn json(reading: &Reading) -> String {
    let document = Document::of(reading);
    // Strings, numbers and maps with text keys: nothing here can fail to be written.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    serving: bool,
    running: bool,
    phase: &'static str,
    accept: &'static str,
    pid: u32,
    started_at: String,
    written_at: String,
    sequence: u64,
    generation: u32,
    reload: Reload,
    account: Account,
    events: Names,
    workers_in_all: u32,
    workers: Vec<Worker>,
    slots: Vec<Slot>,
}

#[derive(Serialize)]
struct Reload {
    state: &'static str,
    replaced: u16,
    of: u16,
}

#[derive(Serialize)]
struct Account {
    accepted: u64,
    here: Names,
    finished: u64,
    ended_idle: Names,
    shed: Names,
    aborted: Names,
    missing: i64,
}

#[derive(Serialize)]
struct Worker {
    slot: u16,
    generation: u32,
    pid: u32,
    stage: &'static str,
    on_loan: u32,
    waiting: u32,
    active: u64,
    requests_started: u64,
    requests_finished: u64,
    errors: u64,
    own_accepted: u64,
    own_open: u64,
    restarts: u64,
    stuck: bool,
    stopped: bool,
}

#[derive(Serialize)]
struct Slot {
    slot: usize,
    seated: u64,
    starts: u64,
}

/// Numbers under names, in the order in which they stand here.
struct Names(Vec<(&'static str, u64)>);

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl Document {
    fn of(reading: &Reading) -> Document {
        let Reading { status, stamp, is_running } = reading;
        let counters = &status.account.counters;
        let events = counters.events().into_iter().chain(counters.breaches());
        let slots = status.account.counters.slots().iter().enumerate();
        Document {
            schema: SCHEMA,
            serving: reading.is_serving(),
            running: *is_running,
            phase: status.phase.name(),
            accept: status.accept.name(),
            pid: status.pid,
            started_at: moment(status.started_at_ms).to_string(),
            written_at: moment(stamp.written_at_ms).to_string(),
            sequence: stamp.sequence,
            generation: status.generation,
            reload: Reload {
                state: status.reload.state.name(),
                replaced: status.reload.replaced,
                of: status.reload.of,
            },
            account: Account::of(status),
            events: Names(events.filter(|(name, _)| *name != "accepted").collect()),
            workers_in_all: status.workers_in_all,
            workers: status.workers.iter().map(|worker| Worker::of(worker, status)).collect(),
            slots: slots
                .map(|(slot, counted)| Slot {
                    slot,
                    seated: counted.seated,
                    starts: counted.starts,
                })
                .collect(),
        }
    }
}

impl Account {
    fn of(status: &Status) -> Account {
        let account = &status.account;
        let reasons = |group: Group| {
            let of_group = Outcome::ALL.into_iter().filter(|outcome| outcome.group() == group);
            let counted = of_group.map(|outcome| (outcome.reason(), account.counters.of(outcome)));
            Names(counted.collect())
        };
        Account {
            accepted: account.counters.accepted,
            here: Names(account.here.list().to_vec()),
            finished: account.counters.of(Outcome::Finished),
            ended_idle: reasons(Group::EndedIdle),
            shed: reasons(Group::Shed),
            aborted: reasons(Group::Aborted),
            missing: i64::try_from(account.missing()).unwrap_or(i64::MAX),
        }
    }
}

impl Worker {
    fn of(worker: &WorkerStatus, status: &Status) -> Worker {
        Worker {
            slot: worker.who.slot.0,
            generation: worker.who.generation.0,
            pid: worker.pid,
            stage: worker.stage.name(),
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
        }
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
