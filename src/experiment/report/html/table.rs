//! The figures of one workload: arms by measures, with intervals, and the winner of each column
//! marked by more than a colour.
//!
//! Not here: who wins (`ranking`).

use maud::{Markup, html};

use crate::experiment::report::format::{Significant, percent};
use crate::experiment::report::html::curves::closed_loop;
use crate::experiment::report::html::notes::{Notes, Shown};
use crate::experiment::report::html::ranking::{Standing, standings};
use crate::experiment::report::html::view::{FAILURE_SHARE_MAX, View, failure_share, requests};
use crate::experiment::report::kinds::{is_latency, is_time};
use crate::experiment::report::ratio::ends;
use crate::experiment::report::schema::{Better, MeasureInfo, WorkloadInfo};

/// Columns that fit a screen; more make another table.
const COLUMNS_MAX: usize = 9;

/// A part of the measures, as a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Latency,
    Waiting,
    Cost,
    Order,
    Run,
}

impl Part {
    const ALL: [Part; 5] = [Part::Latency, Part::Waiting, Part::Cost, Part::Order, Part::Run];

    fn title(self) -> &'static str {
        match self {
            Part::Latency => "Latency",
            Part::Waiting => "Waiting and service",
            Part::Cost => "Throughput and cost",
            Part::Order => "Distribution",
            Part::Run => "The run itself",
        }
    }

    /// By key and unit: a measure that comes later has its place too, if perhaps not the best one.
    fn of(measure: &MeasureInfo) -> Part {
        let has = |words: &[&str]| words.iter().any(|word| measure.key.contains(word));
        let begins = |words: &[&str]| words.iter().any(|word| measure.key.starts_with(word));
        match () {
            () if begins(&["lag", "others"]) || measure.key == "late" => Part::Run,
            () if is_latency(measure) => Part::Latency,
            () if begins(&["idle", "jain", "cv", "max_over", "wrong"]) => Part::Order,
            () if has(&["cpu", "switches", "throughput", "utilisation", "ceiling"]) => Part::Cost,
            () if has(&["per_s", "within", "failed"]) => Part::Cost,
            () if is_time(measure) => Part::Waiting,
            () => Part::Order,
        }
    }
}

/// All tables of a workload.
pub(super) fn tables(view: &View<'_>, workload: &WorkloadInfo) -> Markup {
    let arms = view.arms_of(&workload.name);
    if arms.is_empty() {
        return html! { p.quiet { "Not measured." } };
    }
    let is_measured = |measure: &&MeasureInfo| {
        let cells = arms.iter().filter_map(|arm| view.cell(*arm, &workload.name));
        cells.into_iter().any(|cell| cell.figures.contains_key(&measure.key))
    };
    let measures: Vec<&MeasureInfo> =
        view.measures.iter().map(AsRef::as_ref).filter(is_measured).collect();
    let mut parts: Vec<(String, Vec<&MeasureInfo>)> = Vec::new();
    for part in Part::ALL {
        let here: Vec<&MeasureInfo> =
            measures.iter().copied().filter(|measure| Part::of(measure) == part).collect();
        for (index, columns) in here.chunks(COLUMNS_MAX).enumerate() {
            let title = part.title();
            let title = if index == 0 { title.to_owned() } else { format!("{title}, more") };
            parts.push((title, columns.to_vec()));
        }
    }
    // Without any figure there are still the requests and how many failed.
    if parts.is_empty() {
        parts.push(("Requests".to_owned(), Vec::new()));
    }
    html! {
        @for (index, (title, columns)) in parts.iter().enumerate() {
            (table(view, workload, &arms, title, columns, index == 0))
        }
    }
}

fn table(
    view: &View<'_>,
    workload: &WorkloadInfo,
    arms: &[usize],
    title: &str,
    columns: &[&MeasureInfo],
    with_requests: bool,
) -> Markup {
    let names: Vec<&str> = arms.iter().map(|arm| view.arms[*arm].name.as_str()).collect();
    let keys: Vec<&str> = columns.iter().map(|measure| measure.key.as_str()).collect();
    let shown = Shown { workload: &workload.name, arms: &names, measures: &keys };
    let notes = Notes::of(view, &shown);
    let standings: Vec<Vec<Standing>> =
        columns.iter().map(|measure| standings(view, &workload.name, measure)).collect();
    html! {
        div.scroll tabindex="0" role="group" aria-label={ (title) ", " (workload.name) } {
            table.figures {
                caption {
                    b { (title) } ", " (workload.name)
                    @if !workload.is_open_loop { " " (closed_loop()) }
                    (notes.at_all())
                }
                thead {
                    tr {
                        th scope="col" { "arm" }
                        @for measure in columns { (head(measure, &notes)) }
                        @if with_requests {
                            th scope="col" { "requests" }
                            th scope="col" { "failed" }
                        }
                    }
                }
                tbody {
                    @for &arm in arms {
                        tr class={ "of-" (arm) } {
                            th scope="row" {
                                (view.look(arm).swatch()) " " (view.arms[arm].name)
                                @if view.arms[arm].is_foreign {
                                    " " span.badge { "another program" }
                                }
                                (notes.at_arm(&view.arms[arm].name))
                            }
                            @for (measure, standings) in columns.iter().zip(&standings) {
                                (cell(view, workload, arm, measure, standings[arm], &notes))
                            }
                            @if with_requests { (counts(view, workload, arm)) }
                        }
                    }
                }
            }
        }
        (explanations(view, workload, arms, &standings))
        (notes.texts())
    }
}

