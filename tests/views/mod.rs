//! Servers that were never there: views that go on from second to second as a real one's would, of
//! any number of workers, well or in trouble. The same second is the same view.
//!
//! Not here: who looks at them (`tests/dashboard.rs`, `tests/top.rs`).

#![allow(dead_code, reason = "each test binary uses its part of this")]

use maitred::observe::view::{
    AccountView, HappenedView, HistogramView, KernelQueueView, Numbers, PolicyView, ReloadView,
    SCHEMA, ScalingView, SlotView, View, WorkerView,
};

/// What a browser must not take for markup, nor a terminal for an order.
pub(crate) const HOSTILE: &str =
    "<img src=x onerror=\"document.title='owned'\"> \u{1b}[2J\u{202e}<script>alert(1)</script>";

/// The second in which a stalled worker stalls.
const STALL_AT: u64 = 8;

const BOUNDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// A server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    pub(crate) workers: u16,
    /// It makes no progress from some second on, with connections waiting at it.
    pub(crate) stalled: Option<u16>,
    pub(crate) stopped: Option<u16>,
    pub(crate) drained: Option<u16>,
    /// A reload is under way: this one leaves, and its successor starts.
    pub(crate) replaced: Option<u16>,
    /// Nobody has room, and clients are turned away.
    pub(crate) is_full: bool,
    /// Texts of the server are hostile.
    pub(crate) is_hostile: bool,
}

impl Scene {
    pub(crate) fn calm(workers: u16) -> Scene {
        Scene { workers, ..Scene::default() }
    }

    pub(crate) fn stalled(workers: u16, slot: u16) -> Scene {
        Scene { workers, stalled: Some(slot), ..Scene::default() }
    }

    /// One of each state.
    pub(crate) fn motley(workers: u16) -> Scene {
        Scene {
            workers,
            stalled: Some(2),
            stopped: Some(3),
            drained: Some(5),
            replaced: Some(6),
            ..Scene::default()
        }
    }

    /// This server after so many seconds.
    pub(crate) fn at(&self, second: u64) -> View {
        let mut workers: Vec<WorkerView> = Vec::new();
        for slot in 0..self.workers {
            let worker = self.worker(slot, second);
            if self.replaced == Some(slot) {
                let generation = u32::from(self.workers + 1);
                workers.push(WorkerView {
                    slot,
                    generation,
                    pid: 40_000 + generation,
                    stage: "starting".to_owned(),
                    age: Some(0.5),
                    threads: worker.threads,
                    restarts: 1,
                    ..WorkerView::default()
                });
            }
            workers.push(worker);
        }
        let on_loan = workers.iter().map(|worker| u64::from(worker.on_loan)).sum();
        let queued = if self.is_full { 37 } else { 0 };
        let here = Numbers::from_iter([
            ("queued", queued),
            ("parked", 12 + second % 3),
            ("on_loan", on_loan),
            ("lingering", 0),
        ]);
        let shed = if self.is_full { 25 * second } else { 0 };
        let (finished, idle) = (900 + 40 * second, 60 + 3 * second);
        let all: u64 = here.0.iter().map(|(_, number)| number).sum();
        View {
            schema: SCHEMA,
            version: "0.1.0".to_owned(),
            serving: true,
            running: true,
            phase: "serving".to_owned(),
            accept: "master".to_owned(),
            pid: 40_000,
            started_at: "2026-11-24T08:00:00.000Z".to_owned(),
            written_at: moment(second),
            sequence: second,
            generation: self.workers.into(),
            reload: ReloadView {
                state: if self.replaced.is_some() { "running" } else { "none" }.to_owned(),
                replaced: if self.replaced.is_some() { 2 } else { 0 },
                of: if self.replaced.is_some() { self.workers } else { 0 },
            },
            policy: PolicyView {
                balance: "least-loaded".to_owned(),
                rebalance: "auto".to_owned(),
                credit: None,
                stall_after: 0.001,
            },
            scaling: ScalingView {
                workers_wanted: self.workers,
                workers_min: self.workers,
                workers_max: self.workers,
            },
            kernel_queue: Some(KernelQueueView {
                length: if self.is_full { 1900 } else { 0 },
                limit: 2048,
                overflows: 0,
            }),
            node: None,
            account: AccountView {
                accepted: all + finished + idle + shed,
                here,
                finished,
                ended_idle: Numbers::from_iter([("client_left", idle), ("silent_too_long", 0)]),
                shed: Numbers::from_iter([("too_old", 0), ("too_many", shed)]),
                aborted: Numbers::from_iter([("died_unanswered", 0), ("made_room", 0)]),
                missing: 0,
            },
            events: Numbers::from_iter([
                ("lent", 1000 + 50 * second),
                ("recalled", second / 2),
                ("rescued", second / 3),
                ("worker_starts", self.workers.into()),
                ("reloads", u64::from(self.replaced.is_some())),
            ]),
            workers_in_all: workers.len() as u32,
            workers,
            slots: (0..self.workers).map(|slot| self.slot(slot, second)).collect(),
            histogram_bounds: BOUNDS.to_vec(),
            jain: Some(0.987),
            happened: self.happened(second),
        }
    }

