//! Who wins a column, and who cannot be told from the winner.
//!
//! Not here: marking it (`table`), saying it (`words`).

use crate::experiment::report::html::view::View;
use crate::experiment::report::ratio::may_be_equal;
use crate::experiment::report::schema::{Better, Figure, MeasureInfo};

/// How one arm stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has a better value.
    Best,
    /// Another has the better value, but the intervals leave open who is better.
    Level,
    /// Another is better; by how sure an interval, if there are intervals.
    Behind,
    /// It fails too many requests for its figures to mean anything beside the others'.
    OutOfContest,
    /// Nobody wins by this measure, or nobody else competes.
    Unranked,
    /// Not measured.
    Absent,
}

/// Whether `one` is better than `other`.
pub(super) fn is_better(better: Better, one: f64, other: f64) -> bool {
    match better {
        Better::Lower => one < other,
        Better::Higher => one > other,
        Better::Neither => false,
    }
}

/// The standings of all arms of the report by one measure of one workload.
pub(super) fn standings(view: &View<'_>, workload: &str, measure: &MeasureInfo) -> Vec<Standing> {
    let entries: Vec<Entry<'_>> = (0..view.arms.len())
        .map(|arm| Entry {
            figure: view.figure(arm, workload, &measure.key),
            competes: view.competes(arm, workload),
        })
        .collect();
    rank(measure.better, &entries)
}

/// One arm's part in a column.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    figure: Option<&'a Figure>,
    competes: bool,
}

fn rank(better: Better, entries: &[Entry<'_>]) -> Vec<Standing> {
    let contest = || entries.iter().filter(|entry| entry.competes).filter_map(|entry| entry.figure);
    let is_contest = better != Better::Neither && contest().count() > 1;
    let best =
        contest().reduce(
            |best, figure| {
                if is_better(better, figure.value, best.value) { figure } else { best }
            },
        );
    let standing = |entry: &Entry<'_>| match (entry.figure, best) {
        (None, _) => Standing::Absent,
        (Some(_), _) if better != Better::Neither && !entry.competes => Standing::OutOfContest,
        (Some(figure), Some(best)) if is_contest => match () {
            () if figure.value == best.value => Standing::Best,
            () if may_be_equal(best, figure) == Some(true) => Standing::Level,
            () => Standing::Behind,
        },
        (Some(_), _) => Standing::Unranked,
    };
    entries.iter().map(standing).collect()
}

/// The best figure of some arms, and whose it is; only of those that compete.
pub(super) fn best_of<'a>(
    view: &View<'a>,
    arms: impl Iterator<Item = usize>,
    workload: &str,
    measure: &MeasureInfo,
) -> Option<(usize, &'a Figure)> {
    arms.filter(|&arm| view.competes(arm, workload))
        .filter_map(|arm| Some((arm, view.figure(arm, workload, &measure.key)?)))
        .reduce(
            |best, one| {
                if is_better(measure.better, one.1.value, best.1.value) { one } else { best }
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, around: f64) -> Figure {
        Figure {
            value,
            low: Some(value - around),
            high: Some(value + around),
            of_trials: Vec::new(),
        }
    }

    fn ranked(better: Better, figures: &[Option<Figure>]) -> Vec<Standing> {
        let figures = figures.iter().map(Option::as_ref);
        let entries: Vec<Entry<'_>> =
            figures.map(|figure| Entry { figure, competes: true }).collect();
        rank(better, &entries)
    }

    #[test]
    fn the_best_the_level_and_the_behind() {
        let figures =
            [Some(figure(10.0, 1.0)), Some(figure(10.5, 1.0)), Some(figure(20.0, 1.0)), None];
        let expected = [Standing::Best, Standing::Level, Standing::Behind, Standing::Absent];
        assert_eq!(ranked(Better::Lower, &figures), expected);
        let expected = [Standing::Behind, Standing::Behind, Standing::Best, Standing::Absent];
        assert_eq!(ranked(Better::Higher, &figures), expected);
        assert!(
            ranked(Better::Neither, &figures)[..3].iter().all(|one| *one == Standing::Unranked)
        );
    }

    #[test]
    fn nobody_wins_alone_and_equal_values_win_together() {
        assert_eq!(ranked(Better::Lower, &[Some(figure(1.0, 0.1)), None])[0], Standing::Unranked);
        let equal = [Some(figure(1.0, 0.0)), Some(figure(1.0, 0.0))];
        assert_eq!(ranked(Better::Lower, &equal), [Standing::Best, Standing::Best]);
    }

    #[test]
    fn who_fails_its_requests_does_not_win_by_the_rest() {
        let (fast, slow, slower) = (figure(1.0, 0.1), figure(5.0, 0.1), figure(9.0, 0.1));
        let entries = [
            Entry { figure: Some(&fast), competes: false },
            Entry { figure: Some(&slow), competes: true },
            Entry { figure: Some(&slower), competes: true },
        ];
        let expected = [Standing::OutOfContest, Standing::Best, Standing::Behind];
        assert_eq!(rank(Better::Lower, &entries), expected);
    }

    #[test]
    fn without_intervals_nobody_is_level() {
        let bare = |value| Some(Figure { value, ..Figure::default() });
        let standings = ranked(Better::Lower, &[bare(1.0), bare(1.01)]);
        assert_eq!(standings, [Standing::Best, Standing::Behind]);
    }
}
