//! A report as the page looks at it: by name, and with what it speaks of but does not describe.
//!
//! Not here: what is drawn.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use crate::experiment::report::html::palette::Look;
use crate::experiment::report::schema::{
    ArmInfo, BenchReport, Better, Cell, Figure, MeasureInfo, WorkloadInfo,
};

/// With failures, percentiles flatter: who fails more than this share of its requests does not
/// compete.
pub(super) const FAILURE_SHARE_MAX: f64 = 0.01;

/// How the arms in which the master distributes begin.
const MASTER: &str = "master";

/// A report, with its parts by name.
pub(super) struct View<'a> {
    pub(super) report: &'a BenchReport,
    pub(super) arms: Vec<Cow<'a, ArmInfo>>,
    pub(super) workloads: Vec<Cow<'a, WorkloadInfo>>,
    pub(super) measures: Vec<Cow<'a, MeasureInfo>>,
    cells: HashMap<(&'a str, &'a str), &'a Cell>,
}

impl<'a> View<'a> {
    pub(super) fn new(report: &'a BenchReport) -> View<'a> {
        let mut cells = HashMap::new();
        for cell in &report.cells {
            // The first of two with the same names: one arm has one figure.
            cells.entry((cell.arm.as_str(), cell.workload.as_str())).or_insert(cell);
        }
        View {
            report,
            arms: completed(
                report.arms.iter().map(|arm| (arm.name.as_str(), arm)),
                report.cells.iter().map(|cell| cell.arm.as_str()),
                |name| ArmInfo { name, ..ArmInfo::default() },
            ),
            workloads: completed(
                report.workloads.iter().map(|workload| (workload.name.as_str(), workload)),
                report.cells.iter().map(|cell| cell.workload.as_str()),
                |name| WorkloadInfo { name, ..WorkloadInfo::default() },
            ),
            measures: completed(
                report.measures.iter().map(|measure| (measure.key.as_str(), measure)),
                report.cells.iter().flat_map(|cell| cell.figures.keys().map(String::as_str)),
                |key| MeasureInfo { title: key.clone(), key, ..MeasureInfo::default() },
            ),
            cells,
        }
    }

    pub(super) fn cell(&self, arm: usize, workload: &str) -> Option<&'a Cell> {
        self.cells.get(&(self.arms[arm].name.as_str(), workload)).copied()
    }

    /// A figure that is a finite number.
    pub(super) fn figure(&self, arm: usize, workload: &str, measure: &str) -> Option<&'a Figure> {
        let figure = self.cell(arm, workload)?.figures.get(measure)?;
        figure.value.is_finite().then_some(figure)
    }

    pub(super) fn measure(&self, key: &str) -> Option<&MeasureInfo> {
        self.measures.iter().find(|measure| measure.key == key).map(Cow::as_ref)
    }

    pub(super) fn look(&self, arm: usize) -> Look {
        Look(arm)
    }

    /// The arms that were measured with a workload.
    pub(super) fn arms_of(&self, workload: &str) -> Vec<usize> {
        (0..self.arms.len()).filter(|&arm| self.cell(arm, workload).is_some()).collect()
    }

    /// The arms in which the master distributes; without any, the first arm is what the others
    /// are compared with.
    pub(super) fn masters(&self) -> Vec<usize> {
        let is_master = |arm: &usize| self.arms[*arm].name.starts_with(MASTER);
        let masters: Vec<usize> = (0..self.arms.len()).filter(is_master).collect();
        if masters.is_empty() && !self.arms.is_empty() { vec![0] } else { masters }
    }

    /// Who wins something by this measure in this workload, given that it was measured.
    pub(super) fn competes(&self, arm: usize, workload: &str) -> bool {
        self.cell(arm, workload).is_some_and(|cell| failure_share(cell) <= FAILURE_SHARE_MAX)
    }
}

/// Of the requests that became due, those without a good answer.
pub(super) fn failure_share(cell: &Cell) -> f64 {
    let (due, failed) = requests(cell);
    if due == 0 { 0.0 } else { failed as f64 / due as f64 }
}

/// How many requests became due in all repetitions, and how many of them failed.
pub(super) fn requests(cell: &Cell) -> (u64, u64) {
    let sum = |values: &mut dyn Iterator<Item = u64>| values.fold(0, u64::saturating_add);
    let due = sum(&mut cell.trials.iter().map(|trial| trial.due));
    let answered = sum(&mut cell.trials.iter().map(|trial| trial.answered));
    (due, due.saturating_sub(answered))
}

/// Whether somebody wins by it.
pub(super) fn is_contest(measure: &MeasureInfo) -> bool {
    measure.better != Better::Neither
}

/// What is described, each name once, and after it what is only spoken of.
fn completed<'a, T: Clone>(
    described: impl Iterator<Item = (&'a str, &'a T)>,
    spoken_of: impl Iterator<Item = &'a str>,
    made_of: impl Fn(String) -> T,
) -> Vec<Cow<'a, T>> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Cow<'a, T>> = described
        .filter(|(name, _)| seen.insert(*name))
        .map(|(_, item)| Cow::Borrowed(item))
        .collect();
    for name in spoken_of {
        if seen.insert(name) {
            all.push(Cow::Owned(made_of(name.to_owned())));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_list_describes_is_shown_all_the_same() {
        let figures = [("odd".to_owned(), Figure::default())].into();
        let cell = |arm: &str| Cell {
            arm: arm.to_owned(),
            workload: "w".to_owned(),
            figures: std::collections::BTreeMap::clone(&figures),
            ..Cell::default()
        };
        let report = BenchReport {
            arms: vec![ArmInfo { name: "a".to_owned(), ..ArmInfo::default() }],
            cells: vec![cell("b"), cell("a"), cell("b")],
            ..BenchReport::default()
        };
        let view = View::new(&report);
        let names: Vec<&str> = view.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(view.workloads.len(), 1);
        assert_eq!(view.measures[0].title, "odd");
        assert_eq!(view.arms_of("w"), [0, 1]);
        assert_eq!(view.masters(), [0]);
    }
}
