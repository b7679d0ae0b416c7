//! Who accepts connections: the master, or the workers in one of the kernel's ways.
//!
//! Not here: what each of them does (`worker::accepting`, docs/accept.md), how a listener is opened
//! for it (`sys::listener`).

use std::fmt;

use crate::config::LOANS_MAX;

/// Who accepts, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The way.
    pub arm: Arm,
    /// With handler threads: workers accept also while none of their threads is free.
    pub eager: bool,
    /// Connections that a worker takes from its listeners in one turn of its loop.
    pub batch: u16,
    /// Which worker's queue a connection goes to, with [`Arm::ReuseportCbpf`].
    pub selector: Selector,
    /// Connections that a worker which accepts itself has open at the most; the others wait.
    pub open_max: u32,
}

/// One way of distributing connections over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum Arm {
    /// The master accepts, and lends each connection to a worker that has room.
    #[default]
    Master = 0,
    /// One listener, watched by level in every worker's epoll: all that sleep are woken.
    Shared = 1,
    /// The same with EPOLLEXCLUSIVE: one of those that sleep is woken.
    Exclusive = 2,
    /// A listener for each worker (SO_REUSEPORT): a hash of the addresses decides.
    Reuseport = 3,
    /// The same, and a classic BPF program decides.
    ReuseportCbpf = 4,
    /// One listener; each worker blocks in accept(2) and serves one connection at a time.
    Blocking = 5,
}

/// How the program of [`Arm::ReuseportCbpf`] decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// At random, the same share for each.
    #[default]
    Random,
    /// By the CPU that has received the connection's first segment.
    Cpu,
}

/// Whether workers of an arm take from the same queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queues {
    /// One for each bind.
    Shared,
    /// One for each bind and slot.
    Private,
}

impl Default for Accept {
    fn default() -> Self {
        let arm = Arm::default();
        Accept {
            arm,
            eager: false,
            batch: arm.batch_default(),
            selector: Selector::default(),
            open_max: LOANS_MAX,
        }
    }
}

impl Arm {
    /// Every arm, in the order of its number.
    pub const ALL: [Arm; 6] = [
        Arm::Master,
        Arm::Shared,
        Arm::Exclusive,
        Arm::Reuseport,
        Arm::ReuseportCbpf,
        Arm::Blocking,
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Master => "master",
            Arm::Shared => "shared",
            Arm::Exclusive => "exclusive",
            Arm::Reuseport => "reuseport",
            Arm::ReuseportCbpf => "reuseport-cbpf",
            Arm::Blocking => "blocking",
        }
    }

    /// Whether the workers accept, each for itself, and the kernel decides who.
    pub fn is_kernels(self) -> bool {
        self != Arm::Master
    }

    /// Whose queues connections wait in.
    pub fn queues(self) -> Queues {
        match self {
            Arm::Master | Arm::Shared | Arm::Exclusive | Arm::Blocking => Queues::Shared,
            Arm::Reuseport | Arm::ReuseportCbpf => Queues::Private,
        }
    }

    /// Connections that a worker takes in one turn where nobody says how many. From a shared queue
    /// one, as nginx does (`multi_accept off`): what is left there may go to somebody who is idle.
    /// From a private queue nobody else takes anything, and several share the cost of a turn.
    pub fn batch_default(self) -> u16 {
        match self {
            Arm::Master | Arm::Shared | Arm::Exclusive | Arm::Blocking => 1,
            Arm::Reuseport | Arm::ReuseportCbpf => 16,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_has_its_number_and_its_name() {
        for (number, arm) in (0_u64..).zip(Arm::ALL) {
            assert_eq!(arm as u64, number);
            assert_eq!(Arm::ALL.iter().filter(|other| other.name() == arm.name()).count(), 1);
        }
    }
}
