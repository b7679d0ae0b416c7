//! Rates and latencies: what has been added between pictures, over the last seconds.
//!
//! Not here: what is done with them (`columns`, `draw`).

use std::collections::VecDeque;
use std::time::Duration;

use crate::observe::view::{HistogramView, SlotView, View, WorkerView};
use crate::time::Nanos;

/// Rates are of so long a time: one second alone jumps, for the master may sleep as long.
const WINDOW: Duration = Duration::from_secs(4);

/// Points of a sparkline: two minutes, at one a second.
pub(super) const POINTS_MAX: usize = 120;

/// Readings of one thing over the window, oldest first; the first is as old as the window.
#[derive(Clone, Debug)]
pub(super) struct Readings<T>(VecDeque<(Nanos, T)>);

impl<T> Default for Readings<T> {
    fn default() -> Self {
        Readings(VecDeque::new())
    }
}

impl<T> Readings<T> {
    pub(super) fn push(&mut self, now: Nanos, reading: T) {
        self.0.push_back((now, reading));
        while self.0.len() > 2 && now.since(self.0[1].0) >= WINDOW {
            self.0.pop_front();
        }
    }

    /// The oldest and the newest, and the time between them; none until there are two.
    fn ends(&self) -> Option<(&T, &T, Duration)> {
        let ((began, first), (now, last)) = (self.0.front()?, self.0.back()?);
        let between = now.since(*began);
        (!between.is_zero()).then_some((first, last, between))
    }

    /// The last two.
    fn step(&self) -> Option<(&T, &T)> {
        let before = self.0.len().checked_sub(2)?;
        Some((&self.0[before].1, &self.0.back()?.1))
    }

    pub(super) fn before(&self) -> Option<&T> {
        self.step().map(|(before, _)| before)
    }

    /// By the second; none where a reading does not know, or the counter has begun again.
    pub(super) fn rate(&self, of: impl Fn(&T) -> Option<f64>) -> Option<f64> {
        let (first, last, between) = self.ends()?;
        let added = of(last)? - of(first)?;
        (added >= 0.0).then(|| added / between.as_secs_f64())
    }
}

/// A latency out of a histogram. Beyond the last bound nobody knows how far: `more`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantile {
    pub(super) seconds: f64,
    pub(super) more: bool,
}

/// The quantile of bucket counts, within its bucket by proportion.
pub(super) fn quantile(counts: &[u64], bounds: &[f64], share: f64) -> Option<Quantile> {
    let all = counts.iter().map(|count| *count as f64).sum::<f64>();
    let last = *bounds.last()?;
    if all <= 0.0 {
        return None;
    }
    let mut left = all * share;
    for (bucket, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = *count as f64;
        if left > count {
            left -= count;
            continue;
        }
        let Some(high) = bounds.get(bucket) else { break };
        let low = bucket.checked_sub(1).and_then(|below| bounds.get(below)).unwrap_or(&0.0);
        let within = left / count;
        return Some(Quantile { seconds: low * (1.0 - within) + high * within, more: false });
    }
    Some(Quantile { seconds: last, more: true })
}

/// What has been added; all of it where a counter has begun again.
fn added(now: &[u64], before: &[u64]) -> Vec<u64> {
    let fits =
        now.len() == before.len() && now.iter().zip(before).all(|(now, before)| now >= before);
    if !fits {
        return now.to_vec();
    }
    now.iter().zip(before).map(|(now, before)| now - before).collect()
}

/// The histograms of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timed {
    QueueWait,
    Service,
}

impl Timed {
    fn of(self, slot: &SlotView) -> &HistogramView {
        match self {
            Timed::QueueWait => &slot.queue_wait,
            Timed::Service => &slot.service,
        }
    }
}

impl Readings<SlotView> {
    /// What has been added over the window.
    pub(super) fn grown(&self, timed: Timed) -> Vec<u64> {
        let ends = self.ends().map(|(first, last, _)| (first, last));
        Self::between(ends, timed)
    }

    /// And since the picture before the last.
    pub(super) fn last_step(&self, timed: Timed) -> Vec<u64> {
        Self::between(self.step(), timed)
    }

    fn between(ends: Option<(&SlotView, &SlotView)>, timed: Timed) -> Vec<u64> {
        ends.map(|(before, now)| added(&timed.of(now).counts, &timed.of(before).counts))
            .unwrap_or_default()
    }
}

/// Counts of several slots together.
pub(super) fn sum(all: impl Iterator<Item = Vec<u64>>) -> Vec<u64> {
    all.fold(Vec::new(), |mut sums, counts| {
        sums.resize(sums.len().max(counts.len()), 0);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = u64::saturating_add(*sum, count);
        }
        sums
    })
}

/// One process at one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Worker {
    pub(super) readings: Readings<WorkerView>,
    /// p99 of each second, for the sparkline; none where nothing was answered.
    pub(super) points: VecDeque<Option<f64>>,
    /// When it was last seen to begin or finish something, or had nothing to do.
    pub(super) progress_at: Nanos,
}