fn head(measure: &MeasureInfo, notes: &Notes<'_>) -> Markup {
    let (sign, says) = match measure.better {
        Better::Lower => ("↓", "lower is better"),
        Better::Higher => ("↑", "higher is better"),
        Better::Neither => ("", ""),
    };
    html! {
        th scope="col" title=(measure.about) {
            (measure.title)
            @if !sign.is_empty() {
                " " span.direction aria-hidden="true" { (sign) } span.said { " (" (says) ")" }
            }
            @if !measure.unit.is_empty() { span.unit { (measure.unit) } }
            (notes.at_measure(&measure.key))
        }
    }
}

fn cell(
    view: &View<'_>,
    workload: &WorkloadInfo,
    arm: usize,
    measure: &MeasureInfo,
    standing: Standing,
    notes: &Notes<'_>,
) -> Markup {
    let class = match standing {
        Standing::Best => "best",
        Standing::Level => "level",
        Standing::OutOfContest => "out",
        Standing::Behind | Standing::Unranked | Standing::Absent => "plain",
    };
    let (sign, says) = match standing {
        Standing::Best => ("◆", "best"),
        Standing::Level => ("≈", "not told apart from the best"),
        Standing::OutOfContest => ("†", "out of contest"),
        Standing::Behind | Standing::Unranked | Standing::Absent => ("", ""),
    };
    html! {
        td.(class) {
            @if !sign.is_empty() {
                span.sign aria-hidden="true" { (sign) } span.said { (says) " " }
            }
            @match view.figure(arm, &workload.name, &measure.key) {
                Some(figure) => {
                    span.value { (Significant(figure.value)) }
                    (notes.at_figure(&view.arms[arm].name, &measure.key))
                    @if let Some((low, high)) = ends(figure) {
                        span.interval { (Significant(low)) "–" (Significant(high)) }
                    }
                }
                None => {
                    span.none { "–" }
                    (notes.at_figure(&view.arms[arm].name, &measure.key))
                }
            }
        }
    }
}

fn counts(view: &View<'_>, workload: &WorkloadInfo, arm: usize) -> Markup {
    let Some(measured) = view.cell(arm, &workload.name) else {
        return html! { td { "–" } td { "–" } };
    };
    let (due, failed) = requests(measured);
    let mut kinds: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for (kind, count) in measured.trials.iter().flat_map(|trial| &trial.failures) {
        let sum = kinds.entry(kind).or_insert(0);
        *sum = sum.saturating_add(*count);
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    html! {
        td { span.value { (Significant(due as f64)) } }
        td.failed[failed > 0] title=(kinds.join(", ")) {
            @if failed == 0 { "0" } @else {
                span.value { (Significant(failed as f64)) }
                span.interval { (percent(failure_share(measured))) }
            }
        }
    }
}

/// What the signs mean that this table has, and no others.
fn explanations(
    view: &View<'_>,
    workload: &WorkloadInfo,
    arms: &[usize],
    standings: &[Vec<Standing>],
) -> Markup {
    let has = |standing: Standing| standings.iter().any(|column| column.contains(&standing));
    let out: Vec<String> = arms
        .iter()
        .filter(|arm| !view.competes(**arm, &workload.name))
        .filter_map(|arm| {
            let share = percent(failure_share(view.cell(*arm, &workload.name)?));
            Some(format!("{} ({share} failed)", view.arms[*arm].name))
        })
        .collect();
    html! {
        p.legend {
            @if has(Standing::Best) { "◆ best. " }
            @if has(Standing::Level) {
                "≈ the intervals leave it open whether the best is better. "
            }
            @if has(Standing::OutOfContest) {
                "† more than " (percent(FAILURE_SHARE_MAX)) " of its requests failed, so that its "
                "figures are of the rest and win nothing: " (out.join(", ")) "."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_has_its_table() {
        let part = |key: &str, unit: &str| {
            let (key, unit) = (key.to_owned(), unit.to_owned());
            Part::of(&MeasureInfo { key, unit, ..MeasureInfo::default() })
        };
        for (key, unit, expected) in [
            ("p99", "ms", Part::Latency),
            ("mean", "ms", Part::Latency),
            ("wait_p99", "ms", Part::Waiting),
            ("service_p50", "ms", Part::Waiting),
            ("throughput", "1/s", Part::Cost),
            ("master_cpu_us_per_request", "µs", Part::Cost),
            ("connections_per_s", "1/s", Part::Cost),
            ("idle_while_queued_s", "s", Part::Order),
            ("jain_of_requests", "", Part::Order),
            ("lag_p99", "ms", Part::Run),
            ("others_share", "%", Part::Run),
            ("something new", "", Part::Order),
        ] {
            assert_eq!(part(key, unit), expected, "{key}");
        }
    }
}
