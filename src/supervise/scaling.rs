//! How many workers there are to be, where their number follows the load (`--workers MIN..MAX`).
//!
//! Two signs say that there are too few: somebody has *waited* for `--scale-up-after`, with the
//! dispatcher, unread at a worker, or in the kernel's queue while nobody has room; or workers are
//! *busy* for most of their time, which is all that is seen of requests on kept connections. Waiting
//! doubles the number, since nobody knows how much too small it is; a busy share says how many would
//! do. One sign says that there are too many: all that while, for `--scale-down-after`, one fewer
//! would have done. Then one goes, if it has nothing to do.
//!
//! What keeps the number from swinging: the shares at which one is added and taken out are far apart;
//! nothing is decided until workers that were asked for are there and have served for
//! `--scale-up-after`; and each worker that was taken out too early doubles the time until the next
//! one is ([`SCALE_PATIENCE_MAX`]).
//!
//! Pure: no clock, no process. The order of calls: [`Scaling::handle_turn`] in every turn,
//! [`Scaling::look`] when [`Scaling::wants_look`] says so, and what it answers is done at once.
//!
//! Not here: which slot that is (`supervise`: the highest), what the master sees (`master::scaling`).

use std::fmt;
use std::time::Duration;

use crate::config::{
    SCALE_BUSY, SCALE_CALM, SCALE_HOLD, SCALE_LOOK_MIN, SCALE_PATIENCE_MAX, SCALE_TARGET,
    SCALE_UP_MAX, SCALE_WINDOW, ScaleLimits,
};
use crate::ident::Incarnation;
use crate::time::Nanos;

/// What one worker that serves has done so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Which.
    pub who: Incarnation,
    /// Calls that it can serve at a time: its handler threads, or one loop. None if it is out of
    /// service: what it does says nothing about the others.
    pub places: u32,
    /// Time spent in handlers, all places together.
    pub busy_ns: u64,
    /// The processor's time that its process has had, where that is known: what a loop does outside
    /// of handlers counts too.
    pub processor: Option<Nanos>,
    /// Since when all its places are taken, or it is stopped by a signal; none if one is free.
    pub full_since: Option<Nanos>,
}

/// One look at the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Workers that are wanted now.
    pub wanted: u16,
    /// Since when the connection has waited that has waited for longest, with the dispatcher or
    /// unread at a worker.
    pub waits_since: Option<Nanos>,
    /// Connections wait in the kernel's queue, and nobody has room.
    pub kernel_waits: bool,
    /// Every worker that serves.
    pub efforts: Vec<Effort>,
    /// No worker holds a connection, and none waits.
    pub rests: bool,
    /// The worker that would be taken out has nothing to do.
    pub last_is_idle: bool,
}

/// Another number of workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// So many are wanted from now on.
    pub to: u16,
    /// Why.
    pub reason: ScaleReason,
}

/// Why there are to be more workers, or fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaleReason {
    /// Somebody has waited for so long.
    Waited(Duration),
    /// Workers are busy for this share of their time.
    Busy(f64),
    /// One fewer would have done for so long.
    Calm(Duration),
    /// The number was outside of what is allowed.
    Bounds,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Scaling {
    limits: ScaleLimits,
    /// Where the present window began, and what each worker had done by then.
    window: (Nanos, Vec<Effort>),
    /// Since when the kernel's queue has not been seen empty, or somebody had room.
    kernel_since: Option<Nanos>,
    /// Since when all windows were too busy, and the share in the last one.
    busy: Option<(Nanos, f64)>,
    /// Since when one worker fewer would have done.
    calm_since: Option<Nanos>,
    /// Since when as many serve as are wanted.
    complete_since: Option<Nanos>,
    /// Something waits, as far as was seen in the last turn.
    waits: bool,
    /// Until then nothing is decided: an operator has.
    held_until: Nanos,
    /// When the last one was taken out, until one is added.
    down_at: Option<Nanos>,
    /// How many times `down_after` a worker stays.
    patience: u32,
    look_at: Nanos,
}

impl Scaling {
    /// A machine that has seen nothing yet.
    pub fn new(limits: ScaleLimits, now: Nanos) -> Self {
        Scaling {
            limits,
            window: (now, Vec::new()),
            kernel_since: None,
            busy: None,
            calm_since: None,
            complete_since: None,
            waits: false,
            held_until: Nanos(0),
            down_at: None,
            patience: 1,
            look_at: now,
        }
    }

