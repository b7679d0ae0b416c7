//! What is said before a run, in a small language, and whether it held.
//!
//! ```text
//! claim   = side ("<=" | ">=" | "<" | ">") side
//! side    = term [("+" | "-") number]
//! term    = number | [number "*"] measure "(" arm {"|" arm} "," workload ["," class] ")"
//! ```
//!
//! `p99(shared|exclusive, bimodal) >= 5 * p99(master, bimodal)`: where several arms stand, the best
//! of them by that measure is taken, after the run; so is a rival chosen who had luck, which makes
//! the claim harder for the other side, never easier. Names are checked when a plan is read.
//!
//! A claim about one ratio is judged by that ratio's interval, of repetitions that were neighbours.
//! Any other by the two sides' own intervals, which is cautious: what they leave open, a ratio might
//! have settled.
//!
//! Not here: the measures themselves (`measure`), how intervals come about (`measure::statistics`).

use crate::experiment::plan::limits::{RIVALS_MAX, TEXT_SIZE_MAX};
use crate::experiment::report::format::Significant;
use crate::experiment::report::schema::{
    Better, Cell, Figure, MeasureInfo, Outcome, Prediction, WorkloadInfo,
};

/// What a claim may speak of.
pub struct Vocabulary<'a> {
    /// All measures.
    pub measures: &'a [MeasureInfo],
    /// Names of arms.
    pub arms: &'a [&'a str],
    /// Workloads, with their classes.
    pub workloads: &'a [WorkloadInfo],
}

/// A claim that can be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    text: String,
    because: String,
    left: Side,
    relation: Relation,
    right: Side,
}

/// `factor × term + offset`
#[derive(Clone, Debug, PartialEq)]
struct Side {
    factor: f64,
    measured: Option<Measured>,
    offset: f64,
}

/// A figure, or the best of some.
#[derive(Clone, Debug, PartialEq)]
struct Measured {
    /// As in [`Cell::figures`], with the class where it is not the first.
    key: String,
    better: Better,
    arms: Vec<String>,
    workload: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    AtMost,
    AtLeast,
    Below,
    Above,
}

/// Says the 95 % interval of the ratio of two figures, where there is one.
pub type RatioOf<'a> = &'a dyn Fn(&Figure, &Figure) -> Option<(f64, f64)>;

/// A number with an interval, where there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    value: f64,
    interval: Option<(f64, f64)>,
}

impl Claim {
    /// Reads a claim.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str, because: &str, vocabulary: &Vocabulary<'_>) -> Result<Claim, String> {
        if text.len() > TEXT_SIZE_MAX {
            return Err(format!("a prediction has at most {TEXT_SIZE_MAX} bytes"));
        }
        let (start, length, relation) =
            relation(text).ok_or("a prediction compares two sides by <=, >=, < or >".to_owned())?;
        let left = side(&text[..start], vocabulary)?;
        let right = side(&text[start + length..], vocabulary)?;
        if left.measured.is_none() && right.measured.is_none() {
            return Err("a prediction speaks of a measure".to_owned());
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Claim { text, because: because.to_owned(), left, relation, right })
    }

    /// Judges it by what was measured.
    pub fn judge(&self, cells: &[Cell], ratio: RatioOf<'_>) -> Prediction {
        let (outcome, found) = match (self.left.found(cells), self.right.found(cells)) {
            (Ok(left), Ok(right)) => self.compare(left, right, ratio),
            (Err(missing), _) | (_, Err(missing)) => (Outcome::NotMeasured, missing),
        };
        Prediction { text: self.text.clone(), because: self.because.clone(), outcome, found }
    }

    fn compare(
        &self,
        left: Option<(&Cell, &Figure)>,
        right: Option<(&Cell, &Figure)>,
        ratio: RatioOf<'_>,
    ) -> (Outcome, String) {
        let named =
            [(&self.left, left), (&self.right, right)].into_iter().filter_map(|(side, one)| {
                let (cell, figure) = one?;
                let key = &side.measured.as_ref()?.key;
                Some(format!("{key} of {}: {}", cell.arm, shown(estimate(figure))))
            });
        let mut found = named.collect::<Vec<_>>().join("; ");
        let is_ratio = self.left.offset == 0.0 && self.right.offset == 0.0;
        if let (true, Some((_, left)), Some((_, right))) = (is_ratio, left, right)
            && right.value > 0.0
        {
            let quotient =
                Estimate { value: left.value / right.value, interval: ratio(left, right) };
            found = format!("{found}; ratio {}", shown(quotient));
            // Factors are above 0, so the comparison keeps its direction.
            let bound = self.right.factor / self.left.factor;
            return (self.relation.judge(quotient, Estimate::exact(bound)), found);
        }
        let (left, right) = (self.left.estimate(left), self.right.estimate(right));
        (self.relation.judge(left, right), found)
    }
}

impl Side {
    /// The figure that it speaks of, if it speaks of one; or which was not measured.
    fn found<'a>(&self, cells: &'a [Cell]) -> Result<Option<(&'a Cell, &'a Figure)>, String> {
        let Some(measured) = &self.measured else { return Ok(None) };
        let figures = measured.arms.iter().filter_map(|arm| {
            let is_it = |cell: &&Cell| cell.arm == *arm && cell.workload == measured.workload;
            let cell = cells.iter().find(is_it)?;
            cell.figures.get(&measured.key).map(|figure| (cell, figure))
        });
        let best = figures.reduce(|best, other| {
            let is_better = match measured.better {
                Better::Lower => other.1.value < best.1.value,
                Better::Higher => other.1.value > best.1.value,
                Better::Neither => false,
            };
            if is_better { other } else { best }
        });
        best.map(Some).ok_or_else(|| {
            let Measured { key, arms, workload, .. } = measured;
            format!("{key} of {} in {workload} was not measured", arms.join(" or "))
        })
    }

    fn estimate(&self, figure: Option<(&Cell, &Figure)>) -> Estimate {
        let Some((_, figure)) = figure else { return Estimate::exact(self.factor + self.offset) };
        let scaled = |value: f64| value * self.factor + self.offset;
        let Estimate { value, interval } = estimate(figure);
        let interval = interval.map(|(low, high)| (scaled(low), scaled(high)));
        Estimate { value: scaled(value), interval }
    }
}

