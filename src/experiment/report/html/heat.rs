//! A grid of workloads as a heat map: one arm over the best of the others, its value written in
//! each cell, the colour saying who is better and by how much.
//!
//! Not here: which workloads form a grid (`grid`).

use maud::{Markup, html};

use crate::experiment::report::format::{Significant, shortened, trimmed};
use crate::experiment::report::html::curves::closed_loop;
use crate::experiment::report::html::grid::Grid;
use crate::experiment::report::html::notes::{Notes, Shown};
use crate::experiment::report::html::path::At;
use crate::experiment::report::html::ranking::best_of;
use crate::experiment::report::html::view::{View, is_contest};
use crate::experiment::report::ratio::{Ratio, may_be_equal};
use crate::experiment::report::schema::{Better, MeasureInfo};

/// The measures that a crossover is about, as far as the report has them.
const MEASURES: [&str; 5] =
    ["p99", "p50", "throughput", "cpu_us_per_connection", "cpu_us_per_request"];

const CELL: (f64, f64) = (88.0, 44.0);

/// Left of the cells stand the values of the rows, below them those of the columns.
const LEFT: f64 = 78.0;
const TOP: f64 = 6.0;
const BELOW: f64 = 42.0;

/// A cell names the arm that is compared with in as many characters.
const NAME_CHARACTERS_MAX: usize = 13;

/// How far from 1, up or down, each depth of colour begins.
const DEPTHS: [f64; 4] = [1.02, 1.1, 1.3, 2.0];

/// All heat maps of a grid.
pub(super) fn heat_maps(view: &View<'_>, place: usize, grid: &Grid<'_>) -> Markup {
    let measures =
        || MEASURES.iter().filter_map(|key| view.measure(key)).filter(|one| is_contest(one));
    // One arm with every measure, and any other of the master's with the first: enough to see.
    let masters = view.masters();
    let mut wanted: Vec<(usize, &MeasureInfo)> = Vec::new();
    if let Some((first, others)) = masters.split_first() {
        wanted.extend(measures().map(|measure| (*first, measure)));
        wanted.extend(others.iter().flat_map(|arm| measures().take(1).map(|one| (*arm, one))));
    }
    html! {
        div.plots {
            @for (index, (arm, measure)) in wanted.into_iter().enumerate() {
                (heat_map(view, &format!("heat-{place}-{index}"), grid, arm, measure))
            }
        }
    }
}

/// One cell of a map.
struct Spot<'a> {
    column: usize,
    row: usize,
    workload: &'a str,
    rival: usize,
    ratio: Ratio,
    may_be_equal: bool,
    warned: Vec<usize>,
}

fn heat_map(
    view: &View<'_>,
    id: &str,
    grid: &Grid<'_>,
    arm: usize,
    measure: &MeasureInfo,
) -> Markup {
    let all = Notes::of(view, &Shown { workload: "", arms: &[], measures: &[] });
    let (spots, notes) = spots(view, grid, arm, measure, all);
    if spots.is_empty() {
        return html! {};
    }
    let name = &view.arms[arm].name;
    let is_closed = grid.places.iter().any(|place| !view.workloads[place.2].is_open_loop);
    html! {
        figure.heat {
            figcaption {
                b { (measure.title) } ": " (name) " / the best other arm"
                @if is_closed { " " (closed_loop()) }
                " " (notes.at_all()) (notes.at_measure(&measure.key))
            }
            (svg(view, id, grid, (arm, measure), &spots))
            (legend(name, measure.better))
            (notes.texts())
        }
    }
}

fn spots<'a>(
    view: &'a View<'a>,
    grid: &Grid<'_>,
    arm: usize,
    measure: &MeasureInfo,
    mut notes: Notes<'a>,
) -> (Vec<Spot<'a>>, Notes<'a>) {
    let masters = view.masters();
    let mut spots = Vec::new();
    for &(column, row, place) in &grid.places {
        let workload = view.workloads[place].name.as_str();
        let rivals = (0..view.arms.len()).filter(|other| !masters.contains(other));
        let rival = best_of(view, rivals, workload, measure);
        let own = view.figure(arm, workload, &measure.key).filter(|_| view.competes(arm, workload));
        let Some(((rival, figure), own)) = rival.zip(own) else { continue };
        let Some(ratio) = Ratio::of(own, figure) else { continue };
        let arms = [view.arms[arm].name.as_str(), view.arms[rival].name.as_str()];
        let here =
            Notes::of(view, &Shown { workload, arms: &arms, measures: &[measure.key.as_str()] });
        let mut warned: Vec<usize> = here.numbers_of(arms[0]);
        warned.extend(here.numbers_of(arms[1]));
        warned.sort_unstable();
        warned.dedup();
        notes.join(here);
        let may_be_equal = may_be_equal(own, figure) == Some(true);
        spots.push(Spot { column, row, workload, rival, ratio, may_be_equal, warned });
    }
    (spots, notes)
}

