//! The helper's side: what the processes of each slot have added so far.
//!
//! Any number may stand in a word: a worker of this server that went mad can write there. What is
//! read is bounded, so that sums of it fit, and belongs to nobody but whoever looks.
//!
//! Not here: what is made of it (`admin::metrics`).

use std::time::Duration;

use crate::board::Readable;
use crate::ident::Slot;
use crate::meters::buckets::BUCKETS;
use crate::meters::layout::{self, Counter, Histogram, MetersError};

/// The most that any counter is taken to say: all buckets of all slots together stay below 2⁶⁴. An
/// honest one needs thirty years at a thousand million a second for it.
const COUNT_MAX: u64 = 1 << 49;

/// Of bytes and nanoseconds, of which there are more: 292 years, or as many gigabytes a second for
/// 8 seconds in each of them.
const SUM_MAX: u64 = 1 << 63;

/// Meters, to be read.
#[derive(Debug)]
pub struct Reader<M> {
    memory: M,
}

/// What one slot has come to, all its processes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReading {
    counters: [u64; Counter::ALL.len()],
    histograms: [HistogramReading; Histogram::ALL.len()],
}

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramReading {
    /// In each bucket, not summed up.
    pub counts: [u64; BUCKETS],
    /// Of all.
    pub sum: Duration,
}

impl<M: Readable> Reader<M> {
    /// Attaches to memory that a master has laid out.
    ///
    /// # Errors
    /// It is none, or one of another layout.
    pub fn attach(memory: M) -> Result<Self, MetersError> {
        layout::check(&memory, Slot(0))?;
        Ok(Reader { memory })
    }

    /// What a slot has come to; none beyond the last. Looking at one that was never used makes the
    /// kernel back its memory: ask for those that are known.
    pub fn slot(&self, slot: Slot) -> Option<SlotReading> {
        layout::check(&self.memory, slot).ok()?;
        let at = layout::slot_at(slot);
        let load = |word: usize| self.memory.load(at + word);
        Some(SlotReading {
            counters: Counter::ALL.map(|counter| load(counter as usize).min(bound_of(counter))),
            histograms: Histogram::ALL.map(|histogram| HistogramReading {
                counts: std::array::from_fn(|bucket| {
                    load(layout::bucket_at(histogram, bucket)).min(COUNT_MAX)
                }),
                sum: Duration::from_nanos(load(layout::sum_at(histogram)).min(SUM_MAX)),
            }),
        })
    }
}

impl SlotReading {
    /// A counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// A histogram.
    pub fn histogram(&self, histogram: Histogram) -> &HistogramReading {
        &self.histograms[histogram as usize]
    }

    /// Responses that have left whole, interim ones left out.
    pub fn responses(&self) -> u64 {
        let classes = [
            Counter::Responses2xx,
            Counter::Responses3xx,
            Counter::Responses4xx,
            Counter::Responses5xx,
        ];
        classes.into_iter().map(|class| self.get(class)).sum()
    }
}

impl HistogramReading {
    /// How many there are in all.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

fn bound_of(counter: Counter) -> u64 {
    match counter {
        Counter::ReceivedBytes | Counter::SentBytes | Counter::BusyNs => SUM_MAX,
        _ => COUNT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::meters::layout::{METERS_BYTES, lay_out};
    use crate::meters::recorder::SlotMeters;
    use crate::proxy_protocol::{HeaderRefusal, ProxyHeaderError};

    fn memory() -> Arc<Vec<AtomicU64>> {
        let memory: Vec<_> = (0..METERS_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
        lay_out(&memory).unwrap();
        Arc::new(memory)
    }

    #[test]
    fn two_processes_of_a_slot_add_up_and_another_slot_sees_nothing() {
        let memory = memory();
        let reader = Reader::attach(Arc::clone(&memory)).unwrap();
        let before = reader.slot(Slot(3)).unwrap();
        assert_eq!(before.responses() + before.histogram(Histogram::Service).count(), 0);
        thread::scope(|scope| {
            for _ in 0..2 {
                let meters = SlotMeters::attach(Arc::clone(&memory), Slot(3)).unwrap();
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        meters.count_response(204);
                        meters.count_response(503);
                        meters.measure(Histogram::Service, Duration::from_millis(3));
                        meters.add(Counter::SentBytes, 10);
                    }
                });
            }
        });
        let after = reader.slot(Slot(3)).unwrap();
        assert_eq!(after.get(Counter::Responses2xx), 2_000);
        assert_eq!(after.get(Counter::Responses5xx), 2_000);
        assert_eq!(after.responses(), 4_000);
        assert_eq!(after.get(Counter::SentBytes), 20_000);
        let service = after.histogram(Histogram::Service);
        assert_eq!((service.count(), service.sum), (2_000, Duration::from_secs(6)));
        assert_eq!(reader.slot(Slot(2)), Some(before));
        assert_eq!(reader.slot(Slot(1024)), None);
    }

