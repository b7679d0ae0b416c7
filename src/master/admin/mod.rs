//! The master's side of the admin address: it opens the listeners, starts the helper process that
//! serves them, and answers its frames.
//!
//! ```text
//!   open ─▶ listeners ─────────inherited────────▶ helper ──▶ operators
//!   publishing ─▶ status page ──────read────────▶   │
//!   history ─▶ happened ───────────frames───────▶   │
//!   commands ◀─────────────────────frames────────   ┘
//! ```
//!
//! Nothing of it is essential: an address that is taken is a line in the log, a helper that dies is
//! started again (`supervise::HelperLife`), one that does not read is told less. Without `--admin`
//! all of this is a few comparisons a turn.
//!
//! Not here: HTTP (`crate::admin`), the page's bytes (`account::page`).

mod commands;
mod draining;
mod history;
mod listeners;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Stdio;

use mio::Registry;
use tracing::{error, info, warn};

use crate::admin::frame::{Answer, Command, FRAME_SIZE_MAX, ToHelper, ToMaster};
use crate::config::{
    ADMIN_ANSWERS_OWED_MAX, ADMIN_FRAMES_PER_TURN_MAX, Bind, DEBTS_PAUSE, HELPER_LEAVES_WITHIN,
    Privileges, Rebalance,
};
use crate::exit::RunError;
use crate::ident::Slot;
use crate::master::admin::draining::Drained;
use crate::master::admin::history::History;
use crate::master::admin::listeners::AdminListeners;
use crate::master::tokens::Source;
use crate::master::upgrade::state::AdminState;
use crate::master::{Master, system};
use crate::supervise::HelperLife;
use crate::sys::fdpass::{self, PacketSocket, Posted, Receipt, dispose};
use crate::sys::inherit::{
    ADMIN_VARIABLE, LISTENERS_VARIABLE, METERS_VARIABLE, STATUS_VARIABLE, listeners_value,
};
use crate::sys::memory_file::MemoryFile;
use crate::sys::process::{Change, Child, ChildSignal};
use crate::sys::upgrade::Adopter;
use crate::sys::{clock, epoll, privileges};
use crate::time::Nanos;

/// Everything that operators are served by.
pub(super) struct Admin {
    listeners: AdminListeners,
    life: HelperLife,
    helper: Option<Helper>,
    /// Helpers that have been told to go, or have gone and were not reaped.
    leaving: Vec<Leaver>,
    history: History,
    drained: Drained,
    /// Answers that the channel would not take yet.
    answers_owed: VecDeque<Answer>,
    /// Pings that are answered once the status has been written.
    pings: Vec<u64>,
    /// How workers are to give connections back, where an operator has switched it.
    rebalance: Option<Rebalance>,
}

struct Helper {
    child: Child,
    channel: PacketSocket,
    buffer: Vec<u8>,
    /// The last thing that has happened of which it was told.
    told: u64,
}

struct Leaver {
    child: Child,
    kill_at: Nanos,
}

/// What reading from the helper has brought.
enum Heard {
    Command(ToMaster),
    Nothing,
    /// It has closed its end.
    Closed,
    /// Bytes that no helper of this version sends.
    Nonsense(String),
}

impl Admin {
    /// Opens what can be opened of these, or takes over what another image has left.
    pub(super) fn open(
        binds: &[Bind],
        agent: Option<&Bind>,
        left: Option<&AdminState>,
        adopter: &mut Adopter,
        seed: u64,
    ) -> Result<Self, RunError> {
        let now = clock::now();
        let mut admin = Admin {
            listeners: AdminListeners::default(),
            life: HelperLife::new(seed),
            helper: None,
            leaving: Vec::new(),
            history: History::default(),
            drained: Drained::default(),
            answers_owed: VecDeque::new(),
            pings: Vec::new(),
            rebalance: None,
        };
        if let Some(left) = left {
            let adopted = admin.listeners.adopt(&left.listeners, adopter);
            adopted.map_err(system("taking admin addresses over"))?;
            // One that is not there was reaped: by the other image, after it had written this.
            let children = left.helpers.iter().filter_map(|pid| Child::adopt(*pid).ok());
            let leaver = |child| Leaver { child, kill_at: now + HELPER_LEAVES_WITHIN };
            admin.leaving = children.map(leaver).collect();
            admin.history = History::resume(left.happened.clone());
            admin.drained = Drained::resume(&left.drained);
        }
        admin.listeners.settle(binds, agent);
        if admin.is_on() {
            admin.life.want(now);
        }
        Ok(admin)
    }

    /// What another image of this process must know.
    pub(super) fn state(&self) -> AdminState {
        let helper = self.helper.iter().map(|helper| helper.child.pid());
        let leaving = self.leaving.iter().map(|leaver| leaver.child.pid());
        AdminState {
            listeners: self.listeners.state(),
            helpers: helper.chain(leaving).collect(),
            happened: self.history.kept(),
            drained: self.drained.slots(),
        }
    }

    /// What stays open for another image.
    pub(super) fn kept(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.descriptors()
    }

