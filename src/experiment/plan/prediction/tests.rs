//! Claims, held against figures that were made up.

use super::*;

fn vocabulary<T>(use_it: impl FnOnce(&Vocabulary<'_>) -> T) -> T {
    let measure =
        |key: &str, better| MeasureInfo { key: key.to_owned(), better, ..MeasureInfo::default() };
    let measures = [
        measure("p99", Better::Lower),
        measure("throughput", Better::Higher),
        measure("jain", Better::Neither),
    ];
    let workload = |name: &str, classes: &[&str]| WorkloadInfo {
        name: name.to_owned(),
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        ..WorkloadInfo::default()
    };
    let workloads = [workload("bimodal", &["all"]), workload("grid/0.5/100", &["short", "long"])];
    use_it(&Vocabulary {
        measures: &measures,
        arms: &["master", "shared", "exclusive eager"],
        workloads: &workloads,
    })
}

fn claim(text: &str) -> Result<Claim, String> {
    vocabulary(|vocabulary| Claim::parse(text, "a test", vocabulary))
}

fn cell(arm: &str, key: &str, value: f64, interval: Option<(f64, f64)>) -> Cell {
    let figure = Figure {
        value,
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        of_trials: Vec::new(),
    };
    Cell {
        arm: arm.to_owned(),
        workload: "bimodal".to_owned(),
        figures: [(key.to_owned(), figure)].into(),
        ..Cell::default()
    }
}

/// The interval of a ratio of two figures: their own, divided.
fn divided(left: &Figure, right: &Figure) -> Option<(f64, f64)> {
    Some((left.low? / right.high?, left.high? / right.low?))
}

fn judge(text: &str, cells: &[Cell]) -> Outcome {
    claim(text).unwrap().judge(cells, &divided).outcome
}

#[test]
fn a_ratio_holds_fails_or_is_open_by_its_interval() {
    let cells = [
        cell("master", "p99", 2.0, Some((1.9, 2.1))),
        cell("shared", "p99", 12.0, Some((11.0, 13.0))),
    ];
    assert_eq!(judge("p99(shared, bimodal) >= 5 * p99(master, bimodal)", &cells), Outcome::Held);
    assert_eq!(judge("p99(shared, bimodal) >= 6 * p99(master, bimodal)", &cells), Outcome::Open);
    assert_eq!(judge("p99(shared, bimodal) >= 8*p99(master,bimodal)", &cells), Outcome::Failed);
    // The same, said the other way.
    assert_eq!(judge("5 * p99(master, bimodal) < p99(shared, bimodal)", &cells), Outcome::Held);
    assert_eq!(judge("8 * p99(master, bimodal) < p99(shared, bimodal)", &cells), Outcome::Failed);
    assert_eq!(judge("p99(master, bimodal) <= 0.2 * p99(shared, bimodal)", &cells), Outcome::Held);
    let claim = claim("p99(shared, bimodal) >= 5 * p99(master, bimodal)").unwrap();
    let found = claim.judge(&cells, &divided).found;
    assert!(found.contains("12.0 (11.0–13.0)") && found.contains("ratio 6.00"), "{found}");
}

#[test]
fn numbers_and_offsets_are_compared_by_the_sides_own_intervals() {
    let cells = [
        cell("master", "p99", 0.5, Some((0.45, 0.55))),
        cell("shared", "p99", 0.4, Some((0.38, 0.42))),
    ];
    assert_eq!(judge("p99(master, bimodal) <= 0.6", &cells), Outcome::Held);
    assert_eq!(judge("p99(master, bimodal) < 0.45", &cells), Outcome::Failed);
    assert_eq!(judge("0.5 >= p99(master, bimodal)", &cells), Outcome::Open);
    let above = |offset| format!("p99(master, bimodal) <= p99(shared, bimodal) + {offset}");
    assert_eq!(judge(&above("0.2"), &cells), Outcome::Held);
    assert_eq!(judge(&above("0.1"), &cells), Outcome::Open);
    assert_eq!(judge("p99(master, bimodal) - 1 > 0", &cells), Outcome::Failed);
}

#[test]
fn of_several_arms_the_best_stands_for_all() {
    let both = |key, first, second| {
        let around = |value: f64| Some((value * 0.99, value * 1.01));
        [
            cell("shared", key, first, around(first)),
            cell("exclusive eager", key, second, around(second)),
        ]
    };
    let lower = both("p99", 9.0, 3.0);
    assert_eq!(judge("p99(shared | exclusive eager, bimodal) < 4", &lower), Outcome::Held);
    let higher = both("throughput", 9.0, 3.0);
    assert_eq!(judge("throughput(shared|exclusive eager, bimodal) > 8", &higher), Outcome::Held);
    // One of them was not measured: the other stands.
    assert_eq!(judge("p99(shared|master, bimodal) < 4", &lower), Outcome::Failed);
}

#[test]
fn without_an_interval_nothing_is_settled() {
    let cells = [cell("master", "p99", 0.5, None)];
    assert_eq!(judge("p99(master, bimodal) <= 100", &cells), Outcome::Open);
    let claim = claim("p99(shared, bimodal) <= 100").unwrap();
    let judged = claim.judge(&cells, &divided);
    assert_eq!(judged.outcome, Outcome::NotMeasured);
    assert_eq!(judged.found, "p99 of shared in bimodal was not measured");
}

#[test]
fn a_class_that_is_not_the_first_has_its_own_key() {
    let key = |text: &str| claim(text).unwrap().left.measured.unwrap().key;
    assert_eq!(key("p99(master, grid/0.5/100) > 1"), "p99");
    assert_eq!(key("p99(master, grid/0.5/100, short) > 1"), "p99");
    assert_eq!(key("p99(master, grid/0.5/100, long) > 1"), "p99:long");
}

#[test]
fn what_means_nothing_is_refused_by_name() {
    for (text, expected) in [
        ("", "two sides"),
        ("p99(master, bimodal)", "two sides"),
        ("1 < 2", "speaks of a measure"),
        ("p98(master, bimodal) < 1", "\"p98\" is no measure"),
        ("p99(nobody, bimodal) < 1", "no arm \"nobody\""),
        ("p99(master, nothing) < 1", "no workload \"nothing\""),
        ("p99(master, bimodal, slow) < 1", "no class \"slow\""),
        ("p99(master) < 1", "an arm, a workload"),
        ("p99(master, bimodal < 1", ") is missing"),
        ("p99)master(, bimodal) < 1", "is no measure"),
        ("x * p99(master, bimodal) < 1", "no number"),
        ("-2 * p99(master, bimodal) < 1", "above 0"),
        ("p99(master, bimodal) < inf", "no number"),
        ("p99(master, bimodal) 7 < 1", "behind a measure"),
        ("jain(master|shared, bimodal) > 1", "by which one wins"),
    ] {
        let wrong = claim(text).expect_err(text);
        assert!(wrong.contains(expected), "{text}: {wrong}");
    }
}

#[test]
fn no_text_panics() {
    let mut rng = fastrand::Rng::with_seed(1);
    let letters: Vec<char> = "p99(master,bimodal)|*<=>+-. 15é".chars().collect();
    for _ in 0..5000 {
        let length = rng.usize(0..40);
        let text: String = (0..length).map(|_| letters[rng.usize(..letters.len())]).collect();
        let _ = claim(&text);
    }
}
