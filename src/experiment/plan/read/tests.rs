//! Plans, and what is wrong with them.

use super::*;
use crate::experiment::load::{Arrivals, Ask, Choice, Pace, ServiceKind, ServiceTimes, replay};
use crate::experiment::plan::model::ConnectionSet;

const PLAN: &str = r#"
title = "a-plan"
about = """
Two lines
make one."""
repetitions = 3
duration_s = 4
warm_up_s = 0.5
workers = 8
serve = ["--keep-alive", "60"]

[quick]
duration_s = 1
warm_up_s = 0.1

[[arm]]
name = "master"
serve = ["--balance", "two-choices"]

[[arm]]
name = "shared eager"
accept = "shared"
threads = 2
workloads = ["bimodal"]

[[arm]]
name = "nginx"
command = ["nginx", "-c", "nginx.conf"]
url = "http://127.0.0.1:{port}/"
files = { "nginx.conf" = "events {}" }
workers = 2

[[workload]]
name = "bimodal"
connections = 100
service = { kind = "sleep", law = "bimodal", short_ms = 0.5, long_ms = 50, long_share = 0.005 }
arrivals = { load = 0.7 }
slo_ms = 5
background = 20

[[workload]]
name = "mixed"
serve = ["--timeout", "5"]
per_connection = 10
event = { kind = "slow", at_share = 0.5, for_share = 0.25, times_slower = 4 }
[[workload.class]]
name = "short"
arrivals = { process = "constant", rate = 800 }
[[workload.class]]
name = "long"
connections = 4
per_connection = "new"
service = { kind = "spin", law = "pareto", shape = 1.1, least_ms = 1, most_ms = 100 }
arrivals = { process = "burst", count = 8, at_share = 0.5, every_s = 0.25 }

[[workload]]
name = "full"
loop = "closed"
connections = 7
per_connection = "new"

[[workload]]
name = "skewed"
skew = { connections = 0.1, requests = 0.9 }
replay = "trace.csv"
"#;

const TRACE: &[u8] = b"time_s,connection,service_ms\n0.1,3,1\n0.2,4,2\n9,4,2\n";

fn parsed(text: &str, is_quick: bool) -> Result<BenchPlan, PlanFault> {
    let read_trace = |path: &Path| {
        assert_eq!(path, Path::new("trace.csv"));
        replay::parse(TRACE).map_err(Into::into)
    };
    read(text, &Surroundings { is_quick, cores: 2, read_trace: &read_trace })
}

fn workload<'a>(plan: &'a BenchPlan, name: &str) -> &'a Workload {
    plan.workloads.iter().find(|workload| workload.name == name).expect(name)
}

#[test]
fn a_plan_is_what_its_file_says() {
    let plan = parsed(PLAN, false).unwrap();
    assert_eq!((plan.title.as_str(), plan.about.as_str()), ("a-plan", "Two lines make one."));
    assert_eq!((plan.repetitions, plan.arms.len(), plan.workloads.len()), (3, 3, 4));

    let bimodal = workload(&plan, "bimodal");
    assert_eq!(bimodal.duration, Duration::from_secs(4));
    assert_eq!(bimodal.warm_up, Duration::from_millis(500));
    assert_eq!((bimodal.slo, bimodal.background), (Some(Duration::from_millis(5)), 20));
    let Ask::Service { kind: ServiceKind::Sleep, times } = &bimodal.classes[0].ask else {
        panic!("{:?}", bimodal.classes);
    };
    // 0.995 × 0.5 ms + 0.005 × 50 ms
    assert_eq!(times.mean(), Duration::from_nanos(747_500));
    let rate = bimodal.rate().unwrap();
    assert!((rate - 0.7 * 8.0 / 747.5e-6).abs() < 1e-6, "{rate}");

    let full = workload(&plan, "full");
    assert_eq!((full.is_open_loop(), full.rate()), (false, None));
    assert_eq!(full.sets, [ConnectionSet { count: 7, is_opened: false }]);
    assert_eq!(full.classes[0].choice, Choice::New);
}