    /// Other bounds and times, from the next look on, which is due at once.
    pub fn set_limits(&mut self, limits: ScaleLimits, now: Nanos) {
        self.limits = limits;
        self.look_at = now;
    }

    /// An operator has chosen a number, which stays for [`SCALE_HOLD`].
    pub fn hold(&mut self, now: Nanos) {
        self.held_until = now + SCALE_HOLD;
        self.calm_since = None;
        self.busy = None;
        self.down_at = None;
        self.look_at = self.held_until;
    }

    /// Whether somebody waits now: with the dispatcher, unread at a worker, or in the kernel's queue
    /// while nobody has room; and whether no worker holds anything. Whoever begins to wait brings the
    /// next look forward.
    pub fn handle_turn(&mut self, waits: bool, rests: bool, now: Nanos) {
        if waits && !self.waits {
            self.look_at = self.look_at.min(now + self.limits.up_after);
        }
        if !rests && self.look_at == Nanos::NEVER {
            self.look_at = now + SCALE_WINDOW;
        }
        self.waits = waits;
    }

    /// Whether a look is due.
    pub fn wants_look(&self, now: Nanos) -> bool {
        now >= self.look_at
    }

    /// When a look is due although nothing happens; none while nothing can come of it.
    pub fn next_deadline(&self) -> Option<Nanos> {
        (self.look_at != Nanos::NEVER).then_some(self.look_at)
    }

    /// A look, and what follows from it.
    pub fn look(&mut self, load: &Load, now: Nanos) -> Option<Step> {
        let all = u16::try_from(load.efforts.len()).unwrap_or(u16::MAX);
        let in_service = load.efforts.iter().filter(|effort| effort.places > 0).count();
        let serving = u16::try_from(in_service).unwrap_or(u16::MAX);
        let is_complete = all >= load.wanted;
        if is_complete && self.complete_since.is_none() {
            // What the others had to do while some were missing says nothing about all of them.
            self.window = (now, load.efforts.clone());
            self.busy = None;
        }
        self.complete_since = is_complete.then(|| self.complete_since.unwrap_or(now));
        self.kernel_since = load.kernel_waits.then(|| self.kernel_since.unwrap_or(now));
        let waits_since = [load.waits_since, self.kernel_since].into_iter().flatten().min();
        let waited = waits_since.map_or(Duration::ZERO, |since| now.since(since));
        if let Some(share) = self.share(load, now) {
            self.take_share(share, serving, now);
        }
        if waited >= self.limits.up_after / 2 {
            self.calm_since = None;
        }
        let step = self.decide(load, serving, waited, now);
        self.look_at = self.next_look(load, step, waits_since, now);
        step
    }

    fn decide(&mut self, load: &Load, serving: u16, waited: Duration, now: Nanos) -> Option<Step> {
        let ScaleLimits { min, max, up_after, .. } = self.limits;
        if load.wanted < min || load.wanted > max {
            return Some(Step { to: load.wanted.clamp(min, max), reason: ScaleReason::Bounds });
        }
        // What was asked for is given the time to show whether it is enough.
        let settled = self.complete_since.is_some_and(|since| now.since(since) >= up_after);
        if now < self.held_until || !settled {
            return None;
        }
        let wanted = load.wanted;
        if waited >= up_after && wanted < max {
            let to = wanted.saturating_add(wanted.min(SCALE_UP_MAX)).min(max);
            return Some(self.go_up(Step { to, reason: ScaleReason::Waited(waited) }, now));
        }
        if let Some((since, share)) = self.busy
            && now.since(since) >= up_after
            && wanted < max
        {
            let would_do = (f64::from(serving) * share / SCALE_TARGET).ceil();
            let more = (would_do as u16).saturating_sub(serving).clamp(1, SCALE_UP_MAX);
            let to = wanted.saturating_add(more).min(max);
            return Some(self.go_up(Step { to, reason: ScaleReason::Busy(share) }, now));
        }
        let calm = self.calm_since.map_or(Duration::ZERO, |since| now.since(since));
        if calm >= self.stay() && wanted > min && load.last_is_idle {
            self.go_down(now);
            return Some(Step { to: wanted - 1, reason: ScaleReason::Calm(calm) });
        }
        None
    }

