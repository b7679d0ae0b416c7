//! A report that no bench has made: seeded, with two classes, a grid, a closed loop, warnings of
//! every kind, an arm that fails its requests, names that are attacks, and an end before its time.
//!
//! Its figures say nothing about anything.

use std::collections::BTreeMap;

use fastrand::Rng;

use maitred::experiment::report::schema::{
    ArmInfo, BenchReport, Better, Cell, Curve, Environment, Figure, GridPlace, MeasureInfo,
    Outcome, Prediction, SCHEMA, Timeline, Trial, Warning, WorkerShare, WorkloadInfo,
};

/// A name that must stay one.
pub(crate) const HOSTILE: &str =
    "nginx</text><script>document.title='owned'</script> & \"x\" '\u{202e}\u{1b}[2J";

/// The arms, and by how much their latencies are worse than the first one's.
pub(crate) const ARMS: [(&str, f64); 6] = [
    ("master auto", 1.0),
    ("master never", 2.2),
    ("exclusive", 5.6),
    ("reuseport", 3.1),
    ("reuseport-cbpf", 3.0),
    (HOSTILE, 1.9),
];

pub(crate) const WORKERS: u32 = 8;
pub(crate) const REPETITIONS: u32 = 5;

/// Name, its classes, whether its loop is open.
pub(crate) const WORKLOADS: [(&str, &[&str], bool); 4] = [
    ("bimodal", &["short", "long"], true),
    ("one request per connection", &["hello"], true),
    ("long-lived, then a burst", &["burst"], true),
    ("saturation", &["hello"], false),
];

pub(crate) const GRID: (&[f64], &[f64]) =
    (&[0.0, 0.1, 1.0, 5.0, 20.0], &[100.0, 1000.0, 5000.0, 20_000.0]);

/// Key, title, unit, which is better, and a usual value.
const MEASURES: [(&str, &str, &str, Better, f64); 16] = [
    ("p50", "p50", "ms", Better::Lower, 0.62),
    ("p90", "p90", "ms", Better::Lower, 0.9),
    ("p99", "p99", "ms", Better::Lower, 2.1),
    ("p999", "p99.9", "ms", Better::Lower, 9.0),
    ("max", "max", "ms", Better::Lower, 31.0),
    ("wait_p99", "queue wait p99", "ms", Better::Lower, 1.2),
    ("throughput", "throughput", "1/s", Better::Higher, 11_250.0),
    ("cpu_us_per_connection", "CPU per connection", "µs", Better::Lower, 18.0),
    ("cpu_us_per_request", "CPU per request", "µs", Better::Lower, 19.3),
    ("lag_p99", "lag p99", "ms", Better::Neither, 0.03),
    ("switches_per_request", "context switches per request", "", Better::Lower, 1.4),
    ("jain_of_requests", "Jain, requests", "", Better::Higher, 0.98),
    ("cv_of_requests", "CV, requests", "%", Better::Lower, 6.0),
    ("max_over_mean", "max / mean", "", Better::Lower, 1.2),
    ("idle_while_queued", "idle while queued", "%", Better::Lower, 0.4),
    ("wrong_in_hindsight", "decisions wrong in hindsight", "%", Better::Lower, 2.0),
];

pub(crate) fn report(seed: u64) -> BenchReport {
    let mut rng = Rng::with_seed(seed);
    let workloads = workloads();
    let mut cells = Vec::new();
    for (place, workload) in workloads.iter().enumerate() {
        for (arm, (name, worse)) in ARMS.iter().enumerate() {
            // A foreign arm has no place in the grid here.
            if workload.grid.is_some() && *name == HOSTILE {
                continue;
            }
            cells.push(cell(&mut rng, workload, place, name, *worse, arm));
        }
    }
    BenchReport {
        schema: SCHEMA.to_owned(),
        title: "a fixture, not a measurement".to_owned(),
        about: "Made by a seeded generator to look at the page. <b>Not bold</b>.".to_owned(),
        environment: environment(seed),
        arms: ARMS.iter().map(|(name, _)| arm(name)).collect(),
        workloads,
        measures: MEASURES.iter().map(measure).collect(),
        cells,
        predictions: predictions(),
        warnings: warnings(),
        is_complete: false,
    }
}

