//! The listeners, and accepting from them: only as much as somebody has room for.
//!
//! With no credit anywhere the kernel's queue is the central queue: it costs nothing and is first
//! come, first served. Readiness is edge-triggered, so the acceptor remembers which listener has
//! more; after the first wake-up in vain a listener leaves epoll until there is room again.
//!
//! With one of the kernel's arms (`--accept`) the workers accept: the listeners are opened here,
//! with the same options, and inherited by workers; the master neither watches nor accepts.
//!
//! Not here: which worker gets a connection (`dispatch`), sockets and their options
//! (`sys::listener`, `sys::accept`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use tracing::{error, info, warn};

use crate::account::{AcceptError, KernelQueue};
use crate::config::{
    ACCEPT_PAUSE, ACCEPT_RETRIES_MAX, Accept, Arm, BLOCKING_ACCEPT_MAX, Bind, LOG_REPEAT_AFTER,
    ListenOptions, Queues,
};
use crate::ident::{ListenerId, PeerAddress, Slot};
use crate::master::private_queues::{self, PrivateQueues};
use crate::master::tokens::Source;
use crate::master::upgrade::state::ListenerState;
use crate::sys::accept::{self, Accepted};
use crate::sys::listener::{self, ListenError, UnixSocketFile};
use crate::sys::reuseport;
use crate::sys::upgrade::Adopter;
use crate::time::Nanos;

/// All listeners of the server.
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    /// Whose turn it is: no listener starves another.
    next: usize,
    paused_until: Option<Nanos>,
    logged_at: Option<Nanos>,
    failures: Vec<AcceptError>,
    registry: Registry,
    accept: Accept,
    options: ListenOptions,
}

struct Listener {
    id: ListenerId,
    /// What it was opened for.
    bind: String,
    descriptor: OwnedFd,
    /// As users write it: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
    address: String,
    /// Removes the socket's file when the listener is closed, if it is still ours.
    file: Option<UnixSocketFile>,
    /// There may be connections in its queue.
    ready: bool,
    /// In epoll.
    watched: bool,
    /// Those of the other slots, where each worker has its own.
    private: PrivateQueues,
}

/// Why accepting stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The queues are empty.
    Empty,
    /// As many as were asked for; there may be more.
    Budget,
    /// This process has no descriptor left: closing something of its own helps.
    OutOfDescriptors,
    /// The system has no memory or descriptor left: only waiting helps.
    Paused,
}

impl Acceptor {
    /// Opens every listener.
    ///
    /// # Errors
    /// An address that cannot be listened on, by name.
    pub(crate) fn open(
        binds: &[Bind],
        options: &ListenOptions,
        accept: Accept,
        registry: Registry,
    ) -> Result<Self, ListenError> {
        let mut acceptor = Acceptor {
            listeners: Vec::with_capacity(binds.len()),
            next: 0,
            paused_until: None,
            logged_at: None,
            failures: Vec::new(),
            registry,
            accept,
            options: *options,
        };
        for (place, bind) in binds.iter().enumerate() {
            acceptor.open_one(place, bind)?;
        }
        Ok(acceptor)
    }

    fn open_one(&mut self, place: usize, bind: &Bind) -> Result<(), ListenError> {
        let options = &self.options;
        let (descriptor, file) = match bind {
            Bind::Tcp(address) if self.accept.arm.queues() == Queues::Private => {
                (reuseport::open_tcp(*address, options)?, None)
            }
            Bind::Tcp(address) => (listener::open_tcp(*address, options)?, None),
            Bind::Unix(path) => {
                let (descriptor, file) = listener::open_unix(path, options)?;
                (descriptor, Some(file))
            }
            Bind::Inherited(number) => (listener::adopt(*number, options)?, None),
        };
        self.add(place, bind.to_string(), descriptor, file)
    }