    fn go_up(&mut self, step: Step, now: Nanos) -> Step {
        let regretted = self.down_at.is_some_and(|at| now.since(at) < self.stay() * 2);
        self.patience = if regretted { (self.patience * 2).min(SCALE_PATIENCE_MAX) } else { 1 };
        self.down_at = None;
        self.complete_since = None;
        self.calm_since = None;
        self.busy = None;
        step
    }

    fn go_down(&mut self, now: Nanos) {
        self.down_at = Some(now);
        // The next one stays as long again.
        self.calm_since = Some(now);
    }

    /// The share of their time for which workers were busy, once a window is over. One that was not
    /// there at both ends says nothing; where that is so of all, nor does the window.
    fn share(&mut self, load: &Load, now: Nanos) -> Option<f64> {
        let (began, before) = (self.window.0, &self.window.1);
        let span = now.since(began);
        if span < SCALE_WINDOW {
            return None;
        }
        let (mut busy, mut places) = (0.0, 0.0);
        for effort in &load.efforts {
            let Some(then) = before.iter().find(|then| then.who == effort.who) else { continue };
            let all = f64::from(effort.places);
            busy += all * share_of(then, effort, began, span);
            places += all;
        }
        self.window = (now, load.efforts.clone());
        (places > 0.0).then(|| busy / places)
    }

    fn take_share(&mut self, share: f64, serving: u16, now: Nanos) {
        let window_began = Nanos(now.0.saturating_sub(SCALE_WINDOW.as_nanos() as u64));
        let since = self.busy.map_or(window_began, |(since, _)| since);
        self.busy = (share >= SCALE_BUSY).then_some((since, share));
        let others = f64::from(serving.saturating_sub(1));
        let would_be = if others > 0.0 { share * f64::from(serving) / others } else { f64::MAX };
        let is_calm = would_be <= SCALE_CALM;
        self.calm_since = is_calm.then(|| self.calm_since.unwrap_or(window_began));
    }

    /// When the next look is due. Where nobody holds or wants anything, only time takes a worker out.
    fn next_look(
        &self,
        load: &Load,
        step: Option<Step>,
        waits_since: Option<Nanos>,
        now: Nanos,
    ) -> Nanos {
        let wanted = step.map_or(load.wanted, |step| step.to);
        if now < self.held_until {
            return self.held_until;
        }
        if let Some(since) = waits_since {
            let due_at = (since + self.limits.up_after).max(now + SCALE_LOOK_MIN);
            // What has waited for too long, and cannot be helped, is looked at with the rest.
            let is_due = now.since(since) >= self.limits.up_after;
            return if is_due { now + SCALE_WINDOW.min(self.limits.up_after) } else { due_at };
        }
        let is_complete = load.efforts.len() >= usize::from(wanted);
        if load.rests && is_complete {
            let due_at = self.calm_since.map(|since| since + self.stay());
            return match due_at {
                _ if wanted <= self.limits.min => Nanos::NEVER,
                Some(at) => at.max(now + SCALE_WINDOW),
                None => now + SCALE_WINDOW,
            };
        }
        now + SCALE_WINDOW
    }

    /// How long a worker stays that is not needed.
    fn stay(&self) -> Duration {
        self.limits.down_after * self.patience
    }
}

/// For which share of a window a worker was busy.
fn share_of(then: &Effort, now: &Effort, began: Nanos, span: Duration) -> f64 {
    if now.full_since.is_some_and(|since| since <= began) {
        return 1.0;
    }
    let all_ns = span.as_nanos() as f64 * f64::from(now.places.max(1));
    let in_handlers = now.busy_ns.saturating_sub(then.busy_ns);
    let processor = match (then.processor, now.processor) {
        (Some(then), Some(now)) => now.0.saturating_sub(then.0),
        (None, _) | (_, None) => 0,
    };
    (in_handlers.max(processor) as f64 / all_ns).min(1.0)
}

impl fmt::Display for ScaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScaleReason::Waited(time) => {
                write!(f, "somebody has waited for {:.3} s", time.as_secs_f64())
            }
            ScaleReason::Busy(share) => {
                write!(f, "workers are busy for {:.0} % of their time", share * 100.0)
            }
            ScaleReason::Calm(time) => {
                write!(f, "one fewer would have done for {:.1} s", time.as_secs_f64())
            }
            ScaleReason::Bounds => f.write_str("the bounds of --workers"),
        }
    }
}

#[cfg(test)]
mod tests;
