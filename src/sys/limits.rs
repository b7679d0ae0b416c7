//! The kernel's version, and how many descriptors this process may have.
//!
//! Not here: named maxima of the project (`config::limits`).

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The oldest kernel whose interfaces suffice: openat2(2) came in 5.6; waiting by pidfd
/// (waitid(2), P_PIDFD) in 5.4.
pub const KERNEL_FLOOR: (u32, u32) = (5, 6);

/// The running kernel's version, if it says one.
pub fn kernel_release() -> Option<(u32, u32)> {
    parse_release(&rustix::system::uname().release().to_string_lossy())
}

/// Major and minor of a release such as `6.1.0-13-amd64`.
fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Raises the soft limit on descriptors to the hard one, and returns it: every connection of the
/// server is a descriptor of its master.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_kinds_are_read() {
        assert_eq!(parse_release("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(parse_release("5.4"), Some((5, 4)));
        assert_eq!(parse_release("5.15.0-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(parse_release("next"), None);
        assert!(kernel_release() >= Some(KERNEL_FLOOR));
    }
}
