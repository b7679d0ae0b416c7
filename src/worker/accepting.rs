//! The listeners that a worker accepts from itself (`--accept`, the kernel's arms).
//!
//! | arm | in the loop's epoll | who is woken (docs/accept.md) |
//! |---|---|---|
//! | shared | by level | every worker that sleeps |
//! | exclusive | by level, EPOLLEXCLUSIVE | one that sleeps |
//! | reuseport, reuseport-cbpf | by level, its own listener | its worker |
//! | blocking | not at all: accept(2) blocks | one that blocks, the longest first |
//!
//! With handler threads, and not `eager`, a worker accepts only while one of them is free: what it
//! cannot serve is left to others, as in Unicorn. A listener that it does not want leaves epoll: with
//! EPOLLEXCLUSIVE before the loop sleeps, since a wake-up that it would get in vain is one that
//! nobody else gets; otherwise after the first in vain, which costs less than two calls a request.
//! Out of epoll, its queue is asked directly as soon as a thread is free.
//!
//! Not here: what becomes of a connection (`own`, `session`), opening listeners (`master::acceptor`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mio::{Registry, Token};
use tracing::{info, warn};

use crate::account::AcceptError;
use crate::config::{
    ACCEPT_PAUSE, ACCEPT_RETRIES_MAX, Accept, Arm, EMPTIED_PER_TURN_MAX, HANDSHAKES_SETTLE_FOR,
    LISTENERS_MAX, LOG_REPEAT_AFTER, Queues,
};
use crate::ident::{ListenerId, PeerAddress};
use crate::sys::accept::{self, Accepted};
use crate::sys::epoll;
use crate::time::Nanos;

/// The tokens of listeners: as many as there can be, from here on.
pub(crate) const LISTENER_TOKENS: usize = 16;

const _: () = assert!(LISTENER_TOKENS + LISTENERS_MAX <= super::sessions::TOKENS_RESERVED);

/// This worker's listeners; none where the master accepts.
#[derive(Debug)]
pub(crate) struct Accepting {
    accept: Accept,
    listeners: Vec<Listener>,
    /// Whose turn it is: no listener starves another.
    next: usize,
    paused_until: Option<Nanos>,
    logged_at: Option<Nanos>,
    /// What accept(2) has failed with, and how often, since anybody asked.
    failures: [u64; AcceptError::ALL.len()],
    leaving: Leaving,
}

#[derive(Debug)]
struct Listener {
    id: ListenerId,
    descriptor: OwnedFd,
    /// There may be connections in its queue.
    ready: bool,
    /// In epoll.
    watched: bool,
}

/// Whether this worker is to accept no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// What is in the queues is nobody else's: they are emptied, and once more at this time.
    Emptying {
        until: Nanos,
    },
}

/// A connection that was accepted here.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) listener: ListenerId,
    pub(crate) descriptor: OwnedFd,
    pub(crate) peer: PeerAddress,
}

impl Accepting {
    /// Accepts from these.
    pub(crate) fn new(accept: Accept, listeners: Vec<(ListenerId, OwnedFd)>) -> Self {
        let listener = |(id, descriptor)| Listener { id, descriptor, ready: true, watched: false };
        Accepting {
            accept,
            listeners: listeners.into_iter().map(listener).collect(),
            next: 0,
            paused_until: None,
            logged_at: None,
            failures: [0; AcceptError::ALL.len()],
            leaving: Leaving::No,
        }
    }

    /// A listener's token has been reported.
    pub(crate) fn handle_ready(&mut self, token: Token) {
        let place = token.0.checked_sub(LISTENER_TOKENS);
        if let Some(listener) = place.and_then(|place| self.listeners.get_mut(place)) {
            listener.ready = true;
        }
    }

