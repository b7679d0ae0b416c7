//! The bytes of a status file: little-endian words of 64 bits, behind each other.
//!
//! ```text
//!   31 words   head      magic, version, length in words, sequence, written at, pid, started at,
//!                        phase, accept, reload, replaced and of, generation, counts of tables,
//!                        balance, rebalance, credit, stall after, workers wanted, min and max,
//!                        length and limit of the kernel's queue, the node (1 if there is
//!                        one; weight, busy, load, requests, errors, wait)
//!   13 words   events    in the order of `Counters::events`
//!   14 words   outcomes  in the order of `Outcome::ALL`
//!    4 words   here      in the order of `Here::list`
//!    2 words   each slot    seated, starts
//!   18 words   each worker  slot, generation, pid, stage, on loan, waiting, started, finished,
//!                           errors, accepted itself, of those open, flags (1 stuck, 2 stopped,
//!                           4 drained), started at, queued, threads, of those busy, busy time,
//!                           stalls
//!    1 word    checksum  FNV-1a over all words before it
//! ```
//!
//! The file is written in place by one pwrite(2) and read by one pread(2), which may meet: whoever
//! reads a page whose checksum is wrong reads again. A sequence at both ends alone would let a
//! middle pass that is older than both; the checksum lets nothing pass, and the sequence only says
//! whether a page is another one. Any change of this layout is another version: a reader that took
//! a part of an account would find connections missing.
//!
//! Bytes behind the length are not looked at: an earlier page may have been longer.
//!
//! Not here: what the numbers mean ([`Status`]), the file (`sys::locked_file`).

use std::time::Duration;

use thiserror::Error;

use crate::account::counters::{NAMED, SlotCounters};
use crate::account::{
    Account, Counters, Here, KernelQueue, NodeStatus, Phase, Policy, ReloadState, ReloadStatus,
    Scaling, Status, WorkerStage, WorkerStatus,
};
use crate::config::{Arm, Balance, Rebalance, STATUS_WORKERS_MAX, WORKERS_MAX};
use crate::ident::{Generation, Incarnation, Slot};
use crate::time::Nanos;

/// What a status file begins with.
pub const MAGIC: [u8; 8] = *b"maitstat";

/// The layout that this program writes and reads.
pub const VERSION: u64 = 3;

/// The longest page there can be, in bytes.
pub const SIZE_MAX: usize =
    WORD * (FIXED + SLOT * WORKERS_MAX as usize + WORKER * STATUS_WORKERS_MAX + 1);

const WORD: usize = 8;
const HEAD: usize = 31;
const HERE: usize = 4;
const SLOT: usize = 2;
const WORKER: usize = 18;

/// Words in front of the tables.
const FIXED: usize = HEAD + NAMED + HERE;

const FLAG_STUCK: u64 = 1;
const FLAG_STOPPED: u64 = 2;
const FLAG_DRAINED: u64 = 4;

/// In the place of a queue's length: nobody can say.
const UNKNOWN: u64 = u64::MAX;

/// Which page it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Rises with every page that a master writes.
    pub sequence: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_at_ms: u64,
}

/// Bytes that are no page that this program can read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PageError {
    /// Somebody else's file.
    #[error("it is no status file")]
    Foreign,
    /// Another program of ours wrote it.
    #[error("it has layout {0}; this program reads layout {VERSION}")]
    Version(u64),
    /// It is being written, or is cut off or damaged: look again.
    #[error("it is incomplete or damaged")]
    Torn,
    /// It is whole, and says what cannot be.
    #[error("its {0} cannot be")]
    Nonsense(&'static str),
}

