//! A few descriptors kept back, so that a master at its limit can still replace a worker.
//!
//! Every connection of the server is a descriptor of the master. When clients have used them all
//! up, starting a worker (channel, page, pidfd, the pipe of exec) must still work.
//!
//! Not here: what is done about clients at the limit (`acceptor`, `Master::make_room`).

use std::fs::File;
use std::os::fd::OwnedFd;

use crate::config::DESCRIPTORS_RESERVED;

/// Descriptors that stand for nothing.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    held: Vec<OwnedFd>,
}

impl Reserve {
    /// Lets go of all of them, for the caller to use at once.
    pub(crate) fn release(&mut self) {
        self.held.clear();
    }

    /// Takes as many as it can get, up to the limit.
    pub(crate) fn refill(&mut self) {
        while self.held.len() < DESCRIPTORS_RESERVED {
            match File::open("/dev/null") {
                Ok(file) => self.held.push(file.into()),
                // At the limit just now: the next refill tries again.
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_new_worker_needs_and_gives_it_back() {
        let mut reserve = Reserve::default();
        reserve.refill();
        assert_eq!(reserve.held.len(), DESCRIPTORS_RESERVED);
        reserve.release();
        assert!(reserve.held.is_empty());
    }
}
