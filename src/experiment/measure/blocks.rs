//! How sure a figure of few repetitions is: blocks of time are drawn again, not single requests
//! (the block bootstrap of Künsch 1989, with blocks that do not overlap).
//!
//! A block is long against what makes requests alike, a busy period or a stall, and there are
//! enough of them to be drawn from: [`BLOCKS_PER_REPETITION`] in each repetition. The blocks of all
//! repetitions lie in one urn, so that what differs between repetitions is in the interval as far
//! as so few can show it. It is a little too narrow all the same, and a maximum has none: what has
//! not been seen cannot be drawn.
//!
//! Percentiles are not sorted anew for each draw. Values are sorted once and put into groups, of a
//! fiftieth of what lies beyond them at the nearer end; a draw then adds up how many of each group
//! its blocks have. A million values take some hundred milliseconds, and few values are their own
//! groups, so that nothing is lost.
//!
//! Not here: drawing whole repetitions (`statistics`).

use std::ops::Range;

use crate::experiment::load::sample::Sample;
use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::statistics::{ends_of, rank};
use crate::time::Nanos;

/// Of ten seconds, a third of one.
pub(super) const BLOCKS_PER_REPETITION: usize = 30;

/// The size of a group over the number of values beyond it.
const GROUP_SHARE: f64 = 0.02;

/// Values in blocks.
pub(super) struct Blocks {
    block_count: usize,
    /// The highest value of each group, ascending.
    tops: Vec<u64>,
    /// How many values of each group a block has, block after block.
    counts: Vec<u32>,
}

impl Blocks {
    /// Values, each with its block; blocks without values are blocks too.
    pub(super) fn new(mut values: Vec<(u64, usize)>, block_count: usize) -> Blocks {
        values.sort_unstable();
        let groups = groups(&values);
        let mut counts = vec![0; groups.len() * block_count];
        for (group, range) in groups.iter().enumerate() {
            for &(_, block) in &values[range.clone()] {
                counts[block * groups.len() + group] += 1;
            }
        }
        let tops = groups.iter().map(|range| values[range.end - 1].0).collect();
        Blocks { block_count, tops, counts }
    }

    /// The 95 % interval of each of these percentiles; none without values.
    pub(super) fn percentiles(&self, shares: &[f64], seed: u64) -> Vec<Option<(f64, f64)>> {
        if self.tops.is_empty() {
            return vec![None; shares.len()];
        }
        // One pass of draws for all: they differ only in where they look.
        let mut sums = vec![0_u64; self.tops.len()];
        let mut drawn: Vec<Vec<f64>> = vec![Vec::new(); shares.len()];
        let _ = ends_of(seed, |rng| {
            self.draw(rng, &mut sums);
            let total: u64 = sums.iter().sum();
            for (share, drawn) in shares.iter().zip(&mut drawn) {
                drawn.push(self.at(&sums, rank(total, *share))?);
            }
            Some(0.0)
        });
        let ends = |drawn: Vec<f64>| {
            let mut drawn = drawn.into_iter();
            ends_of(seed, |_| drawn.next())
        };
        drawn.into_iter().map(ends).collect()
    }

    /// How many of each group so many blocks have as there are, drawn with repetition.
    fn draw(&self, rng: &mut fastrand::Rng, sums: &mut [u64]) {
        let mut times = vec![0_u32; self.block_count];
        for _ in 0..self.block_count {
            times[rng.usize(..self.block_count)] += 1;
        }
        sums.fill(0);
        for (counts, times) in self.counts.chunks_exact(self.tops.len()).zip(times) {
            if times > 0 {
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum += u64::from(*count) * u64::from(times);
                }
            }
        }
    }

    /// The value of this rank; none where all blocks that were drawn are empty.
    fn at(&self, sums: &[u64], rank: u64) -> Option<f64> {
        let mut below = 0;
        let group = sums.iter().position(|sum| {
            below += sum;
            below >= rank && rank > 0
        });
        Some(self.tops[group?] as f64)
    }
}

/// The 95 % interval of the sum over blocks of one thing over the sum of another; none where there
/// is nothing to divide by.
pub(super) fn quotient(blocks: &[(f64, f64)], seed: u64) -> Option<(f64, f64)> {
    if blocks.is_empty() {
        return None;
    }
    ends_of(seed, |rng| {
        let (mut above, mut below) = (0.0, 0.0);
        for _ in 0..blocks.len() {
            let drawn = blocks[rng.usize(..blocks.len())];
            above += drawn.0;
            below += drawn.1;
        }
        (below > 0.0).then(|| above / below)
    })
}

/// The block of a moment, within its repetition; none outside of the measured time.
pub(super) fn block_of(at: Nanos, measured: (Nanos, Nanos)) -> Option<usize> {
    let (from, to) = measured;
    if !(from..to).contains(&at) {
        return None;
    }
    let share = at.since(from).as_secs_f64() / to.since(from).as_secs_f64();
    Some(((share * BLOCKS_PER_REPETITION as f64) as usize).min(BLOCKS_PER_REPETITION - 1))
}

