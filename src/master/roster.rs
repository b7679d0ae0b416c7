//! The worker processes as the master knows them: child, channel, page, and what each was lent.
//!
//! A member is one incarnation. While a slot is being replaced it has two: the one that serves and
//! the one that starts or leaves. The dispatcher only ever hears of the one that serves.
//!
//! Not here: when to start or end one (`supervise`), what to lend it (`dispatch`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::sync::Arc;

use mio::Registry;
use slab::Slab;

use crate::board::{Call, MasterPage, WorkerPage, page_bytes};
use crate::config::{DESCRIPTORS_PER_PACKET_MAX, LOANS_MAX};
use crate::dispatch::Shape;
use crate::handoff::{MasterEnd, ReportRecord, ToWorker};
use crate::ident::{ConnectionId, Incarnation, ListenerId, LoanId, Slot};
use crate::loan::LoanState;
use crate::master::tokens::Source;
use crate::master::upgrade::state::MemberState;
use crate::master::watching::IdleWatch;
use crate::supervise::flood::FloodJudge;
use crate::supervise::{Breach, Cause};
use crate::sys::alarm::Alarm;
use crate::sys::bell::Bell;
use crate::sys::clock;
use crate::sys::epoll;
use crate::sys::fdpass;
use crate::sys::inherit::{
    ALARM_VARIABLE, BELL_VARIABLE, CHANNEL_VARIABLE, GENERATION_VARIABLE, LISTENERS_VARIABLE,
    METERS_VARIABLE, PAGE_VARIABLE, SLOT_VARIABLE, listeners_value,
};
use crate::sys::process::Child;
use crate::sys::shm::SharedMemory;
use crate::sys::upgrade::Adopter;
use crate::time::Nanos;

/// A page in memory that this process and its worker share.
pub(crate) type SharedPage = MasterPage<Arc<SharedMemory>>;

/// One worker process.
pub(crate) struct Member {
    pub(crate) who: Incarnation,
    pub(crate) child: Child,
    pub(crate) channel: MasterEnd,
    pub(crate) page: SharedPage,
    /// For a worker that speaks in frames alone, the master plays the worker's side of the page.
    pub(crate) proxy: Option<WorkerPage<Arc<SharedMemory>>>,
    pub(crate) stage: Stage,
    pub(crate) shape: Option<Shape>,
    pub(crate) started_at: Nanos,
    /// Since when it serves.
    pub(crate) ready_at: Nanos,
    /// From when on it is judged by `--handoff-timeout`: later than the loan itself where the master
    /// was stopped meanwhile.
    pub(crate) handoff_from: Nanos,
    /// Loans that were LENT when last looked at, oldest first.
    pub(crate) unclaimed: VecDeque<(LoanId, Nanos)>,
    /// When it was last seen to have claimed one.
    claimed_at: Nanos,
    /// Connections that leave with the next packets.
    pub(crate) outbox: Vec<ConnectionId>,
    /// Recalled loans whose worker has not been told yet: the channel was full.
    pub(crate) recalls_owed: VecDeque<LoanId>,
    /// Other frames that the channel would not take yet.
    pub(crate) frames_owed: VecDeque<ToWorker>,
    /// Since when it is stopped by a signal (SIGSTOP, a debugger).
    pub(crate) stopped_at: Option<Nanos>,
    /// The log says so.
    pub(crate) stop_said: bool,
    /// How often it was found stuck.
    pub(crate) stalls: u64,
    /// Since when it is.
    pub(crate) stuck_since: Option<Nanos>,
    /// That was worth a word.
    pub(crate) stuck_told: bool,
    /// Why it was killed.
    pub(crate) killed_for: Option<Cause>,
    /// What it was asked to ring for, and has not rung for.
    pub(crate) call: Call,
    /// How its idle loans are watched while it is stuck.
    pub(crate) idle: IdleWatch,
    /// How it wakes the master in time; the worker holds the same timer.
    alarm: Alarm,
    /// By what it wakes the master when it has room, or has given back. One each, so that who rings
    /// without end is known.
    bell: Bell,
    /// Whether it wakes the master too often.
    pub(crate) flood: FloodJudge,
    /// How it has broken the protocol: nothing that it says counts any more.
    pub(crate) breach: Option<Breach>,
    /// Since when its channel is closed.
    pub(crate) closed_at: Option<Nanos>,
    /// It has asked for leave, which is heard then.
    pub(crate) leave_at: Option<Nanos>,
    /// It has refused a packet, and is lent nothing until then.
    pub(crate) refused_until: Nanos,
    /// The load of a worker without a page, as it last said.
    pub(crate) reported: Option<ReportRecord>,
    memory: Arc<SharedMemory>,
}

