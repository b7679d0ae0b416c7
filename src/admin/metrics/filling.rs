//! What the workers have added up, put into a view.
//!
//! Not here: where it is read (`meters`), what is made of the view (`families`).

use std::collections::BTreeMap;

use crate::account::AcceptError;
use crate::board::Readable;
use crate::ident::Slot;
use crate::meters::{BOUNDS, Counter, Histogram, HistogramReading, Reader, SlotReading};
use crate::observe::view::{ACCEPT_ERROR, HistogramView, SlotView, View};

/// Puts what the slots' meters say into a view that a status page has begun: `slots`, the bounds of
/// histograms, and the index of fairness.
pub fn fill<M: Readable>(reader: &Reader<M>, view: &mut View) {
    view.histogram_bounds = BOUNDS.iter().map(std::time::Duration::as_secs_f64).collect();
    let mut answered = BTreeMap::new();
    for slot in &mut view.slots {
        let number = u16::try_from(slot.slot).unwrap_or(u16::MAX);
        if let Some(reading) = reader.slot(Slot(number)) {
            answered.insert(number, reading.responses());
            fill_slot(&reading, slot);
        }
    }
    view.jain = fairness(view, &answered).or(view.jain);
}

fn fill_slot(reading: &SlotReading, slot: &mut SlotView) {
    let get = |counter| reading.get(counter);
    slot.responses = [
        ("1xx", Counter::Responses1xx),
        ("2xx", Counter::Responses2xx),
        ("3xx", Counter::Responses3xx),
        ("4xx", Counter::Responses4xx),
        ("5xx", Counter::Responses5xx),
    ]
    .into_iter()
    .map(|(class, counter)| (class, get(counter)))
    .collect();
    slot.received_bytes = get(Counter::ReceivedBytes);
    slot.sent_bytes = get(Counter::SentBytes);
    slot.refused = [
        ("malformed", Counter::RefusedMalformed),
        ("head_too_large", Counter::RefusedHead),
        ("body_too_large", Counter::RefusedBody),
        ("too_slow", Counter::RefusedSlow),
        ("unsupported", Counter::RefusedUnsupported),
    ]
    .into_iter()
    .map(|(reason, counter)| (reason, get(counter)))
    .collect();
    slot.proxy_headers_refused = [
        ("untrusted_peer", Counter::HeadersUntrusted),
        ("absent", Counter::HeadersAbsent),
        ("malformed", Counter::HeadersMalformed),
        ("unsupported", Counter::HeadersUnsupported),
        ("wrong_checksum", Counter::HeadersChecksum),
    ]
    .into_iter()
    .map(|(reason, counter)| (reason, get(counter)))
    .collect();
    slot.errors = get(Counter::Errors);
    slot.busy_seconds = get(Counter::BusyNs) as f64 / 1e9;
    slot.slow_requests = get(Counter::SlowRequests);
    slot.log_lines_dropped = get(Counter::LogLinesDropped);
    slot.accept_errors = AcceptError::ALL
        .into_iter()
        .map(|error| {
            let name = error.name();
            (name.strip_prefix(ACCEPT_ERROR).unwrap_or(name), Counter::of_accept_error(error))
        })
        .map(|(name, counter)| (name, get(counter)))
        .collect();
    let histogram = |which| histogram(reading.histogram(which));
    slot.queue_wait = histogram(Histogram::QueueWait);
    slot.service = histogram(Histogram::Service);
    slot.handoff = histogram(Histogram::Handoff);
}

fn histogram(reading: &HistogramReading) -> HistogramView {
    HistogramView { counts: reading.counts.to_vec(), sum: reading.sum.as_secs_f64() }
}