    /// The next connection of those that wait, if there is one. With `blocking` this waits for it.
    pub(crate) fn take(&mut self, now: Nanos) -> Option<Taken> {
        for _ in 0..ACCEPT_RETRIES_MAX {
            if self.paused_until.is_some() {
                return None;
            }
            let place = self.next_ready()?;
            self.next = place + 1;
            let listener = &mut self.listeners[place];
            match accept::accept(listener.descriptor.as_fd()) {
                Accepted::Connection(descriptor, peer) => {
                    return Some(Taken { listener: listener.id, descriptor, peer });
                }
                // With `blocking`: it has waited for long enough, or a signal has come.
                Accepted::Empty => listener.ready = false,
                Accepted::Retry(cause) => {
                    // A signal that ends its wait (`blocking`) is no failure.
                    if cause.kind() != io::ErrorKind::Interrupted {
                        self.note_failure(&cause);
                    }
                    if self.accept.arm == Arm::Blocking {
                        return None;
                    }
                }
                Accepted::OutOfDescriptors => {
                    self.pause(now, &io::Error::from_raw_os_error(nix::libc::EMFILE));
                }
                Accepted::OutOfMemory(cause) | Accepted::Fatal(cause) => self.pause(now, &cause),
            }
        }
        None
    }

    /// What accept(2) has failed with since this was last asked, and how often.
    pub(crate) fn take_failures(&mut self) -> impl Iterator<Item = (AcceptError, u64)> + use<> {
        let counts = std::mem::take(&mut self.failures);
        AcceptError::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// At the end of a turn: listeners are in epoll as far as they are `wanted`.
    pub(crate) fn watch(&mut self, registry: &Registry, wanted: bool) {
        let wanted = wanted && self.paused_until.is_none();
        let arm = self.accept.arm;
        if arm == Arm::Blocking {
            return;
        }
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            if wanted && !listener.watched {
                listener.watch(registry, arm, Token(LISTENER_TOKENS + place));
            } else if !wanted && listener.watched && (arm == Arm::Exclusive || listener.ready) {
                listener.unwatch(registry);
            }
            // What is watched is reported again; what is not may have got anything meanwhile.
            listener.ready = !listener.watched;
        }
    }

