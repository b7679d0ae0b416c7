//! What each worker had: connections, requests and busy time, arm by arm on common scales.
//!
//! Not here: how evenness is measured over all repetitions (the table has it, with its interval).

use maud::{Markup, html};

use crate::experiment::report::format::{Significant, with_unit};
use crate::experiment::report::html::curves::closed_loop;
use crate::experiment::report::html::notes::{Notes, Shown};
use crate::experiment::report::html::path::At;
use crate::experiment::report::html::view::View;
use crate::experiment::report::schema::{Cell, Trial, WorkerShare, WorkloadInfo};

const WIDTH: f64 = 200.0;
const HEIGHT: f64 = 56.0;

/// A bar is never wider: two workers are not two walls.
const BAR_MAX: f64 = 22.0;

/// More workers than this have no bars of their own.
const WORKERS_MAX: usize = 96;

/// What is shown of a worker.
struct Column {
    name: &'static str,
    unit: &'static str,
    value: fn(&WorkerShare) -> f64,
}

const COLUMNS: [Column; 3] = [
    Column { name: "connections", unit: "", value: |share| share.connections as f64 },
    Column { name: "requests", unit: "", value: |share| share.requests as f64 },
    Column { name: "busy", unit: "s", value: |share| share.busy_s },
];

/// The bars of all arms; nothing where nobody says who answered.
pub(super) fn bars(view: &View<'_>, workload: &WorkloadInfo) -> Markup {
    let rows: Vec<(usize, Vec<&WorkerShare>)> = view
        .arms_of(&workload.name)
        .into_iter()
        .filter_map(|arm| Some((arm, typical(view.cell(arm, &workload.name)?)?)))
        .map(|(arm, trial)| (arm, ordered(trial)))
        .collect();
    if rows.is_empty() {
        return html! {};
    }
    let most = COLUMNS.map(|column| {
        let all = rows.iter().flat_map(|(_, shares)| shares.iter().copied().map(column.value));
        all.filter(|value| value.is_finite()).fold(0.0, f64::max)
    });
    let arms: Vec<&str> = rows.iter().map(|(arm, _)| view.arms[*arm].name.as_str()).collect();
    let notes = Notes::of(view, &Shown { workload: &workload.name, arms: &arms, measures: &[] });
    html! {
        div.scroll tabindex="0" role="group" aria-label="What each worker had" {
            table.bars {
                caption {
                    "What each worker had, in the repetition with the median evenness of requests; "
                    "from the worker with most requests to the one with least. J is Jain's index: "
                    "1 if all have the same, 1/n if one has everything. The line is the mean. "
                    @if !workload.is_open_loop { (closed_loop()) " " }
                    (notes.at_all())
                }
                thead {
                    tr {
                        th scope="col" { "arm" }
                        @for Column { name, unit, .. } in COLUMNS {
                            th scope="col" { (name) @if !unit.is_empty() { ", " (unit) } }
                        }
                    }
                }
                tbody {
                    @for (arm, shares) in &rows {
                        tr {
                            th scope="row" {
                                (view.look(*arm).swatch()) " " (view.arms[*arm].name)
                                (notes.at_arm(&view.arms[*arm].name))
                            }
                            @for (column, most) in COLUMNS.iter().zip(most) {
                                td { (panel(view, *arm, shares, column, most)) }
                            }
                        }
                    }
                }
            }
        }
        (notes.texts())
    }
}

