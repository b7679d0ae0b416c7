//! The result in sentences: what the figures bear out, the master's losses as well as its gains.
//!
//! Each sentence is made by a rule, the same for every arm but one: how the arm in which the master
//! distributes compares with the best of the others is what a bench is run for.
//!
//! Not here: the figures (`table`).

use crate::experiment::report::format::{Significant, counted, percent};
use crate::experiment::report::html::predictions::outcome;
use crate::experiment::report::html::ranking::{Standing, best_of, standings};
use crate::experiment::report::html::view::{FAILURE_SHARE_MAX, View, is_contest};
use crate::experiment::report::kinds::is_latency;
use crate::experiment::report::ratio::{Ratio, ends};
use crate::experiment::report::schema::{Better, MeasureInfo, Outcome, WorkloadInfo};

/// The measures that the summary is about, as far as the report has them.
const MEASURES: [&str; 5] =
    ["p99", "p50", "throughput", "cpu_us_per_connection", "cpu_us_per_request"];

/// In answers a second.
const THROUGHPUT: &str = "throughput";

/// Of the rate that is offered; arrivals at random are a little fewer or more.
const ANSWERED_SHARE: f64 = 0.97;

/// One statement of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The measure that it is about; none for the whole bench.
    pub(super) subject: Option<String>,
    /// A sentence or two.
    pub(super) text: String,
}

/// The summary.
pub(super) fn statements(view: &View<'_>) -> Vec<Statement> {
    let measures =
        MEASURES.iter().filter_map(|key| view.measure(key)).filter(|one| is_contest(one));
    let of_measure = |measure: &MeasureInfo| {
        let master = view.masters().first().copied();
        let winner = winner(view, measure);
        let compared = master.and_then(|master| {
            // Who has just been named is not named again.
            let is_named = winner.as_ref().is_some_and(|(first, _)| *first == [master]);
            against_best(view, master, measure, is_named)
        });
        let winner = winner.map(|(_, sentence)| sentence);
        let sentences: Vec<String> = [winner, compared].into_iter().flatten().collect();
        let subject = Some(measure.title.clone());
        (!sentences.is_empty()).then(|| Statement { subject, text: sentences.join(" ") })
    };
    let mut statements: Vec<Statement> = measures.filter_map(of_measure).collect();
    let mut of_all: Vec<String> = predictions(view).into_iter().collect();
    of_all.extend(out_of_contest(view));
    of_all.extend(closed_loops(view));
    statements.extend(of_all.into_iter().map(|text| Statement { subject: None, text }));
    statements
}

fn closed_loops(view: &View<'_>) -> Option<String> {
    let closed = view.workloads.iter().filter(|workload| !workload.is_open_loop).count();
    let verb = if closed == 1 { "is" } else { "are" };
    (closed > 0).then(|| {
        format!(
            "{} of a closed loop {verb} not counted here where it is about latency.",
            counted(closed, "workload", "workloads")
        )
    })
}

/// The workloads in which a measure says something: latencies do not in a closed loop, and
/// throughput does not in an open one in which everybody answers what is offered.
fn counting<'a>(view: &'a View<'_>, measure: &MeasureInfo) -> Vec<&'a WorkloadInfo> {
    let counts = |workload: &&WorkloadInfo| match () {
        () if is_latency(measure) => workload.is_open_loop,
        () if measure.key == THROUGHPUT => !is_answered_by_all(view, workload),
        () => true,
    };
    let all = view.workloads.iter().map(AsRef::as_ref);
    all.filter(counts).collect()
}

/// Whether the rate that was offered is what every arm answered.
fn is_answered_by_all(view: &View<'_>, workload: &WorkloadInfo) -> bool {
    let Some(rate) = workload.rate.filter(|_| workload.is_open_loop) else { return false };
    let answers = |arm: usize| {
        view.figure(arm, &workload.name, THROUGHPUT)
            .is_none_or(|figure| figure.value >= rate * ANSWERED_SHARE)
    };
    view.arms_of(&workload.name).into_iter().all(answers)
}

