//! Warnings beside the figures that they touch: a number at the place, the text below.
//!
//! Each warning keeps its number over the whole page.
//!
//! Not here: what is warned of (the bench).

use maud::{Markup, html};

use crate::experiment::report::html::view::View;
use crate::experiment::report::schema::Warning;

/// The warnings that concern one table or plot.
pub(super) struct Notes<'a> {
    touching: Vec<(usize, &'a Warning)>,
}

/// What a table or plot shows, as far as warnings are about it.
pub(super) struct Shown<'s> {
    pub(super) workload: &'s str,
    pub(super) arms: &'s [&'s str],
    pub(super) measures: &'s [&'s str],
}

impl<'a> Notes<'a> {
    /// Those that touch what is shown, and are not about everything.
    pub(super) fn of(view: &View<'a>, shown: &Shown<'_>) -> Notes<'a> {
        let fits = |wanted: &Option<String>, here: &[&str]| {
            wanted.as_deref().is_none_or(|name| here.contains(&name))
        };
        let touches = |warning: &Warning| {
            !is_general(view, warning)
                && fits(&warning.workload, &[shown.workload])
                && fits(&warning.arm, shown.arms)
                && fits(&warning.measure, shown.measures)
        };
        let numbered = (1..).zip(&view.report.warnings);
        Notes { touching: numbered.filter(|(_, warning)| touches(warning)).collect() }
    }

    /// Puts another's among them.
    pub(super) fn join(&mut self, other: Notes<'a>) {
        self.touching.extend(other.touching);
        self.touching.sort_by_key(|(number, _)| *number);
        self.touching.dedup_by_key(|(number, _)| *number);
    }

    /// At the whole: those that name neither an arm nor a measure.
    pub(super) fn at_all(&self) -> Markup {
        self.marks(|warning| warning.arm.is_none() && warning.measure.is_none())
    }

    /// At an arm: those that name it, and no measure.
    pub(super) fn at_arm(&self, arm: &str) -> Markup {
        self.marks(|warning| warning.arm.as_deref() == Some(arm) && warning.measure.is_none())
    }

    /// At a measure: those that name it, and no arm.
    pub(super) fn at_measure(&self, measure: &str) -> Markup {
        self.marks(|warning| warning.arm.is_none() && warning.measure.as_deref() == Some(measure))
    }

    /// At one figure: those that name both.
    pub(super) fn at_figure(&self, arm: &str, measure: &str) -> Markup {
        self.marks(|warning| {
            warning.arm.as_deref() == Some(arm) && warning.measure.as_deref() == Some(measure)
        })
    }

    /// The numbers of all of them, where a plot has no better place for each.
    pub(super) fn at_plot(&self) -> Markup {
        self.marks(|_| true)
    }

    /// The numbers of those that touch one arm in a plot, for its text.
    pub(super) fn numbers_of(&self, arm: &str) -> Vec<usize> {
        let is_of = |warning: &Warning| warning.arm.as_deref().is_none_or(|name| name == arm);
        let touching = self.touching.iter().filter(|(_, warning)| is_of(warning));
        touching.map(|(number, _)| *number).collect()
    }

    /// The texts, below.
    pub(super) fn texts(&self) -> Markup {
        html! {
            @if !self.touching.is_empty() {
                ul.notes {
                    @for (number, warning) in &self.touching {
                        li { (mark(*number)) " " (about(warning)) (warning.text) }
                    }
                }
            }
        }
    }

    fn marks(&self, concerns: impl Fn(&Warning) -> bool) -> Markup {
        let here = self.touching.iter().filter(|(_, warning)| concerns(warning));
        html! { @for (number, _) in here { (mark(*number)) } }
    }
}

/// Warnings about everything: those that name nothing, or something that is not here.
pub(super) fn general<'a>(view: &View<'a>) -> Vec<(usize, &'a Warning)> {
    let numbered = (1..).zip(&view.report.warnings);
    numbered.filter(|(_, warning)| is_general(view, warning)).collect()
}

/// A warning's number, as it stands at a figure and before the text.
pub(super) fn mark(number: usize) -> Markup {
    html! { span.warned { span.said { "warning " } "⚠" (number) } }
}

/// What a warning names, before its text: it stands below a table, not in the cell.
pub(super) fn about(warning: &Warning) -> Markup {
    let named = [&warning.workload, &warning.arm, &warning.measure];
    let named: Vec<&str> = named.into_iter().flatten().map(String::as_str).collect();
    html! { @if !named.is_empty() { b { (named.join(", ")) } ": " } }
}

/// It names nothing, or nothing that was measured: no table or plot shows what it touches.
fn is_general(view: &View<'_>, warning: &Warning) -> bool {
    let fits =
        |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|one| one == name);
    let is_shown = view.report.cells.iter().any(|cell| {
        let has = |measure: &String| cell.figures.contains_key(measure);
        fits(&warning.arm, &cell.arm)
            && fits(&warning.workload, &cell.workload)
            && warning.measure.as_ref().is_none_or(has)
    });
    let names_something =
        warning.arm.is_some() || warning.workload.is_some() || warning.measure.is_some();
    !names_something || !is_shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::schema::{BenchReport, Cell, Figure};

    fn warning(arm: &str, workload: &str, measure: &str) -> Warning {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Warning {
            arm: named(arm),
            workload: named(workload),
            measure: named(measure),
            text: "beware".to_owned(),
        }
    }

    fn report(warnings: Vec<Warning>) -> BenchReport {
        let cell = |arm: &str| Cell {
            arm: arm.to_owned(),
            workload: "w".to_owned(),
            figures: [("p99".to_owned(), Figure::default())].into(),
            ..Cell::default()
        };
        BenchReport { cells: vec![cell("a"), cell("b")], warnings, ..BenchReport::default() }
    }

    #[test]
    fn each_warning_stands_at_the_smallest_thing_it_names() {
        let report = report(vec![
            warning("", "", ""),
            warning("a", "w", "p99"),
            warning("b", "", ""),
            warning("", "w", ""),
            warning("", "", "p99"),
            warning("nobody", "", ""),
            warning("a", "elsewhere", ""),
        ]);
        let view = View::new(&report);
        let general: Vec<usize> = general(&view).into_iter().map(|(number, _)| number).collect();
        assert_eq!(general, [1, 6, 7]);
        let shown = Shown { workload: "w", arms: &["a", "b"], measures: &["p99"] };
        let notes = Notes::of(&view, &shown);
        assert!(notes.at_figure("a", "p99").0.contains("⚠2"));
        assert!(notes.at_figure("b", "p99").0.is_empty());
        assert!(notes.at_arm("b").0.contains("⚠3"));
        assert!(notes.at_all().0.contains("⚠4"));
        assert!(notes.at_measure("p99").0.contains("⚠5"));
        assert_eq!(notes.texts().0.matches("<li>").count(), 4);
        assert_eq!(notes.numbers_of("a"), [2, 4, 5]);
    }

    #[test]
    fn a_table_without_the_measure_has_no_warning_about_it() {
        let report = report(vec![warning("", "", "p99")]);
        let view = View::new(&report);
        let shown = Shown { workload: "w", arms: &["a", "b"], measures: &["max"] };
        assert!(Notes::of(&view, &shown).texts().0.is_empty());
    }
}