fn svg(
    view: &View<'_>,
    id: &str,
    grid: &Grid<'_>,
    (arm, measure): (usize, &MeasureInfo),
    spots: &[Spot<'_>],
) -> Markup {
    let (columns, rows) = (grid.xs.len() as f64, grid.ys.len() as f64);
    let width = (LEFT + columns * CELL.0 + 8.0).max(320.0);
    let foot = TOP + rows * CELL.1;
    let (title, text) = (format!("{id}-title"), format!("{id}-text"));
    let left = |column: usize| LEFT + column as f64 * CELL.0;
    // The lowest row is the first: a y axis goes upwards.
    let top = |row: usize| TOP + (rows - 1.0 - row as f64) * CELL.1;
    html! {
        div.plot tabindex="0" role="group" aria-label=(measure.title) {
            svg.chart.map id=(id) viewBox={ "0 0 " (At(width)) " " (At(foot + BELOW)) } role="img"
                style={ "max-width:" (At(width * 1.25)) "px" }
                aria-labelledby={ (title) " " (text) } {
                title id=(title) {
                    (measure.title) ": " (view.arms[arm].name) " over the best other arm"
                }
                desc id=(text) { (described(view, grid, spots)) }
                g.axis {
                    @for (row, y) in grid.ys.iter().enumerate() {
                        text x=(At(LEFT - 8.0)) y=(At(top(row) + CELL.1 / 2.0)) dy="0.34em"
                            text-anchor="end" { (trimmed(*y)) }
                    }
                    @for (column, x) in grid.xs.iter().enumerate() {
                        text x=(At(left(column) + CELL.0 / 2.0)) y=(At(foot + 16.0))
                            text-anchor="middle" { (trimmed(*x)) }
                    }
                    text.name x=(At(LEFT + columns * CELL.0 / 2.0)) y=(At(foot + 35.0))
                        text-anchor="middle" { (shortened(grid.x_name, 40)) }
                    text.name transform={ "translate(14 " (At(TOP.midpoint(foot))) ") rotate(-90)" }
                        text-anchor="middle" { (shortened(grid.y_name, 4 + 6 * grid.ys.len())) }
                }
                @for spot in spots {
                    (cell(view, spot, measure, (left(spot.column), top(spot.row))))
                }
            }
        }
    }
}

fn cell(view: &View<'_>, spot: &Spot<'_>, measure: &MeasureInfo, (x, y): (f64, f64)) -> Markup {
    let rival = &view.arms[spot.rival].name;
    html! {
        g.cell.(class(spot.ratio.value, measure.better)) {
            title { (spot.workload) ": " (in_words(&spot.ratio)) " × " (rival) }
            rect x=(At(x + 1.0)) y=(At(y + 1.0)) width=(At(CELL.0 - 2.0)) height=(At(CELL.1 - 2.0))
                rx="3" {}
            text.value x=(At(x + CELL.0 / 2.0)) y=(At(y + 19.0)) text-anchor="middle" {
                @if spot.may_be_equal { "≈ " }
                (Significant(spot.ratio.value))
                @if !spot.warned.is_empty() {
                    tspan.flag { " ⚠" (listed(&spot.warned)) }
                }
            }
            text.rival x=(At(x + CELL.0 / 2.0)) y=(At(y + 34.0)) text-anchor="middle" {
                (shortened(rival, NAME_CHARACTERS_MAX))
            }
        }
    }
}

/// As many numbers as a cell has room for.
fn listed(warned: &[usize]) -> String {
    match warned {
        [one] => one.to_string(),
        [first, ..] => format!("{first}…"),
        [] => String::new(),
    }
}

/// The ratio with its interval.
fn in_words(ratio: &Ratio) -> String {
    let value = Significant(ratio.value);
    match ratio.interval {
        Some((low, high)) => format!("{value} (95 % {}–{})", Significant(low), Significant(high)),
        None => value.to_string(),
    }
}

/// Who is better, and by how much, as a class of `page.css`.
fn class(ratio: f64, better: Better) -> String {
    let distance = ratio.max(1.0 / ratio);
    let depth = DEPTHS.iter().filter(|depth| distance >= **depth).count();
    let is_better = (ratio < 1.0) == (better == Better::Lower);
    match (depth, is_better) {
        (0, _) => "heat-even".to_owned(),
        (depth, true) => format!("heat-better-{depth}"),
        (depth, false) => format!("heat-worse-{depth}"),
    }
}

fn legend(name: &str, better: Better) -> Markup {
    let says = match better {
        Better::Higher => "above 1 is better",
        Better::Lower | Better::Neither => "below 1 is better",
    };
    html! {
        p.legend {
            span.key.heat-better-4 {} span.key.heat-better-2 {} span.key.heat-even {}
            span.key.heat-worse-2 {} span.key.heat-worse-4 {}
            " from 2 × better to 2 × worse for " (shortened(name, 40)) " (" (says) "); "
            "≈ the intervals leave it open; below the ratio, the best other arm"
        }
    }
}

fn described(view: &View<'_>, grid: &Grid<'_>, spots: &[Spot<'_>]) -> String {
    let said = spots.iter().map(|spot| {
        let (x, y) = (grid.xs[spot.column], grid.ys[spot.row]);
        let rival = &view.arms[spot.rival].name;
        format!(
            "{} {}, {} {}: {} × {rival}.",
            grid.x_name,
            trimmed(x),
            grid.y_name,
            trimmed(y),
            Significant(spot.ratio.value)
        )
    });
    said.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_by_who_is_better_and_not_by_who_is_greater() {
        assert_eq!(class(0.5, Better::Lower), "heat-better-4");
        assert_eq!(class(0.5, Better::Higher), "heat-worse-4");
        assert_eq!(class(1.2, Better::Lower), "heat-worse-2");
        assert_eq!(class(1.2, Better::Higher), "heat-better-2");
        assert_eq!(class(1.0, Better::Lower), "heat-even");
        assert_eq!(class(0.985, Better::Higher), "heat-even");
    }

    #[test]
    fn a_ratio_is_as_far_from_one_as_its_reverse() {
        for value in [1.01, 1.05, 1.2, 1.7, 3.0, 1e9] {
            let there = class(value, Better::Lower).replace("worse", "better");
            assert_eq!(there, class(1.0 / value, Better::Lower), "{value}");
        }
    }
}