fn environment(seed: u64) -> Environment {
    let command = ["maitred", "bench", "crossover", "--quick", "--out", "my results"];
    Environment {
        version: "0.1.0".to_owned(),
        revision: Some("0000000-dirty".to_owned()),
        kernel: "0.0.0-fixture".to_owned(),
        cpu: "No Processor at 0.00GHz".to_owned(),
        cores: 2,
        memory_bytes: 8 << 30,
        command: command.map(str::to_owned).to_vec(),
        seed,
        is_quick: true,
        is_debug_build: false,
        began_at: "1970-01-01T00:00:00Z".to_owned(),
        took_s: 734.2,
        cores_note: "shared".to_owned(),
        defer_accept_s: 1,
        backlog: 2048,
    }
}

fn arm(name: &str) -> ArmInfo {
    ArmInfo {
        name: name.to_owned(),
        command: ["maitred", "serve", "-w", "8"].map(str::to_owned).to_vec(),
        is_foreign: name == HOSTILE,
        about: "How its connections are distributed, in a sentence.".to_owned(),
    }
}

fn workloads() -> Vec<WorkloadInfo> {
    let mut all: Vec<WorkloadInfo> = WORKLOADS
        .iter()
        .map(|(name, classes, is_open_loop)| WorkloadInfo {
            name: (*name).to_owned(),
            about: "Connections, service times and arrivals, for people.".to_owned(),
            is_open_loop: *is_open_loop,
            rate: is_open_loop.then_some(9_300.0),
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
            duration_s: 12.0,
            warm_up_s: 2.0,
            grid: None,
        })
        .collect();
    for y in GRID.1 {
        for x in GRID.0 {
            all.push(WorkloadInfo {
                name: format!("{y}/s of {x} ms"),
                is_open_loop: true,
                rate: Some(*y),
                classes: vec!["all".to_owned()],
                duration_s: 4.0,
                warm_up_s: 1.0,
                grid: Some(GridPlace {
                    x_name: "service time, ms".to_owned(),
                    x: *x,
                    y_name: "connections/s".to_owned(),
                    y: *y,
                }),
                ..WorkloadInfo::default()
            });
        }
    }
    all
}

fn measure(entry: &(&str, &str, &str, Better, f64)) -> MeasureInfo {
    let (key, title, unit, better, _) = *entry;
    MeasureInfo {
        key: key.to_owned(),
        title: title.to_owned(),
        unit: unit.to_owned(),
        better,
        about: format!("How {title} is measured, in a sentence or two."),
    }
}

fn cell(
    rng: &mut Rng,
    workload: &WorkloadInfo,
    place: usize,
    name: &str,
    worse: f64,
    arm: usize,
) -> Cell {
    // In a grid the first arm loses where connections are many and short.
    let worse = match &workload.grid {
        Some(grid) => worse.powf((grid.x / 20.0).sqrt()) * if arm < 2 { crowd(grid) } else { 1.0 },
        None => worse.powf(1.0 / (1.0 + place as f64)),
    };
    let mut figures = BTreeMap::new();
    for (key, _, _, better, usual) in MEASURES {
        // What nobody can know of another program.
        if name == HOSTILE && key.starts_with("cpu") {
            continue;
        }
        let factor = match better {
            Better::Lower => worse,
            Better::Higher => 1.0 / worse.sqrt(),
            Better::Neither => 1.0,
        };
        figures.insert(key.to_owned(), figure(rng, usual * factor));
    }
    // A figure that is none, and one whose interval is none.
    if place == 1 && arm == 3 {
        figures.insert("p50".to_owned(), Figure { value: f64::NAN, ..Figure::default() });
        figures.insert("p90".to_owned(), Figure { value: 0.7, ..Figure::default() });
    }
    let curves = workload.classes.iter().enumerate();
    let has_detail = workload.grid.is_none();
    Cell {
        arm: name.to_owned(),
        workload: workload.name.clone(),
        figures,
        curves: curves.map(|(index, class)| curve(rng, class, worse, index)).collect(),
        trials: (0..REPETITIONS)
            .map(|repetition| trial(rng, repetition, name, place, arm, has_detail))
            .collect(),
    }
}

fn crowd(grid: &GridPlace) -> f64 {
    1.0 + 0.9 * (grid.y / 20_000.0) / (1.0 + grid.x)
}

fn figure(rng: &mut Rng, around: f64) -> Figure {
    let of_trials: Vec<f64> =
        (0..REPETITIONS).map(|_| around * (0.96 + 0.08 * rng.f64())).collect();
    let value = of_trials.iter().sum::<f64>() / of_trials.len() as f64;
    let low = of_trials.iter().copied().fold(f64::INFINITY, f64::min);
    let high = of_trials.iter().copied().fold(0.0, f64::max);
    Figure { value, low: Some(low), high: Some(high), of_trials }
}

