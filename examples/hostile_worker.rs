//! A worker that breaks the hand-off protocol in a way of its caller's choice, for
//! `tests/hostile_worker.rs`: `maitred serve -- target/debug/examples/hostile_worker MAITRED WAY`
//!
//! Slot 0 is the hostile one, in its first incarnation (`every-` before the way: in each); all others
//! become workers of MAITRED itself. `WAY` is one of [`ways`], or `seed-N`: a random row of them.
//!
//! It knows where things are in its page and writes what it likes there. Not here: what the master
//! must make of it.

#![allow(unsafe_code, reason = "it forks, and takes descriptors by number, as a C program would")]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maitred::handoff::{
    FromMaster, LendRecord, PROTOCOL_VERSION, ReadyRecord, ReportRecord, ToMaster, ToWorker,
    WorkerEnd,
};
use maitred::ident::LoanId;
use maitred::meters::METERS_BYTES;
use maitred::sys::clock;
use maitred::sys::fdpass::PacketSocket;
use maitred::sys::shm::SharedMemory;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork, getppid};

// Words of a page (src/board/layout.rs).
const AT_LOANS_MAX: usize = 1;
const AT_MASTER_WAITING: usize = 8;
const AT_REPORT: std::ops::Range<usize> = 16..29;
const AT_TURN_ENTERED: usize = 20;
const AT_RING_HEAD: usize = 32;
const AT_CLAIMS: usize = 40;
const LOANS_MAX: usize = 65_536;
const AT_RING: usize = AT_CLAIMS + LOANS_MAX;
const AT_RECORDS: usize = AT_RING + LOANS_MAX;
const RECORD_WORDS: usize = 16;
const AT_DOING: usize = AT_RECORDS + LOANS_MAX * RECORD_WORDS;
const DOING_WORDS: usize = 1025 * 16;

// States of a claim word (src/loan.rs).
const LENT: u64 = 1;
const ACTIVE: u64 = 2;
const ANSWERING: u64 = 3;
const IDLE: u64 = 4;
const GIVEN: u64 = 6;
const PINNED: u64 = 7;
const ENDED: u64 = 8;

/// How long one misdeed of a random row goes on.
const MOMENT: Duration = Duration::from_millis(30);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, maitred, way] = &arguments[..] else {
        return Err(io::Error::other("usage: hostile_worker MAITRED WAY"));
    };
    let (every, way) = match way.strip_prefix("every-") {
        Some(way) => (true, way),
        None => (false, way.as_str()),
    };
    let generation = number("MAITRED_GENERATION")?;
    // The first of slot 0 is the first of all.
    if number("MAITRED_SLOT")? != 0 || !(every || generation == 1) {
        // What was inherited stays open over this exec too.
        return Err(Command::new(maitred).args(["worker", "--threads", "1"]).exec());
    }
    let mut worker = Hostile::take()?;
    match way.strip_prefix("seed-") {
        Some(seed) => {
            let seed: u64 = seed.parse().map_err(io::Error::other)?;
            worker.random_row(seed.wrapping_mul(1000).wrapping_add(u64::from(generation)))
        }
        None => worker.misbehave(way),
    }
}

struct Hostile {
    channel: WorkerEnd,
    raw: PacketSocket,
    page: Arc<SharedMemory>,
    alarm: OwnedFd,
    bell: OwnedFd,
    parent: Pid,
    loans: Vec<(LoanId, OwnedFd)>,
    ring_head: u64,
}

impl Hostile {
    fn take() -> io::Result<Hostile> {
        let channel = own("MAITRED_CHANNEL_FD")?;
        let raw = PacketSocket::new(channel.try_clone()?);
        let bytes = (AT_DOING + DOING_WORDS) * 8;
        Ok(Hostile {
            channel: WorkerEnd::new(channel),
            raw,
            page: Arc::new(SharedMemory::adopt(own("MAITRED_PAGE_FD")?, bytes)?),
            alarm: own("MAITRED_ALARM_FD")?,
            bell: own("MAITRED_BELL_FD")?,
            parent: getppid(),
            loans: Vec::new(),
            ring_head: 0,
        })
    }

