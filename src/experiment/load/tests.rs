//! The generator against small servers of std, which are slow, close, or answer nonsense on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::*;
use crate::time::Nanos;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nX-Maitred-Worker: 5\r\nContent-Length: 2\r\n\r\nok";

/// A server that gives each request, counted from 0 on each connection, to a function, in a thread
/// a connection. The function says whether the connection goes on. Ends with the test process.
fn serve(answer: impl Fn(usize, &mut TcpStream) -> bool + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                let mut lines = BufReader::new(stream).lines();
                let mut requests = 0;
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        if !answer(requests, &mut writer) {
                            return;
                        }
                        requests += 1;
                    }
                }
            });
        }
    });
    address
}

fn class(path: &str, pace: Pace, set: SetId, choice: Choice) -> Class {
    let ask = Ask::Path(path.to_owned());
    Class { name: path.to_owned(), ask, pace, set, choice }
}

fn plan(classes: Vec<Class>, duration_ms: u64) -> Plan {
    Plan {
        classes,
        duration: Duration::from_millis(duration_ms),
        warm_up: Duration::ZERO,
        answer_within: Duration::from_secs(10),
        seed: 1,
        keep_samples: false,
    }
}

fn opening(count: usize) -> Opening {
    Opening { count, at_once: 8, path: "/".to_owned() }
}

/// One answer of a hundred takes 200 ms. A generator that waited for it would note one slow
/// request; 200 a second become due meanwhile, and all of them are late.
#[test]
fn latency_counts_from_when_a_request_was_due() {
    let stall = Duration::from_millis(200);
    let address = serve(move |request, stream| {
        if request == 50 {
            thread::sleep(stall);
        }
        stream.write_all(OK).is_ok()
    });
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(1)).unwrap();
    let pace = Pace::Open(Arrivals::Constant { rate: 200.0 });
    let report = generator.run(&plan(vec![class("/", pace, set, Choice::Random)], 500)).unwrap();
    let found = &report.classes[0];
    assert_eq!((found.due, found.answered, found.failures.sum()), (100, 100, 0));
    assert!(found.latency_max() >= stall, "{:?}", found.latency_max());
    // Due in the first half of the stall, so late by at least the other half: 20 of 100.
    let late = found.latency.count_between(stall.as_nanos() as u64 / 2, u64::MAX);
    assert!(late >= 18, "{late} of 100 are late");
    assert_eq!(found.by_worker[&5], 100);
    assert_eq!(report.lag.len(), 100);
}

#[test]
fn a_seed_decides_what_is_due() {
    let address = serve(|_, stream| stream.write_all(OK).is_ok());
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(4)).unwrap();
    let pace = Pace::Open(Arrivals::Poisson { rate: 500.0 });
    let plan = plan(vec![class("/", pace, set, Choice::InTurn)], 100);
    let mut due = || generator.run(&plan).unwrap().classes[0].due;
    assert_eq!(due(), due());
}

#[test]
fn every_choice_finds_its_connections() {
    let address = serve(|_, stream| stream.write_all(OK).is_ok());
    let skewed = Choice::Bound { hot_connections: 0.1, hot_requests: 0.9 };
    let renewed = Choice::Renewed { requests: 3 };
    for choice in [Choice::Random, Choice::InTurn, Choice::EVEN, skewed, Choice::New, renewed] {
        let mut generator = Generator::new(address).unwrap();
        let set = match choice {
            Choice::New => generator.reserve(10).unwrap(),
            _ => generator.open(&opening(10)).unwrap(),
        };
        let pace = Pace::Open(Arrivals::Burst { count: 100, at: Duration::ZERO });
        let report = generator.run(&plan(vec![class("/", pace, set, choice)], 1)).unwrap();
        let found = &report.classes[0];
        assert_eq!((found.due, found.answered, found.failures.sum()), (100, 100, 0), "{choice:?}");
        assert_eq!(report.reopened, 0, "{choice:?}");
    }
}

#[test]
fn a_closed_loop_goes_on_until_the_end() {
    let address = serve(|_, stream| stream.write_all(OK).is_ok());
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(2)).unwrap();
    let classes = vec![class("/", Pace::Closed, set, Choice::InTurn)];
    let report = generator.run(&plan(classes, 100)).unwrap();
    let found = &report.classes[0];
    assert!(found.answered > 2, "{} answered", found.answered);
    assert_eq!(found.due, found.answered);
}