    fn moves_until(&self, slot: u16, second: u64) -> u64 {
        let is_still = self.stalled == Some(slot) || self.stopped == Some(slot);
        if is_still { second.min(STALL_AT) } else { second }
    }

    /// Requests that a slot has answered.
    fn answered(&self, slot: u16, second: u64) -> u64 {
        let moving = self.moves_until(slot, second);
        let sway = 40.0 * ((moving as f64) / 7.0 + f64::from(slot)).sin();
        (200 + 35 * u64::from(slot % 7)) * moving + (40.0 + sway) as u64
    }

    fn worker(&self, slot: u16, second: u64) -> WorkerView {
        let is_still = self.moves_until(slot, second) < second;
        let is_drained = self.drained == Some(slot);
        let noise = |salt: u64| noise(u64::from(slot) * 31 + salt, second);
        let finished = self.answered(slot, second);
        let active = if is_still {
            3
        } else if is_drained {
            0
        } else {
            noise(1) % 4
        };
        let waiting = if is_still {
            4
        } else if self.is_full {
            6
        } else {
            u32::from(noise(2) % 9 == 0)
        };
        let idle = if is_drained { 0 } else { 3 + (noise(3) % 6) as u32 };
        WorkerView {
            slot,
            generation: u32::from(slot) + 1,
            pid: 40_001 + u32::from(slot),
            stage: if self.replaced == Some(slot) { "leaving" } else { "serving" }.to_owned(),
            age: Some(3600.0 * 26.0 + second as f64),
            on_loan: active as u32 + waiting + idle,
            waiting,
            active,
            queued: if is_still { 1 } else { 0 },
            threads: 2,
            threads_busy: if is_still { 2 } else { active.min(2) as u32 },
            requests_started: finished + active,
            requests_finished: finished,
            errors: u64::from(slot) % 3,
            own_accepted: 0,
            own_open: 0,
            restarts: u64::from(slot == 1),
            stuck: is_still && self.stalled == Some(slot),
            stopped: is_still && self.stopped == Some(slot),
            drained: is_drained,
            stalls: u64::from(is_still) + second / 40,
            busy_seconds: finished as f64 * 0.002
                + if is_still { (second - STALL_AT) as f64 * 2.0 } else { 0.0 },
            cpu_seconds: Some(finished as f64 * 0.0012),
            rss_bytes: Some((34 + u64::from(slot % 5)) << 20),
        }
    }

    fn slot(&self, slot: u16, second: u64) -> SlotView {
        let answered = self.answered(slot, second);
        let service = spread(answered, 3 + usize::from(slot % 2), self.moves_until(slot, second));
        SlotView {
            slot: slot.into(),
            seated: 200 + 10 * second,
            starts: 1 + u64::from(slot == 1),
            responses: Numbers::from_iter([("2xx", answered), ("4xx", 0)]),
            queue_wait: spread(200 + 10 * second, if self.is_full { 9 } else { 1 }, second),
            service,
            handoff: spread(200 + 10 * second, 0, second),
            ..SlotView::default()
        }
    }

    fn happened(&self, second: u64) -> Vec<HappenedView> {
        let mut all = vec![event(1, 0, "started", None, "The server began.")];
        for slot in 0..self.workers.min(8) {
            all.push(event(2 + u64::from(slot), 1, "ready", Some(slot), "Ready for connections."));
        }
        let next = all.len() as u64 + 1;
        if let Some(slot) = self.stalled.filter(|_| second > STALL_AT) {
            all.push(event(next, STALL_AT + 1, "stuck", Some(slot), "No progress for 1 ms."));
        }
        if self.is_hostile {
            all.push(event(next + 1, second, HOSTILE, Some(0), HOSTILE));
        }
        all
    }
}

fn event(sequence: u64, second: u64, kind: &str, slot: Option<u16>, text: &str) -> HappenedView {
    HappenedView {
        sequence,
        at: moment(second),
        kind: kind.to_owned(),
        slot,
        generation: slot.map(|slot| u32::from(slot) + 1),
        pid: slot.map(|slot| 40_001 + u32::from(slot)),
        text: text.to_owned(),
    }
}

fn moment(second: u64) -> String {
    format!("2026-11-24T09:{:02}:{:02}.000Z", second / 60 % 60, second % 60)
}

/// So many things in buckets around one of them, with a tail that comes and goes.
fn spread(all: u64, around: usize, second: u64) -> HistogramView {
    let mut counts = vec![0; BOUNDS.len() + 1];
    let tail = all / 60 + second / 9;
    counts[around] = all * 6 / 10;
    counts[around + 1] = (all * 4 / 10).saturating_sub(tail);
    counts[around + 4] = tail;
    HistogramView { counts, sum: all as f64 * BOUNDS[around] }
}

/// Some number, always the same one (Steele, Lea, Flood: SplitMix64).
fn noise(salt: u64, second: u64) -> u64 {
    let mut state = (salt << 32 | second).wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
