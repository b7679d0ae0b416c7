//! The listeners of `--accept reuseport`: one for each slot, so that each worker has a queue of its
//! own at every address.
//!
//! The first slot's are the acceptor's; here are those of the others, in the order of slots. The
//! master keeps a copy of each: a worker's queue outlives its process, and its replacement goes on
//! with it. Slots come and go at the end (`Supervisor::scale`), which keeps the kernel's order of
//! listeners that of slots (`sys::reuseport`).
//!
//! Before a slot's listeners are closed a program has the kernel choose among the others; so what
//! its worker finds until it leaves is all there is.
//!
//! Not here: accepting from them (`worker::accepting`), options (`sys::listener`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use tracing::warn;

use crate::config::{Arm, ListenOptions, Selector};
use crate::ident::Slot;
use crate::sys::listener::ListenError;
use crate::sys::reuseport;

/// The listeners of one address, but for the first slot's.
#[derive(Debug, Default)]
pub(crate) struct PrivateQueues {
    /// From the second slot on.
    queues: Vec<OwnedFd>,
    /// Among how many the kernel chooses by a program; none while the hash does.
    chosen_among: Option<u32>,
}

impl PrivateQueues {
    /// Goes on with those that another image of this process has opened.
    pub(crate) fn resume(queues: Vec<OwnedFd>) -> Self {
        // It may have left a program: whatever is wanted is said anew.
        PrivateQueues { queues, chosen_among: Some(0) }
    }

    /// Opens what is missing for a slot and those before it.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn open_for(
        &mut self,
        slot: Slot,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> Result<(), ListenError> {
        while self.queues.len() < usize::from(slot.0) {
            self.queues.push(reuseport::open_tcp(address, options)?);
        }
        Ok(())
    }

    /// The listener of a slot, `first` being the first one's.
    pub(crate) fn of<'a>(&'a self, slot: Slot, first: &'a OwnedFd) -> Option<BorrowedFd<'a>> {
        match usize::from(slot.0).checked_sub(1) {
            None => Some(first.as_fd()),
            Some(place) => self.queues.get(place).map(AsFd::as_fd),
        }
    }

    /// So many slots are wanted, those below `used` have workers: what is neither is closed, and new
    /// connections go to those that are wanted alone.
    pub(crate) fn settle(
        &mut self,
        first: BorrowedFd<'_>,
        arm: Arm,
        selector: Selector,
        wanted: u16,
        used: u16,
    ) {
        self.queues.truncate(usize::from(wanted.max(used)).saturating_sub(1));
        let wanted = u32::from(wanted);
        let leaving = self.queues.len() as u32 + 1 > wanted;
        let among = match arm {
            Arm::ReuseportCbpf => Some(wanted),
            // Only while a slot is leaving: the hash would go on sending it connections.
            Arm::Reuseport if leaving => Some(wanted),
            Arm::Reuseport | Arm::Master | Arm::Shared | Arm::Exclusive | Arm::Blocking => None,
        };
        if among == self.chosen_among {
            return;
        }
        let selector = if arm == Arm::ReuseportCbpf { selector } else { Selector::Random };
        let done = match among {
            Some(count) => reuseport::select_among(first, selector, count),
            None => reuseport::select_by_hash(first),
        };
        match done {
            Ok(()) => self.chosen_among = among,
            Err(cause) => warn!(%cause, "choosing among the workers' listeners"),
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues.iter().map(AsFd::as_fd)
    }

    /// Their numbers, for another image of this process.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        self.queues.iter().map(AsRawFd::as_raw_fd).collect()
    }
}

/// The address of a listener that others are opened beside.
pub(crate) fn tcp_address(listener: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = rustix::net::getsockname(listener)?;
    SocketAddr::try_from(address).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::sys::listener::queue_length;

    const OPTIONS: ListenOptions =
        ListenOptions { backlog: 256, defer_accept_s: 0, unix_mode: 0o600, unix_owner: None };

    fn first() -> (OwnedFd, SocketAddr) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = reuseport::open_tcp(any, &OPTIONS).unwrap();
        let address = tcp_address(first.as_fd()).unwrap();
        (first, address)
    }

    fn waiting(queues: &PrivateQueues, first: &OwnedFd) -> Vec<u32> {
        let all = std::iter::once(first.as_fd()).chain(queues.iter());
        all.map(|one| queue_length(one).unwrap()).collect()
    }

    #[test]
    fn a_slot_that_leaves_gets_nothing_new_and_its_listener_goes_with_its_worker() {
        for arm in [Arm::Reuseport, Arm::ReuseportCbpf] {
            let (first, address) = first();
            let mut queues = PrivateQueues::default();
            queues.open_for(Slot(2), address, &OPTIONS).unwrap();
            let settle = |queues: &mut PrivateQueues, wanted, used| {
                queues.settle(first.as_fd(), arm, Selector::Random, wanted, used);
            };
            settle(&mut queues, 3, 3);
            let mut clients: Vec<_> =
                (0..90).map(|_| TcpStream::connect(address).unwrap()).collect();
            let shares = waiting(&queues, &first);
            assert!(shares.iter().all(|share| *share > 0), "{arm}: {shares:?}");
            settle(&mut queues, 2, 3);
            clients.extend((0..30).map(|_| TcpStream::connect(address).unwrap()));
            let later = waiting(&queues, &first);
            assert_eq!(later[2], shares[2], "{arm}");
            assert_eq!(later.iter().sum::<u32>(), 120, "{arm}");
            settle(&mut queues, 2, 2);
            assert_eq!(queues.numbers().len(), 1, "{arm}");
            // All that are left are chosen again, whoever chooses.
            clients.extend((0..60).map(|_| TcpStream::connect(address).unwrap()));
            let last = waiting(&queues, &first);
            assert!(last[0] > later[0] && last[1] > later[1], "{arm}: {last:?}");
            assert!(queues.of(Slot(0), &first).is_some() && queues.of(Slot(2), &first).is_none());
        }
    }
}