/// Each connection ends behind its fifth answer without a word of it.
#[test]
fn closed_connections_are_opened_again() {
    let address = serve(|request, stream| stream.write_all(OK).is_ok() && request < 4);
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(2)).unwrap();
    let pace = Pace::Open(Arrivals::Constant { rate: 100.0 });
    let report = generator.run(&plan(vec![class("/", pace, set, Choice::InTurn)], 500)).unwrap();
    let found = &report.classes[0];
    assert_eq!(found.answered + found.failures.sum(), 50);
    assert!(found.answered >= 40 && report.reopened >= 8, "{found:?}, {}", report.reopened);
}

#[test]
fn failures_are_told_apart() {
    type Answer = fn(usize, &mut TcpStream) -> bool;
    let cases: [(Answer, Failure); 5] = [
        (|_, stream| stream.write_all(b"SSH-2.0\r\n").is_ok(), Failure::Malformed),
        (|_, stream| stream.write_all(&[OK, OK].concat()).is_ok(), Failure::Malformed),
        (
            |_, stream| stream.write_all(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n").is_ok(),
            Failure::Status,
        ),
        (|_, _| false, Failure::ClosedBefore),
        (|_, stream| stream.write_all(&OK[..OK.len() - 1]).is_err(), Failure::ClosedWithin),
    ];
    let pace = Pace::Open(Arrivals::Burst { count: 3, at: Duration::ZERO });
    for (answer, expected) in cases {
        let mut generator = Generator::new(serve(answer)).unwrap();
        let set = generator.reserve(1).unwrap();
        let report =
            generator.run(&plan(vec![class("/", pace.clone(), set, Choice::New)], 1)).unwrap();
        let found = &report.classes[0];
        assert_eq!(found.failures.of(expected), 3, "{expected:?}: {}", found.failures);
    }
    // Nobody listens where a listener has just gone.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut generator = Generator::new(gone).unwrap();
    let set = generator.reserve(1).unwrap();
    let report = generator.run(&plan(vec![class("/", pace, set, Choice::New)], 1)).unwrap();
    assert_eq!(report.failures().to_string(), "3 refused");
    assert!(matches!(generator.open(&opening(1)), Err(GeneratorError::Opening(Failure::Refused))));
}

/// What is never answered is given up, sent or not, and the run ends.
#[test]
fn no_run_waits_for_ever() {
    let address = serve(|request, stream| request > 0 || stream.write_all(OK).is_ok());
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(1)).unwrap();
    let pace = Pace::Open(Arrivals::Burst { count: 3, at: Duration::ZERO });
    let mut plan = plan(vec![class("/", pace, set, Choice::EVEN)], 1);
    plan.answer_within = Duration::from_millis(50);
    let report = generator.run(&plan).unwrap();
    assert_eq!(report.failures().to_string(), "3 too late");
}

/// A server that counts its connections.
fn counted() -> (SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let address = serve(move |request, stream| {
        if request == 0 {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        stream.write_all(OK).is_ok()
    });
    (address, connections)
}

#[test]
fn a_connection_is_renewed_after_so_many_requests() {
    let (address, connections) = counted();
    let mut generator = Generator::new(address).unwrap();
    let set = generator.reserve(2).unwrap();
    let pace = Pace::Open(Arrivals::Constant { rate: 500.0 });
    let renewed = Choice::Renewed { requests: 5 };
    let mut plan = plan(vec![class("/", pace, set, renewed)], 200);
    plan.keep_samples = true;
    let report = generator.run(&plan).unwrap();
    let found = &report.classes[0];
    assert_eq!((found.answered, found.failures.sum(), report.reopened), (100, 0, 0));
    let mut requests = BTreeMap::new();
    for sample in &report.samples {
        *requests.entry(sample.connection).or_insert(0) += 1;
    }
    assert_eq!(requests.len(), connections.load(Ordering::Relaxed));
    assert_eq!(requests.len(), report.connections as usize);
    // The first life of both places, and the last, may be shorter.
    assert!(requests.values().all(|&count| count <= 5), "{requests:?}");
    let whole = requests.values().filter(|&&count| count == 5).count();
    assert!(whole + 4 >= requests.len(), "{requests:?}");
}

#[test]
fn samples_are_the_same_requests_as_the_histogram() {
    let address = serve(|_, stream| stream.write_all(OK).is_ok());
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(4)).unwrap();
    let times = ServiceTimes::Exponential { mean: Duration::from_millis(2) };
    let ask = Ask::Service { kind: ServiceKind::Sleep, times };
    let pace = Pace::Open(Arrivals::Poisson { rate: 500.0 });
    let asking = Class { ask, ..class("asking", pace, set, Choice::Random) };
    let mut plan = plan(vec![asking], 300);
    plan.warm_up = Duration::from_millis(100);
    plan.keep_samples = true;
    let mut report = generator.run(&plan).unwrap();
    let found = &report.classes[0];
    assert_eq!(report.samples.len() as u64, found.answered);
    let (from, to) = report.measured;
    assert_eq!(to.since(from), plan.duration - plan.warm_up);
    let measured = report.samples.iter().filter(|sample| sample.due >= from);
    assert_eq!(measured.clone().count() as u64, found.latency.len());
    assert_eq!(found.due_measured, found.latency.len());
    let longest = measured.map(|sample| sample.answered.since(sample.due)).max().unwrap();
    // Three digits.
    assert!(longest.abs_diff(found.latency_max()) <= longest / 500, "{longest:?}");
    assert!(report.samples.is_sorted_by_key(|sample| sample.answered));
    let is_in_order = |sample: &Sample| sample.due <= sample.sent && sample.sent <= sample.answered;
    assert!(report.samples.iter().all(is_in_order));
    assert!(report.samples.iter().all(|sample| sample.worker == Some(5)));

    // The same seed asks for the same, in the order in which it is due.
    let asked = |report: &Report| {
        let mut asked: Vec<_> =
            report.samples.iter().map(|sample| (sample.due, sample.service)).collect();
        asked.sort_unstable();
        asked.into_iter().map(|(_, service)| service).collect::<Vec<_>>()
    };
    let other = generator.run(&plan).unwrap();
    assert_eq!(asked(&report), asked(&other));

    // Two generators' connections are told apart.
    let before = report.connections;
    report.add(&other);
    assert_eq!(report.connections, before + other.connections);
    assert_eq!(report.samples.len() as u64, report.answered());
    assert!(report.samples.is_sorted_by_key(|sample| sample.answered));
    assert!(report.samples.iter().any(|sample| sample.connection >= before));
}

