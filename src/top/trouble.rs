//! What wants attention, in sentences, gravest first; and the whole picture in one.
//!
//! The page in a browser says the same (`admin/dashboard/words.js`).
//!
//! Not here: how they are drawn (`draw`).

use std::time::Duration;

use crate::observe::view::{Numbers, View, WorkerView};
use crate::top::history::Worker;
use crate::top::model::Model;
use crate::top::words::{lasting, plural, rate, spoken};

/// A time without progress that is worth mentioning.
const SILENCE_MIN: Duration = Duration::from_secs(2);

/// Something that wants attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Somebody should look now; else it is good to know.
    pub(super) is_grave: bool,
    pub(super) text: String,
}

/// All of it, gravest first.
pub(super) fn troubles(model: &Model) -> Vec<Trouble> {
    let Some(view) = &model.view else { return Vec::new() };
    let mut all: Vec<Trouble> =
        view.workers.iter().filter_map(|worker| of_worker(model, worker)).collect();
    all.extend(of_server(model, view));
    all.sort_by_key(|trouble| !trouble.is_grave);
    all
}

/// The picture in one sentence, and whether it is a grave one.
pub(super) fn headline(model: &Model) -> (bool, String) {
    if let Some(silence) = model.lost_for() {
        return (true, format!("No answer for {}: the picture is old.", lasting(silence)));
    }
    let Some(view) = &model.view else {
        return (false, "Waiting for the first picture …".to_owned());
    };
    let all = troubles(model);
    if let Some(first) = all.first().filter(|first| first.is_grave) {
        let more = all.iter().filter(|trouble| trouble.is_grave).count() - 1;
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        return (true, format!("{}{more}", first.text));
    }
    let said = match (view.phase.as_str(), all.first()) {
        ("starting", _) => "Opening the house.",
        ("stopping", _) => "Closing: who is seated is served to the end.",
        ("stopped", _) => "Closed.",
        (_, Some(first)) => &first.text,
        (_, None) => "All is well.",
    };
    (false, said.to_owned())
}

fn of_worker(model: &Model, worker: &WorkerView) -> Option<Trouble> {
    let slot = worker.slot;
    let flight = worker.active;
    let waits = match worker.waiting {
        0 => String::new(),
        many => format!(", {many} waiting"),
    };
    let (is_grave, text) = if worker.stopped {
        (true, format!("Worker {slot} is stopped by a signal: {flight} in flight{waits}."))
    } else if model.worker(worker).is_some_and(Worker::stays_stuck) {
        let silence = model.silence(worker);
        let lasts = if silence >= SILENCE_MIN {
            format!("no progress for {}, ", lasting(silence))
        } else {
            String::new()
        };
        (true, format!("Worker {slot} is stuck: {lasts}{flight} in flight{waits}."))
    } else if worker.drained {
        (false, format!("Worker {slot} was taken out of service by an operator."))
    } else {
        return None;
    };
    Some(Trouble { is_grave, text })
}

fn of_server(model: &Model, view: &View) -> Vec<Trouble> {
    let mut all = Vec::new();
    let mut say = |is_grave, text: String| all.push(Trouble { is_grave, text });
    if !view.running {
        say(true, "The master does not live any more.".to_owned());
    }
    if view.account.missing != 0 {
        let missing = view.account.missing.unsigned_abs();
        say(true, format!("{} missing: a bug of maitred.", plural(missing, "connection")));
    }
    let (replaced, of) = (view.reload.replaced, view.reload.of);
    match view.reload.state.as_str() {
        "failed" => say(true, format!("The last reload failed: {replaced} of {of} replaced.")),
        "running" => say(false, format!("A reload is under way: {replaced} of {of} replaced.")),
        _ => {}
    }
    let totals = &model.totals;
    let rising = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0);
    if rising(totals.rate(|one| one.overflows.map(|number| number as f64))).is_some() {
        say(true, "The kernel drops connections: its queue is full.".to_owned());
    } else if let Some(queue) = &view.kernel_queue
        && queue.limit > 0
        && queue.length >= queue.limit - queue.limit / 5
    {
        say(true, format!("The kernel's queue: {} of {} wait.", queue.length, queue.limit));
    }
    if let Some(shed) = rising(totals.rate(|one| Some(one.shed as f64))) {
        let why = reasons(&view.account.shed);
        say(true, format!("{} clients in a second get a 503 ({why}).", rate(shed)));
    }
    if let Some(aborted) = rising(totals.rate(|one| Some(one.aborted as f64))) {
        let why = reasons(&view.account.aborted);
        say(true, format!("{} connections in a second are cut off ({why}).", rate(aborted)));
    }
    let queued = view.account.here.get("queued").unwrap_or(0);
    if queued > 0 && totals.before().is_some_and(|before| before.queued > 0) {
        say(false, format!("No worker has room: {} waiting.", plural(queued, "connection")));
    }
    all
}

/// The reasons that count, most frequent first.
fn reasons(numbers: &Numbers) -> String {
    let mut all: Vec<&(String, u64)> = numbers.0.iter().filter(|(_, number)| *number > 0).collect();
    all.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    all.iter().take(3).map(|(name, _)| spoken(name)).collect::<Vec<_>>().join(", ")
}