    #[test]
    fn a_refusal_is_counted_under_its_reason() {
        let memory = memory();
        let meters = SlotMeters::attach(Arc::clone(&memory), Slot(0)).unwrap();
        for status in [400, 408, 413, 414, 431, 417, 501, 505] {
            meters.count_refused(status);
        }
        let reading = Reader::attach(memory).unwrap().slot(Slot(0)).unwrap();
        let counts = [
            Counter::RefusedMalformed,
            Counter::RefusedSlow,
            Counter::RefusedBody,
            Counter::RefusedHead,
            Counter::RefusedUnsupported,
        ];
        assert_eq!(counts.map(|counter| reading.get(counter)), [2, 1, 1, 2, 2]);
    }

    #[test]
    fn a_refused_header_is_counted_under_its_reason() {
        let memory = memory();
        let meters = SlotMeters::attach(Arc::clone(&memory), Slot(0)).unwrap();
        let invalid = [
            ProxyHeaderError::Absent,
            ProxyHeaderError::Unterminated,
            ProxyHeaderError::Line,
            ProxyHeaderError::Kind,
            ProxyHeaderError::Length,
            ProxyHeaderError::Values,
            ProxyHeaderError::Checksum,
        ];
        meters.count_header_refused(HeaderRefusal::UntrustedPeer);
        invalid.into_iter().for_each(|error| meters.count_header_refused(error.into()));
        let reading = Reader::attach(memory).unwrap().slot(Slot(0)).unwrap();
        let counts = [
            Counter::HeadersUntrusted,
            Counter::HeadersAbsent,
            Counter::HeadersMalformed,
            Counter::HeadersUnsupported,
            Counter::HeadersChecksum,
        ];
        assert_eq!(counts.map(|counter| reading.get(counter)), [1, 1, 4, 1, 1]);
    }

    /// The memory of a server outlives its program: counters that came later lie behind those of the
    /// first, which have stood where they stand since layout 1.
    #[test]
    fn memory_that_an_older_program_has_laid_out_is_gone_on_with() {
        const COUNTERS_AT_FIRST: usize = 16;
        let memory = memory();
        let slot_at = layout::slot_at(Slot(2));
        for (word, value) in (0..COUNTERS_AT_FIRST).zip(1_u64..) {
            memory[slot_at + word].store(value, Ordering::Relaxed);
        }
        let reader = Reader::attach(Arc::clone(&memory)).unwrap();
        let reading = reader.slot(Slot(2)).unwrap();
        assert_eq!((reading.get(Counter::Responses1xx), reading.responses()), (1, 2 + 3 + 4 + 5));
        assert_eq!(reading.get(Counter::RefusedUnsupported), COUNTERS_AT_FIRST as u64);
        assert_eq!(reading.get(Counter::HeadersUntrusted), 0, "nobody has added to it");
        let meters = SlotMeters::attach(memory, Slot(2)).unwrap();
        meters.count_header_refused(HeaderRefusal::UntrustedPeer);
        let after = reader.slot(Slot(2)).unwrap();
        assert_eq!(after.get(Counter::HeadersUntrusted), 1);
        assert_eq!(after.get(Counter::RefusedUnsupported), COUNTERS_AT_FIRST as u64);
    }

    #[test]
    fn memory_of_another_layout_is_refused() {
        let short: Vec<AtomicU64> = Vec::new();
        assert!(matches!(Reader::attach(short), Err(MetersError::TooShort { found: 0 })));
        let memory = memory();
        assert_eq!(
            SlotMeters::attach(Arc::clone(&memory), Slot(1024)).err(),
            Some(MetersError::NoSlot(1024))
        );
        memory[0].store(7, Ordering::Relaxed);
        assert_eq!(Reader::attach(memory).err(), Some(MetersError::Foreign(7)));
    }

    proptest! {
        /// Whatever a worker has written: it is read, and what is added up of it fits.
        #[test]
        fn nonsense_is_read_and_can_be_added_up(seed: u64, huge: bool) {
            let memory = memory();
            let mut rng = fastrand::Rng::with_seed(seed);
            for word in &memory[128..256] {
                word.store(if huge { u64::MAX } else { rng.u64(..) }, Ordering::Relaxed);
            }
            let reading = Reader::attach(memory).unwrap().slot(Slot(0)).unwrap();
            let counts: u64 = Histogram::ALL.map(|one| reading.histogram(one).count()).iter().sum();
            let all = u64::from(crate::config::WORKERS_MAX).checked_mul(
                reading.responses().max(counts / 3),
            );
            prop_assert!(all.is_some());
        }
    }
}
