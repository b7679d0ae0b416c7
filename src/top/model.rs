//! What `top` knows and what was asked of it: pictures in, keys in. The clock is an argument.
//!
//! Not here: how it is drawn (`draw`), what follows from pictures (`history`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::TOP_PATIENCE;
use crate::observe::view::{HappenedView, SlotView, View, WorkerView};
use crate::time::Nanos;
use crate::top::columns::Column;
use crate::top::history::{Quantile, Readings, Timed, Totals, Worker, push_point, quantile, sum};

/// Events that are kept; the server itself sends only its last ones.
const EVENTS_MAX: usize = 200;

/// What was pressed, whatever the terminal calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One that prints something.
    Char(char),
    /// The same with Control.
    Control(char),
    /// To the worker above.
    Up,
    /// To the worker below.
    Down,
    /// Sort by the column before.
    Left,
    /// Sort by the next column.
    Right,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first worker.
    Home,
    /// To the last worker.
    End,
    /// Back out of what is open; then out of `top`.
    Escape,
    /// Any other.
    Other,
}

/// A worker process: its place, and which process it is.
pub(super) type Place = (u16, u32);

/// What `top` knows.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) address: String,
    pub(super) has_colour: bool,
    pub(super) view: Option<View>,
    pub(super) seen_at: Nanos,
    heard_at: Option<Nanos>,
    pub(super) now: Nanos,
    pub(super) failure: Option<String>,
    pub(super) failed_since: Option<Nanos>,
    pub(super) workers: BTreeMap<Place, Worker>,
    slots: BTreeMap<usize, Readings<SlotView>>,
    pub(super) totals: Readings<Totals>,
    pub(super) rates: VecDeque<Option<f64>>,
    pub(super) events: VecDeque<HappenedView>,
    pub(super) sort: Column,
    pub(super) is_reversed: bool,
    pub(super) only_attention: bool,
    pub(super) shows_events: bool,
    pub(super) shows_help: bool,
    pub(super) is_paused: bool,
    is_over: bool,
    selected: Option<Place>,
}

impl Model {
    /// Nothing is known yet of the server at this address. Without colours (`NO_COLOR`) all is told
    /// by words, weight and reversal; with them too.
    pub fn new(address: &str, has_colour: bool) -> Model {
        Model {
            address: address.to_owned(),
            has_colour,
            view: None,
            seen_at: Nanos(0),
            heard_at: None,
            now: Nanos(0),
            failure: None,
            failed_since: None,
            workers: BTreeMap::new(),
            slots: BTreeMap::new(),
            totals: Readings::default(),
            rates: VecDeque::new(),
            events: VecDeque::new(),
            sort: Column::Place,
            is_reversed: false,
            only_attention: false,
            shows_events: false,
            shows_help: false,
            is_paused: false,
            is_over: false,
            selected: None,
        }
    }

    /// A picture has come. While paused it is not looked at.
    pub fn handle_view(&mut self, view: View, now: Nanos) {
        self.handle_now(now);
        self.failure = None;
        self.failed_since = None;
        self.heard_at = Some(now);
        if self.is_paused {
            return;
        }
        let is_another =
            |known: &View| known.pid != view.pid || known.started_at != view.started_at;
        if self.view.as_ref().is_some_and(is_another) {
            // Its counters are not the former one's.
            self.workers.clear();
            self.slots.clear();
            self.totals = Readings::default();
            self.rates.clear();
            self.events.clear();
        }
        self.seen_at = now;
        self.take_slots(&view, now);
        self.take_workers(&view, now);
        self.totals.push(now, Totals::of(&view));
        push_point(&mut self.rates, self.totals.rate(|totals| Some(totals.answered as f64)));
        let last = self.events.back().map(|event| event.sequence);
        let fresh =
            view.happened.iter().filter(|event| last.is_none_or(|last| event.sequence > last));
        self.events.extend(fresh.cloned());
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
        self.view = Some(view);
    }

    /// None has come: why.
    pub fn handle_failure(&mut self, reason: String, now: Nanos) {
        self.handle_now(now);
        self.failure = Some(reason);
        self.failed_since.get_or_insert(now);
    }

