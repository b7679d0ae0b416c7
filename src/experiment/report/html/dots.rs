//! One measure over all workloads at a glance: a dot an arm with its interval, a row each.
//!
//! Not here: exact values (`table`).

use maud::{Markup, html};

use crate::experiment::report::format::{Significant, milliseconds, shortened, trimmed, with_unit};
use crate::experiment::report::html::curves::closed_loop;
use crate::experiment::report::html::notes::{Notes, Shown};
use crate::experiment::report::html::path::At;
use crate::experiment::report::html::scale::Scale;
use crate::experiment::report::html::view::View;
use crate::experiment::report::ratio::ends;
use crate::experiment::report::schema::{MeasureInfo, WorkloadInfo};

const WIDTH: f64 = 640.0;

/// Where values begin and end; before it stand the workloads' names.
const ACROSS: (f64, f64) = (168.0, 612.0);

/// One arm's row.
const ROW: f64 = 13.0;

/// Between two workloads.
const GAP: f64 = 12.0;

const TOP: f64 = 8.0;

/// A workload's name has as much room as this.
const NAME_CHARACTERS_MAX: usize = 23;

/// More rows than this are a list, not a glance.
const ROWS_MAX: usize = 160;

/// The measure of all these workloads; nothing if fewer than two arms have it anywhere.
pub(super) fn dots(
    view: &View<'_>,
    id: &str,
    measure: &MeasureInfo,
    workloads: &[&WorkloadInfo],
) -> Markup {
    let bands: Vec<(&WorkloadInfo, Vec<usize>)> = workloads
        .iter()
        .map(|workload| (*workload, arms_with(view, workload, measure)))
        .filter(|(_, arms)| !arms.is_empty())
        .collect();
    let rows: usize = bands.iter().map(|(_, arms)| arms.len()).sum();
    if bands.iter().all(|(_, arms)| arms.len() < 2) || rows > ROWS_MAX {
        return html! {};
    }
    let has_closed = bands.iter().any(|(one, _)| !one.is_open_loop);
    let notes = notes(view, measure, &bands);
    html! {
        figure {
            figcaption {
                b { (measure.title) } @if !measure.unit.is_empty() { ", " (measure.unit) }
                ", with 95 % intervals "
                @if has_closed { (closed_loop()) " where marked ○ " }
                (notes.at_plot())
            }
            (svg(view, id, measure, &bands, rows))
            (notes.texts())
        }
    }
}

fn arms_with(view: &View<'_>, workload: &WorkloadInfo, measure: &MeasureInfo) -> Vec<usize> {
    let has = |arm: &usize| view.figure(*arm, &workload.name, &measure.key).is_some();
    view.arms_of(&workload.name).into_iter().filter(has).collect()
}

fn notes<'a>(
    view: &View<'a>,
    measure: &MeasureInfo,
    bands: &[(&WorkloadInfo, Vec<usize>)],
) -> Notes<'a> {
    let nothing = Shown { workload: "", arms: &[], measures: &[] };
    let mut notes = Notes::of(view, &nothing);
    for (workload, arms) in bands {
        let arms: Vec<&str> = arms.iter().map(|arm| view.arms[*arm].name.as_str()).collect();
        let shown =
            Shown { workload: &workload.name, arms: &arms, measures: &[measure.key.as_str()] };
        notes.join(Notes::of(view, &shown));
    }
    notes
}

fn svg(
    view: &View<'_>,
    id: &str,
    measure: &MeasureInfo,
    bands: &[(&WorkloadInfo, Vec<usize>)],
    rows: usize,
) -> Markup {
    let foot = TOP + rows as f64 * ROW + bands.len() as f64 * GAP;
    let figures = bands.iter().flat_map(|(workload, arms)| {
        arms.iter().filter_map(|arm| view.figure(*arm, &workload.name, &measure.key))
    });
    let values = figures.flat_map(|figure| {
        let (low, high) = ends(figure).unwrap_or((figure.value, figure.value));
        [figure.value, low, high]
    });
    let scale = Scale::logarithmic(values, ACROSS);
    let label = |tick: f64| if measure.unit == "ms" { milliseconds(tick) } else { trimmed(tick) };
    let (title, text) = (format!("{id}-title"), format!("{id}-text"));
    html! {
        div.plot tabindex="0" role="group" aria-label=(measure.title) {
            svg.chart id=(id) viewBox={ "0 0 " (At(WIDTH)) " " (At(foot + 26.0)) } role="img"
                aria-labelledby={ (title) " " (text) } {
                title id=(title) { (measure.title) " of every arm with every workload" }
                desc id=(text) { "Logarithmic axis. The tables of the workloads have the values." }
                g.axis {
                    @for tick in scale.ticks(7) {
                        @let x = At(scale.place(tick));
                        path.rule d={ "M" (x) " " (At(TOP)) "V" (At(foot)) } {}
                        text x=(x) y=(At(foot + 16.0)) text-anchor="middle" { (label(tick)) }
                    }
                }
                @for ((workload, arms), (begin, end)) in bands.iter().zip(borders(bands)) {
                    (name(workload, begin.midpoint(end)))
                    path.band d={ "M0 " (At(end)) "H" (At(ACROSS.1)) } {}
                    @for (row, arm) in arms.iter().enumerate() {
                        @let middle = begin + GAP / 2.0 + (row as f64 + 0.5) * ROW;
                        (dot(view, *arm, workload, measure, &scale, middle))
                    }
                }
            }
        }
    }
}

/// Where each workload's rows begin and end.
fn borders(bands: &[(&WorkloadInfo, Vec<usize>)]) -> Vec<(f64, f64)> {
    let mut end = TOP;
    let height = |arms: &Vec<usize>| arms.len() as f64 * ROW + GAP;
    let next = |(_, arms): &(&WorkloadInfo, Vec<usize>)| {
        let begin = end;
        end += height(arms);
        (begin, end)
    };
    bands.iter().map(next).collect()
}

fn name(workload: &WorkloadInfo, y: f64) -> Markup {
    let is_closed = !workload.is_open_loop;
    html! {
        text.row x=(At(ACROSS.0 - 12.0)) y=(At(y)) dy="0.34em" text-anchor="end" {
            (shortened(&workload.name, NAME_CHARACTERS_MAX)) @if is_closed { " ○" }
            title { (workload.name) @if is_closed { " (closed loop)" } }
        }
    }
}

fn dot(
    view: &View<'_>,
    arm: usize,
    workload: &WorkloadInfo,
    measure: &MeasureInfo,
    scale: &Scale,
    y: f64,
) -> Markup {
    let look = view.look(arm);
    let Some(figure) = view.figure(arm, &workload.name, &measure.key) else { return html! {} };
    let interval = ends(figure);
    html! {
        g class={ (look.class()) " of-" (look.0) } {
            title {
                (view.arms[arm].name) ", " (workload.name) ": "
                (with_unit(figure.value, &measure.unit))
                @if let Some((low, high)) = interval {
                    " (95 % " (Significant(low)) "–" (Significant(high)) ")"
                }
            }
            @if let Some((low, high)) = interval {
                path.whisker d={ "M" (At(scale.place(low))) " " (At(y))
                    "H" (At(scale.place(high))) } {}
            }
            path.mark d=(look.mark())
                transform={ "translate(" (At(scale.place(figure.value))) " " (At(y)) ")" } {}
        }
    }
}
