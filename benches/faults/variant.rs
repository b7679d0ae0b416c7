//! How connections are used, by what workers, in which `--rebalance` mode.
//!
//! Not here: which variants a row runs (`rows`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::binary;
use crate::ledger::load::{Ask, Way};

/// Kept connections of a load.
const KEPT: usize = 64;

/// What the workers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--threads 0`: handlers on the loop.
    Loop,
    /// `--threads 2`.
    Threads,
    /// A program that shares no code with ours and has no page: it is lent to, and nothing comes
    /// back but its end.
    Foreign,
}

/// How clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Kept,
    New,
}

/// One of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) kind: Kind,
    pub(crate) usage: Use,
    pub(crate) rebalance: &'static str,
}

impl Variant {
    /// The server's arguments, but for what a row adds in front of `--`.
    pub(crate) fn arguments(self, workers: usize, more: &[&str]) -> Vec<String> {
        let threads = match self.kind {
            Kind::Loop | Kind::Foreign => "0",
            Kind::Threads => "2",
        };
        let workers = workers.to_string();
        let flags = ["serve", "-w", &workers, "--threads", threads, "--rebalance", self.rebalance];
        let mut arguments: Vec<String> =
            flags.iter().chain(more).map(ToString::to_string).collect();
        if self.kind == Kind::Foreign {
            arguments.extend(["--".to_owned(), foreign_worker().display().to_string()]);
        }
        arguments
    }

    pub(crate) fn way(self) -> Way {
        match self.usage {
            Use::Kept => Way::Kept(KEPT),
            Use::New => Way::New { pause: Duration::ZERO },
        }
    }

    pub(crate) fn ask(self) -> Ask {
        if self.kind == Kind::Foreign { Ask::Named } else { Ask::Echo }
    }
}

/// Where the example is built.
pub(crate) fn foreign_worker() -> PathBuf {
    binary().with_file_name("examples").join("foreign_worker")
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Loop => "loop",
            Kind::Threads => "threads",
            Kind::Foreign => "foreign",
        };
        let usage = match self.usage {
            Use::Kept => "kept",
            Use::New => "new",
        };
        write!(formatter, "{kind}/{usage}/{}", self.rebalance)
    }
}

/// Every kind with every use in every mode. A page-less worker closes after each answer and gives
/// nothing back: it has one variant.
pub(crate) fn all() -> Vec<Variant> {
    let mut variants = Vec::new();
    for kind in [Kind::Loop, Kind::Threads] {
        for usage in [Use::Kept, Use::New] {
            for rebalance in ["never", "auto", "always"] {
                variants.push(Variant { kind, usage, rebalance });
            }
        }
    }
    variants.extend(foreign());
    variants
}

/// The same in the default mode alone.
pub(crate) fn in_auto() -> Vec<Variant> {
    all().into_iter().filter(|variant| variant.rebalance == "auto").collect()
}

/// The same with workers of ours alone.
pub(crate) fn ours_in_auto() -> Vec<Variant> {
    in_auto().into_iter().filter(|variant| variant.kind != Kind::Foreign).collect()
}

/// The same with new connections alone.
pub(crate) fn ours_new_in_auto() -> Vec<Variant> {
    ours_in_auto().into_iter().filter(|variant| variant.usage == Use::New).collect()
}

/// All kinds with new connections.
pub(crate) fn new_in_auto() -> Vec<Variant> {
    in_auto().into_iter().filter(|variant| variant.usage == Use::New).collect()
}

/// Those in which no request waits for a stopped worker: what is new, and what may move.
pub(crate) fn that_take_back() -> Vec<Variant> {
    let moves = |variant: &Variant| variant.usage == Use::New || variant.rebalance != "never";
    all().into_iter().filter(|one| one.kind != Kind::Foreign && moves(one)).collect()
}

/// One with new connections, where the master has most to do; one whose connections move all the
/// time; and one whose workers speak in frames.
pub(crate) fn of_each_traffic() -> Vec<Variant> {
    let always = Variant { kind: Kind::Threads, usage: Use::Kept, rebalance: "always" };
    [loop_new(), vec![always], foreign()].concat()
}

/// The first and the last of these.
pub(crate) fn of_both_languages() -> Vec<Variant> {
    [loop_new(), foreign()].concat()
}

pub(crate) fn foreign() -> Vec<Variant> {
    vec![Variant { kind: Kind::Foreign, usage: Use::New, rebalance: "auto" }]
}

/// Every kind and every use, not each with each.
pub(crate) fn a_few() -> Vec<Variant> {
    [loop_kept(), threads_new(), foreign()].concat()
}

/// Kept and new, loop and threads.
pub(crate) fn for_crowds() -> Vec<Variant> {
    [loop_new(), threads_kept()].concat()
}

pub(crate) fn loop_kept() -> Vec<Variant> {
    vec![Variant { kind: Kind::Loop, usage: Use::Kept, rebalance: "auto" }]
}

pub(crate) fn loop_new() -> Vec<Variant> {
    vec![Variant { kind: Kind::Loop, usage: Use::New, rebalance: "auto" }]
}

pub(crate) fn threads_kept() -> Vec<Variant> {
    vec![Variant { kind: Kind::Threads, usage: Use::Kept, rebalance: "auto" }]
}

pub(crate) fn threads_new() -> Vec<Variant> {
    vec![Variant { kind: Kind::Threads, usage: Use::New, rebalance: "auto" }]
}