/// The samples of all repetitions that this function has a value of, each with its block, by when
/// they were due.
pub(super) fn values_in_blocks(
    trials: &[Observed],
    value: impl Fn(&Sample) -> Option<u64>,
) -> Vec<(u64, usize)> {
    let all = trials.iter().enumerate().flat_map(|(index, trial)| {
        trial.samples.iter().filter_map({
            let value = &value;
            move |sample| {
                let block = block_of(sample.due, trial.measured)?;
                Some((value(sample)?, index * BLOCKS_PER_REPETITION + block))
            }
        })
    });
    all.collect()
}

/// The groups of sorted values: small at both ends, where percentiles are looked for. Equal values
/// are in one, or the order of their blocks would decide.
fn groups(values: &[(u64, usize)]) -> Vec<Range<usize>> {
    let count = values.len();
    let mut groups = Vec::new();
    let mut from = 0;
    while from < count {
        let beyond = from.min(count - from);
        let size = ((beyond as f64 * GROUP_SHARE) as usize).max(1);
        let mut to = (from + size).min(count);
        let top = values[to - 1].0;
        to += values[to..].partition_point(|&(value, _)| value <= top);
        groups.push(from..to);
        from = to;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::measure::statistics::percentile;

    #[test]
    fn groups_cover_all_values_once() {
        for count in [0, 1, 2, 99, 1000, 100_000] {
            let values: Vec<_> = (0..count).map(|value| (value as u64, 0)).collect();
            let groups = groups(&values);
            let mut next = 0;
            for group in &groups {
                assert_eq!(group.start, next);
                assert!(!group.is_empty());
                next = group.end;
            }
            assert_eq!(next, count);
            assert!(groups.len() <= 1500, "{count}: {}", groups.len());
        }
        let few: Vec<_> = (0..90).map(|value| (value, 0)).collect();
        assert_eq!(groups(&few).len(), 90);
        assert_eq!(groups(&[(5, 0), (5, 1), (5, 2), (6, 0)]), [0..3, 3..4]);
    }

    /// Blocks that are all alike leave nothing to chance; blocks that differ do, and the more the
    /// fewer there are.
    #[test]
    fn an_interval_is_as_wide_as_blocks_differ() {
        let alike: Vec<_> = (0..30).flat_map(|block| (1..=100).map(move |v| (v, block))).collect();
        let found = Blocks::new(alike, 30).percentiles(&[0.5, 0.99], 1);
        for (found, expected) in found.into_iter().zip([50.0, 99.0]) {
            let (low, high) = found.expect("values");
            assert_eq!((low, high), (expected, expected));
        }
        // One block of thirty is slow: a draw has it not at all in 36 of 100 times.
        let slow = |block| if block == 0 { 1000 } else { 1 };
        let one: Vec<_> =
            (0..30).flat_map(|block| (0..100).map(move |_| (slow(block), block))).collect();
        let found = Blocks::new(one, 30).percentiles(&[0.5, 0.99], 1);
        assert_eq!(found, [Some((1.0, 1.0)), Some((1.0, 1000.0))]);
        assert_eq!(Blocks::new(Vec::new(), 30).percentiles(&[0.5], 1), [None]);
    }

    /// Independent values are the one case in which single requests could be drawn as well: there
    /// the interval covers the true percentile about as often as it says.
    #[test]
    fn intervals_cover_what_they_promise() {
        let mut rng = fastrand::Rng::with_seed(3);
        let covered = (0..40).filter(|&experiment| {
            let values: Vec<_> = (0..500).map(|i| (rng.u64(0..1_000_000), i / 20)).collect();
            let mut sorted: Vec<_> = values.iter().map(|&(value, _)| value).collect();
            sorted.sort_unstable();
            let found = Blocks::new(values, 25).percentiles(&[0.9], experiment);
            let (low, high) = found[0].expect("values");
            let own = percentile(&sorted, 0.9).expect("values") as f64;
            assert!(low * 0.98 <= own && own <= high * 1.02, "{low} {own} {high}");
            low <= 900_000.0 && 900_000.0 <= high
        });
        let covered = covered.count();
        assert!((33..=40).contains(&covered), "{covered} of 40");
    }

    #[test]
    fn quotients_are_of_sums() {
        let alike = [(10.0, 2.0); 30];
        assert_eq!(quotient(&alike, 1), Some((5.0, 5.0)));
        let (low, high) = quotient(&[(1.0, 1.0), (3.0, 1.0)], 1).expect("blocks");
        assert_eq!((low, high), (1.0, 3.0));
        assert_eq!(quotient(&[(1.0, 0.0)], 1), None);
        assert_eq!(quotient(&[], 1), None);
    }

    #[test]
    fn moments_have_blocks() {
        let measured = (Nanos(1000), Nanos(4000));
        for (at, expected) in
            [(999, None), (1000, Some(0)), (1100, Some(1)), (3999, Some(29)), (4000, None)]
        {
            assert_eq!(block_of(Nanos(at), measured), expected, "{at}");
        }
    }
}
