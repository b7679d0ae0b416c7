//! Latency by percentile, an arm a line: the way of HdrHistogram's own plots, where each nine has
//! as much room as the one before.
//!
//! Not here: drawing lines (`chart`).

use maud::{Markup, html};

use crate::experiment::report::format::{milliseconds, percentile};
use crate::experiment::report::html::chart::{ACROSS, Axis, Chart, Line, UPWARDS};
use crate::experiment::report::html::notes::{Notes, Shown};
use crate::experiment::report::html::scale::Scale;
use crate::experiment::report::html::view::View;
use crate::experiment::report::kinds::is_latency;
use crate::experiment::report::schema::{Curve, WorkloadInfo};

/// A billion requests have no more.
const NINES_MAX: f64 = 9.0;

/// The shares that have a mark on each line, and their names.
const MARKED: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];

/// One plot a class of requests; nothing for a workload without curves.
pub(super) fn curves(view: &View<'_>, place: usize, workload: &WorkloadInfo) -> Markup {
    let plots: Vec<Markup> = classes(view, workload)
        .iter()
        .enumerate()
        .filter_map(|(index, class)| {
            let id = format!("curves-{place}-{index}");
            let chart = chart(view, workload, class, id)?;
            Some(figure(view, workload, class, &chart))
        })
        .collect();
    html! { @if !plots.is_empty() { div.plots { @for plot in &plots { (plot) } } } }
}

/// Those of the workload first, then any that only a curve names.
fn classes<'a>(view: &View<'a>, workload: &'a WorkloadInfo) -> Vec<&'a str> {
    let mut classes: Vec<&str> = Vec::new();
    let of_curves = view
        .arms_of(&workload.name)
        .into_iter()
        .filter_map(|arm| view.cell(arm, &workload.name))
        .flat_map(|cell| cell.curves.iter().map(|curve| curve.class.as_str()));
    for class in workload.classes.iter().map(String::as_str).chain(of_curves) {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    classes
}

fn figure(view: &View<'_>, workload: &WorkloadInfo, class: &str, chart: &Chart<'_>) -> Markup {
    let arms: Vec<&str> = chart.lines.iter().map(|line| line.name).collect();
    let latencies = view.measures.iter().filter(|measure| is_latency(measure));
    let latencies: Vec<&str> = latencies.map(|measure| measure.key.as_str()).collect();
    let shown = Shown { workload: &workload.name, arms: &arms, measures: &latencies };
    let notes = Notes::of(view, &shown);
    html! {
        figure {
            figcaption {
                "Latency by percentile"
                @if !class.is_empty() { ", " b { (class) } }
                @if !workload.is_open_loop { " " (closed_loop()) }
                " " (notes.at_plot())
            }
            (chart.svg())
            (notes.texts())
        }
    }
}

/// Where latencies of a closed loop stand.
pub(super) fn closed_loop() -> Markup {
    html! {
        span.badge.caution title="The next request waits for the last answer: stalls are hidden." {
            "closed loop"
        }
    }
}

fn chart<'a>(
    view: &'a View<'a>,
    workload: &WorkloadInfo,
    class: &'a str,
    id: String,
) -> Option<Chart<'a>> {
    let curves: Vec<(usize, &Curve)> = view
        .arms_of(&workload.name)
        .into_iter()
        .filter_map(|arm| {
            let curves = &view.cell(arm, &workload.name)?.curves;
            Some((arm, curves.iter().find(|curve| curve.class == class)?))
        })
        .filter(|(_, curve)| !curve.points.is_empty())
        .collect();
    if curves.is_empty() {
        return None;
    }
    let points = || curves.iter().flat_map(|(_, curve)| &curve.points);
    // A share of 1 has no nines; the maximum stands one nine after the last.
    let last = points().filter_map(|(share, _)| nines(*share)).fold(1.0, f64::max);
    let last = (last - 1e-6).ceil();
    let has_maximum = points().any(|(share, _)| *share >= 1.0);
    let nines_end = if has_maximum { last + 1.0 } else { last };
    let x = Scale::between((0.0, nines_end), ACROSS);
    let y = Scale::logarithmic(points().map(|(_, latency)| *latency), UPWARDS);
    let y_ticks = y.ticks(8).into_iter().map(|tick| (tick, milliseconds(tick))).collect();
    let mut x_ticks = x_ticks(last as u32);
    x_ticks.extend(has_maximum.then(|| (nines_end, "max".to_owned())));
    let lines = curves.iter().map(|(arm, curve)| Line {
        look: view.look(*arm),
        name: &view.arms[*arm].name,
        points: curve
            .points
            .iter()
            .map(|(share, latency)| (nines(*share).unwrap_or(nines_end), *latency))
            .collect(),
        marks: marks(curve),
    });
    let of_class =
        if class.is_empty() { String::new() } else { format!(" of requests of class {class}") };
    Some(Chart {
        id,
        title: format!("Latency by percentile{of_class}, {}", workload.name),
        description: described(&curves, view),
        x: Axis {
            scale: x,
            name: "share of requests, each nine as wide as the last",
            ticks: x_ticks,
        },
        y: Axis { scale: y, name: y_name(workload), ticks: y_ticks },
        lines: lines.collect(),
    })
}