impl Relation {
    /// Held if it holds wherever the two may lie, failed if it holds nowhere.
    fn judge(self, left: Estimate, right: Estimate) -> Outcome {
        let (Some((left_low, left_high)), Some((right_low, right_high))) =
            (left.interval, right.interval)
        else {
            return Outcome::Open;
        };
        let (always, ever) = match self {
            Relation::AtMost => (left_high <= right_low, left_low <= right_high),
            Relation::AtLeast => (left_low >= right_high, left_high >= right_low),
            Relation::Below => (left_high < right_low, left_low < right_high),
            Relation::Above => (left_low > right_high, left_high > right_low),
        };
        match (always, ever) {
            (true, _) => Outcome::Held,
            (false, true) => Outcome::Open,
            (false, false) => Outcome::Failed,
        }
    }
}

impl Estimate {
    fn exact(value: f64) -> Estimate {
        Estimate { value, interval: Some((value, value)) }
    }
}

fn estimate(figure: &Figure) -> Estimate {
    Estimate { value: figure.value, interval: figure.low.zip(figure.high) }
}

fn shown(estimate: Estimate) -> String {
    let Estimate { value, interval } = estimate;
    match interval {
        Some((low, high)) => {
            format!("{} ({}–{})", Significant(value), Significant(low), Significant(high))
        }
        None => format!("{} (no interval)", Significant(value)),
    }
}

/// Where the relation stands, how long it is, and which.
fn relation(text: &str) -> Option<(usize, usize, Relation)> {
    let start = text.find(['<', '>'])?;
    let rest = &text[start..];
    [("<=", Relation::AtMost), (">=", Relation::AtLeast), ("<", Relation::Below)]
        .into_iter()
        .chain([(">", Relation::Above)])
        .find_map(|(sign, relation)| {
            rest.starts_with(sign).then_some((start, sign.len(), relation))
        })
}

fn side(text: &str, vocabulary: &Vocabulary<'_>) -> Result<Side, String> {
    let text = text.trim();
    let Some(open) = text.find('(') else {
        let value = number(text)?;
        return Ok(Side { factor: value, measured: None, offset: 0.0 });
    };
    let close = text.rfind(')').filter(|close| *close > open).ok_or("a ) is missing")?;
    let (factor, key) = match text[..open].split_once('*') {
        Some((factor, key)) => (number(factor)?, key.trim()),
        None => (1.0, text[..open].trim()),
    };
    if factor <= 0.0 {
        return Err("a factor is above 0".to_owned());
    }
    let offset = match text[close + 1..].trim() {
        "" => 0.0,
        rest if rest.starts_with('+') => number(&rest[1..])?,
        rest if rest.starts_with('-') => -number(&rest[1..])?,
        rest => return Err(format!("{rest:?} behind a measure: + or - and a number")),
    };
    let measured = measured(key, &text[open + 1..close], vocabulary)?;
    Ok(Side { factor, measured: Some(measured), offset })
}

fn measured(key: &str, inside: &str, vocabulary: &Vocabulary<'_>) -> Result<Measured, String> {
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let (arms, workload, class) = match parts.as_slice() {
        [arms, workload] => (*arms, *workload, None),
        [arms, workload, class] => (*arms, *workload, Some(*class)),
        _ => return Err(format!("{key}(…): an arm, a workload, and perhaps a class")),
    };
    let info = vocabulary.measures.iter().find(|info| info.key == key);
    let info = info.ok_or_else(|| {
        let keys: Vec<_> = vocabulary.measures.iter().map(|info| info.key.as_str()).collect();
        format!("{key:?} is no measure; there are {}", keys.join(", "))
    })?;
    let arms: Vec<&str> = arms.split('|').map(str::trim).collect();
    if let Some(arm) = arms.iter().find(|arm| !vocabulary.arms.contains(arm)) {
        return Err(format!("there is no arm {arm:?}"));
    }
    if arms.len() > RIVALS_MAX || (arms.len() > 1 && info.better == Better::Neither) {
        let wrong = "the best of several arms needs a measure by which one wins";
        return Err(format!("{wrong}, and at most {RIVALS_MAX} of them"));
    }
    let found = vocabulary.workloads.iter().find(|one| one.name == workload);
    let found = found.ok_or_else(|| format!("there is no workload {workload:?}"))?;
    let key = match class {
        None => key.to_owned(),
        Some(class) => match found.classes.iter().position(|one| one == class) {
            Some(0) => key.to_owned(),
            Some(_) => format!("{key}:{class}"),
            None => return Err(format!("{workload} has no class {class:?}")),
        },
    };
    Ok(Measured {
        key,
        better: info.better,
        arms: arms.into_iter().map(str::to_owned).collect(),
        workload: workload.to_owned(),
    })
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("{:?} is no number", text.trim()))
}

#[cfg(test)]
#[path = "prediction/tests.rs"]
mod tests;
