//! Turning connections away when no worker has room: the dispatcher's limits to waiting, carried
//! out.
//!
//! Not here: who is turned away (`dispatch::admission`), the gentle close (`lingering`).

use tracing::warn;

use crate::account::Outcome;
use crate::config::LOG_REPEAT_AFTER;
use crate::dispatch::ShedReason;
use crate::ident::ConnectionId;
use crate::master::Master;
use crate::master::lingering::LastAnswer;
use crate::master::stopping::Stopping;
use crate::time::Nanos;

/// The answer to a request that nobody had room for. `Retry-After` is the least that can be said
/// (RFC 9110 section 10.2.3): a queue is shorter, or no shorter, in a second.
const SERVICE_UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain\r\nContent-Length: 40\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    No worker has room for this request now\n";

/// What is said of it in the log: a line in five seconds, not one a connection.
#[derive(Debug, Default)]
pub(super) struct ShedLog {
    said_at: Option<Nanos>,
    since_then: u64,
}

impl Master {
    /// Asks how long the kernel's queue is, when the dispatcher wants to know.
    pub(super) fn look_at_backlog(&mut self) {
        if !self.may_shed() {
            return;
        }
        self.dispatcher.handle_kernel_waits(self.acceptor.kernel_waits());
        if self.dispatcher.next_backlog_look().is_some_and(|at| at <= self.now) {
            self.dispatcher.handle_backlog(self.acceptor.backlog());
        }
    }

    /// When that is due again, or somebody who waits here will have waited too long.
    pub(super) fn next_shed(&mut self) -> Option<Nanos> {
        if !self.may_shed() {
            return None;
        }
        self.dispatcher.handle_kernel_waits(self.acceptor.kernel_waits());
        let looks = [self.dispatcher.next_backlog_look(), self.dispatcher.next_shed()];
        looks.into_iter().flatten().min()
    }

    /// Answers a connection with a 503, and closes it gently.
    pub(super) fn shed(&mut self, id: ConnectionId, reason: ShedReason) {
        let outcome = match reason {
            ShedReason::TooOld => Outcome::ShedTooOld,
            ShedReason::TooMany => Outcome::ShedTooMany,
        };
        self.answer_last(id, LastAnswer { bytes: SERVICE_UNAVAILABLE, outcome });
        while let Some(longest) = self.lingering.pop_excess() {
            self.close_lingered(longest);
        }
        self.shed_log.say(reason, self.now);
    }

    /// Before the server is ready its clients wait for it; and what is still in the queues when no
    /// handshake begins any more is taken in by the stop itself.
    fn may_shed(&self) -> bool {
        self.announced
            && self.dispatcher.sheds()
            && !matches!(self.stopping, Stopping::Settling { .. })
    }
}

impl ShedLog {
    fn say(&mut self, reason: ShedReason, now: Nanos) {
        self.since_then += 1;
        if self.said_at.is_none_or(|at| now.since(at) >= LOG_REPEAT_AFTER) {
            warn!(%reason, connections = self.since_then, "turned away with a 503");
            *self = ShedLog { said_at: Some(now), since_then: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_length_is_that_of_its_body() {
        let text = std::str::from_utf8(SERVICE_UNAVAILABLE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{text}");
    }
}