fn panel(
    view: &View<'_>,
    arm: usize,
    shares: &[&WorkerShare],
    Column { name, unit, value }: &Column,
    most: f64,
) -> Markup {
    let values: Vec<f64> = shares.iter().copied().map(value).map(|one| one.max(0.0)).collect();
    let jain = jain(&values).map_or("–".to_owned(), |jain| Significant(jain).to_string());
    let height = |value: f64| match most > 0.0 && value.is_finite() {
        true => value / most * HEIGHT,
        false => 0.0,
    };
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let pitch = (WIDTH / values.len().max(1) as f64).min(BAR_MAX + 4.0);
    let said = format!(
        "{}, {name} by worker: {}. J {jain}.",
        view.arms[arm].name,
        values.iter().map(|one| with_unit(*one, unit)).collect::<Vec<_>>().join(", ")
    );
    let mean_y = HEIGHT - height(mean);
    html! {
        svg class={ "panel " (view.look(arm).class()) } role="img" aria-label=(said)
            viewBox={ "0 0 " (At(WIDTH)) " " (At(HEIGHT + 1.0)) } {
            @for (index, (share, value)) in shares.iter().zip(&values).enumerate() {
                @let tall = height(*value);
                rect.bar x=(At(index as f64 * pitch + pitch * 0.1)) y=(At(HEIGHT - tall))
                    width=(At(pitch * 0.8)) height=(At(tall.max(0.3))) {
                    title { "worker " (share.worker) ": " (with_unit(*value, unit)) }
                }
            }
            path.foot d={ "M0 " (At(HEIGHT + 0.5)) "H" (At(pitch * values.len() as f64)) } {}
            path.mean d={ "M0 " (At(mean_y)) "H" (At(pitch * values.len() as f64)) } {}
        }
        span.jain { "J " (jain) }
    }
}

/// The repetition whose requests have the median evenness; the lower of two.
fn typical(cell: &Cell) -> Option<&Trial> {
    let mut trials: Vec<&Trial> = cell
        .trials
        .iter()
        .filter(|trial| (1..=WORKERS_MAX).contains(&trial.workers.len()))
        .collect();
    let evenness = |trial: &Trial| {
        let requests: Vec<f64> = trial.workers.iter().map(|one| one.requests as f64).collect();
        jain(&requests).unwrap_or(0.0)
    };
    trials.sort_by(|one, other| evenness(one).total_cmp(&evenness(other)));
    let middle = trials.len().checked_sub(1)? / 2;
    trials.get(middle).copied()
}

fn ordered(trial: &Trial) -> Vec<&WorkerShare> {
    let mut shares: Vec<&WorkerShare> = trial.workers.iter().collect();
    shares.sort_by_key(|share| (std::cmp::Reverse(share.requests), share.worker));
    shares
}

/// Jain's index of fairness; none of nothing.
fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    let index = sum * sum / (values.len() as f64 * squares);
    index.is_finite().then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_from_all_alike_to_all_at_one() {
        assert_eq!(jain(&[5.0, 5.0, 5.0, 5.0]), Some(1.0));
        assert_eq!(jain(&[8.0, 0.0, 0.0, 0.0]), Some(0.25));
        assert_eq!(jain(&[0.0, 0.0]), None);
        assert_eq!(jain(&[]), None);
    }

    fn trial(repetition: u32, requests: &[u64]) -> Trial {
        let share = |(worker, requests): (u32, &u64)| WorkerShare {
            worker,
            requests: *requests,
            ..WorkerShare::default()
        };
        let workers = (0..).zip(requests).map(share).collect();
        Trial { repetition, workers, ..Trial::default() }
    }

    #[test]
    fn neither_the_best_nor_the_worst_repetition_is_shown() {
        let trials = vec![trial(0, &[9, 0]), trial(1, &[5, 5]), trial(2, &[6, 3]), trial(3, &[])];
        let cell = Cell { trials, ..Cell::default() };
        assert_eq!(typical(&cell).map(|trial| trial.repetition), Some(2));
        assert!(typical(&Cell::default()).is_none());
    }

    #[test]
    fn the_busiest_worker_comes_first() {
        let trial = trial(0, &[1, 7, 7, 3]);
        let order: Vec<u32> = ordered(&trial).iter().map(|share| share.worker).collect();
        assert_eq!(order, [1, 2, 3, 0]);
    }
}
