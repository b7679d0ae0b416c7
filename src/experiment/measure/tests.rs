//! All figures against queues that theory knows.

use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::queues::{MEAN, Queues, simulate};
use crate::experiment::measure::{catalogue, summarise};
use crate::experiment::report::schema::Cell;

fn cell(trials: &[Observed]) -> Cell {
    summarise("arm", "workload", &["all".to_owned()], trials, 1)
}

/// In mean service times.
fn p99(cell: &Cell) -> f64 {
    cell.figures["p99"].value / (MEAN.as_secs_f64() * 1e3)
}

/// Response times of M/M/k: one queue for each worker is M/M/1, whose response time is exponential
/// with the mean 1 / (1 - ρ), so that its p99 is ln 100 / (1 - ρ), whatever k; one queue for all is
/// what Erlang's C formula gives.
#[test]
fn percentiles_are_those_that_theory_knows() {
    for (queues, workers, load, expected) in [
        (Queues::Hashed, 2, 0.8, 23.0),
        (Queues::Hashed, 8, 0.8, 23.0),
        (Queues::Central, 2, 0.8, 11.9),
        (Queues::Central, 4, 0.8, 6.9),
        (Queues::Central, 8, 0.8, 5.2),
    ] {
        let trials: Vec<_> =
            (0..5).map(|seed| simulate(queues, workers, load, 20_000, seed)).collect();
        let found = p99(&cell(&trials));
        let off = (found / expected - 1.0).abs();
        assert!(off < 0.1, "{queues:?}, k = {workers}, load {load}: {found}, not {expected}");
    }
}

/// Whoever is free takes the first: nobody waits while somebody is idle. A hash knows nothing of
/// idle workers.
#[test]
fn one_queue_wastes_nothing_and_a_hash_does() {
    let central = cell(&[simulate(Queues::Central, 8, 0.7, 10_000, 2)]);
    for key in ["idle_while_queued", "idle_while_queued_s", "wrong_in_hindsight"] {
        assert_eq!(central.figures[key].value, 0.0, "{key}");
    }
    let hashed = cell(&[simulate(Queues::Hashed, 8, 0.7, 10_000, 2)]);
    // Of M/M/1 at 0.7 seven tenths wait, and nearly always one of seven others is idle; but not
    // always the same one for as long as the request waits.
    assert!(hashed.figures["idle_while_queued"].value > 90.0);
    let wrong = hashed.figures["wrong_in_hindsight"].value;
    assert!((20.0..70.0).contains(&wrong), "{wrong}");
}

/// Waiting and service are told apart: of a response time at one M/M/1 queue, the mean wait is
/// ρ / (1 - ρ) mean service times.
#[test]
fn waits_are_those_that_theory_knows() {
    let trials: Vec<_> =
        (0..5).map(|seed| simulate(Queues::Hashed, 1, 0.5, 20_000, seed)).collect();
    let found = cell(&trials);
    let mean = found.figures["wait_mean"].value / (MEAN.as_secs_f64() * 1e3);
    assert!((mean - 1.0).abs() < 0.1, "{mean}");
    let median = found.figures["service_p50"].value / (MEAN.as_secs_f64() * 1e3);
    assert!((median - std::f64::consts::LN_2).abs() < 0.02, "{median}");
}

/// The interval of one repetition by blocks is about as wide as repetitions differ.
#[test]
fn intervals_of_one_repetition_know_what_repetitions_do() {
    let trials: Vec<_> =
        (0..10).map(|seed| simulate(Queues::Central, 4, 0.7, 4000, seed)).collect();
    let all = cell(&trials);
    let truth = all.figures["p99"].value;
    assert_eq!(all.figures["p99"].of_trials.len(), 10);
    let covers = |trial: &Observed| {
        let own = &cell(std::slice::from_ref(trial)).figures["p99"];
        let (low, high) = (own.low.expect("blocks"), own.high.expect("blocks"));
        assert!(low <= own.value && own.value <= high, "{own:?}");
        low <= truth && truth <= high
    };
    let covered = trials.iter().filter(|trial| covers(trial)).count();
    // 95 % of them in the mean, and hardly ever fewer than 7 of 10.
    assert!(covered >= 7, "{covered} of 10");
}

#[test]
fn repetitions_are_summed_up_by_their_median() {
    let trials: Vec<_> = (0..5).map(|seed| simulate(Queues::Central, 2, 0.5, 2000, seed)).collect();
    let five = cell(&trials);
    let mut of_trials = five.figures["p50"].of_trials.clone();
    of_trials.sort_by(f64::total_cmp);
    assert_eq!(five.figures["p50"].value, of_trials[2]);
    assert!(five.figures["p50"].low.is_some() && five.figures["jain_of_requests"].low.is_some());
    // Fewer: what was never in a block has no interval.
    let three = cell(&trials[..3]);
    assert_eq!(three.figures["p50"].of_trials.len(), 3);
    assert!(three.figures["p50"].low.is_some() && three.figures["throughput"].low.is_some());
    assert_eq!(three.figures["jain_of_requests"].low, None);
    assert_eq!(three.figures["max"].low, None);
    assert_eq!(three.trials.len(), 3);
    assert_eq!(three.trials[0].workers.len(), 2);
}

/// Everything has its entry, and JSON has no way to write what is not a number.
#[test]
fn every_figure_is_in_the_catalogue_and_finite() {
    let mut trial = simulate(Queues::Hashed, 3, 0.6, 2000, 4);
    trial.bound = Some(MEAN * 3);
    let nothing = Observed { samples: Vec::new(), ..trial.clone() };
    let known: Vec<String> = catalogue().into_iter().map(|measure| measure.key).collect();
    for cell in [cell(&[trial]), cell(&[nothing]), cell(&[])] {
        for (key, figure) in &cell.figures {
            assert!(known.contains(key), "{key} is not in the catalogue");
            let ends = [figure.value, figure.low.unwrap_or(0.0), figure.high.unwrap_or(0.0)];
            assert!(ends.iter().chain(&figure.of_trials).all(|one| one.is_finite()), "{key}");
        }
        let text = serde_json::to_string(&cell).expect("numbers");
        // What is not a number is written as null, and then not read.
        let back: Cell = serde_json::from_str(&text).expect("numbers");
        assert!(back.figures.keys().eq(cell.figures.keys()));
    }
    let mut unique = known.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), known.len());
}

/// Of an exponential response time with the mean 2 (M/M/1 at 0.5) 1 - e⁻² are within 4.
#[test]
fn a_bound_is_held_by_a_share() {
    let mut trial = simulate(Queues::Hashed, 1, 0.5, 40_000, 6);
    trial.bound = Some(MEAN * 4);
    let found = cell(&[trial]);
    let share = found.figures["within_bound"].value;
    assert!((share - 86.5).abs() < 1.5, "{share}");
    let rate = found.figures["throughput_within_bound"].value;
    assert!((rate - 5.0 * 0.865).abs() < 0.15, "{rate}");
}
