//! Connections: what has been asked on each, and who has it.
//!
//! A place in the table is used again when its connection is over, so that the table is as large as
//! the most that were there at one time.
//!
//! Not here: moving them (`seating`, `worker`).

use crate::sim::server::Ask;
use crate::time::Nanos;

/// Who has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The kernel: nobody has accepted it.
    Kernel,
    /// The dispatcher, as it was accepted.
    Fresh,
    /// The dispatcher, after it had been somewhere; or the way to it.
    Returned,
    /// The master, until somebody speaks.
    Parked,
    /// This member.
    Held(u32),
    /// Nobody: its place is free.
    Over,
}

/// What the word of a loan says; in the kernel's arms a connection is never LENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Lent,
    Active,
    Idle,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) place: Place,
    pub(super) word: Word,
    /// A request that nobody has read.
    pub(super) unread: bool,
    /// The client has closed its end.
    pub(super) hung_up: bool,
    pub(super) ask: Ask,
    pub(super) affinity: u64,
    pub(super) arrived_at: Nanos,
    /// Which stay at a worker this is: what is written down of an earlier one misses.
    pub(super) stay: u32,
    pub(super) lent_at: Nanos,
    /// When the packet with it was sent, or its bytes came.
    pub(super) heard_at: Nanos,
    /// When the work on its request is done.
    pub(super) done_at: Nanos,
    pub(super) began_at: Nanos,
}

impl Connection {
    /// What epoll calls readable.
    pub(super) fn is_readable(&self) -> bool {
        self.unread || self.hung_up
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    all: Vec<Connection>,
    free: Vec<u32>,
}

impl Connections {
    pub(super) fn insert(&mut self, ask: Ask, affinity: u64, now: Nanos) -> u32 {
        let fresh = Connection {
            place: Place::Kernel,
            word: Word::Lent,
            unread: true,
            hung_up: false,
            ask,
            affinity,
            arrived_at: now,
            stay: 0,
            lent_at: now,
            heard_at: now,
            done_at: Nanos::NEVER,
            began_at: now,
        };
        match self.free.pop() {
            Some(number) => {
                let stay = self.all[number as usize].stay;
                self.all[number as usize] = Connection { stay: stay.wrapping_add(1), ..fresh };
                number
            }
            None => {
                self.all.push(fresh);
                (self.all.len() - 1) as u32
            }
        }
    }

    pub(super) fn ask(&mut self, number: u32, ask: Ask) {
        let connection = &mut self.all[number as usize];
        debug_assert!(!connection.unread, "one request at a time");
        (connection.ask, connection.unread) = (ask, true);
    }

    pub(super) fn remove(&mut self, number: u32) {
        let connection = &mut self.all[number as usize];
        debug_assert_ne!(connection.place, Place::Over, "{number} is over twice");
        connection.place = Place::Over;
        connection.stay = connection.stay.wrapping_add(1);
        self.free.push(number);
    }

    pub(super) fn get(&self, number: u32) -> &Connection {
        &self.all[number as usize]
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut Connection {
        &mut self.all[number as usize]
    }

    /// Whether this stay at this member goes on.
    pub(super) fn stays(&self, number: u32, stay: u32, member: u32) -> bool {
        let connection = self.get(number);
        connection.stay == stay && connection.place == Place::Held(member)
    }

    /// Those that are here, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        (0..).zip(&self.all).filter(|(_, connection)| connection.place != Place::Over)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }
}