/// `master auto has the lowest in 5 of 6 workloads, in 4 of them beyond doubt.`
/// The arms that it is about, before it.
fn winner(view: &View<'_>, measure: &MeasureInfo) -> Option<(Vec<usize>, String)> {
    let mut wins = vec![(0_usize, 0_usize); view.arms.len()];
    let (mut contested, mut closed) = (0, 0);
    for member in counting(view, measure) {
        let workload = member.name.as_str();
        let standings = standings(view, workload, measure);
        if !standings.contains(&Standing::Best) {
            continue;
        }
        contested += 1;
        closed += usize::from(!member.is_open_loop);
        let is_clear = is_clear(view, workload, measure, &standings);
        for (arm, _) in standings.iter().enumerate().filter(|(_, one)| **one == Standing::Best) {
            wins[arm].0 += 1;
            wins[arm].1 += usize::from(is_clear);
        }
    }
    let most = wins.iter().map(|(all, _)| *all).max().filter(|most| *most > 0)?;
    let first: Vec<usize> = (0..wins.len()).filter(|&arm| wins[arm].0 == most).collect();
    let names: Vec<&str> = first.iter().map(|arm| view.arms[*arm].name.as_str()).collect();
    let superlative = if measure.better == Better::Lower { "lowest" } else { "highest" };
    let of = format!("{most} of {}", counted(contested, "workload", "workloads"));
    let of_closed =
        if closed == 0 { String::new() } else { format!(" ({closed} of a closed loop)") };
    let of = of + &of_closed;
    let mut sentence = match &names[..] {
        [one] => format!("{one} has the {superlative} in {of}"),
        several => format!("{} have the {superlative} in {of} each", listed(several)),
    };
    if let &[arm] = &first[..] {
        sentence.push_str(&match wins[arm].1 {
            0 => ", in none of them beyond doubt".to_owned(),
            clear if clear == most => ", beyond doubt".to_owned(),
            clear => format!(", in {clear} of them beyond doubt"),
        });
    }
    sentence.push('.');
    Some((first, sentence))
}

/// One arm alone is best, and the interval of none of the others leaves that open.
fn is_clear(
    view: &View<'_>,
    workload: &str,
    measure: &MeasureInfo,
    standings: &[Standing],
) -> bool {
    let has_interval = |arm: usize| {
        view.figure(arm, workload, &measure.key).is_some_and(|figure| ends(figure).is_some())
    };
    let rank = |wanted: Standing| standings.iter().filter(|one| **one == wanted).count();
    let compared = standings
        .iter()
        .enumerate()
        .filter(|(_, one)| matches!(one, Standing::Best | Standing::Behind));
    rank(Standing::Best) == 1
        && rank(Standing::Level) == 0
        && compared.into_iter().all(|(arm, _)| has_interval(arm))
}

/// How one arm compares with the best of those that are not the master's, over all workloads.
fn against_best(
    view: &View<'_>,
    arm: usize,
    measure: &MeasureInfo,
    is_named: bool,
) -> Option<String> {
    let masters = view.masters();
    let mut ratios: Vec<(f64, &WorkloadInfo, &str)> = Vec::new();
    for member in counting(view, measure) {
        let workload = member.name.as_str();
        let rivals = (0..view.arms.len()).filter(|other| !masters.contains(other));
        let Some((rival, best)) = best_of(view, rivals, workload, measure) else { continue };
        let own = view.figure(arm, workload, &measure.key);
        let Some(own) = own.filter(|_| view.competes(arm, workload)) else { continue };
        let ratio = Ratio::of(own, best).map(|ratio| ratio.value);
        ratios.extend(ratio.map(|ratio| (ratio, member, view.arms[rival].name.as_str())));
    }
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (least, most) = (ratios.first()?, ratios.last()?);
    let mean = ratios.iter().map(|(ratio, ..)| ratio.ln()).sum::<f64>() / ratios.len() as f64;
    let name = if is_named { "It" } else { &view.arms[arm].name };
    let of = |(ratio, workload, rival): &(f64, &WorkloadInfo, &str)| {
        let closed = if workload.is_open_loop { "" } else { " (closed loop)" };
        format!("{} × {rival} in {}{closed}", Significant(*ratio), workload.name)
    };
    Some(match ratios.len() {
        1 => format!("{name} has {}.", of(least)),
        _ => format!(
            "{name} has {} × the best other arm's on the geometric mean, from {} to {}.",
            Significant(mean.exp()),
            of(least),
            of(most)
        ),
    })
}

fn predictions(view: &View<'_>) -> Option<String> {
    let all = &view.report.predictions;
    if all.is_empty() {
        return None;
    }
    let of = |wanted: Outcome| all.iter().filter(|one| one.outcome == wanted).count();
    let rest = [Outcome::Failed, Outcome::Open, Outcome::NotMeasured];
    let rest = rest.into_iter().filter(|one| of(*one) > 0);
    let rest: Vec<String> =
        rest.map(|one| format!("{} {}", outcome(one).2.to_lowercase(), of(one))).collect();
    let rest = if rest.is_empty() { String::new() } else { format!("; {}", rest.join(", ")) };
    let count = counted(all.len(), "prediction", "predictions");
    Some(format!("Held: {} of {count}{rest}.", of(Outcome::Held)))
}