    /// A pause whose time has come ends.
    pub(crate) fn handle_time(&mut self, now: Nanos) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
    }

    /// When something is due although nothing happens.
    pub(crate) fn next_deadline(&self, now: Nanos) -> Option<Nanos> {
        let emptying = match self.leaving {
            // What is left of a queue after that is reported by epoll, or by accept(2).
            Leaving::Emptying { until } if !self.is_over() && until > now => Some(until),
            Leaving::Emptying { .. } | Leaving::No => None,
        };
        [self.paused_until, emptying].into_iter().flatten().min()
    }

    /// This worker is to leave, or the server ends (`ends`): nobody is to lose what only this worker
    /// would take.
    pub(crate) fn leave(&mut self, registry: &Registry, ends: bool, now: Nanos) {
        if self.is_over() || self.leaving != Leaving::No {
            return;
        }
        match self.accept.arm.queues() {
            Queues::Shared if !ends => self.close(registry),
            // The master has let handshakes settle.
            Queues::Shared => self.leaving = Leaving::Emptying { until: now },
            Queues::Private => {
                self.leaving = Leaving::Emptying { until: now + HANDSHAKES_SETTLE_FOR };
            }
        }
    }

    /// Nothing more is accepted.
    pub(crate) fn close(&mut self, registry: &Registry) {
        for listener in &mut self.listeners {
            listener.unwatch(registry);
        }
        if !self.listeners.is_empty() {
            info!("no longer accepting");
        }
        self.listeners.clear();
    }

    /// While it empties its queues: those that are empty at the end are closed.
    pub(crate) fn close_when_empty(&mut self, registry: &Registry, now: Nanos) {
        let all_empty = self.listeners.iter().all(|listener| !listener.ready);
        if let Leaving::Emptying { until } = self.leaving
            && until <= now
            && all_empty
            && self.paused_until.is_none()
        {
            self.close(registry);
        }
    }

    /// As many connections may be taken in one turn.
    pub(crate) fn budget(&mut self) -> usize {
        match self.leaving {
            Leaving::No => usize::from(self.accept.batch),
            Leaving::Emptying { .. } => {
                self.listeners.iter_mut().for_each(|listener| listener.ready = true);
                // Whoever serves one at a time takes one at a time.
                if self.accept.arm == Arm::Blocking { 1 } else { EMPTIED_PER_TURN_MAX }
            }
        }
    }

    /// Connections that may be open here at the same time.
    pub(crate) fn open_max(&self) -> u32 {
        self.accept.open_max
    }

    /// Whether connections are taken that no thread is free for.
    pub(crate) fn is_eager(&self) -> bool {
        self.accept.eager || self.is_emptying()
    }

    /// Whether this worker takes what is left, and then accepts no more.
    pub(crate) fn is_emptying(&self) -> bool {
        self.leaving != Leaving::No && !self.is_over()
    }

    /// Whether this worker, having nothing to do, is to block in accept(2).
    pub(crate) fn blocks(&self) -> bool {
        self.accept.arm == Arm::Blocking && !self.is_over() && self.paused_until.is_none()
    }

    /// Whether connections come from here and not from the master.
    pub(crate) fn is_own(&self) -> bool {
        self.accept.arm.is_kernels()
    }

    /// Whether nothing is accepted, or not any more.
    pub(crate) fn is_over(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Every queue is to be asked.
    pub(crate) fn ask_all(&mut self) {
        self.listeners.iter_mut().for_each(|listener| listener.ready = true);
    }

    /// Stops accepting for a while: trying again at once would only spin.
    fn pause(&mut self, now: Nanos, cause: &io::Error) {
        self.note_failure(cause);
        if self.logged_at.is_none_or(|at| now.since(at) >= LOG_REPEAT_AFTER) {
            self.logged_at = Some(now);
            warn!(%cause, pause_ms = ACCEPT_PAUSE.as_millis() as u64, "accepting pauses");
        }
        self.paused_until = Some(now + ACCEPT_PAUSE);
    }

    fn note_failure(&mut self, cause: &io::Error) {
        self.failures[AcceptError::of(cause.raw_os_error()) as usize] += 1;
    }

    fn next_ready(&self) -> Option<usize> {
        let count = self.listeners.len();
        (0..count).map(|step| (self.next + step) % count).find(|place| self.listeners[*place].ready)
    }
}

impl Listener {
    fn watch(&mut self, registry: &Registry, arm: Arm, token: Token) {
        let listener = self.descriptor.as_fd();
        let watched = match arm {
            Arm::Exclusive => epoll::watch_exclusive(registry, listener, token),
            Arm::Shared | Arm::Reuseport | Arm::ReuseportCbpf => {
                epoll::watch_level(registry, listener, token)
            }
            Arm::Master | Arm::Blocking => return,
        };
        match watched {
            Ok(()) => self.watched = true,
            // No memory for a registration: its queue is asked in every turn that there is.
            Err(cause) => warn!(%cause, "watching a listener"),
        }
    }

