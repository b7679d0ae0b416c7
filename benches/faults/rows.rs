//! The rows: which fault, in which variants, how often.
//!
//! Not here: carrying them out (`deaths`, `endings`, …).

use crate::found::Found;
use crate::stage::Run;
use crate::variant::{self, Variant};
use crate::{deaths, endings, hostile, injected, limits};

/// A row of the matrix.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Rounds of the full form and of the short one.
    pub(crate) rounds: (u32, u32),
    /// The same of seconds, where the fault lasts.
    pub(crate) seconds: (f64, f64),
    pub(crate) full: fn() -> Vec<Variant>,
    pub(crate) short: fn() -> Vec<Variant>,
    pub(crate) run: fn(&Run) -> Found,
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "none",
        what: "nothing happens: the reference",
        rounds: (1, 1),
        seconds: (10.0, 0.5),
        full: variant::all,
        short: variant::a_few,
        run: deaths::nothing,
    },
    Row {
        name: "kill",
        what: "kill -9 of a random worker",
        rounds: (100, 3),
        seconds: (0.0, 0.0),
        full: variant::all,
        short: variant::a_few,
        run: deaths::kill,
    },
    Row {
        name: "hup",
        what: "HUP: all workers are replaced",
        rounds: (100, 2),
        seconds: (0.0, 0.0),
        full: variant::all,
        short: variant::a_few,
        run: deaths::reload,
    },
    Row {
        name: "scale",
        what: "TTIN and TTOU at random, faster than workers start",
        rounds: (100, 12),
        seconds: (0.0, 0.0),
        full: variant::all,
        short: variant::loop_kept,
        run: deaths::scale,
    },
    Row {
        name: "usr2",
        what: "USR2: the master executes itself anew",
        rounds: (20, 1),
        seconds: (0.0, 0.0),
        full: variant::ours_in_auto,
        short: variant::loop_kept,
        run: deaths::upgrade,
    },
    Row {
        name: "term",
        what: "TERM, a fresh server each time; new connections pause 20 ms before they speak",
        rounds: (100, 1),
        seconds: (0.0, 0.0),
        full: variant::in_auto,
        short: variant::a_few,
        run: endings::terminate,
    },
    Row {
        name: "master-kill",
        what: "kill -9 of the master: workers finish and go, the port is free",
        rounds: (20, 1),
        seconds: (0.0, 0.0),
        full: variant::ours_in_auto,
        short: variant::loop_kept,
        run: endings::kill_master,
    },
    Row {
        name: "stop",
        what: "SIGSTOP of a worker; nobody is killed for it",
        rounds: (1, 1),
        seconds: (30.0, 0.5),
        full: variant::that_take_back,
        short: variant::threads_kept,
        run: limits::stop,
    },
    Row {
        name: "emfile",
        what: "the master has no descriptor left",
        rounds: (1, 1),
        seconds: (5.0, 0.7),
        full: variant::new_in_auto,
        short: variant::loop_new,
        run: limits::master_descriptors,
    },
    Row {
        name: "emfile-worker",
        what: "half of the workers have none left",
        rounds: (1, 1),
        seconds: (5.0, 0.5),
        full: variant::ours_new_in_auto,
        short: variant::loop_new,
        run: limits::worker_descriptors,
    },
    Row {
        name: "log",
        what: "the log goes to a full device, to a pipe that nobody reads, nowhere",
        rounds: (1, 1),
        seconds: (5.0, 0.5),
        full: variant::ours_in_auto,
        short: variant::threads_new,
        run: limits::log,
    },
    Row {
        name: "injected",
        what: "system calls of the master and of workers fail, every error in turn (strace)",
        rounds: (1, 1),
        seconds: (0.0, 0.0),
        full: variant::of_each_traffic,
        short: variant::of_both_languages,
        run: injected::inject,
    },
    Row {
        name: "crowds",
        what: "hostile clients of every habit, one after the other",
        rounds: (1, 1),
        seconds: (1.0, 0.1),
        full: variant::ours_in_auto,
        short: variant::threads_kept,
        run: hostile::everyone,
    },
    hostile(
        "slow-heads",
        "80 clients send a byte of a head each second; others' p99, ABCCBA",
        hostile::slow_heads,
    ),
    hostile("slow-bodies", "80 clients send a byte of a body each second", hostile::slow_bodies),
    hostile(
        "slow-readers",
        "80 clients read a byte of a large answer each second",
        hostile::slow_readers,
    ),
    hostile(
        "half-close",
        "clients end sending behind each request, 8 at a time",
        hostile::half_closes,
    ),
    hostile("reset", "clients connect and reset, 800 a second", hostile::resets),
    hostile("head-bombs", "heads of more than is allowed, 8 clients", hostile::head_bombs),
    hostile("silent", "10,000 connections without a byte", hostile::silent),
    hostile(
        "pipelines",
        "16 requests at once, a hundred times a second, 4 clients",
        hostile::pipelines,
    ),
];

const fn hostile(name: &'static str, what: &'static str, run: fn(&Run) -> Found) -> Row {
    Row {
        name,
        what,
        rounds: (5, 1),
        seconds: (3.0, 0.1),
        full: variant::for_crowds,
        // What they compare is times.
        short: Vec::new,
        run,
    }
}