/// As many shares as are not written over each other.
fn x_ticks(nines_end: u32) -> Vec<(f64, String)> {
    let mut ticks = vec![(0.0, percentile(0))];
    if nines_end <= 3 {
        ticks.push((2f64.log10(), "50\u{a0}%".to_owned()));
    }
    let every = if nines_end <= 5 { 1 } else { 2 };
    let nines = (1..=nines_end).filter(|nines| nines % every == 0);
    ticks.extend(nines.map(|nines| (f64::from(nines), percentile(nines))));
    ticks
}

fn y_name(workload: &WorkloadInfo) -> &'static str {
    match workload.is_open_loop {
        true => "latency, from when due",
        false => "latency, closed loop",
    }
}

/// How many nines a share has: 0.9 is one, 0.99 two. None for 1, and what is no share.
fn nines(share: f64) -> Option<f64> {
    let nines = -(1.0 - share).log10();
    (0.0..1.0).contains(&share).then(|| nines.clamp(0.0, NINES_MAX))
}

/// The latency that a share of the requests did not exceed: the first point from there on.
fn latency_at(curve: &Curve, share: f64) -> Option<f64> {
    let reaches = |point: &&(f64, f64)| point.0 >= share - 1e-9;
    curve.points.iter().find(reaches).map(|(_, latency)| *latency)
}

fn marks(curve: &Curve) -> Vec<((f64, f64), String)> {
    MARKED
        .iter()
        .filter_map(|(share, name)| {
            let latency = latency_at(curve, *share)?;
            Some(((nines(*share)?, latency), format!("{name} {}", milliseconds(latency))))
        })
        .collect()
}

fn described(curves: &[(usize, &Curve)], view: &View<'_>) -> String {
    let said = curves.iter().map(|(arm, curve)| {
        let marks: Vec<String> = marks(curve).into_iter().map(|(_, says)| says).collect();
        format!("{}: {}.", view.arms[*arm].name, marks.join(", "))
    });
    said.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_of_shares() {
        assert_eq!(nines(0.0), Some(0.0));
        assert!((nines(0.9).expect("a share") - 1.0).abs() < 1e-9);
        assert!((nines(0.999).expect("a share") - 3.0).abs() < 1e-9);
        assert_eq!(nines(1.0 - 1e-16), Some(NINES_MAX));
        for none in [1.0, 1.5, -0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(nines(none), None, "{none}");
        }
    }

    #[test]
    fn a_curve_that_ends_early_has_fewer_marks() {
        let curve =
            Curve { class: String::new(), points: vec![(0.0, 1.0), (0.5, 2.0), (0.95, 3.0)] };
        let said: Vec<String> = marks(&curve).into_iter().map(|(_, says)| says).collect();
        assert_eq!(said, ["p50 2\u{a0}ms", "p90 3\u{a0}ms"]);
        assert!(marks(&Curve::default()).is_empty());
    }
}