/// Every idle connection sends one request of each burst.
#[test]
fn bursts_use_every_connection_once() {
    let address = serve(|_, stream| stream.write_all(OK).is_ok());
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(20)).unwrap();
    let (first, every) = (Duration::from_millis(10), Duration::from_millis(200));
    let pace = Pace::Open(Arrivals::Bursts { count: 20, first, every });
    let mut plan = plan(vec![class("/", pace, set, Choice::InTurn)], 450);
    plan.keep_samples = true;
    let report = generator.run(&plan).unwrap();
    let mut bursts: BTreeMap<_, Vec<Sample>> = BTreeMap::new();
    for sample in &report.samples {
        bursts.entry(sample.due).or_default().push(*sample);
    }
    assert_eq!((bursts.len(), report.samples.len()), (3, 60));
    let mut answered = Nanos(0);
    for (due, samples) in bursts {
        let connections: BTreeSet<_> = samples.iter().map(|sample| sample.connection).collect();
        // Only one whose last answer is still on its way is not used.
        assert!(answered >= due || connections.len() == 20, "{connections:?}");
        answered = samples.iter().map(|sample| sample.answered).max().unwrap();
    }
}

/// The trace's connections are ours, whoever is free.
#[test]
fn a_trace_is_replayed_on_its_own_connections() {
    let address = serve(|_, stream| stream.write_all(OK).is_ok());
    let mut generator = Generator::new(address).unwrap();
    let set = generator.open(&opening(3)).unwrap();
    let text = "time_s,connection,service_ms\n0,0,1\n0,1,2\n0.02,0,3\n0.02,0,4\n0.03,4,5\n";
    let trace = replay::parse(text.as_bytes()).unwrap();
    let times = ServiceTimes::Fixed(Duration::ZERO);
    let ask = Ask::Service { kind: ServiceKind::Spin, times };
    let class = Class { ask, ..class("trace", Pace::Replay(trace), set, Choice::EVEN) };
    let mut plan = plan(vec![class], 100);
    plan.keep_samples = true;
    let report = generator.run(&plan).unwrap();
    let mut samples = report.samples.clone();
    samples.sort_by_key(|sample| sample.service);
    let services: Vec<_> = samples.iter().map(|sample| sample.service.as_millis()).collect();
    assert_eq!(services, [1, 2, 3, 4, 5]);
    let [one, two, three, four, five] = samples[..] else { panic!("five") };
    assert_eq!([three.connection, four.connection], [one.connection; 2]);
    // Three places: the trace's connections 1 and 4 share one.
    assert_eq!(five.connection, two.connection);
    assert_ne!(one.connection, two.connection);
    assert_eq!(four.due.since(one.due), Duration::from_millis(20));
}