impl Worker {
    pub(super) fn handle(&mut self, now: Nanos, seen: &WorkerView) {
        let before = self.readings.0.back().map(|(_, view)| progress(view));
        if before != Some(progress(seen)) || seen.active == 0 {
            self.progress_at = now;
        }
        self.readings.push(now, seen.clone());
    }

    pub(super) fn point(&mut self, point: Option<f64>) {
        push_point(&mut self.points, point);
    }

    /// Share of its handlers' time that was taken.
    pub(super) fn busy(&self) -> Option<f64> {
        let threads = self.readings.0.back().map_or(1, |(_, view)| view.threads.max(1));
        let rate = self.readings.rate(|view| Some(view.busy_seconds))?;
        Some((rate / f64::from(threads)).min(1.0))
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.readings.rate(|view| Some(view.requests_finished as f64))
    }

    /// Of one core.
    pub(super) fn cpu(&self) -> Option<f64> {
        self.readings.rate(|view| view.cpu_seconds)
    }

    /// Stuck in this picture and the one before, on the same requests; or in the first one. Handlers
    /// slower than `--stall-after` make a worker stuck and well again many times a second, and one
    /// whose threads are all taken is found stuck in nearly every picture, on other requests each
    /// time.
    pub(super) fn stays_stuck(&self) -> bool {
        let Some((_, now)) = self.readings.0.back() else { return false };
        let goes_on = |before: &WorkerView| before.stuck && progress(before) == progress(now);
        now.stuck && self.readings.before().is_none_or(goes_on)
    }
}

fn progress(view: &WorkerView) -> (u64, u64) {
    (view.requests_started, view.requests_finished)
}

pub(super) fn push_point<T>(points: &mut VecDeque<T>, point: T) {
    points.push_back(point);
    if points.len() > POINTS_MAX {
        points.pop_front();
    }
}

/// What the whole server has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) answered: u64,
    pub(super) shed: u64,
    pub(super) aborted: u64,
    pub(super) queued: u64,
    pub(super) overflows: Option<u64>,
}

impl Totals {
    pub(super) fn of(view: &View) -> Totals {
        let all = |numbers: &[(String, u64)]| {
            numbers.iter().fold(0, |sum, (_, number)| u64::saturating_add(sum, *number))
        };
        // The workers' own counters go when they do: what the slots have answered stays.
        let classes: Vec<u64> = view.slots.iter().map(|slot| all(&slot.responses.0)).collect();
        let finished = view.workers.iter().map(|worker| worker.requests_finished);
        let add = |sum, number| u64::saturating_add(sum, number);
        let knows = view.slots.iter().any(|slot| !slot.responses.0.is_empty());
        Totals {
            answered: if knows { classes.into_iter().fold(0, add) } else { finished.fold(0, add) },
            shed: all(&view.account.shed.0),
            aborted: all(&view.account.aborted.0),
            queued: view.account.here.get("queued").unwrap_or(0),
            overflows: view.kernel_queue.as_ref().map(|queue| queue.overflows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 3] = [0.001, 0.01, 0.1];

    fn at(second: u64) -> Nanos {
        Nanos(second * 1_000_000_000)
    }

    #[test]
    fn a_quantile_lies_in_its_bucket_by_proportion() {
        let of = |counts: [u64; 4], share| quantile(&counts, &BOUNDS, share);
        assert_eq!(of([0; 4], 0.5), None);
        assert_eq!(of([10, 0, 0, 0], 0.5), Some(Quantile { seconds: 0.0005, more: false }));
        assert_eq!(of([0, 10, 0, 0], 1.0), Some(Quantile { seconds: 0.01, more: false }));
        let between = of([50, 50, 0, 0], 0.75).expect("a quantile").seconds;
        assert!((between - 0.0055).abs() < 1e-9, "{between}");
        assert_eq!(of([0, 0, 0, 1], 0.99), Some(Quantile { seconds: 0.1, more: true }));
        assert_eq!(quantile(&[1], &[], 0.5), None);
    }

    #[test]
    fn a_rate_is_of_the_window_and_of_nothing_before() {
        let mut readings = Readings::default();
        readings.push(at(0), 0.0);
        assert_eq!(readings.rate(|one| Some(*one)), None);
        readings.push(at(1), 1000.0);
        assert_eq!(readings.rate(|one| Some(*one)), Some(1000.0));
        for second in 2..20 {
            readings.push(at(second), 1000.0 + 10.0 * (second - 1) as f64);
        }
        assert_eq!(readings.rate(|one| Some(*one)), Some(10.0));
        assert_eq!(readings.0.len(), 5);
        readings.push(at(20), 3.0);
        assert_eq!(readings.rate(|one| Some(*one)), None, "a counter that has begun again");
    }

    #[test]
    fn a_counter_that_has_begun_again_counts_in_full() {
        assert_eq!(added(&[5, 7], &[1, 7]), [4, 0]);
        assert_eq!(added(&[5, 6], &[1, 7]), [5, 6]);
        assert_eq!(added(&[5, 6], &[1]), [5, 6]);
        assert_eq!(sum([vec![1, 2], vec![], vec![u64::MAX, 0, 1]].into_iter()), [u64::MAX, 2, 1]);
    }
}