/// What a worker has not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclaimed {
    pub(crate) count: u32,
    /// When the oldest was lent.
    pub(crate) oldest: Option<Nanos>,
    /// Since when the worker has not claimed any, although some were there.
    pub(crate) nothing_claimed_since: Option<Nanos>,
}

/// Where a member is in its life, as far as lending goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Started, not Ready: gets nothing.
    Starting,
    /// Ready, and the one that its slot's connections go to.
    Serving,
    /// Gets nothing more: drained or hung.
    Leaving,
    /// To be killed, or killed and not reaped: is not heard either.
    Ending,
}

/// All members.
#[derive(Default)]
pub(crate) struct Roster {
    members: Slab<Member>,
    /// For each slot the place of the member that serves.
    serving: Vec<Option<u32>>,
}

impl Roster {
    /// Starts a worker process with its own channel and page, and watches both. With the kernel's
    /// arms it gets listeners too.
    ///
    /// # Errors
    /// The system refuses a socketpair, memory, or the process.
    pub(crate) fn start(
        &mut self,
        registry: &Registry,
        mut command: Command,
        who: Incarnation,
        listeners: &[(ListenerId, BorrowedFd<'_>)],
        meters: Option<BorrowedFd<'_>>,
        flood: FloodJudge,
    ) -> io::Result<u32> {
        let (ours, theirs) = fdpass::socketpair()?;
        let memory = Arc::new(SharedMemory::create(page_bytes(LOANS_MAX))?);
        let page = MasterPage::new(Arc::clone(&memory), LOANS_MAX).map_err(io::Error::other)?;
        let (alarm, bell) = (Alarm::create()?, Bell::create()?);
        let mut inherited = vec![
            (CHANNEL_VARIABLE, theirs.as_fd()),
            (PAGE_VARIABLE, memory.as_fd()),
            (ALARM_VARIABLE, alarm.as_fd()),
            (BELL_VARIABLE, bell.as_fd()),
        ];
        inherited.extend(meters.map(|meters| (METERS_VARIABLE, meters)));
        command
            .env(SLOT_VARIABLE, who.slot.to_string())
            .env(GENERATION_VARIABLE, who.generation.to_string());
        if !listeners.is_empty() {
            command.env(LISTENERS_VARIABLE, listeners_value(listeners.iter().copied()));
        }
        let listeners: Vec<_> = listeners.iter().map(|(_, listener)| *listener).collect();
        let child = Child::spawn_with(command, &inherited, &listeners)?;
        // The worker's end lives in the worker alone from here on; otherwise this master would
        // never notice that it has closed.
        drop(theirs);
        let member = Member {
            who,
            child,
            channel: MasterEnd::new(ours),
            page,
            proxy: None,
            stage: Stage::Starting,
            shape: None,
            started_at: clock::now(),
            ready_at: Nanos(0),
            handoff_from: Nanos(0),
            unclaimed: VecDeque::new(),
            claimed_at: Nanos(0),
            outbox: Vec::new(),
            recalls_owed: VecDeque::new(),
            frames_owed: VecDeque::new(),
            stopped_at: None,
            stop_said: false,
            stalls: 0,
            stuck_since: None,
            stuck_told: false,
            killed_for: None,
            call: Call::NOTHING,
            idle: IdleWatch::new()?,
            alarm,
            bell,
            flood,
            breach: None,
            closed_at: None,
            leave_at: None,
            refused_until: Nanos(0),
            reported: None,
            memory,
        };
        let entry = self.members.vacant_entry();
        member.listen(registry, entry.key() as u32)?;
        let pid = member.child.pid();
        entry.insert(member);
        Ok(pid)
    }

    /// Takes over the workers that another image of this process has started. None of them serves
    /// yet ([`Roster::serve_with`]).
    ///
    /// # Errors
    /// A descriptor or a child is not there, or the system refuses a mapping or a watch.
    pub(crate) fn resume(
        &mut self,
        registry: &Registry,
        states: Vec<MemberState>,
        adopter: &mut Adopter,
        flood: impl Fn() -> FloodJudge,
    ) -> io::Result<()> {
        let mut members = Vec::with_capacity(states.len());
        for state in states {
            let place = state.place;
            let member = Member::resume(state, adopter, flood())?;
            member.listen(registry, place)?;
            if member.stage == Stage::Ending {
                member.unlisten(registry);
            }
            members.push((place as usize, member));
        }
        self.members = members.into_iter().collect();
        Ok(())
    }
}

impl Roster {
    pub(crate) fn get(&self, place: u32) -> Option<&Member> {
        self.members.get(place as usize)
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Member> {
        self.members.get_mut(place as usize)
    }

    /// Takes a member out whose process has been reaped and whose loans are settled.
    pub(crate) fn remove(&mut self, registry: &Registry, place: u32) -> Option<Member> {
        let member = self.members.try_remove(place as usize)?;
        member.unlisten(registry);
        epoll::unwatch(registry, member.child.as_fd());
        self.stop_serving(place);
        Some(member)
    }

    /// From now on its slot's connections go to this member. The one that served before is
    /// returned; it is Leaving.
    pub(crate) fn serve_with(&mut self, place: u32) -> Option<u32> {
        let member = self.members.get_mut(place as usize)?;
        member.stage = Stage::Serving;
        let slot = usize::from(member.who.slot.0);
        if self.serving.len() <= slot {
            self.serving.resize(slot + 1, None);
        }
        let before = self.serving[slot].replace(place)?;
        if let Some(member) = self.members.get_mut(before as usize) {
            member.stage = Stage::Leaving;
        }
        Some(before)
    }

    /// This member gets nothing more. True if it was the one that served its slot.
    pub(crate) fn stop_serving(&mut self, place: u32) -> bool {
        if let Some(member) = self.members.get_mut(place as usize) {
            member.stage = Stage::Leaving;
        }
        match self.serving.iter_mut().find(|serving| **serving == Some(place)) {
            Some(serving) => {
                *serving = None;
                true
            }
            None => false,
        }
    }

    /// The place of the member that serves a slot.
    pub(crate) fn serving(&self, slot: Slot) -> Option<u32> {
        self.serving.get(usize::from(slot.0)).copied().flatten()
    }

    /// The place of an incarnation.
    pub(crate) fn place_of(&self, who: Incarnation) -> Option<u32> {
        self.members.iter().find(|(_, member)| member.who == who).map(|(place, _)| place as u32)
    }

    /// Slots below this have members.
    pub(crate) fn slots_used(&self) -> u16 {
        let slots = self.members.iter().map(|(_, member)| member.who.slot.0.saturating_add(1));
        slots.max().unwrap_or(0)
    }

    /// Every place that is taken, as of now.
    pub(crate) fn places(&self) -> Vec<u32> {
        self.members.iter().map(|(place, _)| place as u32).collect()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Member)> {
        self.members.iter_mut().map(|(place, member)| (place as u32, member))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.members.iter().map(|(place, member)| (place as u32, member))
    }
}

impl Member {
    fn resume(state: MemberState, adopter: &mut Adopter, flood: FloodJudge) -> io::Result<Member> {
        let channel = MasterEnd::new(adopter.adopt(state.channel)?);
        let memory = adopter.adopt(state.memory)?;
        let memory = Arc::new(SharedMemory::adopt(memory, page_bytes(LOANS_MAX))?);
        let page = MasterPage::resume(Arc::clone(&memory), LOANS_MAX, &state.page)
            .map_err(io::Error::other)?;
        // Whatever it was asked to ring for, it is asked again.
        page.lower_bell();
        let frames = state.frames_owed.iter().map(|bytes| ToWorker::decode(bytes));
        let mut member = Member {
            who: state.who,
            child: Child::adopt(state.pid)?,
            channel,
            page,
            proxy: None,
            stage: state.stage.into(),
            shape: state.shape,
            started_at: state.started_at,
            ready_at: state.ready_at,
            handoff_from: Nanos(0),
            unclaimed: state.unclaimed.into(),
            claimed_at: Nanos(0),
            outbox: Vec::new(),
            recalls_owed: state.recalls_owed.into(),
            frames_owed: frames.collect::<Result<_, _>>().map_err(io::Error::other)?,
            stopped_at: state.stopped_at,
            stop_said: state.stopped_at.is_some(),
            stalls: state.stalls,
            stuck_since: None,
            stuck_told: false,
            killed_for: None,
            call: Call::NOTHING,
            idle: IdleWatch::new()?,
            alarm: Alarm::adopt(adopter.adopt(state.alarm)?)?,
            bell: Bell::adopt(adopter.adopt(state.bell)?),
            flood,
            breach: state.breach,
            // A channel that is closed is reported again.
            closed_at: None,
            leave_at: state.leave_at,
            refused_until: Nanos(0),
            reported: state.reported,
            memory,
        };
        if state.proxy {
            member.play_worker_side()?;
        }
        Ok(member)
    }

    fn listen(&self, registry: &Registry, place: u32) -> io::Result<()> {
        epoll::watch_level(registry, self.channel.as_fd(), Source::Channel(place).token())?;
        epoll::watch_edge(registry, self.alarm.as_fd(), Source::Alarm(place).token())?;
        epoll::watch_edge(registry, self.bell.as_fd(), Source::Bell(place).token())?;
        epoll::watch_level(registry, self.child.as_fd(), Source::Process(place).token())
    }

    /// What stays open for another image of this process: channel, page, alarm and bell.
    pub(crate) fn kept(&self) -> [BorrowedFd<'_>; 4] {
        [self.channel.as_fd(), self.memory.as_fd(), self.alarm.as_fd(), self.bell.as_fd()]
    }

    /// The worker has said that it does not use the page: the master keeps the worker's side too.
    pub(crate) fn play_worker_side(&mut self) -> io::Result<()> {
        let memory = Arc::clone(&self.memory);
        let page = WorkerPage::play(memory, LOANS_MAX).map_err(io::Error::other)?;
        self.proxy = Some(page);
        Ok(())
    }

    /// By nothing but its end does it wake the master any more.
    pub(crate) fn unlisten(&self, registry: &Registry) {
        epoll::unwatch(registry, self.channel.as_fd());
        epoll::unwatch(registry, self.alarm.as_fd());
        epoll::unwatch(registry, self.bell.as_fd());
    }

    /// The channel, to be watched.
    pub(crate) fn channel_descriptor(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Forgets what has been claimed since the last look, and says what still waits. Bounded by the
    /// worker's credit.
    pub(crate) fn still_unclaimed(&mut self, now: Nanos) -> Unclaimed {
        let page = &self.page;
        let before = self.unclaimed.len();
        self.unclaimed.retain(|(loan, _)| page.look(*loan) == LoanState::Lent);
        if self.unclaimed.len() < before {
            self.claimed_at = now;
        }
        let oldest = self.unclaimed.front().map(|(_, lent_at)| *lent_at);
        Unclaimed {
            count: self.unclaimed.len() as u32,
            oldest,
            nothing_claimed_since: oldest.map(|lent_at| lent_at.max(self.claimed_at)),
        }
    }

    /// Whether the worker has yet to be told something: its channel was full.
    pub(crate) fn owes(&self) -> bool {
        !self.frames_owed.is_empty() || !self.recalls_owed.is_empty()
    }

    /// Nothing more can be said to it.
    pub(crate) fn forget_debts(&mut self) {
        self.frames_owed.clear();
        self.recalls_owed.clear();
    }

    /// Sends what the channel would not take before. True if nothing is owed any more.
    pub(crate) fn pay_debts(&mut self) -> io::Result<bool> {
        while let Some(frame) = self.frames_owed.front() {
            if !self.channel.send(frame)? {
                return Ok(false);
            }
            self.frames_owed.pop_front();
        }
        while !self.recalls_owed.is_empty() {
            let count = self.recalls_owed.len().min(DESCRIPTORS_PER_PACKET_MAX);
            let loans = self.recalls_owed.iter().take(count).copied().collect();
            if !self.channel.send(&ToWorker::Recall(loans))? {
                return Ok(false);
            }
            self.recalls_owed.drain(..count);
        }
        Ok(true)
    }
}
