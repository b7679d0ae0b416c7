//! Waiting, apart from being served.
//!
//! A request says how long it asks to be worked on, and the generator saw its answer. So it was
//! *begun* when the answer came, less that time; what lies before is waiting: in the generator for
//! a connection that is free, in the kernel, at the master, at a worker. The way there and back is
//! in it too, and whatever the work took longer than it asked for: a worker that shares its core
//! is slower than it believes. With sleeping as service that is a matter of microseconds.
//!
//! Not here: whether somebody else was free meanwhile (`conservation`, `hindsight`).

use std::time::Duration;

use crate::experiment::load::sample::Sample;
use crate::time::Nanos;

/// A wait that nobody could have spared a request: the way over loopback and back, two wake-ups,
/// and the 50 µs by which the kernel may end a sleep late (timer slack, prctl(2)). On the machines
/// that this was tried on it is 100 to 150 µs, and waits that a better decision spares are
/// milliseconds.
pub const TOLERANCE: Duration = Duration::from_micros(200);

/// When a request was begun: not before it was sent.
pub(super) fn begun(sample: &Sample) -> Nanos {
    let service_ns = u64::try_from(sample.service.as_nanos()).unwrap_or(u64::MAX);
    Nanos(sample.answered.0.saturating_sub(service_ns)).max(sample.sent)
}

/// How long a request waited, in nanoseconds, from when it was due.
pub(super) fn wait_ns(sample: &Sample) -> u64 {
    let service_ns = u64::try_from(sample.service.as_nanos()).unwrap_or(u64::MAX);
    sample.answered.0.saturating_sub(service_ns).saturating_sub(sample.due.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_service_is_waiting() {
        let sample = |due, sent, answered, service| Sample {
            class: 0,
            connection: 0,
            due: Nanos(due),
            sent: Nanos(sent),
            answered: Nanos(answered),
            service: Duration::from_nanos(service),
            worker: None,
        };
        let late = sample(100, 150, 1000, 700);
        assert_eq!((begun(&late), wait_ns(&late)), (Nanos(300), 200));
        // Faster than it asked for: a clock that is not the server's.
        let early = sample(100, 150, 700, 700);
        assert_eq!((begun(&early), wait_ns(&early)), (Nanos(150), 0));
        let nothing = sample(100, 100, 400, 0);
        assert_eq!((begun(&nothing), wait_ns(&nothing)), (Nanos(400), 300));
    }
}