/// Jain's index of what the slots that have workers now have answered, (Σx)² / n·Σx² (Jain, Chiu
/// and Hawe, "A quantitative measure of fairness", 1984). None where nobody has answered anything,
/// or nobody adds it up: other programs' workers do not, and what a page says of them stays.
fn fairness(view: &View, answered: &BTreeMap<u16, u64>) -> Option<f64> {
    let of = |slot| answered.get(&slot).map_or(0.0, |count| *count as f64);
    let slots = view.workers.iter().map(|worker| (worker.slot, of(worker.slot)));
    let requests: BTreeMap<u16, f64> = slots.collect();
    let (sum, squares) = requests
        .values()
        .fold((0.0, 0.0), |(sum, squares), count| (sum + count, squares + count * count));
    (squares > 0.0).then(|| sum * sum / (requests.len() as f64 * squares))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;
    use crate::meters::{METERS_BYTES, SlotMeters, lay_out};
    use crate::observe::view::WorkerView;
    use crate::proxy_protocol::HeaderRefusal;

    fn memory() -> Arc<Vec<AtomicU64>> {
        let memory: Vec<_> = (0..METERS_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
        lay_out(&memory).unwrap();
        Arc::new(memory)
    }

    fn view(slots: usize) -> View {
        let slot = |slot| SlotView { slot, ..SlotView::default() };
        let worker = |slot| WorkerView { slot: slot as u16, ..WorkerView::default() };
        View {
            slots: (0..slots).map(slot).collect(),
            workers: (0..slots).map(worker).collect(),
            ..View::default()
        }
    }

    #[test]
    fn a_slot_says_what_its_workers_have_added() {
        let memory = memory();
        let meters = SlotMeters::attach(Arc::clone(&memory), Slot(1)).unwrap();
        meters.count_response(200);
        meters.count_response(503);
        meters.count_refused(431);
        meters.count_header_refused(HeaderRefusal::UntrustedPeer);
        meters.add(Counter::of_accept_error(AcceptError::OutOfFiles), 7);
        meters.add(Counter::SentBytes, 99);
        meters.add_busy(Duration::from_millis(1_500));
        meters.measure(Histogram::Service, Duration::from_millis(2));
        let mut view = view(2);
        fill(&Reader::attach(memory).unwrap(), &mut view);
        let slot = &view.slots[1];
        assert_eq!(slot.responses.get("2xx"), Some(1));
        assert_eq!(slot.responses.get("5xx"), Some(1));
        assert_eq!(slot.refused.get("head_too_large"), Some(1));
        assert_eq!(slot.proxy_headers_refused.get("untrusted_peer"), Some(1));
        assert_eq!(slot.proxy_headers_refused.get("absent"), Some(0));
        let names = ["emfile", "enfile", "enomem", "econnaborted", "other"];
        let accept_errors = names.map(|name| slot.accept_errors.get(name));
        assert_eq!(accept_errors, [Some(0), Some(7), Some(0), Some(0), Some(0)]);
        assert_eq!((slot.sent_bytes, slot.busy_seconds), (99, 1.5));
        assert_eq!(slot.service.counts.len(), view.histogram_bounds.len() + 1);
        let bucket = slot.service.counts.iter().position(|count| *count == 1).unwrap();
        assert_eq!(view.histogram_bounds[bucket], 0.002_5);
        assert_eq!(slot.service.sum, 0.002);
        assert_eq!(view.slots[0].responses.get("2xx"), Some(0));
        assert_eq!(view.jain, Some(0.5), "one of two has answered everything");
    }

    #[test]
    fn fairness_is_one_where_all_do_the_same_and_unknown_where_nobody_did_anything() {
        let memory = memory();
        let reader = Reader::attach(Arc::clone(&memory)).unwrap();
        let mut view = view(4);
        fill(&reader, &mut view);
        assert_eq!(view.jain, None);
        view.jain = Some(1.0);
        fill(&reader, &mut view);
        assert_eq!(view.jain, Some(1.0), "what is known of workers that add nothing up");
        SlotMeters::attach(memory, Slot(3)).unwrap().count_response(204);
        fill(&reader, &mut view);
        assert_eq!(view.jain, Some(0.25));
    }
}