fn out_of_contest(view: &View<'_>) -> Vec<String> {
    let fails = |arm: usize| {
        let of_arm = view.workloads.iter().filter(|one| view.cell(arm, &one.name).is_some());
        of_arm.filter(|one| !view.competes(arm, &one.name)).count()
    };
    let sentence = |arm: usize| {
        let count = fails(arm);
        (count > 0).then(|| {
            format!(
                "{} fails more than {} of its requests in {}, and wins nothing there.",
                view.arms[arm].name,
                percent(FAILURE_SHARE_MAX),
                counted(count, "workload", "workloads")
            )
        })
    };
    (0..view.arms.len()).filter_map(sentence).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::schema::{BenchReport, Cell, Figure, Prediction, Trial};

    /// A report of one measure: workloads by arms, each with an interval of a twentieth.
    fn report(names: &[&str], rows: &[&[f64]]) -> BenchReport {
        let mut report = BenchReport::default();
        report.measures.push(MeasureInfo {
            key: "p99".to_owned(),
            title: "p99".to_owned(),
            unit: "ms".to_owned(),
            better: Better::Lower,
            about: String::new(),
        });
        for (row, values) in rows.iter().enumerate() {
            let name = format!("w{row}");
            report.workloads.push(WorkloadInfo {
                name: name.clone(),
                is_open_loop: true,
                ..WorkloadInfo::default()
            });
            for (arm, value) in names.iter().zip(*values) {
                let figure = Figure {
                    value: *value,
                    low: Some(value * 0.95),
                    high: Some(value * 1.05),
                    of_trials: Vec::new(),
                };
                report.cells.push(Cell {
                    arm: (*arm).to_owned(),
                    workload: name.clone(),
                    figures: [("p99".to_owned(), figure)].into(),
                    ..Cell::default()
                });
            }
        }
        report
    }

    fn said(report: &BenchReport) -> Vec<String> {
        let written = |one: &Statement| match &one.subject {
            Some(subject) => format!("{subject}: {}", one.text),
            None => one.text.clone(),
        };
        let statements = statements(&View::new(report));
        statements.iter().map(written).map(|one| one.replace('\u{a0}', " ")).collect()
    }

    #[test]
    fn wins_are_counted_and_doubtful_ones_are_called_so() {
        let rows: [&[f64]; 3] = [&[1.0, 5.0], &[1.0, 1.01], &[4.0, 2.0]];
        let said = said(&report(&["master", "shared"], &rows));
        assert_eq!(
            said,
            ["p99: master has the lowest in 2 of 3 workloads, in 1 of them beyond doubt. It has \
              0.734 × the best other arm's on the geometric mean, from 0.200 × shared in w0 to \
              2.00 × shared in w2."]
        );
    }

    #[test]
    fn the_masters_losses_are_said() {
        let said = said(&report(&["master", "shared"], &[&[3.0, 1.0]]));
        let expected = "p99: shared has the lowest in 1 of 1 workload, beyond doubt. master has \
                        3.00 × shared in w0.";
        assert_eq!(said, [expected]);
    }

    #[test]
    fn a_closed_loop_wins_no_latency() {
        let mut report = report(&["master", "shared"], &[&[1.0, 5.0]]);
        report.workloads[0].is_open_loop = false;
        let said = said(&report);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("closed loop"), "{said:?}");
    }

    #[test]
    fn throughput_counts_where_somebody_did_not_answer_what_was_offered() {
        let rows: [&[f64]; 2] = [&[1000.0, 990.0], &[1000.0, 500.0]];
        let mut report = report(&["master", "shared"], &rows);
        report.measures[0].key = THROUGHPUT.to_owned();
        report.measures[0].title = THROUGHPUT.to_owned();
        report.measures[0].better = Better::Higher;
        for workload in &mut report.workloads {
            workload.rate = Some(1000.0);
        }
        for cell in &mut report.cells {
            let figure = cell.figures.remove("p99").expect("its only figure");
            cell.figures.insert(THROUGHPUT.to_owned(), figure);
        }
        let expected = "throughput: master has the highest in 1 of 1 workload, beyond doubt. It has \
                        2.00 × shared in w1.";
        assert_eq!(said(&report), [expected]);
    }

    #[test]
    fn failing_requests_wins_nothing() {
        let mut report = report(&["master", "shared", "fast"], &[&[2.0, 5.0, 0.1]]);
        report.cells[2].trials.push(Trial { due: 100, answered: 90, ..Trial::default() });
        let said = said(&report);
        assert!(said[0].starts_with("p99: master has the lowest"), "{said:?}");
        let expected =
            "fast fails more than 1 % of its requests in 1 workload, and wins nothing there.";
        assert_eq!(said[1], expected);
    }

    #[test]
    fn predictions_are_counted_by_outcome() {
        let of = |outcome| Prediction { outcome, ..Prediction::default() };
        let predictions =
            vec![of(Outcome::Held), of(Outcome::Held), of(Outcome::Failed), of(Outcome::Open)];
        let report = BenchReport { predictions, ..BenchReport::default() };
        assert_eq!(said(&report), ["Held: 2 of 4 predictions; failed 1, open 1."]);
        assert!(said(&BenchReport::default()).is_empty());
    }
}
