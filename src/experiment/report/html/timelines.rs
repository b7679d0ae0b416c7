//! What happened in the course of a repetition: of each worker as small multiples on a common
//! scale, of all together as lines, an arm a line.
//!
//! Not here: drawing lines (`chart`).

use maud::{Markup, html};

use crate::experiment::report::format::{counted, milliseconds, trimmed};
use crate::experiment::report::html::chart::{ACROSS, Axis, Chart, Line, UPWARDS};
use crate::experiment::report::html::curves::closed_loop;
use crate::experiment::report::html::notes::{Notes, Shown};
use crate::experiment::report::html::path::{At, area, peaks};
use crate::experiment::report::html::scale::Scale;
use crate::experiment::report::html::view::View;
use crate::experiment::report::schema::{Timeline, WorkloadInfo};

const WIDTH: f64 = 340.0;

/// A worker's lane, and what is between two of them.
const LANE: f64 = 17.0;
const GAP: f64 = 3.0;

/// Where time begins and ends; before it stand the workers' numbers.
const TIME: (f64, f64) = (30.0, 332.0);

/// Lanes beyond these are left out, and the page says so.
const LANES_MAX: usize = 32;

/// Values of a lane or a line: more are not seen. The highest of each part is kept.
const VALUES_MAX: usize = 300;

/// All timelines of a workload, by name.
pub(super) fn timelines(view: &View<'_>, place: usize, workload: &WorkloadInfo) -> Markup {
    let all = of_workload(view, workload);
    let mut names: Vec<&str> = Vec::new();
    for (_, timeline) in &all {
        if !names.contains(&timeline.name.as_str()) {
            names.push(&timeline.name);
        }
    }
    html! {
        @for (index, name) in names.iter().enumerate() {
            @let named = || all.iter().filter(|(_, timeline)| timeline.name == *name);
            @let of_workers: Vec<_> =
                named().filter(|(_, timeline)| timeline.worker.is_some()).copied().collect();
            @let of_all: Vec<_> =
                named().filter(|(_, timeline)| timeline.worker.is_none()).copied().collect();
            @if !of_all.is_empty() {
                (lines(view, &format!("time-{place}-{index}"), workload, &of_all))
            }
            @if !of_workers.is_empty() { (multiples(view, workload, &of_workers)) }
        }
    }
}

/// Those of each arm's first repetition that has any: all arms had the same arrivals in it.
fn of_workload<'a>(view: &View<'a>, workload: &WorkloadInfo) -> Vec<(usize, &'a Timeline)> {
    let mut all = Vec::new();
    for arm in view.arms_of(&workload.name) {
        let trials = view.cell(arm, &workload.name).map(|cell| &cell.trials[..]);
        let first = trials.unwrap_or_default().iter().find(|trial| !trial.timelines.is_empty());
        let timelines = first.map(|trial| &trial.timelines[..]).unwrap_or_default();
        let drawn = timelines.iter().filter(|one| !one.values.is_empty() && one.step_s > 0.0);
        all.extend(drawn.map(|timeline| (arm, timeline)));
    }
    all
}

fn seconds(timeline: &Timeline) -> f64 {
    timeline.values.len() as f64 * timeline.step_s
}

fn notes<'a>(view: &View<'a>, workload: &WorkloadInfo, all: &[(usize, &Timeline)]) -> Notes<'a> {
    let arms: Vec<&str> = all.iter().map(|(arm, _)| view.arms[*arm].name.as_str()).collect();
    Notes::of(view, &Shown { workload: &workload.name, arms: &arms, measures: &[] })
}

fn lines(view: &View<'_>, id: &str, workload: &WorkloadInfo, all: &[(usize, &Timeline)]) -> Markup {
    let (name, unit) = (&all[0].1.name, &all[0].1.unit);
    let is_time = unit == "ms";
    let values = || all.iter().flat_map(|(_, timeline)| timeline.values.iter().copied());
    let y = match is_time {
        true => Scale::logarithmic(values(), UPWARDS),
        false => Scale::linear(values(), UPWARDS),
    };
    let x = Scale::linear(all.iter().map(|(_, timeline)| seconds(timeline)), ACROSS);
    let label = |tick: f64| if is_time { milliseconds(tick) } else { trimmed(tick) };
    let line_of = |(arm, timeline): &(usize, &Timeline)| {
        let kept = peaks(&timeline.values, VALUES_MAX);
        let step = seconds(timeline) / kept.len() as f64;
        // Nothing was answered where a latency is zero: the line has a gap there.
        let drawn = |value: f64| if is_time && value <= 0.0 { f64::NAN } else { value };
        let points =
            kept.iter().enumerate().map(|(at, value)| ((at as f64 + 0.5) * step, drawn(*value)));
        Line {
            look: view.look(*arm),
            name: &view.arms[*arm].name,
            points: points.collect(),
            marks: Vec::new(),
        }
    };
    let y_name = if unit.is_empty() || is_time { name.clone() } else { format!("{name}, {unit}") };
    let chart = Chart {
        id: id.to_owned(),
        title: format!("{name} over time, {}", workload.name),
        description: "The first repetition, from the end of the warm-up.".to_owned(),
        x: Axis {
            scale: x,
            name: "seconds",
            ticks: x.ticks(9).into_iter().map(|tick| (tick, trimmed(tick))).collect(),
        },
        y: Axis {
            scale: y,
            name: &y_name,
            ticks: y.ticks(7).into_iter().map(|tick| (tick, label(tick))).collect(),
        },
        lines: all.iter().map(line_of).collect(),
    };
    let notes = notes(view, workload, all);
    html! {
        figure {
            figcaption {
                b { (name) } " over time, first repetition"
                @if !workload.is_open_loop { " " (closed_loop()) }
                " " (notes.at_plot())
            }
            (chart.svg())
            (notes.texts())
        }
    }
}