/// Shares and latencies as a histogram walks them, up to one in ten thousand and the maximum.
fn curve(rng: &mut Rng, class: &str, worse: f64, index: usize) -> Curve {
    let base: f64 = if index == 0 { 0.55 } else { 51.0 };
    let mut latency = base;
    let mut points = vec![(0.0, latency)];
    for step in 1..=80 {
        let nines = f64::from(step) / 20.0;
        latency *= 1.0 + worse * 0.02 * rng.f64() * nines / base.max(1.0).sqrt();
        points.push((1.0 - 10f64.powf(-nines), latency));
    }
    points.push((1.0, latency * 1.1));
    Curve { class: class.to_owned(), points }
}

fn trial(
    rng: &mut Rng,
    repetition: u32,
    name: &str,
    place: usize,
    arm: usize,
    has_detail: bool,
) -> Trial {
    let due = 93_000 + rng.u64(0..100);
    let failed = if name == HOSTILE && place == 2 { due / 9 } else { 0 };
    let mut trial = Trial {
        repetition,
        place: repetition * 6 + arm as u32,
        due,
        answered: due - failed,
        lag_p99_ms: 0.02,
        ..Trial::default()
    };
    if failed > 0 {
        trial.failures.insert("cut off before the answer".to_owned(), failed);
    }
    if has_detail {
        trial.workers = (0..WORKERS).map(|worker| share(rng, worker, arm)).collect();
        trial.timelines = timelines(rng, arm);
    }
    trial
}

fn share(rng: &mut Rng, worker: u32, arm: usize) -> WorkerShare {
    let skew = (-f64::from(worker) * 0.12 * arm as f64).exp();
    let requests = (11_600.0 * skew * (0.95 + 0.1 * rng.f64())) as u64;
    WorkerShare {
        worker,
        connections: 1 + (50.0 * skew * (0.9 + 0.2 * rng.f64())) as u64,
        requests,
        busy_s: requests as f64 * 0.0007,
        cpu_s: Some(requests as f64 * 0.000_02),
    }
}

fn timelines(rng: &mut Rng, arm: usize) -> Vec<Timeline> {
    let mut walk = |worker: Option<u32>, name: &str, unit: &str, most: f64| {
        let mut value = most / 2.0;
        let mut values = Vec::new();
        for _ in 0..120 {
            value = (value + (rng.f64() - 0.5) * most / 3.0).clamp(0.0, most);
            // A latency is never zero but where nothing was answered.
            values.push(if unit == "ms" { value.max(most / 20.0) } else { value });
        }
        let (name, unit) = (name.to_owned(), unit.to_owned());
        Timeline { name, worker, unit, step_s: 10.0 / 120.0, values }
    };
    let mut all: Vec<Timeline> = (0..WORKERS)
        .map(|worker| walk(Some(worker), "requests in service", "requests", 4.0))
        .collect();
    all.push(walk(None, "p99", "ms", 4.0 + 6.0 * arm as f64));
    all
}

fn predictions() -> Vec<Prediction> {
    let of = |text: &str, outcome, found: &str| Prediction {
        text: text.to_owned(),
        because: "Somebody, Somewhere 2024, figure 3".to_owned(),
        outcome,
        found: found.to_owned(),
    };
    vec![
        of(
            "p99(exclusive, bimodal) >= 5 * p99(master auto, bimodal)",
            Outcome::Held,
            "11.8 ms and 2.10 ms: 5.61 × (95 % 5.4–5.8)",
        ),
        of("max(master auto, bimodal) <= 20", Outcome::Failed, "31.0 ms"),
        of("p50(master auto) <= p50(exclusive) + 0.1", Outcome::Open, "0.61 and 0.60 ms"),
        of("p99(nobody, bimodal) < 1 & <i>", Outcome::NotMeasured, ""),
    ]
}

fn warnings() -> Vec<Warning> {
    let of = |arm: &str, workload: &str, measure: &str, text: &str| {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let (arm, workload, measure) = (named(arm), named(workload), named(measure));
        Warning { arm, workload, measure, text: text.to_owned() }
    };
    vec![
        of("", "", "", "Generator and servers share two cores: compare ratios only."),
        of("reuseport", "bimodal", "p99", "One repetition was three times as slow as the others."),
        of("exclusive", "", "", "The other arms' listeners were open meanwhile."),
        of("", "long-lived, then a burst", "", "The generator lagged for 3 % of its requests."),
        of("", "", "idle_while_queued", "Sampled every 10 ms: what is shorter is not seen."),
        of("master auto", "5000/s of 1 ms", "p99", "A neighbour ran <meanwhile>."),
        of("somebody else", "", "", "About an arm that is not here."),
    ]
}
