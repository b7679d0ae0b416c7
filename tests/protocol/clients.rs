//! Clients and their connections: what really happened to each.
//!
//! Not here: who serves them (`master`, `worker`).

use maitred::ident::LoanId;

use crate::protocol::{End, Step, World};

/// Where the master has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Backlog,
    Queued,
    Parked,
    OnLoan(usize, LoanId),
    Gone,
}

/// How a connection has left the master's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Finished,
    LeftIdle,
    /// 502.
    DiedUnanswered,
    DiedAnswering,
}

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Pieces of requests that the client has sent, and of those that workers have read.
    pub(crate) sent: u8,
    pub(crate) taken: u8,
    /// Answers that have left as a whole.
    pub(crate) answered: u8,
    /// The client has sent its end.
    pub(crate) closed: bool,
    /// A worker, or the master, has shut it down.
    pub(crate) over: bool,
    pub(crate) place: Place,
    pub(crate) outcome: Option<Outcome>,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Connection {
            sent: 0,
            taken: 0,
            answered: 0,
            closed: false,
            over: false,
            place: Place::Backlog,
            outcome: None,
        }
    }

    /// Pieces in the socket.
    pub(crate) fn unread(&self) -> u8 {
        self.sent - self.taken
    }

    /// What epoll calls readable: bytes, or the end.
    pub(crate) fn is_readable(&self) -> bool {
        self.unread() > 0 || self.closed
    }
}

impl World {
    pub(crate) fn clients_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, one) in self.connections.iter().enumerate() {
            if one.over {
                continue;
            }
            let all = self.pieces(number);
            if one.sent < all {
                steps.push(Step::Send(number));
            } else if self.bounds.end == End::Client && !one.closed {
                steps.push(Step::Close(number));
            }
        }
        steps
    }

    /// Pieces of everything that the client ever sends.
    pub(crate) fn pieces(&self, number: usize) -> u8 {
        self.bounds.requests[number] * self.bounds.pieces
    }

    /// A connection leaves the master's table; once.
    pub(crate) fn leaves(&mut self, number: usize, outcome: Outcome) {
        let connection = &mut self.connections[number];
        assert_eq!(connection.outcome, None, "{number} is counted twice, now {outcome:?}");
        connection.outcome = Some(outcome);
        connection.place = Place::Gone;
        connection.over = true;
    }
}
