//! Figures of runs, their medians, and the bars they are held to.
//!
//! Not here: how a figure is measured (`rows`).

use std::collections::BTreeMap;
use std::fmt;

const WARNING: &str = "WARNING";

/// One measured number.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// What one run found, in the order of printing, and what to beware of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) list: Vec<Figure>,
    pub(crate) remarks: Vec<String>,
}

/// What a figure is held to. Ratios are between runs of one number, and then the median of them:
/// the machine changes from run to run, and takes both modes with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// The median of a figure of a mode.
    AtMost { figure: &'static str, mode: &'static str, bound: f64 },
    /// A mode's figure over another mode's.
    RatioAtMost { figure: &'static str, mode: &'static str, over: &'static str, bound: f64 },
    /// The same, the other way.
    RatioAtLeast { figure: &'static str, mode: &'static str, over: &'static str, bound: f64 },
}

/// All runs of a row, by mode.
#[derive(Debug, Default)]
pub(crate) struct Table {
    runs: BTreeMap<String, Vec<Figures>>,
}

impl Figures {
    pub(crate) fn push(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.list.push(Figure { name, value, unit });
    }

    /// A remark that takes something away from the figures.
    pub(crate) fn warn(&mut self, what: &str) {
        self.remarks.push(format!("{WARNING}: {what}"));
    }

    fn has_warning(&self) -> bool {
        self.remarks.iter().any(|remark| remark.starts_with(WARNING))
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.list.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

impl Table {
    pub(crate) fn add(&mut self, mode: &str, figures: Figures) {
        self.runs.entry(mode.to_owned()).or_default().push(figures);
    }

    /// The medians of a mode, figure by figure.
    pub(crate) fn medians(&self, mode: &str) -> Figures {
        let mut medians = Figures::default();
        let Some(runs) = self.runs.get(mode) else { return medians };
        for figure in runs.first().map_or(&[][..], |first| first.list.as_slice()) {
            let values = runs.iter().filter_map(|run| run.value(figure.name)).collect();
            medians.push(figure.name, median(values), figure.unit);
        }
        let warned = runs.iter().filter(|run| run.has_warning()).count();
        if warned > 0 {
            medians.remarks.push(format!("{WARNING} in {warned} of {} runs", runs.len()));
        }
        medians
    }

    /// Whether a bar is met; nothing if a mode that it speaks of was not measured.
    pub(crate) fn judge(&self, bar: &Bar) -> Option<String> {
        let verdict = |is_met: bool| if is_met { "met" } else { "MISSED" };
        match *bar {
            Bar::AtMost { figure, mode, bound } => {
                let medians = self.medians(mode);
                let found = medians.list.iter().find(|one| one.name == figure)?;
                let unit = found.unit;
                let (value, is_met) = (found.value, found.value <= bound);
                let verdict = verdict(is_met);
                Some(format!("bar: {mode} {figure} ≤ {bound} {unit}: {value:.2}, {verdict}"))
            }
            Bar::RatioAtMost { figure, mode, over, bound } => {
                let ratio = self.ratio(figure, mode, over)?;
                let verdict = verdict(ratio <= bound);
                Some(format!("bar: {figure} {mode}/{over} ≤ {bound:.3}: {ratio:.3}, {verdict}"))
            }
            Bar::RatioAtLeast { figure, mode, over, bound } => {
                let ratio = self.ratio(figure, mode, over)?;
                let verdict = verdict(ratio >= bound);
                Some(format!("bar: {figure} {mode}/{over} ≥ {bound:.3}: {ratio:.3}, {verdict}"))
            }
        }
    }

    fn ratio(&self, figure: &str, mode: &str, over: &str) -> Option<f64> {
        let pairs = self.runs.get(mode)?.iter().zip(self.runs.get(over)?);
        let ratios: Vec<f64> = pairs
            .filter_map(|(one, other)| Some(one.value(figure)? / other.value(figure)?))
            .collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// `p99 0.54 ms, max 3.90 ms; remarks`
impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Figure { name, value, unit }) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let digits = if *value >= 100.0 { 0 } else { 2 };
            write!(formatter, "{separator}{name} {value:.digits$}")?;
            let space = if unit.is_empty() { "" } else { " " };
            write!(formatter, "{space}{unit}")?;
        }
        self.remarks.iter().try_for_each(|remark| write!(formatter, "; {remark}"))
    }
}