fn multiples(view: &View<'_>, workload: &WorkloadInfo, all: &[(usize, &Timeline)]) -> Markup {
    let (name, unit) = (&all[0].1.name, &all[0].1.unit);
    let values = all.iter().flat_map(|(_, timeline)| timeline.values.iter().copied());
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let end = all.iter().map(|(_, timeline)| seconds(timeline));
    let time = Scale::linear(end, TIME);
    let mut arms: Vec<usize> = all.iter().map(|(arm, _)| *arm).collect();
    arms.dedup();
    let notes = notes(view, workload, all);
    html! {
        figure.wide {
            figcaption {
                b { (name) } " over time, a lane a worker, first repetition; a full lane is "
                (trimmed(most)) " " (unit)
                @if !workload.is_open_loop { " " (closed_loop()) }
                " " (notes.at_all())
            }
            div.multiples {
                @for arm in arms {
                    @let lanes: Vec<&Timeline> =
                        all.iter().filter(|(of, _)| *of == arm).map(|(_, one)| *one).collect();
                    div {
                        h4 {
                            (view.look(arm).swatch()) " " (view.arms[arm].name)
                            (notes.at_arm(&view.arms[arm].name))
                        }
                        (panel(view, arm, &lanes, most, &time))
                        @if lanes.len() > LANES_MAX {
                            p.quiet {
                                "and " (counted(lanes.len() - LANES_MAX, "worker", "workers"))
                            }
                        }
                    }
                }
            }
            (notes.texts())
        }
    }
}

fn panel(view: &View<'_>, arm: usize, lanes: &[&Timeline], most: f64, time: &Scale) -> Markup {
    let shown = &lanes[..lanes.len().min(LANES_MAX)];
    let foot = shown.len() as f64 * (LANE + GAP);
    let said = format!("{} of each worker over time, {}", lanes[0].name, view.arms[arm].name);
    html! {
        svg class={ "lanes " (view.look(arm).class()) } role="img" aria-label=(said)
            viewBox={ "0 0 " (At(WIDTH)) " " (At(foot + 18.0)) } {
            @for (index, timeline) in shown.iter().enumerate() {
                @let bottom = (index + 1) as f64 * (LANE + GAP) - GAP;
                text x=(At(TIME.0 - 7.0)) y=(At(bottom - LANE / 2.0)) dy="0.34em"
                    text-anchor="end" { (timeline.worker.unwrap_or_default()) }
                path.foot d={ "M" (At(TIME.0)) " " (At(bottom)) "H" (At(TIME.1)) } {}
                path.area d=(lane(timeline, most, time, bottom)) {}
            }
            @for tick in time.ticks(6) {
                @let x = time.place(tick);
                text x=(At(x.min(TIME.1 - 8.0))) y=(At(foot + 13.0)) text-anchor="middle" {
                    (trimmed(tick)) @if tick == 0.0 { " s" }
                }
            }
        }
    }
}

/// What a lane is filled with: a step a value, so that a moment's peak is seen as one.
fn lane(timeline: &Timeline, most: f64, time: &Scale, bottom: f64) -> String {
    let kept = peaks(&timeline.values, VALUES_MAX);
    let step = seconds(timeline) / kept.len() as f64;
    let height = |value: f64| match most > 0.0 && value.is_finite() {
        true => bottom - (value / most).clamp(0.0, 1.0) * LANE,
        false => bottom,
    };
    let corners = kept.iter().enumerate().flat_map(|(at, value)| {
        let (begin, end) = (at as f64 * step, (at + 1) as f64 * step);
        [(time.place(begin), height(*value)), (time.place(end), height(*value))]
    });
    area(corners, bottom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_has_a_step_a_value_and_no_nonsense() {
        let timeline = |values: &[f64]| Timeline {
            step_s: 1.0,
            values: values.to_vec(),
            ..Timeline::default()
        };
        let time = Scale::linear([2.0].into_iter(), (0.0, 100.0));
        let path = lane(&timeline(&[1.0, 2.0]), 2.0, &time, 17.0);
        assert_eq!(path, "M0 17L0 8.5L50 8.5L50 0L100 0L100 17Z");
        let odd = lane(&timeline(&[f64::NAN, f64::INFINITY]), 2.0, &time, 17.0);
        assert_eq!(odd, "M0 17L50 17L100 17Z");
        assert!(!lane(&timeline(&[3.0]), 0.0, &time, 17.0).contains("NaN"));
    }
}
