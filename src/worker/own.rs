//! Connections that this worker accepts itself become sessions; and the loop of `--accept blocking`.
//!
//! Each is read directly after it was accepted, before it is in epoll, as one that was lent is. What
//! no thread is free for (`--accept-eager`) waits to be claimed like an idle connection that has
//! become readable. Nobody can take it back.
//!
//! Not here: the listeners (`accepting`), loans (`intake`).

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mio::Events;

use crate::app::Origin;
use crate::http::Connection;
use crate::meters::Counter;
use crate::sys::stream;
use crate::time::Nanos;
use crate::worker::accepting::Taken;
use crate::worker::session::{Arrival, Session, Tenure, Waiting};
use crate::worker::{Worker, WorkerError};

impl Worker {
    /// Takes from the kernel what this worker may have in this turn, one connection after the other:
    /// the first may have taken the last free thread.
    pub(super) fn accept_own(&mut self) {
        if self.accepting.is_over() {
            return;
        }
        self.accepting.handle_time(self.shell.now);
        for _ in 0..self.accepting.budget() {
            if !self.may_accept() {
                break;
            }
            let Some(taken) = self.accepting.take(self.shell.now) else { break };
            self.begin_own(taken);
        }
        self.count_failures();
        self.accepting.close_when_empty(&self.shell.registry, self.shell.now);
        let wanted = self.may_accept();
        self.accepting.watch(&self.shell.registry, wanted);
    }

    /// `--accept blocking`, and nothing to do: one turn for whoever else has something to say, and
    /// then accept(2) until a connection comes, or [`BLOCKING_ACCEPT_MAX`] has passed.
    ///
    /// [`BLOCKING_ACCEPT_MAX`]: crate::config::BLOCKING_ACCEPT_MAX
    pub(super) fn block_for_one(&mut self, events: &mut Events) -> Result<(), WorkerError> {
        self.wait(events, Some(Duration::ZERO))?;
        self.shell.enter_turn();
        self.turn(events);
        if !self.may_block() {
            return Ok(());
        }
        // Whoever waits does not hang.
        self.shell.leave_turn();
        self.accepting.ask_all();
        let taken = self.accepting.take(self.shell.now);
        self.shell.enter_turn();
        self.count_failures();
        match taken {
            Some(taken) => self.begin_own(taken),
            None => self.accepting.close_when_empty(&self.shell.registry, self.shell.now),
        }
        Ok(())
    }

    /// Drained: others accept from now on, or nobody. Idle connections end, since nobody else can
    /// have them, and what is being answered is the last of its connection.
    pub(super) fn leave_own(&mut self) {
        let server_ends = std::mem::replace(&mut self.shell.finishing, true);
        self.accepting.leave(&self.shell.registry, server_ends, self.shell.now);
        self.end_idle();
    }

    /// Whether the loop is to block in accept(2).
    pub(super) fn may_block(&self) -> bool {
        self.accepting.blocks() && self.sessions.is_empty()
    }

    /// Whether a connection that waits in the kernel may be this worker's now.
    fn may_accept(&self) -> bool {
        let has_place = self.shell.open < self.accepting.open_max();
        // Where it blocks, it accepts in one place alone.
        let in_turn = !self.accepting.blocks();
        has_place && in_turn && (self.accepting.is_eager() || self.shell.may_claim())
    }

    fn count_failures(&mut self) {
        for (failure, count) in self.accepting.take_failures() {
            self.shell.count(Counter::of_accept_error(failure), count);
        }
    }

    fn begin_own(&mut self, taken: Taken) {
        let Taken { listener, descriptor, peer } = taken;
        let shell = &mut self.shell;
        let is_asked = shell.request_log.is_some() || shell.meters.is_some();
        let waited = is_asked.then(|| stream::waited_before_accept(descriptor.as_fd())).flatten();
        let origin = Origin::of_peer(peer, listener, shell.who);
        let http = Connection::new(Arc::clone(&shell.limits));
        let deadline = shell.now + shell.settings.http.header_timeout;
        let arrival = Arrival {
            tenure: Tenure::Own,
            waiting: Waiting {
                since: Nanos(
                    shell.now.0.saturating_sub(waited.map_or(0, |waited| waited.as_nanos() as u64)),
                ),
                kernel_has_said: waited.is_some(),
                lent_at: None,
            },
            requests_served: 0,
            context: None,
        };
        shell.count_own_accepted();
        let key = self.sessions.insert(Session::new(arrival, descriptor, http, origin));
        if shell.may_claim() {
            self.with(key, |session, shell| session.begin_and_read(key, shell, deadline));
        } else if let Some(session) = self.sessions.get_mut(key) {
            session.begin(key, &mut self.shell, deadline);
        }
    }
}
