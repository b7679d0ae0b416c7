//! One repetition of one arm with one workload of a plan, in virtual time.
//!
//! What comes of it is what a run of a bench leaves behind ([`Observed`]), so that measures,
//! reports and pages are the same.
//!
//! Not here: clients (`clients`), the server (`server`), figures (`experiment::measure`).

use crate::config::{Accept, Arm as Way, Settings};
use crate::experiment::load::SetId;
use crate::experiment::load::plan::Plan;
use crate::experiment::measure::observed::Observed;
use crate::experiment::plan::model::{Arm, Event, Workload};
use crate::experiment::run::{Turn, share};
use crate::ident::Slot;
use crate::sim::agenda::Agenda;
use crate::sim::clients::Clients;
use crate::sim::costs::Costs;
use crate::sim::flow::BEGIN;
use crate::sim::seeds::{Purpose, seed};
use crate::sim::server::{Happening, Herd, Server, Setup};
use crate::time::Nanos;

/// The first number of events that befall workers; the clients' are below.
const FAULT: u32 = 100;

/// Of everything a run may make happen: more is a plan that would take days.
const EVENTS_MAX: u64 = 20_000_000_000;

/// What a run is told beside arm and workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// Which run it is.
    pub(super) turn: Turn,
    /// Of the run: the same for all arms.
    pub(super) seed: u64,
    /// Of the server, as its flags say it.
    pub(super) settings: &'a Settings,
    pub(super) costs: Costs,
    pub(super) herd: Herd,
}

/// The server that `maitred serve` would be with these settings.
pub(super) fn setup(settings: &Settings, costs: Costs, herd: Herd, seed: u64) -> Setup {
    let Accept { arm, eager, .. } = settings.accept;
    Setup {
        arm,
        eager,
        workers: settings.workers,
        // A worker of `blocking` has one connection, and works where it accepts.
        threads: if arm == Way::Blocking { 0 } else { settings.threads },
        balance: settings.balance,
        weights: settings.weights.clone(),
        rebalance: settings.rebalance,
        credit: settings.credit,
        stall_after: settings.stall_after,
        report_age: settings.report_age,
        queue_timeout: settings.queue_timeout,
        max_queue: settings.max_queue,
        lifecycle: settings.lifecycle,
        recycle: settings.recycle,
        costs,
        herd,
        seed,
        ..Setup::default()
    }
}

/// Something that befalls a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Stop,
    Continue,
    Kill,
}

pub(super) fn run(arm: &Arm, workload: &Workload, setting: &Setting<'_>) -> Observed {
    let sets: Vec<_> = (0..workload.sets.len()).map(SetId::numbered).collect();
    let class = |class| share::class(class, &sets, 0, 1, "/");
    let plan = Plan {
        classes: workload.classes.iter().map(class).collect(),
        duration: workload.duration,
        warm_up: workload.warm_up,
        answer_within: workload.answer_within,
        seed: share::seed(setting.seed, 0),
        keep_samples: true,
    };
    let set_sizes: Vec<_> = workload.sets.iter().map(|set| (set.count, set.is_opened)).collect();
    let server_seed = seed(setting.seed, Purpose::Server, 0);
    let setup = setup(setting.settings, setting.costs, setting.herd, server_seed);
    let mut agenda = Agenda::new(BEGIN);
    let mut server = Server::new(setup, 0, BEGIN);
    server.start(&mut agenda);
    // All workers are Ready before the first connection, as a bench waits for them.
    let ready = Costs::after(BEGIN, 2 * setting.costs.boot_ns + 1_000_000);
    run_until(ready, &mut server, &mut agenda);
    agenda.pass_until(ready);
    let mut clients = Clients::new(plan, &set_sizes, setting.costs);
    clients.open(workload.opened_at_once as usize, &mut agenda);
    let mut blows = Vec::new();
    let mut has_planned = false;
    while let Some(happening) = agenda.next_until(Nanos::NEVER) {
        match happening {
            Happening::Server(_, event) => server.handle(event, &mut agenda),
            Happening::Driver(FAULT, index) => {
                strike(blows[index as usize], &mut server, &mut agenda);
            }
            Happening::Driver(deed, which) => {
                clients.handle((deed, which), &mut server, &mut agenda);
            }
        }
        while let Some(answer) = server.poll_answer() {
            clients.note_answer(answer, &mut agenda);
        }
        if !has_planned && let Some(measured) = clients.measured() {
            has_planned = true;
            blows = plan_blows(workload.event, measured, setting.seed);
            for (index, (at, ..)) in blows.iter().enumerate() {
                agenda.at(*at, Happening::Driver(FAULT, index as u32));
            }
        }
        if clients.is_over(agenda.now()) || agenda.handled() > EVENTS_MAX {
            break;
        }
    }
    let mut report = clients.finish(agenda.now());
    let samples = std::mem::take(&mut report.samples);
    Observed {
        repetition: setting.turn.repetition,
        place: setting.turn.place,
        measured: report.measured,
        report,
        samples,
        capacity: arm.capacity(workload),
        bound: workload.slo,
        usage: None,
        began_at_rest: true,
    }
}

fn run_until(until: Nanos, server: &mut Server, agenda: &mut Agenda<Happening>) {
    while let Some(happening) = agenda.next_until(until) {
        if let Happening::Server(_, event) = happening {
            server.handle(event, agenda);
        }
    }
}

/// The signals of an event, from the same seed as in a bench: when, to whom, what.
fn plan_blows(
    event: Option<Event>,
    measured: (Nanos, Nanos),
    seed: u64,
) -> Vec<(Nanos, usize, Blow)> {
    use nix::sys::signal::Signal;
    let Some(event) = event else { return Vec::new() };
    let steps = crate::experiment::run::disturbance::steps(event, measured, seed);
    let steps = steps.into_iter().map(|step| {
        let blow = match step.signal {
            Signal::SIGSTOP => Blow::Stop,
            Signal::SIGCONT => Blow::Continue,
            _ => Blow::Kill,
        };
        (step.at, step.worker, blow)
    });
    steps.collect()
}

fn strike(
    (_, worker, blow): (Nanos, usize, Blow),
    server: &mut Server,
    agenda: &mut Agenda<Happening>,
) {
    let count = server.serving_count();
    if count == 0 {
        return;
    }
    let slot = Slot((worker % count) as u16);
    match blow {
        Blow::Stop => {
            // The master is told by the kernel that its child has stopped.
            server.stop_worker(slot, true, agenda);
        }
        Blow::Continue => server.continue_worker(slot, agenda),
        Blow::Kill => {
            server.kill_worker(slot, agenda);
        }
    }
}
