//! The processor's time that a process has had, as its own clock says (clock_getcpuclockid(3)).
//!
//! Not here: that of the calling thread (`usage`), what follows from it (`supervise::scaling`).

use std::io;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::time::Nanos;

/// All its threads together, to the nanosecond: a system call, and no file of /proc. The caller must
/// not have reaped it, or its pid may be another's.
///
/// # Errors
/// There is no such process.
pub fn processor_time(pid: u32) -> io::Result<Nanos> {
    let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let time = clock_getcpuclockid(Pid::from_raw(pid))?.now()?;
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Ok(Nanos(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_process_that_works_has_had_time_and_one_that_is_not_there_is_an_error() {
        let before = processor_time(std::process::id()).unwrap();
        let until = clock::now() + Duration::from_millis(2);
        while clock::now() < until {
            std::hint::spin_loop();
        }
        assert!(processor_time(std::process::id()).unwrap() > before);
        assert!(processor_time(1).is_ok(), "another's too");
        // One more than the highest that there can be (PID_MAX_LIMIT, proc_sys_kernel(5)).
        assert!(processor_time(1 << 22).is_err());
        assert!(processor_time(u32::MAX).is_err());
    }
}
