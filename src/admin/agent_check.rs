//! HAProxy's agent check: whoever connects is told how the node stands, and that is all.
//!
//! Nothing that a client sends is looked at, and none is waited for: the line is shorter than the
//! least send buffer, so that it leaves at once or the client is dropped. What HAProxy may have sent
//! (`agent-send`) would make a close reset the connection, perhaps before the line is read; so the
//! last [`AGENT_CHECKS_HELD_MAX`] connections stay open for a moment after their end was sent.
//!
//! Not here: the words (`fleet::agent`), the status (`seeing`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};
use rustix::net::{accept_with, recv, send, shutdown};
use tracing::{debug, error};

use crate::admin::seeing::Seeing;
use crate::config::{AGENT_CHECK_HELD_FOR, AGENT_CHECK_READ_MAX, AGENT_CHECKS_HELD_MAX};
use crate::fleet::agent::{Standing, answer};

/// Answers on a thread of its own, for as long as the process lives.
///
/// # Errors
/// There is no room for a thread.
pub(super) fn serve(listener: OwnedFd, seeing: Arc<Seeing>) -> io::Result<()> {
    let line = move || seeing.agent_line();
    let serving = move || AgentCheck { listener, held: VecDeque::new() }.run(&line);
    thread::Builder::new().name("agent".to_owned()).spawn(serving).map(drop)
}

struct AgentCheck {
    listener: OwnedFd,
    /// Answered, and not closed yet: the oldest first.
    held: VecDeque<(Instant, OwnedFd)>,
}

impl AgentCheck {
    fn run(mut self, line: &dyn Fn() -> String) {
        loop {
            match self.turn(line) {
                Ok(()) => {}
                Err(errno) if is_of_the_moment(errno) => {
                    debug!(%errno, "answering an agent check");
                    // No descriptors, say: the next one comes in a second, and this one waits.
                    thread::sleep(AGENT_CHECK_HELD_FOR);
                }
                Err(errno) => return error!(%errno, "the agent check is not answered any more"),
            }
        }
    }

    fn turn(&mut self, line: &dyn Fn() -> String) -> Result<(), Errno> {
        let now = Instant::now();
        while self.held.front().is_some_and(|(until, _)| *until <= now) {
            self.let_go();
        }
        let wait = self.held.front().map(|(until, _)| until.saturating_duration_since(now));
        let wait = wait.map(|wait| wait + Duration::from_millis(1));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], wait.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let client = match accept_with(&self.listener, flags) {
            Ok(client) => client,
            // It has gone again, or another helper was quicker.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        // Who has gone already, or takes nothing, is told nothing.
        let _ = send(&client, line().as_bytes(), SendFlags::NOSIGNAL);
        let _ = shutdown(&client, Shutdown::Write);
        if self.held.len() == AGENT_CHECKS_HELD_MAX {
            self.let_go();
        }
        self.held.push_back((now + AGENT_CHECK_HELD_FOR, client));
        Ok(())
    }

    /// Closes the oldest, without what it has sent: a close would answer that with a reset.
    fn let_go(&mut self) {
        if let Some((_, client)) = self.held.pop_front() {
            let mut unread = [0; AGENT_CHECK_READ_MAX];
            let _ = recv(client.as_fd(), &mut unread, RecvFlags::DONTWAIT);
        }
    }
}

fn is_of_the_moment(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

impl Seeing {
    /// What the agent check is told now.
    fn agent_line(&self) -> String {
        let Ok(view) = self.brief() else { return answer(Standing::Starting, 1) };
        let weight = view.node.as_ref().map_or(100, |node| node.weight_percent);
        let standing = match view.phase.as_str() {
            _ if !view.running => Standing::Stopped,
            "starting" => Standing::Starting,
            "serving" if super::routes::serves(&view) => Standing::Serving,
            // Every worker has gone, and others are not ready yet: as before the first one was.
            "serving" => Standing::Starting,
            "stopping" => Standing::Draining,
            _ => Standing::Stopped,
        };
        answer(standing, weight)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn agent() -> (TcpListener, AgentCheck) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let check =
            AgentCheck { listener: listener.try_clone().unwrap().into(), held: VecDeque::new() };
        (listener, check)
    }

    fn connect(listener: &TcpListener) -> TcpStream {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client
    }

    #[test]
    fn whoever_connects_gets_one_line_and_the_end_whatever_it_sends() {
        let (listener, mut check) = agent();
        for sent in [&b""[..], b"backend/server\n", &[0xff; 4096]] {
            let mut client = connect(&listener);
            client.write_all(sent).unwrap();
            check.turn(&|| "up ready 75%\n".to_owned()).unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "up ready 75%\n");
        }
    }

    #[test]
    fn nobody_is_waited_for_and_no_more_are_held_than_may_be() {
        let (listener, mut check) = agent();
        // None of them reads, and the first ones have gone before they are answered.
        drop((connect(&listener), connect(&listener)));
        let clients: Vec<_> = (0..AGENT_CHECKS_HELD_MAX + 3).map(|_| connect(&listener)).collect();
        for _ in 0..clients.len() + 2 {
            check.turn(&|| "up\n".to_owned()).unwrap();
        }
        assert_eq!(check.held.len(), AGENT_CHECKS_HELD_MAX);
        for mut client in clients {
            let mut heard = String::new();
            client.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "up\n");
        }
    }
}
