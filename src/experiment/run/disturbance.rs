//! What befalls a worker in a run: when which signal. Pure; the seed says to whom.
//!
//! A slow worker is one that is stopped and continued in turn (SIGSTOP, SIGCONT). That is not quite
//! a worker on a slow core: a stop ends a sleep no later than the clock says, and a master is told by
//! the kernel that its child has stopped, which one with a busy neighbour on its core would not be.
//! The report says so beside the figures.
//!
//! Not here: sending signals (`trial`).

use nix::sys::signal::Signal;

use crate::experiment::plan::model::Event;
use crate::experiment::run::limits::SLOW_PERIOD;
use crate::time::Nanos;

/// One signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// When it is sent.
    pub(crate) at: Nanos,
    /// To which worker: counted in the order of slots, beginning again at the end.
    pub(crate) worker: usize,
    /// Which.
    pub(crate) signal: Signal,
}

/// All signals of an event, in order, for a measured time.
pub(crate) fn steps(event: Event, measured: (Nanos, Nanos), seed: u64) -> Vec<Step> {
    let (from, to) = measured;
    let length = to.since(from);
    let after = |share: f64| from + length.mul_f64(share);
    let mut rng = fastrand::Rng::with_seed(seed);
    let worker = rng.usize(..usize::MAX);
    let step = |at, signal| Step { at, worker, signal };
    match event {
        Event::Stalled { at, lasts } => {
            vec![step(after(at), Signal::SIGSTOP), step(after(at + lasts), Signal::SIGCONT)]
        }
        Event::Slow { at, lasts, times } => {
            let (begin, end) = (after(at), after(at + lasts));
            let stopped = SLOW_PERIOD.mul_f64(1.0 - 1.0 / times);
            let periods = end.since(begin).as_nanos() / SLOW_PERIOD.as_nanos();
            let mut steps = Vec::new();
            for period in 0..u32::try_from(periods).unwrap_or(u32::MAX) {
                let stop = begin + SLOW_PERIOD * period;
                steps.push(step(stop, Signal::SIGSTOP));
                steps.push(step(stop + stopped, Signal::SIGCONT));
            }
            steps
        }
        Event::Killed { at, count } => {
            let apart = length.mul_f64(1.0 - at) / count.max(1);
            let mut steps = Vec::new();
            for index in 0..count {
                let at = after(at) + apart * index;
                let worker = rng.usize(..usize::MAX);
                steps.push(Step { at, worker, signal: Signal::SIGKILL });
            }
            steps
        }
    }
}

/// The process that a step is for, of the workers that there are, in the order of slots. Who was
/// stopped is the one that goes on, though others have ended meanwhile, or begun.
pub(crate) fn victim(step: Step, workers: &[u32], stopped: &mut Option<u32>) -> Option<u32> {
    if step.signal == Signal::SIGCONT {
        return stopped.take().filter(|pid| workers.contains(pid));
    }
    let place = step.worker.checked_rem(workers.len())?;
    let pid = workers.get(place).copied();
    if step.signal == Signal::SIGSTOP {
        *stopped = pid;
    }
    pid
}

/// What a reader must know of an event; none where it is what it is called.
pub(crate) fn warning(event: Event) -> Option<&'static str> {
    match event {
        Event::Slow { .. } => Some(
            "the slow worker is stopped and continued by signals: a master is told of each stop, \
             as it would not be of a busy core",
        ),
        Event::Stalled { .. } => Some(
            "the worker stalls by SIGSTOP: a master is told of it, as it would not be of a page \
             fault or a long call",
        ),
        Event::Killed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MEASURED: (Nanos, Nanos) = (Nanos(5 * SECOND), Nanos(15 * SECOND));

    /// How long a worker stands still in a run.
    fn stopped(steps: &[Step]) -> Duration {
        let pairs = steps.chunks_exact(2);
        pairs.map(|pair| pair[1].at.since(pair[0].at)).sum()
    }

    #[test]
    fn a_stall_is_a_stop_and_a_continue() {
        let steps = steps(Event::Stalled { at: 0.2, lasts: 0.1 }, MEASURED, 1);
        assert_eq!(stopped(&steps), Duration::from_secs(1));
        assert_eq!((steps.len(), steps[0].at), (2, Nanos(7 * SECOND)));
    }

    #[test]
    fn a_slow_worker_has_its_share_of_the_time() {
        let steps = steps(Event::Slow { at: 0.0, lasts: 1.0, times: 4.0 }, MEASURED, 1);
        let share = stopped(&steps).as_secs_f64() / 10.0;
        assert!((share - 0.75).abs() < 1e-6, "{share}");
        assert!(steps.iter().all(|step| step.worker == steps[0].worker));
        assert_eq!(steps.last().map(|step| step.signal), Some(Signal::SIGCONT));
        assert!(steps.is_sorted_by_key(|step| step.at));
    }

    #[test]
    fn killing_takes_another_worker_each_time_and_a_seed_says_which() {
        let event = Event::Killed { at: 0.5, count: 3 };
        let killed = steps(event, MEASURED, 1);
        assert_eq!(killed, steps(event, MEASURED, 1));
        assert_ne!(killed, steps(event, MEASURED, 2));
        assert_eq!(killed.len(), 3);
        assert!(killed.iter().all(|step| step.at >= Nanos(10 * SECOND) && step.at < MEASURED.1));
    }

    /// A worker that was replaced between the two had the second signal sent to its neighbour, and
    /// the stopped one served nobody for the rest of the run.
    #[test]
    fn who_was_stopped_is_who_goes_on() {
        let step = |signal| Step { at: Nanos(0), worker: 1, signal };
        let mut stopped = None;
        assert_eq!(victim(step(Signal::SIGSTOP), &[10, 11, 12], &mut stopped), Some(11));
        assert_eq!(victim(step(Signal::SIGCONT), &[11, 12, 13], &mut stopped), Some(11));
        assert_eq!(victim(step(Signal::SIGCONT), &[11, 12, 13], &mut stopped), None);
        assert_eq!(victim(step(Signal::SIGSTOP), &[12, 13], &mut stopped), Some(13));
        assert_eq!(victim(step(Signal::SIGCONT), &[12, 14], &mut stopped), None, "it has ended");
        assert_eq!(victim(step(Signal::SIGKILL), &[], &mut stopped), None);
    }
}