#[test]
fn a_class_has_what_it_says_and_else_what_its_workload_says() {
    let plan = parsed(PLAN, false).unwrap();
    let mixed = workload(&plan, "mixed");
    let [short, long] = &mixed.classes[..] else { panic!("{:?}", mixed.classes) };
    assert_eq!(short.ask, Ask::Path("/".to_owned()));
    assert_eq!(short.choice, Choice::Renewed { requests: 10 });
    assert_eq!(long.choice, Choice::New);
    assert_eq!((short.set, long.set), (0, 1));
    assert_eq!(mixed.sets[1], ConnectionSet { count: 4, is_opened: false });
    let first = Duration::from_millis(500 + 1750);
    let every = Duration::from_millis(250);
    assert_eq!(long.pace, Pace::Open(Arrivals::Bursts { count: 8, first, every }));
    let Ask::Service { times: ServiceTimes::BoundedPareto { shape, .. }, .. } = &long.ask else {
        panic!("{:?}", long.ask);
    };
    assert_eq!(*shape, 1.1);
    assert_eq!(mixed.event, Some(Event::Slow { at: 0.5, lasts: 0.25, times: 4.0 }));

    let skewed = workload(&plan, "skewed");
    let bound = Choice::Bound { hot_connections: 0.1, hot_requests: 0.9 };
    assert_eq!(skewed.classes[0].choice, bound);
    // Two of the trace's three requests are within the four seconds.
    assert_eq!(skewed.rate(), Some(0.5));
}

#[test]
fn an_arms_command_is_the_plans_the_workloads_and_its_own_in_this_order() {
    let plan = parsed(PLAN, false).unwrap();
    let mixed = workload(&plan, "mixed");
    let [master, eager, nginx] = &plan.arms[..] else { panic!("{:?}", plan.arms) };
    let words = master.arguments(mixed, 5).unwrap().join(" ");
    let expected = "serve -b 127.0.0.1:0 --worker-header -w 8 --threads 1 --seed 5 \
                    --keep-alive 60 --timeout 5 --balance two-choices";
    assert_eq!(words, expected);
    let words = eager.arguments(mixed, 5).unwrap().join(" ");
    assert!(words.contains("--threads 2") && words.ends_with("--accept shared"), "{words}");
    assert!(eager.about.contains("wakes every worker"), "{}", eager.about);
    assert_eq!(nginx.arguments(mixed, 5), None);
    assert!(nginx.info().is_foreign);
    assert_eq!((nginx.capacity(mixed).workers, master.capacity(mixed).workers), (2, 8));
    assert!(master.runs(mixed) && !eager.runs(mixed));
}

#[test]
fn a_quick_run_is_the_same_but_shorter() {
    let plan = parsed(PLAN, true).unwrap();
    assert_eq!(plan.repetitions, 2);
    let mixed = workload(&plan, "mixed");
    assert_eq!(mixed.duration, Duration::from_secs(1));
    assert_eq!(mixed.warm_up, Duration::from_millis(100));
    assert_eq!(mixed.rate(), workload(&parsed(PLAN, false).unwrap(), "mixed").rate());
}

/// The grid's places whose load is too high are left out: 8 places take no 2000/s of 20 ms.
#[test]
fn a_grid_is_a_workload_for_each_place_that_can_be_served() {
    let grid = r#"
title = "grid"
workers = 8
[[arm]]
name = "a"
[[workload]]
name = "crossover"
per_connection = "new"
service = { kind = "sleep", law = "exponential" }
[workload.grid]
x = { name = "service time, ms", sets = "service_ms", values = [0, 1, 20] }
y = { name = "connections/s", sets = "rate", values = [100, 2000] }
[[prediction]]
"#;
    let plan = parsed(grid.trim_end().trim_end_matches("[[prediction]]"), false).unwrap();
    let names: Vec<_> = plan.workloads.iter().map(|workload| workload.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "crossover/0/100",
            "crossover/1/100",
            "crossover/20/100",
            "crossover/0/2000",
            "crossover/1/2000"
        ]
    );
    assert!(plan.workloads.iter().all(|workload| workload.family == "crossover"));
    let place = plan.workloads[4].grid.clone().unwrap();
    assert_eq!((place.x, place.y, place.x_name.as_str()), (1.0, 2000.0, "service time, ms"));
    assert_eq!(plan.workloads[0].classes[0].ask, Ask::Path("/".to_owned()));
}

