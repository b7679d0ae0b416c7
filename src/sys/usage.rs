//! What a thread has had of the processor, and how often it has waited.
//!
//! Not here: what is concluded from it.

use nix::sys::resource::{UsageWho, getrusage};
use rustix::time::{ClockId, clock_gettime};

use crate::time::Nanos;

/// The processor's time that the calling thread has had, to the nanosecond
/// (CLOCK_THREAD_CPUTIME_ID, clock_gettime(2)): a system call, some 0.2 µs.
pub fn thread_processor_time() -> Nanos {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Nanos(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// How often the calling thread has given the processor away because it had to wait (`ru_nvcsw`,
/// getrusage(2)); what the system took from it is not counted.
pub fn voluntary_switches() -> u64 {
    getrusage(UsageWho::RUSAGE_THREAD)
        .map_or(0, |usage| u64::try_from(usage.voluntary_context_switches()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::clock;

    #[test]
    fn work_takes_the_processor_and_waiting_is_counted() {
        let (began, switches) = (thread_processor_time(), voluntary_switches());
        std::thread::sleep(Duration::from_millis(2));
        assert!(voluntary_switches() > switches);
        let until = clock::now() + Duration::from_millis(2);
        while clock::now() < until {
            std::hint::spin_loop();
        }
        assert!(thread_processor_time() > began);
    }
}
