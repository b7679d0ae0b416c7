//! Ctrl-C: the first ends the run that goes on and keeps what is done, the second ends everything.
//!
//! Servers have process groups of their own, so that a terminal's Ctrl-C does not reach them: whoever
//! ends the bench ends them.
//!
//! Not here: what is kept (`run`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit code after the second signal: what shells report of a program that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

/// Whether the bench is to end.
#[derive(Clone, Debug)]
pub struct Interrupts {
    came: Arc<AtomicBool>,
    /// Closed once one came: whoever waits for something else, waits for this too.
    closed: Receiver<()>,
    /// The process group of the server that runs; 0 is none.
    group: Arc<AtomicI32>,
}

impl Interrupts {
    /// Catches INT, TERM and HUP from now on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn catch() -> io::Result<Interrupts> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let (open, closed) = bounded(0);
        let interrupts =
            Interrupts { came: Arc::default(), closed, group: Arc::new(AtomicI32::new(0)) };
        let (came, group) = (Arc::clone(&interrupts.came), Arc::clone(&interrupts.group));
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut open = Some(open);
            for _ in signals.forever() {
                if came.swap(true, Ordering::SeqCst) {
                    kill_group(group.load(Ordering::SeqCst));
                    std::process::exit(EXIT_INTERRUPTED);
                }
                eprintln!("ending; once more ends at once");
                drop(open.take());
            }
        })?;
        Ok(interrupts)
    }

    /// Whether one came.
    pub fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }

    /// Is disconnected once one came.
    pub(super) fn channel(&self) -> &Receiver<()> {
        &self.closed
    }

    /// The server that a second signal has to kill; 0 if there is none.
    pub(super) fn watch_group(&self, group: i32) {
        self.group.store(group, Ordering::SeqCst);
    }
}

/// Kills a process group; one that is gone is no failure.
pub(super) fn kill_group(group: i32) {
    // 0 would be our own, 1 the machine's first process.
    if group > 1 {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}