/// The plan with one line replaced by others.
fn spoilt(line: &str, instead: &str) -> String {
    assert_eq!(PLAN.matches(line).count(), 1, "{line}");
    let text = PLAN.replace(line, instead);
    match parsed(&text, false) {
        Ok(_) => panic!("{instead:?} is taken"),
        Err(PlanFault::Toml(error)) => error.to_string(),
        Err(fault) => {
            let source = fault.source().map(ToString::to_string).unwrap_or_default();
            format!("{fault}: {source}")
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let eager = "accept = \"shared\"";
    let bimodal = "arrivals = { load = 0.7 }";
    let service = "short_ms = 0.5, long_ms = 50, long_share = 0.005";
    for (line, instead, expected) in [
        ("repetitions = 3", "repetitions = 0", "plan: repetitions is from 1 to 100"),
        ("repetitions = 3", "repetition = 3", "unknown field `repetition`"),
        ("title = \"a-plan\"", "", "plan: title is missing"),
        ("title = \"a-plan\"", "title = \"../x\"", "plan: title is lower-case"),
        ("workers = 8", "workers = 1025", "workload \"bimodal\": workers is from 1 to 1024"),
        ("duration_s = 4", "duration_s = 4000", "duration_s is"),
        ("duration_s = 4", "duration_s = nan", "duration_s is"),
        ("warm_up_s = 0.5", "warm_up_s = 4", "warm_up_s is part of"),
        ("serve = [\"--keep-alive\", \"60\"]", "serve = [\"-w8\"]", "plan: serve: not -w8: say"),
        (eager, "accept = \"random\"", "arm \"shared eager\": accept is one of master, shared"),
        (eager, "accept = \"shared\"\nurl = \"x\"", "arm \"shared eager\": url and files need"),
        ("name = \"nginx\"", "name = \"master\"", "arm \"master\": there is another"),
        ("name = \"nginx\"", "name = \"a|b\"", "arm \"a|b\": name has"),
        ("\"nginx.conf\" = \"events {}\"", "\"../x\" = \"\"", "arm \"nginx\": files are"),
        ("url = \"http://127.0.0.1:{port}/\"", "", "arm \"nginx\": url is missing"),
        ("workloads = [\"bimodal\"]", "workloads = [\"x\"]", "\"shared eager\": workloads: there"),
        ("name = \"mixed\"", "name = \"full\"", "workload \"full\": there is another"),
        ("loop = \"closed\"", "loop = \"round\"", "workload \"full\": loop is open or closed"),
        ("connections = 7", "connections = 0", "workload \"full\": connections is from 1"),
        ("connections = 7", "arrivals = { rate = 1 }", "workload \"full\": a closed loop has no"),
        ("connections = 7", "choice = \"own\"", "workload \"full\": choice and skew are"),
        (bimodal, "", "workload \"bimodal\": arrivals are missing"),
        (bimodal, "arrivals = { rate = -1 }", "workload \"bimodal\": arrivals: the rate"),
        (bimodal, "arrivals = { rate = 1, load = 0.1 }", "either rate"),
        (bimodal, "arrivals = { process = \"bursts\" }", "process is poisson"),
        (service, "short_ms = 0.5, long_ms = 50", "bimodal takes short_ms, long_ms, long_share"),
        (service, "short_ms = 0.5, long_ms = 50, long_share = 2", "shares are from 0 to 1"),
        (service, "short_ms = 1, long_ms = 1e9, long_share = 1", "long_ms is above 0"),
        ("background = 20", "background = -1", "workload \"bimodal\": background is from 0"),
        ("process = \"constant\", rate = 800", "load = 1", "class \"short\": arrivals: load needs"),
        ("name = \"short\"", "name = \"long\"", "class \"long\": there is another class"),
        ("name = \"short\"", "", "workload \"mixed\", class \"\": name is missing"),
        ("shape = 1.1", "shape = 0.0", "class \"long\": service: shares are"),
        ("kind = \"spin\"", "kind = \"run\"", "class \"long\": service: kind is"),
        ("per_connection = 10", "per_connection = 0", "per_connection is \"endless\""),
        ("per_connection = 10", "per_connection = 1.5", "per_connection is \"endless\""),
        ("times_slower = 4", "times_slower = 1", "workload \"mixed\": event: times_slower"),
        ("at_share = 0.5, for_share = 0.25", "at_share = 0.9, for_share = 0.25", "at most 1"),
        ("requests = 0.9", "requests = 1.9", "workload \"skewed\": skew: requests is from 0"),
    ] {
        let wrong = spoilt(line, instead);
        assert!(wrong.contains(expected), "{instead:?}: {wrong}");
    }
}

#[test]
fn a_trace_that_is_none_is_told_with_its_place() {
    let read_trace = |_: &Path| replay::parse(&b"a,b\n1,2\n"[..]).map_err(Into::into);
    let fault = read(PLAN, &Surroundings { is_quick: false, cores: 2, read_trace: &read_trace })
        .expect_err("no trace");
    assert_eq!(fault.to_string(), "workload \"skewed\": the trace \"trace.csv\"");
    assert!(fault.source().unwrap().to_string().contains("columns"), "{fault:?}");
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = spoilt("about = \"\"\"", "about =");
    assert!(error.contains("line 4"), "{error}");
}

#[test]
fn no_bytes_panic() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..2000 {
        let mut bytes = PLAN.as_bytes().to_vec();
        for _ in 0..rng.usize(1..4) {
            let place = rng.usize(..bytes.len());
            bytes[place] = rng.u8(b' '..b'~');
        }
        // The trace's name may have been hit.
        let read_trace = |_: &Path| replay::parse(TRACE).map_err(Into::into);
        let text = String::from_utf8(bytes).expect("ASCII");
        let _ = read(&text, &Surroundings { is_quick: false, cores: 2, read_trace: &read_trace });
    }
}
