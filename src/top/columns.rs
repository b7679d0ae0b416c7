//! The columns of the table of workers: what each says, how wide it is, and which go first where
//! there is no room.
//!
//! Not here: where they are drawn (`draw`).

use crate::observe::view::WorkerView;
use crate::top::history::{Quantile, Timed, Worker};
use crate::top::model::{Model, state};
use crate::top::words::{bytes, count, known, latency, percent, printable, rate, span};

/// One column, in their order on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Place,
    State,
    Active,
    Waiting,
    Open,
    Busy,
    Rate,
    Median,
    Tail,
    QueueWait,
    Cpu,
    Memory,
    Age,
    Generation,
    Process,
    Restarts,
    Stalls,
    Errors,
}

/// Between two columns.
const GAP: u16 = 1;

impl Column {
    const ALL: [Column; 18] = [
        Column::Place,
        Column::State,
        Column::Active,
        Column::Waiting,
        Column::Open,
        Column::Busy,
        Column::Rate,
        Column::Median,
        Column::Tail,
        Column::QueueWait,
        Column::Cpu,
        Column::Memory,
        Column::Age,
        Column::Generation,
        Column::Process,
        Column::Restarts,
        Column::Stalls,
        Column::Errors,
    ];

    /// Most wanted first: where there is no room for all, the last ones are left out.
    const BY_NEED: [Column; 18] = [
        Column::Place,
        Column::State,
        Column::Active,
        Column::Waiting,
        Column::Open,
        Column::Rate,
        Column::Tail,
        Column::Busy,
        Column::Memory,
        Column::Age,
        Column::Cpu,
        Column::Restarts,
        Column::QueueWait,
        Column::Median,
        Column::Process,
        Column::Generation,
        Column::Stalls,
        Column::Errors,
    ];

    /// Those that fit into so many cells, and the one that is sorted by, in their order.
    pub(super) fn fitting(width: u16, sort: Column) -> Vec<Column> {
        let mut chosen = vec![Column::Place, sort];
        chosen.dedup();
        let mut left = width.saturating_sub(chosen.iter().map(|one| one.width() + GAP).sum());
        for column in Column::BY_NEED {
            if chosen.contains(&column) {
                continue;
            }
            if column.width() + GAP > left {
                break;
            }
            left -= column.width() + GAP;
            chosen.push(column);
        }
        chosen.sort_by_key(|one| Column::ALL.iter().position(|column| column == one));
        chosen
    }

    pub(super) fn next(self) -> Column {
        self.by(1)
    }

    pub(super) fn previous(self) -> Column {
        self.by(Column::ALL.len() - 1)
    }