    /// One misdeed; then it lives on until it is killed, or its master is gone.
    fn misbehave(&mut self, way: &str) -> io::Result<()> {
        let mut rng = fastrand::Rng::with_seed(7);
        match way {
            "early" => self.say(&ToMaster::Ended(vec![loan(0, 0)]))?,
            "other-version" => self.ready(true, PROTOCOL_VERSION + 1)?,
            "no-places" => {
                // The master plays the worker's side of this page, and is to count places in it.
                self.set(AT_LOANS_MAX, 0);
                self.ready(false, PROTOCOL_VERSION)?;
                self.serve_without_page(usize::MAX)?;
            }
            "no-page-forged-taken" => {
                self.ready(false, PROTOCOL_VERSION)?;
                self.say(&ToMaster::Taken(vec![loan(3, 9)]))?;
            }
            "no-page-ended-twice" => {
                self.ready(false, PROTOCOL_VERSION)?;
                self.serve_without_page(1)?;
                self.say(&ToMaster::Ended(vec![self.loans[0].0]))?;
            }
            "no-page-never-takes" => {
                self.ready(false, PROTOCOL_VERSION)?;
                self.hold()?;
            }
            "no-page-flood" => {
                self.ready(false, PROTOCOL_VERSION)?;
                let report = ReportRecord { started: u64::MAX, queued: u32::MAX, ..report() };
                self.forever(|worker| worker.say(&ToMaster::Report(report)))?;
            }
            "meters" => {
                self.ready(true, PROTOCOL_VERSION)?;
                self.scribble_over_meters(&mut rng)?;
            }
            _ => {
                self.ready(true, PROTOCOL_VERSION)?;
                self.do_one(way, &mut rng, None)?;
            }
        }
        self.hold()
    }

    /// Misdeeds one after the other, each for a moment, until it is killed.
    fn random_row(&mut self, seed: u64) -> io::Result<()> {
        let mut rng = fastrand::Rng::with_seed(seed);
        if rng.u8(..10) == 0 {
            return self.misbehave(NO_PAGE[rng.usize(..NO_PAGE.len())]);
        }
        self.ready(true, PROTOCOL_VERSION)?;
        while self.has_master() {
            let way = ways()[rng.usize(..ways().len())];
            self.do_one(way, &mut rng, Some(Instant::now() + MOMENT))?;
            self.take_loans()?;
        }
        Ok(())
    }

