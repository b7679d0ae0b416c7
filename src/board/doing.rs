//! What a worker is doing: for each handler call that runs, since when and for which request.
//!
//! Nobody reads this while all is well. It is there for the moment in which a worker is hung or dead
//! and cannot be asked. The worker's loop alone writes it, also for its threads (it knows when it
//! gives a call away and when it has it back), so a call costs some stores to a line of its own and
//! no system call. The master may read while it is written: it takes over only what had the same
//! beginning before and after.
//!
//! ```text
//!   word 0   when the call began, in nanoseconds; 0: none
//!   word 1   bytes of text
//!   …        METHOD path, cut off; the query is left out, it may hold secrets
//! ```
//!
//! Not here: which call has which entry (`worker::pool`), what is logged (`master::naming`).

use crate::board::layout::{DOING_WORDS, Layout, Words};
use crate::board::sync::{AtomicU64, Ordering, fence};
use crate::config::{DOING_ENTRIES_MAX, DOING_TEXT_SIZE};
use crate::time::Nanos;

const TEXT_WORDS: usize = DOING_TEXT_SIZE / 8;

const _: () = assert!(TEXT_WORDS + 2 == DOING_WORDS && DOING_TEXT_SIZE.is_multiple_of(8));

/// The entry of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoingEntry(pub u16);

impl DoingEntry {
    /// Of what runs on the worker's loop; threads have those behind it.
    pub const LOOP: DoingEntry = DoingEntry(0);
}

/// A call that runs, as the worker says. Any bytes may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    /// When it began.
    pub began: Nanos,
    /// What was asked for: `METHOD path`.
    pub text: Vec<u8>,
}

/// The worker's side: the table of its page.
#[derive(Clone, Debug)]
pub struct DoingTable<M> {
    pub(super) memory: M,
    pub(super) layout: Layout,
}

impl<M: Words> DoingTable<M> {
    /// A call begins.
    pub fn begin(&self, entry: DoingEntry, began: Nanos, method: &str, path: &str) {
        let Some(words) = words(&self.memory, self.layout, entry) else { return };
        words[0].store(0, Ordering::Relaxed);
        // Orders the words of the text behind the zero, as `load` orders them before its second look.
        fence(Ordering::Release);
        let mut text = [0; DOING_TEXT_SIZE];
        let mut length = 0;
        for part in [method.as_bytes(), b" ", path.as_bytes()] {
            let count = part.len().min(DOING_TEXT_SIZE - length);
            text[length..length + count].copy_from_slice(&part[..count]);
            length += count;
        }
        words[1].store(length as u64, Ordering::Relaxed);
        let used = length.div_ceil(8);
        for (word, bytes) in words[2..].iter().zip(text.chunks_exact(8)).take(used) {
            let mut eight = [0; 8];
            eight.copy_from_slice(bytes);
            word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
        }
        words[0].store(began.0.max(1), Ordering::Release);
    }

    /// It is over.
    pub fn end(&self, entry: DoingEntry) {
        if let Some(words) = words(&self.memory, self.layout, entry) {
            words[0].store(0, Ordering::Release);
        }
    }
}

/// The master's side: the call of an entry, if one runs and does not change under its eyes.
pub(super) fn load(memory: &impl Words, layout: Layout, entry: DoingEntry) -> Option<Doing> {
    let words = words(memory, layout, entry)?;
    let began = words[0].load(Ordering::Acquire);
    let length = words[1].load(Ordering::Relaxed);
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(DOING_TEXT_SIZE);
    let bytes = words[2..].iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
    let text = bytes.take(length).collect();
    fence(Ordering::Acquire);
    let same = words[0].load(Ordering::Relaxed) == began;
    (began != 0 && same).then_some(Doing { began: Nanos(began), text })
}

/// The master's side: when the call of an entry began, if one runs.
pub(super) fn began(memory: &impl Words, layout: Layout, entry: DoingEntry) -> Option<Nanos> {
    let began = words(memory, layout, entry)?[0].load(Ordering::Acquire);
    (began != 0).then_some(Nanos(began))
}

fn words<M: Words>(memory: &M, layout: Layout, entry: DoingEntry) -> Option<&[AtomicU64]> {
    if usize::from(entry.0) >= DOING_ENTRIES_MAX {
        return None;
    }
    let begin = layout.doing(entry.0);
    memory.words().get(begin..begin + DOING_WORDS)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::board::{MasterPage, WorkerPage, page_bytes};

    type Memory = Arc<Vec<AtomicU64>>;

    fn page() -> (MasterPage<Memory>, DoingTable<Memory>, Memory) {
        let words = page_bytes(2) / 8;
        let memory = Arc::new((0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let master = MasterPage::new(Arc::clone(&memory), 2).unwrap();
        let table = WorkerPage::attach(Arc::clone(&memory)).unwrap().doing();
        (master, table, memory)
    }

    fn texts(master: &MasterPage<Memory>) -> Vec<String> {
        let calls = master.doing(u16::MAX, usize::MAX);
        calls.iter().map(|call| String::from_utf8_lossy(&call.text).into_owned()).collect()
    }

    #[test]
    fn what_runs_is_seen_longest_first_until_it_is_over() {
        let (master, table, _) = page();
        assert!(texts(&master).is_empty());
        table.begin(DoingEntry(3), Nanos(9), "GET", "/third");
        table.begin(DoingEntry::LOOP, Nanos(7), "POST", "/loop");
        let last = DoingEntry(u16::try_from(DOING_ENTRIES_MAX - 1).unwrap());
        table.begin(last, Nanos(8), "GET", "/last");
        assert_eq!(texts(&master), ["POST /loop", "GET /last", "GET /third"]);
        assert_eq!(master.doing(0, 9).len(), 1, "a worker without threads has only its loop");
        assert_eq!(master.doing(u16::MAX, 2).len(), 2);
        table.end(DoingEntry::LOOP);
        assert_eq!(texts(&master), ["GET /last", "GET /third"]);
        // A short one behind a long one keeps nothing of it.
        table.begin(last, Nanos(8), "GET", "/");
        assert_eq!(texts(&master), ["GET /", "GET /third"]);
    }

    #[test]
    fn a_long_path_is_cut_off() {
        let (master, table, _) = page();
        table.begin(DoingEntry(1), Nanos(1), "GET", &"/x".repeat(4000));
        assert_eq!(texts(&master)[0].len(), DOING_TEXT_SIZE);
        let method = "M".repeat(4000);
        table.begin(DoingEntry(1), Nanos(1), &method, "/");
        assert_eq!(texts(&master)[0], method[..DOING_TEXT_SIZE]);
    }

    #[test]
    fn an_entry_beyond_the_table_is_none_and_any_words_are_some_bytes() {
        let (master, table, memory) = page();
        table.begin(DoingEntry(u16::MAX), Nanos(1), "GET", "/");
        table.end(DoingEntry(u16::MAX));
        assert!(texts(&master).is_empty());
        for word in &memory[Layout { loans_max: 2 }.doing(0)..] {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        let calls = master.doing(u16::MAX, 4);
        assert_eq!(calls.len(), 4);
        assert!(calls.iter().all(|call| call.text == [0xff; DOING_TEXT_SIZE]));
    }
}