    fn by(self, steps: usize) -> Column {
        let at = Column::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Column::ALL[(at + steps) % Column::ALL.len()]
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Column::Place => "WORKER",
            Column::State => "STATE",
            Column::Active => "FLIGHT",
            Column::Waiting => "WAIT",
            Column::Open => "OPEN",
            Column::Busy => "BUSY",
            Column::Rate => "REQ/S",
            Column::Median => "P50",
            Column::Tail => "P99",
            Column::QueueWait => "QUEUE",
            Column::Cpu => "CPU",
            Column::Memory => "MEMORY",
            Column::Age => "AGE",
            Column::Generation => "GEN",
            Column::Process => "PID",
            Column::Restarts => "RESTARTS",
            Column::Stalls => "STALLS",
            Column::Errors => "ERRORS",
        }
    }

    /// Cells that the longest of its usual texts needs.
    pub(super) fn width(self) -> u16 {
        match self {
            Column::Place | Column::Active | Column::Stalls | Column::Errors => 6,
            Column::State | Column::Median | Column::Tail | Column::QueueWait => 8,
            Column::Waiting | Column::Open | Column::Busy | Column::Rate | Column::Cpu => 5,
            Column::Memory | Column::Process | Column::Age => 7,
            Column::Generation => 5,
            Column::Restarts => 8,
        }
    }

    pub(super) fn text(self, model: &Model, worker: &WorkerView) -> String {
        let seen = model.worker(worker);
        match self {
            Column::Place => worker.slot.to_string(),
            Column::State => printable(state(worker)),
            Column::Active => count(worker.active),
            Column::Waiting => count(worker.waiting.into()),
            Column::Open => count(open(worker)),
            Column::Busy => known(seen.and_then(Worker::busy), percent),
            Column::Rate => known(seen.and_then(Worker::rate), rate),
            Column::Median | Column::Tail | Column::QueueWait => {
                known(self.quantile(model, worker), quantile_text)
            }
            Column::Cpu => known(seen.and_then(Worker::cpu), percent),
            Column::Memory => known(worker.rss_bytes, bytes),
            Column::Age => known(worker.age, span),
            Column::Generation => worker.generation.to_string(),
            Column::Process => worker.pid.to_string(),
            Column::Restarts => count(worker.restarts),
            Column::Stalls => count(worker.stalls),
            Column::Errors => count(worker.errors),
        }
    }

    /// What is sorted by, the greatest first: places count down, states by how grave they are.
    pub(super) fn figure(self, model: &Model, worker: &WorkerView) -> f64 {
        const GRAVEST_FIRST: [&str; 6] =
            ["stopped", "stuck", "drained", "leaving", "starting", "serving"];
        let seen = model.worker(worker);
        let or_least = |figure: Option<f64>| figure.unwrap_or(-1.0);
        match self {
            Column::Place => -f64::from(worker.slot),
            Column::State => {
                let rank = GRAVEST_FIRST.iter().position(|one| *one == state(worker));
                -(rank.unwrap_or(GRAVEST_FIRST.len()) as f64)
            }
            Column::Active => worker.active as f64,
            Column::Waiting => worker.waiting.into(),
            Column::Open => open(worker) as f64,
            Column::Busy => or_least(seen.and_then(Worker::busy)),
            Column::Rate => or_least(seen.and_then(Worker::rate)),
            Column::Median | Column::Tail | Column::QueueWait => {
                or_least(self.quantile(model, worker).map(|quantile| quantile.seconds))
            }
            Column::Cpu => or_least(seen.and_then(Worker::cpu)),
            Column::Memory => or_least(worker.rss_bytes.map(|bytes| bytes as f64)),
            Column::Age => or_least(worker.age),
            Column::Generation => worker.generation.into(),
            Column::Process => worker.pid.into(),
            Column::Restarts => worker.restarts as f64,
            Column::Stalls => worker.stalls as f64,
            Column::Errors => worker.errors as f64,
        }
    }

    fn quantile(self, model: &Model, worker: &WorkerView) -> Option<Quantile> {
        let (timed, share) = match self {
            Column::Median => (Timed::Service, 0.5),
            Column::Tail => (Timed::Service, 0.99),
            Column::QueueWait => (Timed::QueueWait, 0.99),
            _ => return None,
        };
        // During a reload two processes share a slot's figures: they are the one's that stays.
        (worker.stage != "leaving").then(|| model.latency(worker.slot, timed, share)).flatten()
    }
}

/// Connections at a worker, whoever has accepted them.
pub(super) fn open(worker: &WorkerView) -> u64 {
    worker.own_open.saturating_add(worker.on_loan.into())
}

pub(super) fn quantile_text(quantile: Quantile) -> String {
    let more = if quantile.more { ">" } else { "" };
    format!("{more}{}", latency(quantile.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_need_and_a_title_that_fits() {
        for column in Column::ALL {
            assert!(Column::BY_NEED.contains(&column), "{column:?}");
            assert!(column.title().len() <= usize::from(column.width()), "{column:?}");
        }
    }

    #[test]
    fn what_fits_is_never_wider_and_always_has_what_is_sorted_by() {
        for sort in Column::ALL {
            for width in 20..200 {
                let columns = Column::fitting(width, sort);
                let wide: u16 = columns.iter().map(|one| one.width() + GAP).sum();
                assert!(wide <= width && columns.contains(&sort) && columns[0] == Column::Place);
            }
            let all = Column::fitting(200, sort);
            assert_eq!(all, Column::ALL);
        }
    }

    #[test]
    fn sorting_goes_round_and_back() {
        let mut column = Column::Place;
        for _ in 0..Column::ALL.len() {
            assert_eq!(column.next().previous(), column);
            column = column.next();
        }
        assert_eq!(column, Column::Place);
    }
}