    /// Whether there is anybody to be served.
    pub(super) fn is_on(&self) -> bool {
        !self.listeners.is_empty()
    }

    pub(super) fn is_drained(&self, slot: Slot) -> bool {
        self.drained.contains(slot)
    }

    /// How workers that are started now are to give connections back, where that is not what they
    /// are configured to do.
    pub(super) fn rebalance(&self) -> Option<Rebalance> {
        self.rebalance
    }

    /// The configuration was read again: what it says holds.
    pub(super) fn forget_rebalance(&mut self) {
        self.rebalance = None;
    }

    /// Whether this child is a helper.
    pub(super) fn is_child(&self, pid: u32) -> bool {
        let helper = self.helper.iter().map(|helper| &helper.child);
        helper.chain(self.leaving.iter().map(|leaver| &leaver.child)).any(|one| one.pid() == pid)
    }

    /// When something is due although nothing happens. Whoever asks is answered at `asked_at`.
    pub(super) fn next_deadline(&self, now: Nanos, asked_at: Nanos) -> Option<Nanos> {
        let asked = (!self.pings.is_empty()).then_some(asked_at);
        let leaving = self.leaving.iter().map(|leaver| leaver.kill_at).min();
        let owes = self.owes().then(|| now + DEBTS_PAUSE);
        [self.life.next_deadline(), leaving, owes, asked, self.drained.next_look()]
            .into_iter()
            .flatten()
            .min()
    }

    fn owes(&self) -> bool {
        let behind = |helper: &Helper| helper.told < self.history.last();
        !self.answers_owed.is_empty() || self.helper.as_ref().is_some_and(behind)
    }

    /// Says what the channel would not take before.
    fn pay_debts(&mut self) {
        let Some(helper) = &mut self.helper else { return self.answers_owed.clear() };
        while let Some(answer) = self.answers_owed.pop_front() {
            // One that has gone is heard of by its channel's end.
            if helper.channel.post(&ToHelper::Answer(answer.clone()).encode()).ok()
                == Some(Posted::Full)
            {
                return self.answers_owed.push_front(answer);
            }
        }
        while let Some(next) = self.history.after(helper.told) {
            let posted = helper.channel.post(&ToHelper::Happened(next.clone()).encode());
            if posted.ok() == Some(Posted::Full) {
                return;
            }
            helper.told = next.sequence;
        }
    }

    fn answer(&mut self, answer: Answer) {
        if self.answers_owed.len() < ADMIN_ANSWERS_OWED_MAX {
            self.answers_owed.push_back(answer);
        }
    }

    /// The helper goes: told to, or because it is of no use any more.
    fn dismiss(&mut self, registry: &Registry, kill_at: Nanos) {
        if let Some(Helper { child, channel, .. }) = self.helper.take() {
            // It sees the channel's end, and finishes what it is answering.
            epoll::unwatch(registry, channel.as_fd());
            channel.dispose();
            self.leaving.push(Leaver { child, kill_at });
        }
        self.answers_owed.clear();
        self.pings.clear();
    }
}

impl Master {
    /// At the end of each turn.
    pub(super) fn tend_admin(&mut self) {
        self.end_leavers();
        if self.admin.life.is_due(self.now) {
            self.start_helper();
        }
        self.empty_drained();
        self.tell_stuck();
        if !self.admin.pings.is_empty() && self.publisher.may_be_asked_at() <= self.now {
            self.publish_now(self.phase());
            for number in std::mem::take(&mut self.admin.pings) {
                self.admin.answer(Answer { number, is_done: true, text: String::new() });
            }
        }
        if self.admin.owes() {
            self.admin.pay_debts();
        }
    }

    /// The settings name other addresses, or the same: those that could not be opened are tried
    /// again.
    pub(super) fn settle_admin(&mut self, binds: &[Bind], agent: Option<&Bind>) {
        if !self.admin.listeners.settle(binds, agent) {
            return;
        }
        self.admin.dismiss(self.poll.registry(), self.now + HELPER_LEAVES_WITHIN);
        if self.admin.is_on() {
            self.admin.life.want(self.now);
        } else {
            self.admin.life.unwant();
            self.publisher.set_memory(None);
        }
    }

    /// Frames of the helper: commands, a bounded number in a turn.
    pub(super) fn hear_helper(&mut self) {
        for _ in 0..ADMIN_FRAMES_PER_TURN_MAX {
            let Some(helper) = &mut self.admin.helper else { return };
            match helper.receive() {
                Heard::Command(ToMaster { number, command: Command::Ping }) => {
                    if self.admin.pings.len() < ADMIN_ANSWERS_OWED_MAX {
                        self.admin.pings.push(number);
                    }
                }
                Heard::Command(ToMaster { number, command }) => {
                    let (is_done, text) = match self.carry_out(command) {
                        Ok(text) => (true, text),
                        Err(text) => (false, text),
                    };
                    // Whoever looks next sees what came of it.
                    self.publish_now(self.phase());
                    self.admin.answer(Answer { number, is_done, text });
                }
                Heard::Nothing => return,
                Heard::Closed => return self.lose_helper("it has closed its channel", false),
                Heard::Nonsense(cause) => return self.lose_helper(&cause, true),
            }
        }
    }

