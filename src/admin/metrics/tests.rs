//! The text is OpenMetrics, the names keep the rules, and the page says what the code says.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::account::page::Stamp;
use crate::account::{Status, WorkerStatus};
use crate::ident::Slot;
use crate::meters::{METERS_BYTES, Reader, SlotMeters, lay_out};
use crate::observe::status::{self, Reading};
use crate::observe::view::{KernelQueueView, NodeView, View};

/// A view with something of everything.
fn view(memory: &Arc<Vec<AtomicU64>>) -> View {
    let mut status = Status { workers: vec![WorkerStatus::default(); 2], ..Status::default() };
    status.workers[1].who.slot = Slot(1);
    status.workers[1].on_loan = 5;
    status.account.counters.slot_mut(Slot(1)).seated = 9;
    let names: Vec<_> = status.account.counters.list().map(|(name, _)| name).collect();
    for (value, name) in (1..).zip(names) {
        assert!(status.account.counters.set(name, value));
    }
    let mut view = status::view(&Reading {
        status,
        stamp: Stamp::default(),
        is_running: true,
        read_at: crate::time::Nanos(0),
    });
    view.kernel_queue = Some(KernelQueueView { length: 1, limit: 2, overflows: 3 });
    view.node = Some(NodeView { weight_percent: 75, busy: 0.5, load: 0.6, ..NodeView::default() });
    for worker in &mut view.workers {
        worker.stage = "serving".to_owned();
        worker.cpu_seconds = Some(1.5);
        worker.rss_bytes = Some(1 << 20);
    }
    fill(&Reader::attach(Arc::clone(memory)).unwrap(), &mut view);
    view
}

fn memory() -> Arc<Vec<AtomicU64>> {
    let memory: Vec<_> = (0..METERS_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
    lay_out(&memory).unwrap();
    Arc::new(memory)
}

#[test]
fn names_keep_the_rules_of_prometheus() {
    let mut seen = BTreeSet::new();
    for family in FAMILIES {
        let name = family.full_name();
        assert!(seen.insert(name.clone()), "{name} twice");
        assert!(name.starts_with("maitred_"), "{name}: one prefix");
        let is_snake = |text: &str| {
            let letters =
                |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_';
            text.chars().all(letters) && !text.contains("__") && !text.ends_with('_')
        };
        assert!(is_snake(&name), "{name}");
        // The suffixes are the writer's; in the name itself they would say something else.
        for reserved in ["_total", "_info", "_bucket", "_count", "_sum", "_created"] {
            assert!(!family.name.ends_with(reserved), "{name}: {reserved} is reserved");
        }
        for unit in ["milliseconds", "_ms", "_us", "_ns", "kilobytes", "_kb", "_mb", "percent"] {
            assert!(!name.contains(unit), "{name}: base units, not {unit}");
        }
        for unit in ["seconds", "bytes", "ratio"] {
            assert!(!family.name.contains(unit), "{name}: the unit is said by the table");
        }
        for label in family.labels {
            assert!(is_snake(label) && *label != "le" && *label != "quantile", "{name}: {label}");
            assert!(!family.name.ends_with(&format!("_{label}")), "{name}: {label} is said twice");
        }
        assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{name}: a sentence");
        let must_have_unit = family.kind == Kind::Histogram;
        assert!(!must_have_unit || family.unit.is_some(), "{name}: of what?");
    }
}

/// As strict as the reference parser in what it looks at: descriptors before samples, no sample
/// twice, suffixes by type, cumulative buckets that end with the count, and the end.
#[test]
fn the_text_is_well_formed_and_has_every_family() {
    let memory = memory();
    let meters = SlotMeters::attach(Arc::clone(&memory), Slot(1)).unwrap();
    meters.count_response(200);
    for millis in [1, 3, 3, 200, 100_000] {
        meters.measure(crate::meters::Histogram::Service, std::time::Duration::from_millis(millis));
    }
    let text = render(&view(&memory));
    assert!(text.ends_with("# EOF\n"));
    let mut seen = BTreeSet::new();
    let mut family = "";
    let mut described = BTreeSet::new();
    for line in text.lines().take_while(|line| *line != "# EOF") {
        if let Some(description) = line.strip_prefix("# ") {
            let (word, rest) = description.split_once(' ').unwrap();
            let name = rest.split(' ').next().unwrap();
            if word == "HELP" {
                assert!(described.insert(name), "{name} described twice");
                family = name;
            }
            assert_eq!(name, family, "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.starts_with(family), "{line} stands under {family}");
        assert!(seen.insert(series), "{series} twice");
    }
    for family in FAMILIES {
        let name = family.full_name();
        let name = name.trim_end_matches("_total").trim_end_matches("_info");
        assert!(described.contains(name), "{name} is missing");
        let is_said = seen.iter().any(|series| series.starts_with(name));
        assert!(is_said, "{name} says nothing of a server that has everything");
    }
    assert!(text.contains("maitred_build_info{version=\""), "{text}");
    assert!(text.contains("maitred_responses_total{worker=\"1\",class=\"2xx\"} 1\n"), "{text}");
    let bucket = |le: &str| {
        let series = format!("maitred_service_seconds_bucket{{le=\"{le}\",worker=\"1\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series} in {text}")).parse::<u64>().unwrap()
    };
    assert_eq!([bucket("0.001"), bucket("0.005"), bucket("60.0"), bucket("+Inf")], [1, 3, 4, 5]);
    assert!(text.contains("maitred_service_seconds_count{worker=\"1\"} 5\n"), "{text}");
    assert!(text.contains("maitred_connections_on_loan{worker=\"1\",state=\"idle\"} 5.0\n"));
    assert!(text.contains("maitred_accept_errors_total{errno=\"EMFILE\"} "), "{text}");
}

#[test]
fn what_is_not_known_is_not_said() {
    let text = render(&View::default());
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("\nmaitred_kernel_queue_length "));
    assert!(!text.contains("\nmaitred_fairness_ratio "));
    assert!(!text.contains("\nmaitred_service_seconds_bucket"));
}

/// A worker that went mad writes whatever it likes: the text is whole all the same.
#[test]
fn nonsense_in_the_meters_is_rendered_and_adds_up() {
    let memory = memory();
    for word in &memory[128..512] {
        word.store(u64::MAX, Ordering::Relaxed);
    }
    let view = view(&memory);
    let text = render(&view);
    assert!(text.ends_with("# EOF\n"));
    assert!(view.jain.is_some_and(|jain| (0.0..=1.0).contains(&jain)));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
    }
}

#[test]
fn the_page_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/metrics.md is not what the code says: `UPDATE_DOCS=1 cargo test --lib admin::metrics` \
         writes it anew"
    );
}
