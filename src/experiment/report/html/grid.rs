//! Workloads that form a grid, as rows and columns.
//!
//! Not here: its picture (`heat`).

use crate::experiment::report::html::view::View;

/// A side of more is none that could be read.
const SIDE_MAX: usize = 24;

/// Workloads by two properties.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grid<'a> {
    pub(super) x_name: &'a str,
    pub(super) y_name: &'a str,
    /// Ascending.
    pub(super) xs: Vec<f64>,
    /// Ascending.
    pub(super) ys: Vec<f64>,
    /// Column, row, and the workload's place in the view.
    pub(super) places: Vec<(usize, usize, usize)>,
}

/// All grids of a report, in the order of their first workloads. A workload whose place is no
/// number, or whose grid is too large for a picture, stands by itself.
pub(super) fn grids<'a>(view: &'a View<'_>) -> Vec<Grid<'a>> {
    let mut grids: Vec<Grid<'a>> = Vec::new();
    let mut members: Vec<Vec<(f64, f64, usize)>> = Vec::new();
    for (index, workload) in view.workloads.iter().enumerate() {
        let Some(place) = &workload.grid else { continue };
        if !place.x.is_finite() || !place.y.is_finite() {
            continue;
        }
        let has = |grid: &Grid<'_>| grid.x_name == place.x_name && grid.y_name == place.y_name;
        let found = grids.iter().position(has).unwrap_or_else(|| {
            let (x_name, y_name) = (place.x_name.as_str(), place.y_name.as_str());
            let (xs, ys, places) = (Vec::new(), Vec::new(), Vec::new());
            grids.push(Grid { x_name, y_name, xs, ys, places });
            members.push(Vec::new());
            grids.len() - 1
        });
        members[found].push((place.x, place.y, index));
    }
    let mut whole: Vec<Grid<'a>> =
        grids.into_iter().zip(&members).map(|(grid, members)| placed(grid, members)).collect();
    whole.retain(|grid| grid.xs.len() <= SIDE_MAX && grid.ys.len() <= SIDE_MAX);
    whole
}

fn placed<'a>(mut grid: Grid<'a>, members: &[(f64, f64, usize)]) -> Grid<'a> {
    grid.xs = ascending(members.iter().map(|member| member.0));
    grid.ys = ascending(members.iter().map(|member| member.1));
    for (x, y, workload) in members {
        let column = grid.xs.iter().position(|one| one == x);
        let row = grid.ys.iter().position(|one| one == y);
        grid.places.extend(column.zip(row).map(|(column, row)| (column, row, *workload)));
    }
    grid
}

fn ascending(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::schema::{BenchReport, GridPlace, WorkloadInfo};

    fn at(x_name: &str, x: f64, y: f64) -> WorkloadInfo {
        let y_name = "rate".to_owned();
        WorkloadInfo {
            name: format!("{x_name} {x} {y}"),
            grid: Some(GridPlace { x_name: x_name.to_owned(), x, y_name, y }),
            ..WorkloadInfo::default()
        }
    }

    #[test]
    fn rows_and_columns_ascend_whatever_the_order() {
        let workloads = vec![
            at("service", 5.0, 100.0),
            at("service", 0.0, 10.0),
            WorkloadInfo { name: "alone".to_owned(), ..WorkloadInfo::default() },
            at("other", 1.0, 10.0),
            at("service", 0.0, 100.0),
            at("service", f64::NAN, 100.0),
        ];
        let report = BenchReport { workloads, ..BenchReport::default() };
        let view = View::new(&report);
        let grids = grids(&view);
        assert_eq!(grids.len(), 2);
        assert_eq!((&grids[0].xs[..], &grids[0].ys[..]), (&[0.0, 5.0][..], &[10.0, 100.0][..]));
        assert_eq!(grids[0].places, [(1, 1, 0), (0, 0, 1), (0, 1, 4)]);
    }

    #[test]
    fn a_grid_beyond_reading_is_none() {
        let workloads = (0..100).map(|x| at("service", f64::from(x), 1.0)).collect();
        let report = BenchReport { workloads, ..BenchReport::default() };
        assert!(grids(&View::new(&report)).is_empty());
    }
}