    /// A child has changed its state: it may be a helper.
    pub(super) fn hear_helpers(&mut self) {
        let has_ended = |child: &Child| match child.poll_change() {
            Ok(Some(Change::Exited(code))) => Some(format!("exit code {code}")),
            Ok(Some(Change::Killed(signal))) => Some(format!("signal {signal}")),
            Ok(Some(Change::Stopped | Change::Continued) | None) => None,
            Err(cause) => Some(cause.to_string()),
        };
        self.admin.leaving.retain(|leaver| has_ended(&leaver.child).is_none());
        let how = self.admin.helper.as_ref().and_then(|helper| has_ended(&helper.child));
        if let Some(how) = how {
            self.lose_helper(&how, false);
            // It is reaped already.
            self.admin.leaving.pop();
        }
    }

    fn start_helper(&mut self) {
        self.counters.helper_starts += 1;
        self.reserve.release();
        let started = self.spawn_helper();
        self.reserve.refill();
        match started {
            Ok(helper) => {
                let addresses: Vec<_> = self.admin.listeners.addresses().collect();
                info!(pid = helper.child.pid(), ?addresses, "the admin address is served");
                self.admin.helper = Some(helper);
                self.admin.life.handle_started(self.now);
            }
            Err(cause) => {
                error!(%cause, "starting the helper of the admin address");
                self.admin.life.handle_start_failed(self.now);
            }
        }
    }

    fn spawn_helper(&mut self) -> io::Result<Helper> {
        if self.publisher.memory().is_none() {
            self.publisher.set_memory(Some(MemoryFile::create("status")?));
            // Whoever asks first finds something.
            self.publish_now(self.phase());
        }
        let memory = self.publisher.memory().ok_or(io::ErrorKind::NotFound)?.reader()?;
        let (ours, theirs) = fdpass::socketpair()?;
        let mut command = self.launch.helper_command();
        self.set_surroundings(&mut command);
        command.stdin(Stdio::null());
        // It answers whoever reaches the address, and needs no more than it inherits. Its program
        // is this one's, which another root directory may not have.
        let privileges =
            Privileges { chroot: None, no_new_privs: true, ..self.settings.privileges.clone() };
        privileges::confine(&mut command, &privileges, None)?;
        let listeners: Vec<_> = self.admin.listeners.inherited().collect();
        command.env(LISTENERS_VARIABLE, listeners_value(listeners.iter().copied()));
        let mut inherited =
            vec![(ADMIN_VARIABLE, theirs.as_fd()), (STATUS_VARIABLE, memory.as_fd())];
        inherited.extend(self.meters.iter().map(|meters| (METERS_VARIABLE, meters.as_fd())));
        let unnamed: Vec<_> = listeners.iter().map(|(_, listener)| *listener).collect();
        let child = Child::spawn_with(command, &inherited, &unnamed)?;
        let channel = PacketSocket::new(ours);
        let token = Source::Admin.token();
        if let Err(cause) = epoll::watch_level(self.poll.registry(), channel.as_fd(), token) {
            let leaver = Leaver { child, kill_at: self.now };
            self.admin.leaving.push(leaver);
            return Err(cause);
        }
        Ok(Helper { child, channel, buffer: vec![0; FRAME_SIZE_MAX + 1], told: 0 })
    }

    fn lose_helper(&mut self, how: &str, is_to_be_killed: bool) {
        warn!(how, "the helper of the admin address is gone: another one is started");
        let patience = if is_to_be_killed { 0 } else { 1 };
        self.admin.dismiss(self.poll.registry(), self.now + HELPER_LEAVES_WITHIN * patience);
        self.admin.life.handle_ended(self.now);
    }

    /// Those whose time is over are killed, once: SIGCHLD says when they have ended.
    fn end_leavers(&mut self) {
        for leaver in self.admin.leaving.iter_mut().filter(|leaver| leaver.kill_at <= self.now) {
            leaver.kill_at = Nanos::NEVER;
            if let Err(cause) = leaver.child.signal(ChildSignal::KILL) {
                error!(%cause, "ending a helper");
            }
        }
    }
}

impl Helper {
    fn receive(&mut self) -> Heard {
        let mut descriptors = Vec::new();
        let receipt = self.channel.receive(&mut self.buffer, &mut descriptors);
        dispose(descriptors);
        match receipt {
            Ok(Receipt::Packet(packet)) => match ToMaster::decode(&self.buffer[..packet.length]) {
                Ok(frame) => Heard::Command(frame),
                Err(error) => Heard::Nonsense(error.to_string()),
            },
            Ok(Receipt::Empty) => Heard::Nothing,
            Ok(Receipt::Closed) => Heard::Closed,
            Err(cause) => Heard::Nonsense(cause.to_string()),
        }
    }
}
