//! What threads and processes have had of the processor, how often they have waited; and what the
//! kernel had no room for.
//!
//! Not here: what is concluded from it.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};
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

/// A process's parent, and the processor's time that all its threads have had, to a hundredth of a
/// second (proc_pid_stat(5)).
///
/// # Errors
/// There is no such process, or no /proc.
pub fn of_process(pid: u32) -> io::Result<(u32, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u32::try_from(ticks).ok());
    let ticks = ticks.filter(|ticks| *ticks > 0).ok_or(io::ErrorKind::Unsupported)?;
    parent_and_ticks(&stat)
        .map(|(parent, spent)| (parent, Duration::from_secs(spent) / ticks))
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// Connections that were dropped because an accept queue was full, in the whole network namespace
/// (`ListenOverflows` of proc_pid_net(5)); none without /proc.
pub fn listen_overflows() -> Option<u64> {
    overflows(&fs::read_to_string("/proc/net/netstat").ok()?)
}

/// Fields 4, 14 and 15. The second, the program's name, may hold anything: fields are counted from
/// its closing parenthesis.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind_name.split_whitespace().take(13).collect();
    let number = |field: usize| -> Option<u64> { fields.get(field - 3)?.parse().ok() };
    Some((u32::try_from(number(4)?).ok()?, number(14)?.saturating_add(number(15)?)))
}

/// A line of names, and a line of numbers beneath it.
fn overflows(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == "ListenOverflows")?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
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
    #[test]
    fn what_a_process_has_had_is_read_whatever_it_is_called() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194304 99 0 0 0 120 30 5 6 20 0 1 0 1 2 3";
        assert_eq!(parent_and_ticks(stat), Some((3, 150)));
        for cut in ["", "7 (a)", "7 (a) S 3 7 7 0 -1 4194304 99 0 0 0 120"] {
            assert_eq!(parent_and_ticks(cut), None, "{cut}");
        }
        let (parent, _) = of_process(std::process::id()).unwrap();
        assert_eq!(parent, crate::sys::process::parent());
        assert!(of_process(u32::MAX).is_err());
    }

    #[test]
    fn overflows_stand_under_their_name() {
        let text =
            "TcpExt: Other ListenOverflows ListenDrops\nTcpExt: 1 23 45\nIpExt: A\nIpExt: 9\n";
        assert_eq!(overflows(text), Some(23));
        assert_eq!(overflows("TcpExt: ListenDrops\nTcpExt: 1\n"), None);
        assert_eq!(overflows("TcpExt: A ListenOverflows\nTcpExt: 1\n"), None);
        assert!(listen_overflows().is_some());
    }
}