    fn unwatch(&mut self, registry: &Registry) {
        if std::mem::take(&mut self.watched) {
            epoll::unwatch(registry, self.descriptor.as_fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;
    use crate::config::ListenOptions;
    use crate::sys::listener;

    const NOW: Nanos = Nanos(1_000_000_000);

    fn listener() -> (OwnedFd, SocketAddr) {
        let options =
            ListenOptions { backlog: 64, defer_accept_s: 0, unix_mode: 0o600, unix_owner: None };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::open_tcp(any, &options).unwrap();
        let name = listener::local_address(listener.as_fd()).unwrap();
        (listener, name.strip_prefix("http://").unwrap().parse().unwrap())
    }

    fn accepting(arm: Arm, listeners: Vec<OwnedFd>) -> Accepting {
        let accept = Accept { arm, batch: arm.batch_default(), ..Accept::default() };
        let ids = (0..).map(ListenerId);
        Accepting::new(accept, ids.zip(listeners).collect())
    }

    /// What an instance reports now.
    fn reported(poll: &mut Poll) -> usize {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().count()
    }

    #[test]
    fn no_listener_starves_another() {
        let ((one, first), (two, second)) = (listener(), listener());
        let mut accepting = accepting(Arm::Shared, vec![one, two]);
        let _clients: Vec<_> = [first, first, first, second, second]
            .map(|address| TcpStream::connect(address).unwrap())
            .into();
        let taken: Vec<_> =
            std::iter::from_fn(|| accepting.take(NOW)).map(|taken| taken.listener.0).collect();
        assert_eq!(taken, [0, 1, 0, 1, 0]);
    }

    /// A wake-up in vain of a level-triggered listener would come again at once, for ever.
    #[test]
    fn what_is_not_wanted_leaves_epoll_and_is_asked_when_it_is_wanted_again() {
        for arm in [Arm::Shared, Arm::Exclusive] {
            let (one, address) = listener();
            let mut accepting = accepting(arm, vec![one]);
            let mut poll = Poll::new().unwrap();
            accepting.watch(poll.registry(), true);
            let _client = TcpStream::connect(address).unwrap();
            assert_eq!(reported(&mut poll), 1, "{arm}");
            accepting.handle_ready(Token(LISTENER_TOKENS));
            accepting.watch(poll.registry(), false);
            assert_eq!(reported(&mut poll), 0, "{arm}");
            // A thread is free: nobody has to be woken for it.
            assert!(accepting.take(NOW).is_some(), "{arm}");
            assert!(accepting.take(NOW).is_none(), "{arm}");
            accepting.watch(poll.registry(), true);
            let _client = TcpStream::connect(address).unwrap();
            assert_eq!(reported(&mut poll), 1, "{arm}");
        }
    }

    /// The one wake-up of EPOLLEXCLUSIVE goes to whoever can use it.
    #[test]
    fn who_is_busy_does_not_take_the_one_wake_up() {
        let (one, address) = listener();
        let copy = one.try_clone().unwrap();
        let (mut busy, mut free) =
            (accepting(Arm::Exclusive, vec![one]), accepting(Arm::Exclusive, vec![copy]));
        let (mut busy_poll, mut free_poll) = (Poll::new().unwrap(), Poll::new().unwrap());
        busy.watch(busy_poll.registry(), true);
        free.watch(free_poll.registry(), true);
        // Nothing has been reported to it, and it leaves all the same.
        busy.watch(busy_poll.registry(), false);
        let _client = TcpStream::connect(address).unwrap();
        assert_eq!((reported(&mut busy_poll), reported(&mut free_poll)), (0, 1));
    }

    #[test]
    fn who_leaves_a_shared_queue_leaves_it_to_others_and_empties_its_own() {
        let registry = Poll::new().unwrap().registry().try_clone().unwrap();
        let mut shared = accepting(Arm::Shared, vec![listener().0]);
        shared.leave(&registry, false, NOW);
        assert!(shared.is_over());

        let mut ending = accepting(Arm::Shared, vec![listener().0]);
        ending.leave(&registry, true, NOW);
        assert!(ending.is_emptying() && ending.is_eager());
        assert_eq!(ending.next_deadline(NOW), None);

        let (one, address) = listener();
        let mut private = accepting(Arm::Reuseport, vec![one]);
        private.leave(&registry, false, NOW);
        let settled = NOW + HANDSHAKES_SETTLE_FOR;
        assert_eq!(private.next_deadline(NOW), Some(settled));
        assert!(private.budget() > 1 && private.take(NOW).is_none());
        private.close_when_empty(&registry, NOW);
        assert!(!private.is_over(), "handshakes that are under way finish");
        let _client = TcpStream::connect(address).unwrap();
        private.budget();
        assert!(private.take(settled).is_some());
        private.close_when_empty(&registry, settled);
        assert!(!private.is_over(), "there may be more");
        assert!(private.take(settled).is_none());
        private.close_when_empty(&registry, settled);
        assert!(private.is_over());
        assert_eq!(private.next_deadline(settled), None);
    }
}
