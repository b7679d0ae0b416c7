//! A view as OpenMetrics text.
//!
//! Not here: where the numbers come from (`observe::view`).

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::observe::view::View;

/// What [`render`] answers with (OpenMetrics 1.0, "Protocol Negotiation").
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one moment.
pub fn render(view: &View) -> String {
    let mut registry = Registry::with_prefix("maitred");
    let accepted = Counter::<u64, AtomicU64>::default();
    accepted.inc_by(view.account.accepted);
    registry.register("accepted", "Connections taken from the kernel", accepted);
    let open = Gauge::<i64>::default();
    let here: u64 = view.account.here.0.iter().map(|(_, count)| count).sum();
    open.set(i64::try_from(here).unwrap_or(i64::MAX));
    registry.register("open", "Connections that are here", open);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::view::Numbers;

    #[test]
    fn what_was_accepted_and_is_open_is_told() {
        let mut view = View::default();
        view.account.accepted = 7;
        view.account.here = Numbers(vec![("parked".into(), 2), ("queued".into(), 1)]);
        let text = render(&view);
        assert!(text.contains("maitred_accepted_total 7\n"), "{text}");
        assert!(text.contains("maitred_open 3\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