    fn add(
        &mut self,
        place: usize,
        bind: String,
        descriptor: OwnedFd,
        file: Option<UnixSocketFile>,
    ) -> Result<(), ListenError> {
        let address = listener::local_address(descriptor.as_fd())?;
        if self.accept.arm == Arm::Blocking {
            listener::set_blocking(descriptor.as_fd(), BLOCKING_ACCEPT_MAX)
                .map_err(|source| ListenError::System { address: address.clone(), source })?;
        }
        let id = ListenerId(place as u16);
        let (ready, watched, private) = (false, false, PrivateQueues::default());
        self.listeners.push(Listener {
            id,
            bind,
            descriptor,
            address,
            file,
            ready,
            watched,
            private,
        });
        Ok(())
    }

    /// Goes on with the listeners that another image of this process has opened, and opens those
    /// that are new; one that does not open is named in the log, and the server goes on with the
    /// others. One that is not among the settings any more is closed; whoever waits in its queue is
    /// refused, as its settings say.
    ///
    /// # Errors
    /// A listener is not there.
    pub(crate) fn resume(
        binds: &[Bind],
        options: &ListenOptions,
        accept: Accept,
        registry: Registry,
        states: &[ListenerState],
        adopter: &mut Adopter,
    ) -> Result<Self, ListenError> {
        let mut left: Vec<_> = states
            .iter()
            .map(|state| {
                let private = state.private.iter().map(|number| adopter.adopt(*number));
                let private = PrivateQueues::resume(private.collect::<io::Result<_>>()?);
                Ok((state, adopter.adopt(state.descriptor)?, private))
            })
            .collect::<io::Result<_>>()
            .map_err(|source| ListenError::System { address: "a descriptor".into(), source })?;
        let mut acceptor = Acceptor::open(&[], options, accept, registry)?;
        for (place, bind) in binds.iter().enumerate() {
            let name = bind.to_string();
            match left.iter().position(|(state, ..)| state.bind == name) {
                Some(at) => {
                    let (state, descriptor, private) = left.remove(at);
                    let file = match bind {
                        Bind::Unix(path) => state
                            .file
                            .map(|identity| UnixSocketFile::resume(path.clone(), identity)),
                        Bind::Tcp(_) | Bind::Inherited(_) => None,
                    };
                    acceptor.add(place, name, descriptor, file)?;
                    if let Some(listener) = acceptor.listeners.last_mut() {
                        // Somebody may have connected meanwhile: look.
                        listener.ready = true;
                        listener.private = private;
                    }
                }
                None => {
                    if let Err(cause) = acceptor.open_one(place, bind) {
                        error!(%cause, "a new address is not listened on");
                    }
                }
            }
        }
        for (state, descriptor, private) in left {
            info!(address = state.bind, "no longer listening");
            drop((descriptor, private));
        }
        Ok(acceptor)
    }

    /// What another image of this process must know of the listeners.
    pub(crate) fn state(&self) -> Vec<ListenerState> {
        let listeners = self.listeners.iter();
        listeners
            .map(|listener| ListenerState {
                id: listener.id,
                bind: listener.bind.clone(),
                descriptor: listener.descriptor.as_raw_fd(),
                file: listener.file.as_ref().map(UnixSocketFile::identity),
                private: listener.private.numbers(),
            })
            .collect()
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter();
        listeners.flat_map(Listener::all)
    }

    /// The listeners that a worker of this slot accepts from; none where the master does. What is
    /// missing for the slot is opened.
    ///
    /// # Errors
    /// The system refuses a listener.
    pub(crate) fn inherited_by(
        &mut self,
        slot: Slot,
    ) -> Result<Vec<(ListenerId, BorrowedFd<'_>)>, ListenError> {
        if !self.accept.arm.is_kernels() {
            return Ok(Vec::new());
        }
        if self.accept.arm.queues() == Queues::Private {
            for listener in &mut self.listeners {
                let address =
                    private_queues::tcp_address(listener.descriptor.as_fd()).map_err(|source| {
                        ListenError::System { address: listener.address.clone(), source }
                    })?;
                listener.private.open_for(slot, address, &self.options)?;
            }
        }
        let queue = match self.accept.arm.queues() {
            Queues::Shared => Slot(0),
            Queues::Private => slot,
        };
        let of_queue = |one| Listener::of(one, queue);
        Ok(self.listeners.iter().filter_map(of_queue).collect())
    }

