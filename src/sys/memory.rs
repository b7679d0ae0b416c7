//! How much memory a process has: its resident set (proc_pid_statm(5)).
//!
//! Not here: what follows from it (`supervise::recycling`).

use std::fs;
use std::io;

use nix::unistd::{SysconfVar, sysconf};

/// Bytes that a process has in memory, pages shared with others included. The caller must not have
/// reaped it, or its pid may be another's.
///
/// # Errors
/// There is no such process, or no /proc.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = resident_pages(&statm).ok_or(io::ErrorKind::InvalidData)?;
    let page_size = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| u64::try_from(size).ok());
    Ok(pages.saturating_mul(page_size.ok_or(io::ErrorKind::Unsupported)?))
}

/// The second number: size, resident, shared, …, in pages.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_is_the_resident_set() {
        assert_eq!(resident_pages("2077 331 290 6 0 98 0\n"), Some(331));
        assert_eq!(resident_pages("2077"), None);
        assert_eq!(resident_pages("1 -1"), None);
    }

    #[test]
    fn memory_that_is_touched_is_seen() {
        const SIZE: usize = 32 << 20;
        let before = resident_bytes(std::process::id()).unwrap();
        let touched = vec![1_u8; SIZE];
        let after = resident_bytes(std::process::id()).unwrap();
        assert_eq!(touched[SIZE - 1], 1);
        // Another test's thread may give some back meanwhile.
        assert!(after > before + SIZE as u64 / 2, "{before} {after}");
        assert!(resident_bytes(u32::MAX).is_err());
    }
}