/// Writes a page, in place of whatever is in `out`. Tables are cut at what a page has room for.
pub fn encode(status: &Status, stamp: Stamp, out: &mut Vec<u8>) {
    let counters = &status.account.counters;
    let slots = &counters.slots()[..counters.slots().len().min(WORKERS_MAX.into())];
    let workers = &status.workers[..status.workers.len().min(STATUS_WORKERS_MAX)];
    let words = FIXED + SLOT * slots.len() + WORKER * workers.len() + 1;
    out.clear();
    let mut put = |word: u64| out.extend_from_slice(&word.to_le_bytes());
    put(u64::from_le_bytes(MAGIC));
    put(VERSION);
    put(words as u64);
    put(stamp.sequence);
    put(stamp.written_at_ms);
    put(status.pid.into());
    put(status.started_at_ms);
    put(status.phase as u64);
    put(status.accept as u64);
    put(status.reload.state as u64);
    put(u64::from(status.reload.replaced) << 32 | u64::from(status.reload.of));
    put(status.generation.into());
    put(slots.len() as u64);
    put(workers.len() as u64);
    put(status.workers_in_all.into());
    let Policy { balance, rebalance, credit, stall_after } = status.policy;
    put(balance as u64);
    put(rebalance as u64);
    put(credit.unwrap_or(0).into());
    put(u64::try_from(stall_after.as_nanos()).unwrap_or(u64::MAX));
    let Scaling { wanted, min, max } = status.scaling;
    [wanted, min, max].into_iter().for_each(|number| put(number.into()));
    put(status.kernel_queue.map_or(UNKNOWN, |queue| queue.length.into()));
    put(status.kernel_queue.map_or(0, |queue| queue.limit.into()));
    let node = status.node.unwrap_or_default();
    put(u64::from(status.node.is_some()));
    put(node.weight_percent.into());
    put(node.busy_millionths.into());
    put(node.load_millionths.into());
    put(node.requests_per_1000_s);
    put(node.errors_per_1000_s);
    put(u64::try_from(node.queue_wait.as_nanos()).unwrap_or(u64::MAX));
    counters.list().for_each(|(_, number)| put(number));
    status.account.here.list().into_iter().for_each(|(_, number)| put(number));
    for slot in slots {
        put(slot.seated);
        put(slot.starts);
    }
    for worker in workers {
        put(worker.who.slot.0.into());
        put(worker.who.generation.0.into());
        put(worker.pid.into());
        put(worker.stage as u64);
        put(worker.on_loan.into());
        put(worker.waiting.into());
        put(worker.requests_started);
        put(worker.requests_finished);
        put(worker.errors);
        put(worker.own_accepted);
        put(worker.own_open);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let stuck = flag(worker.is_stuck, FLAG_STUCK) | flag(worker.is_stopped, FLAG_STOPPED);
        put(stuck | flag(worker.is_drained, FLAG_DRAINED));
        put(worker.started_at.0);
        put(worker.queued.into());
        put(worker.threads.into());
        put(worker.threads_busy.into());
        put(worker.busy_ns);
        put(worker.stalls);
    }
    let checksum = checksum(out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Whether a file that begins so may be written over: it is one of ours, or empty.
pub fn may_replace(beginning: &[u8]) -> bool {
    beginning.is_empty() || beginning.starts_with(&MAGIC)
}

/// Reads a page.
///
/// # Errors
/// It is none, or not whole.
pub fn decode(bytes: &[u8]) -> Result<(Status, Stamp), PageError> {
    if bytes.len() >= MAGIC.len() && !bytes.starts_with(&MAGIC) {
        return Err(PageError::Foreign);
    }
    let version = word(bytes, 1).ok_or(PageError::Torn)?;
    if version != VERSION {
        return Err(PageError::Version(version));
    }
    let size = word(bytes, 2).and_then(|words| usize::try_from(words).ok());
    let size = size.and_then(|words| words.checked_mul(WORD)).ok_or(PageError::Torn)?;
    let page = bytes.get(..size).ok_or(PageError::Torn)?;
    let body = size.checked_sub(WORD).ok_or(PageError::Torn)?;
    if size <= WORD * FIXED || word(page, body / WORD) != Some(checksum(&page[..body])) {
        return Err(PageError::Torn);
    }
    // From here on it is what somebody has written, whole.
    let mut reader = Reader { words: &page[..body], next: 3 };
    let stamp = Stamp { sequence: reader.next(), written_at_ms: reader.next() };
    let mut status = reader.head()?;
    let slots = reader.count("number of slots", WORKERS_MAX.into())?;
    let workers = reader.count("number of workers", STATUS_WORKERS_MAX)?;
    status.workers_in_all = reader.small("number of workers")?;
    reader.seating(&mut status)?;
    status.node = reader.node()?;
    if size != WORD * (FIXED + SLOT * slots + WORKER * workers + 1)
        || (status.workers_in_all as usize) < workers
    {
        return Err(PageError::Nonsense("length"));
    }
    status.account = reader.account(slots);
    for _ in 0..workers {
        status.workers.push(reader.worker()?);
    }
    Ok((status, stamp))
}

/// Words of a page whose length has been checked.
struct Reader<'a> {
    words: &'a [u8],
    next: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> u64 {
        // The length was checked against the counts of the tables, so that nothing is missing.
        let found = word(self.words, self.next).unwrap_or_default();
        self.next += 1;
        found
    }

    fn small<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, PageError> {
        T::try_from(self.next()).map_err(|_| PageError::Nonsense(what))
    }

    fn count(&mut self, what: &'static str, most: usize) -> Result<usize, PageError> {
        self.small(what).and_then(|count: usize| {
            if count <= most { Ok(count) } else { Err(PageError::Nonsense(what)) }
        })
    }

    fn one_of<T: Copy>(&mut self, what: &'static str, all: &[T]) -> Result<T, PageError> {
        let number = self.small(what).unwrap_or(usize::MAX);
        all.get(number).copied().ok_or(PageError::Nonsense(what))
    }

    fn head(&mut self) -> Result<Status, PageError> {
        let pid = self.small("process")?;
        let started_at_ms = self.next();
        let phase = self.one_of("phase", &Phase::ALL)?;
        let accept = self.one_of("arm", &Arm::ALL)?;
        let state = self.one_of("reload", &ReloadState::ALL)?;
        let progress = self.next();
        let half = |number: u64| {
            u16::try_from(number).map_err(|_| PageError::Nonsense("progress of the reload"))
        };
        let (replaced, of) = (half(progress >> 32)?, half(progress & u64::from(u32::MAX))?);
        let generation = self.small("generation")?;
        Ok(Status {
            pid,
            started_at_ms,
            phase,
            accept,
            reload: ReloadStatus { state, replaced, of },
            generation,
            ..Status::default()
        })
    }

    fn seating(&mut self, status: &mut Status) -> Result<(), PageError> {
        status.policy = Policy {
            balance: self.one_of("balance", &Balance::ALL)?,
            rebalance: self.one_of("rebalance", &Rebalance::ALL)?,
            credit: Some(self.small("credit")?).filter(|credit| *credit > 0),
            stall_after: Duration::from_nanos(self.next()),
        };
        status.scaling = Scaling {
            wanted: self.small("number of workers wanted")?,
            min: self.small("number of workers wanted")?,
            max: self.small("number of workers wanted")?,
        };
        let length = self.next();
        let limit = self.small("limit of the kernel's queue")?;
        status.kernel_queue = match (u32::try_from(length), length, limit) {
            (Ok(length), ..) => Some(KernelQueue { length, limit }),
            (Err(_), UNKNOWN, 0) => None,
            (Err(_), ..) => return Err(PageError::Nonsense("length of the kernel's queue")),
        };
        Ok(())
    }

    fn node(&mut self) -> Result<Option<NodeStatus>, PageError> {
        let is_one = self.one_of("node", &[false, true])?;
        let node = NodeStatus {
            weight_percent: self.small("weight of the node")?,
            busy_millionths: self.small("busy share of the node")?,
            load_millionths: self.small("load of the node")?,
            requests_per_1000_s: self.next(),
            errors_per_1000_s: self.next(),
            queue_wait: Duration::from_nanos(self.next()),
        };
        match (is_one, node == NodeStatus::default()) {
            (true, _) => Ok(Some(node)),
            (false, true) => Ok(None),
            (false, false) => Err(PageError::Nonsense("node")),
        }
    }

    fn account(&mut self, slots: usize) -> Account {
        let mut counters = Counters::default();
        for (_, number) in counters.numbers_mut() {
            *number = self.next();
        }
        let here = Here {
            queued: self.next(),
            parked: self.next(),
            on_loan: self.next(),
            lingering: self.next(),
        };
        for slot in 0..slots {
            *counters.slot_mut(Slot(slot as u16)) =
                SlotCounters { seated: self.next(), starts: self.next() };
        }
        Account { counters, here }
    }

    fn worker(&mut self) -> Result<WorkerStatus, PageError> {
        let slot = Slot(self.small("slot")?);
        let generation = Generation(self.small("generation of a worker")?);
        let pid = self.small("process of a worker")?;
        let stage = self.one_of("stage of a worker", &WorkerStage::ALL)?;
        let on_loan = self.small("loans of a worker")?;
        let waiting = self.small("waiting loans of a worker")?;
        let requests_started = self.next();
        let requests_finished = self.next();
        let errors = self.next();
        let (own_accepted, own_open) = (self.next(), self.next());
        let flags = self.next();
        if flags & !(FLAG_STUCK | FLAG_STOPPED | FLAG_DRAINED) != 0 {
            return Err(PageError::Nonsense("flags of a worker"));
        }
        Ok(WorkerStatus {
            who: Incarnation { slot, generation },
            pid,
            stage,
            on_loan,
            waiting,
            requests_started,
            requests_finished,
            errors,
            own_accepted,
            own_open,
            is_stuck: flags & FLAG_STUCK != 0,
            is_stopped: flags & FLAG_STOPPED != 0,
            is_drained: flags & FLAG_DRAINED != 0,
            started_at: Nanos(self.next()),
            queued: self.small("queued requests of a worker")?,
            threads: self.small("threads of a worker")?,
            threads_busy: self.small("busy threads of a worker")?,
            busy_ns: self.next(),
            stalls: self.next(),
        })
    }
}

fn word(bytes: &[u8], place: usize) -> Option<u64> {
    let start = place.checked_mul(WORD)?;
    let bytes = bytes.get(start..start.checked_add(WORD)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// FNV-1a, 64 bits, with a word where the original takes a byte: an eighth of the time, and a
/// difference in one word is always seen, since each step is a bijection. Enough against accidents,
/// and three lines in any language.
fn checksum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(WORD).map(|chunk| word(chunk, 0).unwrap_or_default());
    words
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn worker()(
            (slot, generation, pid) in any::<(u16, u32, u32)>(),
            stage in 0..WorkerStage::ALL.len(),
            (on_loan, waiting) in any::<(u32, u32)>(),
            (requests_started, requests_finished, errors) in any::<(u64, u64, u64)>(),
            (own_accepted, own_open) in any::<(u64, u64)>(),
            (is_stuck, is_stopped, is_drained) in any::<(bool, bool, bool)>(),
            (started_at, busy_ns, stalls) in any::<(u64, u64, u64)>(),
            (queued, threads, threads_busy) in any::<(u32, u16, u32)>(),
        ) -> WorkerStatus {
            WorkerStatus {
                who: Incarnation { slot: Slot(slot), generation: Generation(generation) },
                pid,
                stage: WorkerStage::ALL[stage],
                on_loan,
                waiting,
                requests_started,
                requests_finished,
                errors,
                own_accepted,
                own_open,
                is_stuck,
                is_stopped,
                is_drained,
                started_at: Nanos(started_at),
                queued,
                threads,
                threads_busy,
                busy_ns,
                stalls,
            }
        }
    }

    prop_compose! {
        fn status()(
            (pid, started_at_ms, generation) in any::<(u32, u64, u32)>(),
            (phase, state) in (0..Phase::ALL.len(), 0..ReloadState::ALL.len()),
            arm in 0..Arm::ALL.len(),
            (replaced, of) in any::<(u16, u16)>(),
            numbers in prop::collection::vec(any::<u64>(), NAMED),
            slots in prop::collection::vec(any::<(u64, u64)>(), 0..5),
            here in any::<[u64; HERE]>(),
            workers in prop::collection::vec(worker(), 0..5),
            more in 0_u32..3,
            (balance, rebalance) in (0..Balance::ALL.len(), 0..Rebalance::ALL.len()),
            (credit, stall_after, wanted, min, max) in any::<(u16, u64, u16, u16, u16)>(),
            kernel_queue in any::<Option<(u32, u32)>>(),
        ) -> Status {
            let mut counters = Counters::default();
            for ((_, number), value) in counters.numbers_mut().into_iter().zip(numbers) {
                *number = value;
            }
            for (place, (seated, starts)) in slots.into_iter().enumerate() {
                *counters.slot_mut(Slot(place as u16)) = SlotCounters { seated, starts };
            }
            let [queued, parked, on_loan, lingering] = here;
            Status {
                pid,
                started_at_ms,
                phase: Phase::ALL[phase],
                accept: Arm::ALL[arm],
                reload: ReloadStatus { state: ReloadState::ALL[state], replaced, of },
                generation,
                account: Account { counters, here: Here { queued, parked, on_loan, lingering } },
                policy: Policy {
                    balance: Balance::ALL[balance],
                    rebalance: Rebalance::ALL[rebalance],
                    credit: (credit > 0).then_some(credit),
                    stall_after: Duration::from_nanos(stall_after),
                },
                scaling: Scaling { wanted, min, max },
                kernel_queue: kernel_queue.map(|(length, limit)| KernelQueue { length, limit }),
                node: (generation % 3 > 0).then(|| NodeStatus {
                    weight_percent: phase as u8,
                    busy_millionths: generation,
                    load_millionths: u32::from(of),
                    requests_per_1000_s: queued,
                    errors_per_1000_s: parked,
                    queue_wait: Duration::from_nanos(stall_after),
                }),
                workers_in_all: workers.len() as u32 + more,
                workers,
            }
        }
    }

    proptest! {
        #[test]
        fn a_page_comes_back_and_no_part_of_it_passes_for_a_whole(
            status in status(), sequence: u64, written_at_ms: u64, cut: prop::sample::Index,
            bit: prop::sample::Index, behind: Vec<u8>,
        ) {
            let stamp = Stamp { sequence, written_at_ms };
            let mut page = vec![7; 3];
            encode(&status, stamp, &mut page);
            prop_assert!(page.len() <= SIZE_MAX);
            prop_assert_eq!(decode(&[&page[..], &behind].concat()), Ok((status, stamp)));
            prop_assert_eq!(decode(&page[..cut.index(page.len())]), Err(PageError::Torn));
            let bit = bit.index(page.len() * 8);
            page[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&page).is_err());
        }

        #[test]
        fn a_mixture_of_two_pages_is_none(
            one in status(), workers in prop::collection::vec(worker(), 5), at: prop::sample::Index,
        ) {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            encode(&one, Stamp { sequence: 1, written_at_ms: 1 }, &mut before);
            let workers_in_all = workers.len() as u32;
            let other = Status { workers, workers_in_all, ..one };
            encode(&other, Stamp { sequence: 2, written_at_ms: 2 }, &mut after);
            // The second write has come so far, or has been seen so far.
            let at = at.index(before.len().min(after.len()));
            let mixture = [&after[..at], &before[at..]].concat();
            prop_assert!(mixture == before || decode(&mixture).is_err());
        }
    }

    #[test]
    fn what_is_whole_and_cannot_be_is_told_by_name() {
        let mut page = Vec::new();
        encode(&Status::default(), Stamp::default(), &mut page);
        for (place, value, what) in [
            (5, u64::MAX, "process"),
            (7, 4, "phase"),
            (8, 6, "arm"),
            (9, 4, "reload"),
            (10, 1 << 16, "progress of the reload"),
            (11, 1 << 32, "generation"),
            (12, 1025, "number of slots"),
            (13, u64::MAX, "number of workers"),
            (15, 7, "balance"),
            (16, 3, "rebalance"),
            (17, 1 << 16, "credit"),
            (21, 1 << 16, "number of workers wanted"),
            (22, 1 << 32, "length of the kernel's queue"),
            (23, 7, "length of the kernel's queue"),
            (23, 1 << 32, "limit of the kernel's queue"),
            (12, 1, "length"),
        ] {
            let mut page = page.clone();
            page[place * 8..][..8].copy_from_slice(&u64::to_le_bytes(value));
            let body = page.len() - 8;
            let sum = checksum(&page[..body]);
            page[body..].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(decode(&page), Err(PageError::Nonsense(what)));
        }
        page[8] = 2;
        assert_eq!(decode(&page), Err(PageError::Version(2)));
        page[0] = b'M';
        assert_eq!(decode(&page), Err(PageError::Foreign));
        assert_eq!(decode(b""), Err(PageError::Torn));
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        // The published test vectors of the Fowler-Noll-Vo hash, a word for each byte.
        let of = |text: &[u8]| {
            checksum(
                &text.iter().flat_map(|byte| u64::from(*byte).to_le_bytes()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