    /// So many slots are wanted, and those below `used` have workers: private queues follow.
    pub(crate) fn settle_slots(&mut self, wanted: u16, used: u16) {
        if self.accept.arm.queues() == Queues::Private {
            let Accept { arm, selector, .. } = self.accept;
            for listener in &mut self.listeners {
                let first = listener.descriptor.as_fd();
                listener.private.settle(first, arm, selector, wanted, used);
            }
        }
    }

    /// Whether the master accepts, and lends to workers; with the kernel's arms it does neither.
    pub(crate) fn lends(&self) -> bool {
        !self.accept.arm.is_kernels()
    }

    /// The addresses, as users write them.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.listeners.iter().map(|listener| listener.address.as_str())
    }

    /// Whether a connection may be waiting in a kernel queue.
    pub(crate) fn kernel_waits(&self) -> bool {
        self.paused_until.is_none()
            && self.lends()
            && self.listeners.iter().any(|listener| listener.ready)
    }

    /// An event said that a listener has connections. `wanted` is whether anybody has room.
    pub(crate) fn handle_ready(&mut self, id: ListenerId, wanted: bool) {
        let Some(place) = self.listeners.iter().position(|listener| listener.id == id) else {
            return;
        };
        let in_vain = self.listeners[place].ready && !wanted;
        self.listeners[place].ready = true;
        if in_vain {
            self.unwatch(place);
        }
    }

    /// Puts listeners into epoll that left it, or were never there.
    pub(crate) fn watch_all(&mut self) {
        if self.paused_until.is_some() || !self.lends() {
            return;
        }
        for listener in self.listeners.iter_mut().filter(|listener| !listener.watched) {
            let token = Source::Listener(listener.id).token();
            let raw = listener.descriptor.as_raw_fd();
            match self.registry.register(&mut SourceFd(&raw), token, Interest::READABLE) {
                Ok(()) => listener.watched = true,
                Err(cause) => error!(address = listener.address, %cause, "watching a listener"),
            }
        }
    }

    /// What accept(2) has failed with since this was last asked: as often as it is tried again at
    /// most.
    pub(crate) fn take_failures(&mut self) -> Vec<AcceptError> {
        std::mem::take(&mut self.failures)
    }

    /// Accepts up to `budget` connections and hands each to `seat`.
    pub(crate) fn accept(
        &mut self,
        budget: usize,
        now: Nanos,
        mut seat: impl FnMut(ListenerId, OwnedFd, PeerAddress),
    ) -> Stopped {
        if self.paused_until.is_some() {
            return Stopped::Paused;
        }
        let mut accepted = 0;
        let mut retries = 0;
        while accepted < budget {
            let Some(place) = self.next_ready() else { return Stopped::Empty };
            let listener = &mut self.listeners[place];
            match accept::accept(listener.descriptor.as_fd()) {
                Accepted::Connection(descriptor, peer) => {
                    accepted += 1;
                    // The budget may end here: the others come first next time.
                    self.next = place + 1;
                    seat(listener.id, descriptor, peer);
                }
                Accepted::Empty => {
                    listener.ready = false;
                    self.next = place + 1;
                }
                Accepted::Retry(cause) => {
                    self.failures.push(AcceptError::of(cause.raw_os_error()));
                    if retries == ACCEPT_RETRIES_MAX {
                        return Stopped::Budget;
                    }
                    retries += 1;
                }
                Accepted::OutOfDescriptors => {
                    self.failures.push(AcceptError::OutOfDescriptors);
                    return Stopped::OutOfDescriptors;
                }
                Accepted::OutOfMemory(cause) | Accepted::Fatal(cause) => {
                    self.failures.push(AcceptError::of(cause.raw_os_error()));
                    self.pause(now, &cause);
                    return Stopped::Paused;
                }
            }
        }
        Stopped::Budget
    }

    /// How many connections wait in the kernel's queues; `None` where one of them cannot say. A
    /// queue that is empty after all is listened to again.
    pub(crate) fn backlog(&mut self) -> Option<u32> {
        let mut sum = Some(0_u32);
        for listener in self.listeners.iter_mut().filter(|listener| listener.ready) {
            let length = listener::queue_length(listener.descriptor.as_fd());
            // The next connection brings a new edge; or registering it anew reports it.
            listener.ready = length != Some(0);
            sum = sum.zip(length).map(|(sum, length)| sum.saturating_add(length));
        }
        self.watch_all();
        sum
    }

    /// What waits in the kernel's queues, those together that can say; none if none can.
    pub(crate) fn kernel_queue(&self) -> Option<KernelQueue> {
        let queues = self.listeners.iter().flat_map(Listener::all).filter_map(listener::queue);
        queues.fold(None, |sum, (length, limit)| {
            let KernelQueue { length: waiting, limit: most } = sum.unwrap_or_default();
            let (length, limit) = (waiting.saturating_add(length), most.saturating_add(limit));
            Some(KernelQueue { length, limit })
        })
    }

    /// Stops accepting for a while: trying again at once would only spin.
    pub(crate) fn pause(&mut self, now: Nanos, cause: &io::Error) {
        if self.logged_at.is_none_or(|at| now.since(at) >= LOG_REPEAT_AFTER) {
            self.logged_at = Some(now);
            warn!(%cause, pause_ms = ACCEPT_PAUSE.as_millis() as u64, "accepting pauses");
        }
        self.paused_until = Some(now + ACCEPT_PAUSE);
        for place in 0..self.listeners.len() {
            self.unwatch(place);
            // Whatever is in the queue by then: look.
            self.listeners[place].ready = true;
        }
    }

    /// When a pause ends.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.paused_until
    }

    /// Ends a pause whose time has come.
    pub(crate) fn handle_time(&mut self, now: Nanos) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.watch_all();
        }
    }

    /// Before closing: clients that have connected and not spoken are handed out from now on, since
    /// a deferred one would be reset with its listener.
    pub(crate) fn stop_deferring(&mut self) {
        for listener in &self.listeners {
            for queue in listener.all() {
                if let Err(cause) = listener::set_defer_accept(queue, 0) {
                    warn!(address = listener.address, %cause, "switching deferred accept off");
                }
            }
        }
    }

    /// Directly before closing: no handshake begins any more, those under way are finished. What
    /// the queue holds afterwards is all there will be.
    pub(crate) fn stop_handshakes(&mut self) {
        for listener in &mut self.listeners {
            for queue in listener.all() {
                if let Err(cause) = listener::refuse_handshakes(queue) {
                    warn!(address = listener.address, %cause, "refusing new handshakes");
                }
            }
            listener.ready = true;
        }
    }

    /// Closes every listener; a Unix socket's file goes with it.
    pub(crate) fn close(&mut self) {
        for place in 0..self.listeners.len() {
            self.unwatch(place);
        }
        if !self.listeners.is_empty() {
            info!(listeners = self.listeners.len(), "no longer listening");
        }
        self.listeners.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.listeners.is_empty()
    }

    fn next_ready(&mut self) -> Option<usize> {
        let count = self.listeners.len();
        (0..count).map(|step| (self.next + step) % count).find(|place| self.listeners[*place].ready)
    }

    fn unwatch(&mut self, place: usize) {
        let listener = &mut self.listeners[place];
        if listener.watched {
            let raw = listener.descriptor.as_raw_fd();
            // Nothing can be done about a failure, and nothing depends on it: a vain wake-up.
            let _ = self.registry.deregister(&mut SourceFd(&raw));
            listener.watched = false;
        }
    }
}

impl Listener {
    /// The queue of a slot, under the listener's name.
    fn of(&self, slot: Slot) -> Option<(ListenerId, BorrowedFd<'_>)> {
        Some((self.id, self.private.of(slot, &self.descriptor)?))
    }

    /// Its queue, and those of the other slots.
    fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.descriptor.as_fd()).chain(self.private.iter())
    }
}
