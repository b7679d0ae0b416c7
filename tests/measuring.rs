//! From a real server to figures: what the generator records of it is enough for every figure that
//! a report has of one arm.
//!
//! No figure is held to a bound here, the machine decides them; what must hold on any machine is.

#![cfg(all(feature = "cli", feature = "experiments"))]

mod common;

use std::time::Duration;

use common::Server;
use maitred::experiment::load::{
    Arrivals, Ask, Choice, Class, Generator, Opening, Pace, Plan, ServiceKind, ServiceTimes, SetId,
};
use maitred::experiment::measure::observed::{Capacity, Observed};
use maitred::experiment::measure::{raw_csv, read_raw, summarise};
use maitred::experiment::report::schema::Cell;

const WORKERS: u16 = 2;

fn server() -> Server {
    Server::start(&["serve", "-w", "2", "--threads", "1", "--worker-header"])
}

fn observe(server: &Server, choice: Choice, open: impl Fn(&mut Generator) -> SetId) -> Observed {
    let mut generator = Generator::new(server.address()).expect("an event loop");
    let set = open(&mut generator);
    let times = ServiceTimes::Bimodal {
        short: Duration::from_millis(1),
        long: Duration::from_millis(20),
        long_share: 0.05,
    };
    let plan = Plan {
        classes: vec![Class {
            name: "all".to_owned(),
            ask: Ask::Service { kind: ServiceKind::Sleep, times },
            pace: Pace::Open(Arrivals::Poisson { rate: 400.0 }),
            set,
            choice,
        }],
        duration: Duration::from_secs(1),
        warm_up: Duration::from_millis(200),
        answer_within: Duration::from_secs(30),
        seed: 1,
        keep_samples: true,
    };
    let mut report = generator.run(&plan).expect("a run");
    assert_eq!(report.failures().sum(), 0, "{}", report.failures());
    Observed {
        repetition: 0,
        place: 0,
        samples: std::mem::take(&mut report.samples),
        measured: report.measured,
        report,
        capacity: Capacity { workers: WORKERS, threads: 1 },
        bound: Some(Duration::from_millis(50)),
        usage: None,
        began_at_rest: true,
    }
}

fn cell(observed: &Observed) -> Cell {
    summarise("master", "sleep", &["all".to_owned()], std::slice::from_ref(observed), 1)
}

fn value(cell: &Cell, key: &str) -> f64 {
    cell.figures.get(key).unwrap_or_else(|| panic!("no {key}")).value
}

/// Holds whatever the machine does.
fn check(observed: &Observed) {
    let found = cell(observed);
    let trial = &found.trials[0];
    assert_eq!((trial.due, trial.failures.len()), (trial.answered, 0));
    assert_eq!(trial.workers.len(), usize::from(WORKERS));
    assert_eq!(trial.workers.iter().map(|worker| worker.requests).sum::<u64>(), trial.due);
    // Sleeping takes no less than was asked for: what is waited is a part of the latency.
    for share in ["p50", "p90", "p99", "p999"] {
        assert!(value(&found, &format!("wait_{share}")) <= value(&found, share), "{share}");
    }
    assert_eq!(value(&found, "service_p50"), 1.0);
    assert_eq!(value(&found, "service_p99"), 20.0);
    for key in ["jain_of_connections", "jain_of_requests", "jain_of_busy"] {
        assert!((0.5..=1.0).contains(&value(&found, key)), "{key}");
    }
    for key in ["idle_while_queued", "wrong_in_hindsight", "within_bound", "late"] {
        assert!((0.0..=100.0).contains(&value(&found, key)), "{key}");
    }
    assert!(found.figures["p99"].low.is_some() && !found.curves[0].points.is_empty());

    let mut rows = Vec::new();
    let classes = ["all".to_owned()];
    raw_csv(observed, &classes, &mut rows).expect("memory takes it");
    let samples = read_raw(rows.as_slice(), &classes, observed.measured.0).expect("rows");
    assert_eq!(cell(&Observed { samples, ..observed.clone() }), found);
}

#[test]
fn kept_connections_have_their_figures() {
    let opening = Opening { count: 8, at_once: 1, path: "/".to_owned() };
    let server = server();
    let observed = observe(&server, Choice::EVEN, |generator| {
        generator.open(&opening).expect("eight connections")
    });
    check(&observed);
    assert!(!cell(&observed).figures.contains_key("connections_per_s"));
}

#[test]
fn new_connections_have_their_figures() {
    let server = server();
    let observed = observe(&server, Choice::New, |generator| generator.reserve(500).expect("room"));
    check(&observed);
    let found = cell(&observed);
    let trial = &found.trials[0];
    assert!(value(&found, "connections_per_s") > 0.0);
    assert_eq!(trial.workers.iter().map(|worker| worker.connections).sum::<u64>(), trial.due);
}
