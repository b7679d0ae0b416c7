//! The helper's end of its channel: commands out, answers and what has happened in.
//!
//! A thread hears the master, and whoever asks waits for its answer for a bounded time. When the
//! channel ends the master has gone, or has executed another version of the program, which starts a
//! helper of its own: either way this one leaves.
//!
//! Not here: the bytes (`frame`), what is asked (`routes`).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use thiserror::Error;
use tracing::error;

use crate::account::Happened;
use crate::admin::frame::{Answer, Command, FRAME_SIZE_MAX, ToHelper, ToMaster};
use crate::config::HAPPENED_SHOWN_MAX;
use crate::sys::fdpass::{PacketSocket, Posted, Receipt, dispose};

/// The channel to the master.
pub(super) struct Link {
    socket: PacketSocket,
    known: Mutex<Known>,
    heard: Condvar,
}

#[derive(Default)]
struct Known {
    number: u64,
    /// By the numbers of commands that somebody waits for.
    answers: BTreeMap<u64, Option<Answer>>,
    happened: VecDeque<Happened>,
    has_ended: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It did not come in time; the command may still be carried out.
    #[error("the master has not answered in time")]
    Late,
    /// There is nobody to ask.
    #[error("the master has gone, or is being replaced: ask again")]
    Gone,
}

impl Link {
    /// Takes over the helper's end.
    pub(super) fn new(channel: OwnedFd) -> Self {
        let (known, heard) = (Mutex::default(), Condvar::new());
        Link { socket: PacketSocket::new(channel), known, heard }
    }

    /// Hears the master from now on, on a thread of its own; `end` is called when nothing more comes.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub(super) fn listen(self: &Arc<Self>, end: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let link = Arc::clone(self);
        let hearing = move || {
            if let Err(cause) = link.hear() {
                error!(%cause, "hearing the master");
            }
            link.lock().has_ended = true;
            link.heard.notify_all();
            end();
        };
        thread::Builder::new().name("master".to_owned()).spawn(hearing).map(drop)
    }

    /// Gives a command, and waits for its answer.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn ask(&self, command: Command, within: Duration) -> Result<Answer, NoAnswer> {
        let mut known = self.lock();
        if known.has_ended {
            return Err(NoAnswer::Gone);
        }
        known.number += 1;
        let number = known.number;
        match self.socket.post(&ToMaster { number, command }.encode()) {
            Ok(Posted::Sent) => {}
            // It has not read what was asked before.
            Ok(Posted::Full) => return Err(NoAnswer::Late),
            Err(_) => return Err(NoAnswer::Gone),
        }
        known.answers.insert(number, None);
        let until = Instant::now() + within;
        loop {
            let answer = known.answers.get_mut(&number).and_then(Option::take);
            let left = until.saturating_duration_since(Instant::now());
            if answer.is_some() || known.has_ended || left.is_zero() {
                known.answers.remove(&number);
                return answer.ok_or(match known.has_ended {
                    true => NoAnswer::Gone,
                    false => NoAnswer::Late,
                });
            }
            let waited = self.heard.wait_timeout(known, left);
            (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What has happened, oldest first.
    pub(super) fn happened(&self) -> Vec<Happened> {
        self.lock().happened.iter().cloned().collect()
    }

    /// Whether nothing more comes from the master.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    fn hear(&self) -> io::Result<()> {
        let mut buffer = vec![0; FRAME_SIZE_MAX + 1];
        loop {
            match poll(&mut [PollFd::new(&self.socket.as_fd(), PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let mut descriptors = Vec::new();
            let receipt = self.socket.receive(&mut buffer, &mut descriptors)?;
            dispose(descriptors);
            match receipt {
                Receipt::Empty => {}
                Receipt::Closed => return Ok(()),
                Receipt::Packet(packet) => {
                    let frame = ToHelper::decode(&buffer[..packet.length]);
                    self.take(frame.map_err(io::Error::other)?);
                }
            }
        }
    }

    fn take(&self, frame: ToHelper) {
        let mut known = self.lock();
        match frame {
            ToHelper::Answer(answer) => {
                // Nobody waits any more for one that is late.
                if let Some(place) = known.answers.get_mut(&answer.number) {
                    *place = Some(answer);
                    self.heard.notify_all();
                }
            }
            ToHelper::Happened(happened) => {
                if known.happened.len() == HAPPENED_SHOWN_MAX {
                    known.happened.pop_front();
                }
                known.happened.push_back(happened);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // What a thread that panicked left is whole: each change is one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::account::HappenedKind;
    use crate::sys::fdpass;

    const LONG: Duration = Duration::from_secs(20);

    fn link() -> (Arc<Link>, PacketSocket, mpsc::Receiver<()>) {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let (link, (over, is_over)) = (Arc::new(Link::new(theirs)), mpsc::channel());
        link.listen(move || over.send(()).unwrap()).unwrap();
        (link, PacketSocket::new(ours), is_over)
    }

    fn command(master: &PacketSocket) -> ToMaster {
        let (mut buffer, mut descriptors) = ([0; 100], Vec::new());
        poll(&mut [PollFd::new(&master.as_fd(), PollFlags::IN)], None).unwrap();
        match master.receive(&mut buffer, &mut descriptors).unwrap() {
            Receipt::Packet(packet) => ToMaster::decode(&buffer[..packet.length]).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn answer(number: u64, text: &str) -> ToHelper {
        ToHelper::Answer(Answer { number, is_done: true, text: text.to_owned() })
    }

    #[test]
    fn each_command_gets_its_own_answer_and_a_late_one_is_nobodys() {
        let (link, master, is_over) = link();
        assert_eq!(link.ask(Command::Ping, Duration::from_millis(1)), Err(NoAnswer::Late));
        let late = command(&master);
        let told = thread::scope(|scope| {
            let asking = scope.spawn(|| link.ask(Command::Scale(3), LONG));
            let asked = command(&master);
            assert_eq!(asked.command, Command::Scale(3));
            assert_eq!(asked.number, late.number + 1);
            master.post(&answer(late.number, "too late").encode()).unwrap();
            master.post(&answer(asked.number, "3 workers").encode()).unwrap();
            asking.join().unwrap()
        });
        assert_eq!(told.unwrap().text, "3 workers");
        drop(master);
        is_over.recv_timeout(LONG).unwrap();
        assert!(link.has_ended());
        assert_eq!(link.ask(Command::Ping, LONG), Err(NoAnswer::Gone));
    }

    #[test]
    fn only_the_last_things_that_have_happened_are_kept() {
        let (link, master, is_over) = link();
        let most = HAPPENED_SHOWN_MAX as u64;
        for sequence in 1..=most + 5 {
            let kind = HappenedKind::Started;
            let happened = Happened { sequence, at_ms: 0, kind, worker: None, text: "x".into() };
            let bytes = ToHelper::Happened(happened).encode();
            while master.post(&bytes).unwrap() == Posted::Full {
                thread::yield_now();
            }
        }
        drop(master);
        is_over.recv_timeout(LONG).unwrap();
        let kept = link.happened();
        assert_eq!((kept[0].sequence, kept.len()), (6, HAPPENED_SHOWN_MAX));
    }

    #[test]
    fn whoever_waits_when_the_master_goes_is_told_so_and_nonsense_ends_the_channel() {
        let (link, master, is_over) = link();
        thread::scope(|scope| {
            let asking = scope.spawn(|| link.ask(Command::Ping, LONG));
            command(&master);
            master.post(b"nonsense").unwrap();
            assert_eq!(asking.join().unwrap(), Err(NoAnswer::Gone));
        });
        is_over.recv_timeout(LONG).unwrap();
    }
}