    /// Time has passed.
    pub fn handle_now(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// A key was pressed.
    pub fn handle_key(&mut self, key: Key) {
        if self.shows_help {
            self.shows_help = false;
            if matches!(key, Key::Char('?' | 'h') | Key::Escape) {
                return;
            }
        }
        match key {
            Key::Char('q') | Key::Control('c') => self.is_over = true,
            Key::Escape => {
                // What was opened last is closed first.
                match (self.shows_events, self.only_attention) {
                    (true, _) => self.shows_events = false,
                    (false, true) => self.only_attention = false,
                    (false, false) => self.is_over = true,
                }
            }
            Key::Char(' ' | 'p') => self.is_paused = !self.is_paused,
            Key::Char('?' | 'h') => self.shows_help = true,
            Key::Char('s') | Key::Right => self.sort = self.sort.next(),
            Key::Char('S') | Key::Left => self.sort = self.sort.previous(),
            Key::Char('r') => self.is_reversed = !self.is_reversed,
            Key::Char('a') => self.sort = Column::State,
            Key::Char('f') => self.only_attention = !self.only_attention,
            Key::Char('e') => self.shows_events = !self.shows_events,
            Key::Up | Key::Char('k') => self.select_by(-1),
            Key::Down | Key::Char('j') => self.select_by(1),
            Key::PageUp => self.select_by(-10),
            Key::PageDown => self.select_by(10),
            Key::Home | Key::Char('g') => self.select_by(isize::MIN),
            Key::End | Key::Char('G') => self.select_by(isize::MAX),
            Key::Char(_) | Key::Control(_) | Key::Other => {}
        }
    }

    /// It was told to end.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The workers that are shown, in their order.
    pub(super) fn rows(&self) -> Vec<&WorkerView> {
        let all = self.view.iter().flat_map(|view| &view.workers);
        let wants = |worker: &&WorkerView| !self.only_attention || state(worker) != "serving";
        let mut rows: Vec<&WorkerView> = all.filter(wants).collect();
        let place = |worker: &WorkerView| (worker.slot, worker.generation);
        let figure = |worker: &WorkerView| self.sort.figure(self, worker);
        rows.sort_by(|one, other| {
            let by_figure = figure(other).total_cmp(&figure(one));
            by_figure.then(place(one).cmp(&place(other)))
        });
        if self.is_reversed {
            rows.reverse();
        }
        rows
    }

    /// Which of these rows is selected: the first, unless somebody said another.
    pub(super) fn selected_row(&self, rows: &[&WorkerView]) -> Option<usize> {
        let is_it = |worker: &&WorkerView| Some((worker.slot, worker.generation)) == self.selected;
        rows.iter().position(is_it).or(if rows.is_empty() { None } else { Some(0) })
    }

    /// A latency of one slot, of the last seconds.
    pub(super) fn latency(&self, slot: u16, timed: Timed, share: f64) -> Option<Quantile> {
        let counts = self.slots.get(&usize::from(slot))?.grown(timed);
        quantile(&counts, self.bounds(), share)
    }

    /// And of all of them.
    pub(super) fn latency_of_all(&self, timed: Timed, share: f64) -> Option<Quantile> {
        let counts = sum(self.slots.values().map(|slot| slot.grown(timed)));
        quantile(&counts, self.bounds(), share)
    }

    pub(super) fn worker(&self, seen: &WorkerView) -> Option<&Worker> {
        self.workers.get(&(seen.slot, seen.generation))
    }

    /// How long a worker has had something to do and done nothing, as far as was seen.
    pub(super) fn silence(&self, seen: &WorkerView) -> Duration {
        let since = self.worker(seen).map_or(self.seen_at, |worker| worker.progress_at);
        self.seen_at.since(since)
    }

    /// How long the server has said nothing, if that is longer than it should be.
    pub(super) fn lost_for(&self) -> Option<Duration> {
        let silent = |heard_at: Nanos| self.now.since(heard_at);
        match (self.failed_since, self.heard_at) {
            (Some(failed), heard) => Some(silent(heard.unwrap_or(failed))),
            (None, Some(heard)) => Some(silent(heard)).filter(|silence| *silence > TOP_PATIENCE),
            (None, None) => None,
        }
    }

    fn bounds(&self) -> &[f64] {
        self.view.as_ref().map_or(&[], |view| &view.histogram_bounds)
    }

    fn select_by(&mut self, by: isize) {
        let rows = self.rows();
        let Some(at) = self.selected_row(&rows) else { return };
        let to = at.saturating_add_signed(by).min(rows.len() - 1);
        self.selected = Some((rows[to].slot, rows[to].generation));
    }

    fn take_slots(&mut self, view: &View, now: Nanos) {
        let mut known = std::mem::take(&mut self.slots);
        for slot in &view.slots {
            let mut readings = known.remove(&slot.slot).unwrap_or_default();
            readings.push(now, slot.clone());
            self.slots.insert(slot.slot, readings);
        }
    }

    fn take_workers(&mut self, view: &View, now: Nanos) {
        let mut known = std::mem::take(&mut self.workers);
        for seen in &view.workers {
            let place = (seen.slot, seen.generation);
            let mut worker = known.remove(&place).unwrap_or_default();
            worker.handle(now, seen);
            // During a reload two processes share a slot's figures: they are the one's that stays.
            let slot = self.slots.get(&usize::from(seen.slot));
            let step = slot.filter(|_| seen.stage != "leaving");
            let step = step.map(|slot| slot.last_step(Timed::Service));
            let point = step.and_then(|step| quantile(&step, &view.histogram_bounds, 0.99));
            worker.point(point.map(|point| point.seconds));
            self.workers.insert(place, worker);
        }
    }
}

/// The word for a worker. A signal outweighs everything else: what it did before is no matter.
pub(super) fn state(worker: &WorkerView) -> &str {
    match (worker.stopped, worker.stuck, worker.drained) {
        (true, _, _) => "stopped",
        (false, true, _) => "stuck",
        (false, false, true) => "drained",
        (false, false, false) if worker.stage.is_empty() => "unknown",
        (false, false, false) => &worker.stage,
    }
}