    /// What a worker that is Ready and has a page can do. Floods go on until the time, or for ever.
    fn do_one(
        &mut self,
        way: &str,
        rng: &mut fastrand::Rng,
        until: Option<Instant>,
    ) -> io::Result<()> {
        let goes_on = |worker: &Hostile| {
            worker.has_master() && until.is_none_or(|until| Instant::now() < until)
        };
        match way {
            "nothing" => {}
            "garbage" => {
                let length = rng.usize(1..200);
                let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
                self.raw.post(&bytes)?;
            }
            "almost-frames" => {
                // A header that is right, and whatever follows.
                let mut bytes = Vec::new();
                for field in [PROTOCOL_VERSION, rng.u16(14..26), rng.u16(..70), rng.u16(..2)] {
                    bytes.extend(field.to_le_bytes());
                }
                bytes.extend((0..rng.usize(..900)).map(|_| rng.u8(..)));
                self.raw.post(&bytes)?;
            }
            "too-long" => {
                self.raw.post(&vec![1; 30_000])?;
            }
            "empty-packet" => {
                self.raw.post(&[])?;
            }
            "descriptors" => {
                let mut frame = Vec::new();
                ToMaster::Bell.encode(&mut frame);
                let (here, _there) = pair()?;
                self.raw.post_with(&frame, &[here.as_fd(), self.bell.as_fd()])?;
            }
            "slow-descriptors" => {
                // Whoever closes the last copy of this waits for a client that reads nothing.
                let (here, there) = pair()?;
                fill(&here);
                linger(here.as_fd());
                let mut frame = Vec::new();
                ToMaster::Bye.encode(&mut frame);
                self.raw.post_with(&frame, &[here.as_fd()])?;
                drop(here);
                // SAFETY: the child makes system calls alone.
                if let ForkResult::Child = unsafe { fork() }? {
                    // The client's end, and the channel's, live on.
                    self.outlive();
                }
                drop(there);
            }
            "forged-refuse" => {
                self.say(&ToMaster::Refuse(vec![loan(rng.u32(..80_000), rng.u32(..))]))?;
            }
            "taken" => self.say(&ToMaster::Taken(vec![loan(0, 0)]))?,
            "ended" => self.say(&ToMaster::Ended(vec![loan(u32::MAX, u32::MAX)]))?,
            "report" => self.say(&ToMaster::Report(report()))?,
            "ready-twice" => self.ready(true, PROTOCOL_VERSION)?,
            "counters" => {
                while goes_on(self) {
                    for at in AT_REPORT {
                        let now = clock::now().0;
                        let lies = [0, 1, u64::MAX, u64::MAX - 1, now, now + 1_000_000_000_000];
                        self.set(at, lies[rng.usize(..lies.len())]);
                    }
                }
            }
            "counters-at-most" => AT_REPORT.for_each(|at| self.set(at, u64::MAX)),
            "about-to-be-stuck" => {
                // With an idle connection there would be something to rescue.
                if until.is_none() {
                    let (loan, descriptor) = self.claim_one(b"GET /keep")?;
                    maitred::sys::stream::receive(descriptor.as_fd(), &mut [0; 1000])?;
                    self.loans.push((loan, descriptor));
                    self.word(loan).store(u64::from(loan.sequence) << 32 | IDLE, Ordering::Release);
                }
                while goes_on(self) {
                    for _ in 0..1000 {
                        // --stall-after is 1 ms: each look would have to be followed by the next.
                        self.set(AT_TURN_ENTERED, clock::now().0 - 999_990);
                    }
                }
            }
            "flag-lowered" => {
                while goes_on(self) {
                    // Without a pause in which the flag could be seen to be up.
                    for _ in 0..10_000 {
                        self.set(AT_MASTER_WAITING, 0);
                    }
                }
            }
            "flag-garbage" => self.set(AT_MASTER_WAITING, rng.u64(..)),
            "words" => {
                let garbage = [0, LENT, ACTIVE, ANSWERING, IDLE, 5, GIVEN, PINNED, ENDED, 9, 255];
                let mut round = 0_u64;
                while goes_on(self) {
                    for place in 0..64 {
                        let state = garbage[rng.usize(..garbage.len())];
                        let sequence = rng.u64(..3) << 32;
                        self.set(
                            AT_CLAIMS + place,
                            if round.is_multiple_of(7) { rng.u64(..) } else { sequence | state },
                        );
                    }
                    round += 1;
                    self.take_loans()?;
                }
            }
            "terms" => {
                for place in 0..64 * RECORD_WORDS {
                    self.set(AT_RECORDS + place, rng.u64(..));
                }
            }
            "doing-garbage" => {
                for word in AT_DOING..AT_DOING + DOING_WORDS {
                    self.set(word, rng.u64(..));
                }
            }
            "forges-the-log" => {
                // What it was doing is named when it has died.
                let text = *b"GET /\x1b[2J\r\nERROR forged=\"yes\" ";
                self.set(AT_DOING, clock::now().0);
                self.set(AT_DOING + 1, u64::MAX);
                for (word, bytes) in text.chunks(8).enumerate() {
                    let mut eight = [b'.'; 8];
                    eight[..bytes.len()].copy_from_slice(bytes);
                    self.set(AT_DOING + 2 + word, u64::from_le_bytes(eight));
                }
                std::process::exit(7);
            }
            "gives-garbage" => {
                // Idle loans come back with whatever was written into their terms.
                while goes_on(self) {
                    self.take_loans()?;
                    for (loan, descriptor) in std::mem::take(&mut self.loans) {
                        let record = AT_RECORDS + loan.index as usize * RECORD_WORDS;
                        for word in record..record + RECORD_WORDS {
                            self.set(word, u64::MAX);
                        }
                        self.exchange(loan, LENT, GIVEN);
                        drop(descriptor);
                        self.let_go(loan);
                    }
                }
            }
            "ring-jump" => self.set(AT_RING_HEAD, 1 << 40),
            "ring-full-of-zeros" => self.set(AT_RING_HEAD, LOANS_MAX as u64),
            "ring-out-of-range" => self.let_go(loan(1 << 30, 0)),
            "ring-other-sequence" => self.let_go(loan(0, 77)),
            "ring-not-let-go" => {
                // One that has been taken back meanwhile it may let go of: so again.
                while goes_on(self) && self.wait_for_loan(until)? {
                    let (loan, _) = self.loans.remove(0);
                    self.let_go(loan);
                }
            }
            "ring-twice" => {
                while goes_on(self) && self.wait_for_loan(until)? {
                    let (loan, descriptor) = self.loans.remove(0);
                    self.exchange(loan, LENT, GIVEN);
                    drop(descriptor);
                    self.let_go(loan);
                    self.let_go(loan);
                }
            }
            "bell-flood" => {
                while goes_on(self) {
                    ring(&self.bell);
                }
            }
            "alarm-flood" => {
                // A periodic timer rings once for who does not read it: wound anew it rings anew.
                while goes_on(self) {
                    wind(&self.alarm);
                }
            }
            "frame-flood" => {
                while goes_on(self) {
                    self.say(&ToMaster::Bell)?;
                }
            }
            "stop-flood" => self.stop_and_go(until)?,
            "deaf" => {
                while goes_on(self) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            "deaf-and-lying" => {
                // The channel fills up; what could not be sent never was this worker's.
                while goes_on(self) {
                    for place in 0..64 {
                        let at = AT_CLAIMS + place;
                        let word = self.page.words()[at].load(Ordering::Relaxed);
                        if word as u32 == LENT as u32 {
                            self.set(at, word - LENT + ACTIVE);
                        }
                    }
                }
            }
            "half-closed" => shut_down_reading(&self.raw),
            "closed" => {
                shut_down(&self.raw);
            }
            "refuses" => {
                while goes_on(self) {
                    let before = self.loans.len();
                    self.take_loans()?;
                    let refused: Vec<_> =
                        self.loans.drain(before..).map(|(loan, _)| loan).collect();
                    for packet in refused.chunks(64) {
                        self.say(&ToMaster::Refuse(packet.to_vec()))?;
                    }
                }
            }
            "bye" => self.say(&ToMaster::Bye)?,
            "claims-and-dies" => {
                self.wait_for_loan(None)?;
                let taken: Vec<_> = self.loans.iter().map(|(loan, _)| *loan).collect();
                for loan in taken {
                    self.exchange(loan, LENT, ACTIVE);
                }
                std::process::exit(0);
            }
            "grandchild" => {
                self.wait_for_loan(None)?;
                // SAFETY: the child makes system calls alone.
                match unsafe { fork() }? {
                    ForkResult::Child => self.outlive(),
                    ForkResult::Parent { .. } => std::process::exit(0),
                }
            }
            "lingers" => {
                // Answers more than its client reads, asks close(2) to wait for it, and lets go.
                let (loan, descriptor) = self.claim_one(b"GET /linger")?;
                // Unread bytes would make it a reset, which waits for nobody.
                maitred::sys::stream::receive(descriptor.as_fd(), &mut [0; 1000])?;
                let socket = TcpStream::from(descriptor);
                fill(&socket);
                linger(socket.as_fd());
                let _ = socket.shutdown(std::net::Shutdown::Both);
                drop(socket);
                self.word(loan).store(u64::from(loan.sequence) << 32 | ENDED, Ordering::Release);
                self.let_go(loan);
                ring(&self.bell);
            }
            other => return Err(io::Error::other(format!("no such way: {other}"))),
        }
        Ok(())
    }

    fn ready(&mut self, has_page: bool, version: u16) -> io::Result<()> {
        let pid = std::process::id();
        self.say(&ToMaster::Ready(ReadyRecord { version, threads: 0, credit: 0, has_page, pid }))
    }

    /// Says it, however full the channel is; what nobody reads any more is lost.
    fn say(&mut self, frame: &ToMaster) -> io::Result<()> {
        while self.has_master() {
            match self.channel.send(frame) {
                Ok(true) => return Ok(()),
                Ok(false) => thread::yield_now(),
                Err(_) => return self.hold(),
            }
        }
        Ok(())
    }

    fn forever(&mut self, mut deed: impl FnMut(&mut Hostile) -> io::Result<()>) -> io::Result<()> {
        while self.has_master() {
            deed(self)?;
        }
        Ok(())
    }

    /// Takes and ends so many loans, as a worker without a page does, and answers none.
    fn serve_without_page(&mut self, most: usize) -> io::Result<()> {
        let mut served = 0;
        while served < most && self.has_master() {
            self.take_loans()?;
            while self.loans.len() > served && served < most {
                let loan = self.loans[served].0;
                self.say(&ToMaster::Taken(vec![loan]))?;
                let _ = maitred::sys::stream::shutdown_both(self.loans[served].1.as_fd());
                self.say(&ToMaster::Ended(vec![loan]))?;
                served += 1;
            }
        }
        Ok(())
    }

    fn take_loans(&mut self) -> io::Result<()> {
        loop {
            match self.channel.receive() {
                Ok(FromMaster::Frame(ToWorker::Lend(records), descriptors)) => {
                    let ids = records.iter().map(|record: &LendRecord| record.loan);
                    self.loans.extend(ids.zip(descriptors));
                }
                Ok(FromMaster::Frame(..)) => {}
                Ok(FromMaster::Empty) => return Ok(()),
                Ok(FromMaster::Closed) | Err(_) => return Ok(()),
            }
        }
    }

    /// False if none has come by then.
    fn wait_for_loan(&mut self, until: Option<Instant>) -> io::Result<bool> {
        while self.loans.is_empty() && until.is_none_or(|until| Instant::now() < until) {
            if !self.has_master() {
                std::process::exit(0);
            }
            // What it is slow to claim is taken back.
            self.take_loans()?;
            thread::yield_now();
        }
        Ok(!self.loans.is_empty())
    }

    /// A loan that it has claimed before it was taken back, and whose request begins so.
    fn claim_one(&mut self, request: &[u8]) -> io::Result<(LoanId, OwnedFd)> {
        loop {
            self.wait_for_loan(None)?;
            let (loan, descriptor) = self.loans.remove(0);
            let mut bytes = [0; 64];
            let peek = libc::MSG_PEEK | libc::MSG_DONTWAIT;
            // SAFETY: as many writable bytes as are named.
            unsafe { libc::recv(descriptor.as_raw_fd(), bytes.as_mut_ptr().cast(), 64, peek) };
            if bytes.starts_with(request) && self.exchange(loan, LENT, ACTIVE) {
                return Ok((loan, descriptor));
            }
        }
    }

    fn hold(&mut self) -> io::Result<()> {
        while self.has_master() {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Writes whatever comes to it into the memory that all workers add to, its head included.
    fn scribble_over_meters(&mut self, rng: &mut fastrand::Rng) -> io::Result<()> {
        let meters = SharedMemory::adopt(own("MAITRED_METERS_FD")?, METERS_BYTES)?;
        let words = meters.words();
        // The slots first: a head that is none is not read any further.
        let mut rounds = 0_u32;
        while self.has_master() {
            let everywhere = rounds > 200;
            for word in &words[if everywhere { 0 } else { 128 }..] {
                let nonsense = if rng.bool() { u64::MAX } else { rng.u64(..) };
                word.store(nonsense, Ordering::Relaxed);
            }
            rounds = rounds.saturating_add(1);
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Lives on behind its parent, holding all that it had, until the master has closed the channel.
    fn outlive(&mut self) -> ! {
        while !matches!(self.channel.receive(), Ok(FromMaster::Closed) | Err(_)) {
            thread::sleep(Duration::from_millis(5));
        }
        std::process::exit(0)
    }

    fn stop_and_go(&mut self, until: Option<Instant>) -> io::Result<()> {
        let victim = Pid::this();
        // SAFETY: the child makes system calls alone.
        if let ForkResult::Child = unsafe { fork() }? {
            let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(20));
            while Instant::now() < until && kill(victim, None).is_ok() && getppid() == victim {
                let _ = kill(victim, Signal::SIGSTOP);
                let _ = kill(victim, Signal::SIGCONT);
            }
            let _ = kill(victim, Signal::SIGCONT);
            std::process::exit(0);
        }
        Ok(())
    }

    fn has_master(&self) -> bool {
        getppid() == self.parent
    }

    fn set(&self, at: usize, value: u64) {
        self.page.words()[at].store(value, Ordering::Release);
    }

    fn word(&self, loan: LoanId) -> &AtomicU64 {
        &self.page.words()[AT_CLAIMS + loan.index as usize]
    }

    fn exchange(&self, loan: LoanId, from: u64, to: u64) -> bool {
        let word = |state| u64::from(loan.sequence) << 32 | state;
        let (from, to) = (word(from), word(to));
        let exchanged =
            self.word(loan).compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        exchanged.is_ok()
    }

    fn let_go(&mut self, loan: LoanId) {
        let entry = u64::from(loan.sequence) << 32 | u64::from(loan.index);
        self.set(AT_RING + (self.ring_head % LOANS_MAX as u64) as usize, entry);
        self.ring_head += 1;
        self.set(AT_RING_HEAD, self.ring_head);
    }
}

const NO_PAGE: [&str; 4] =
    ["no-places", "no-page-forged-taken", "no-page-ended-twice", "no-page-flood"];

/// What a random row is made of.
fn ways() -> &'static [&'static str] {
    &[
        "nothing",
        "garbage",
        "almost-frames",
        "too-long",
        "descriptors",
        "forged-refuse",
        "taken",
        "report",
        "ready-twice",
        "counters",
        "counters",
        "counters-at-most",
        "about-to-be-stuck",
        "flag-lowered",
        "flag-garbage",
        "words",
        "words",
        "terms",
        "terms",
        "gives-garbage",
        "doing-garbage",
        "gives-garbage",
        "ring-jump",
        "ring-other-sequence",
        "bell-flood",
        "alarm-flood",
        "frame-flood",
        "deaf",
        "deaf-and-lying",
        "refuses",
        "refuses",
        "bye",
        "stop-flood",
        "claims-and-dies",
        "half-closed",
    ]
}

fn loan(index: u32, sequence: u32) -> LoanId {
    LoanId { index, sequence }
}

fn report() -> ReportRecord {
    ReportRecord { started: 5, finished: u64::MAX, busy_ns: u64::MAX, ..ReportRecord::default() }
}

fn number(variable: &str) -> io::Result<u32> {
    let value = std::env::var(variable).map_err(io::Error::other)?;
    value.parse().map_err(io::Error::other)
}

fn own(variable: &str) -> io::Result<OwnedFd> {
    let number = number(variable)?.cast_signed();
    // SAFETY: the master opened this descriptor for us alone, and nothing else here uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Two ends of a connection of one's own.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let there = TcpStream::connect(listener.local_addr()?)?;
    Ok((listener.accept()?.0, there))
}

/// Writes until the socket takes no more.
fn fill(socket: &TcpStream) {
    let bytes = vec![b'x'; 1 << 20];
    while maitred::sys::stream::send(socket.as_fd(), &bytes)
        .is_ok_and(|sent| sent != maitred::sys::stream::Sent::Full)
    {}
}

fn linger(socket: std::os::fd::BorrowedFd<'_>) {
    let asked = libc::linger { l_onoff: 1, l_linger: 60 };
    // SAFETY: a valid descriptor and a structure of the length that is named.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            std::ptr::from_ref(&asked).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}

fn ring(bell: &OwnedFd) {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: eight readable bytes.
    unsafe { libc::write(bell.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Rings at once.
fn wind(alarm: &OwnedFd) {
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let timer = libc::itimerspec { it_interval: never, it_value: soon };
    // SAFETY: a timer of ours and a structure that lives over the call.
    unsafe { libc::timerfd_settime(alarm.as_raw_fd(), 0, &timer, std::ptr::null_mut()) };
}

fn shut_down_reading(channel: &PacketSocket) {
    // SAFETY: shutdown(2) of a valid descriptor.
    unsafe { libc::shutdown(channel.as_fd().as_raw_fd(), libc::SHUT_RD) };
}

fn shut_down(channel: &PacketSocket) {
    // SAFETY: shutdown(2) of a valid descriptor.
    unsafe { libc::shutdown(channel.as_fd().as_raw_fd(), libc::SHUT_RDWR) };
}
