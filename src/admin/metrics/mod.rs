//! `/metrics`: one view of a server as OpenMetrics, by the crate that the Prometheus project keeps.
//!
//! ```text
//!   meters ──fill──▶ View ──families──▶ samples ──prometheus-client──▶ text
//!                                 └───▶ docs/metrics.md
//! ```
//!
//! Everything in an answer is of one moment: the master's page and the meters are read once, into a
//! view, and each number is taken from there. The table of families is the only place where a
//! metric stands; the text and the documentation are both made of it.
//!
//! Pure. Not here: who asks (`admin`), what is recorded (`meters`).

mod families;
mod filling;
mod page;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as ClientUnit};

use crate::admin::metrics::families::{FAMILIES, Family, Kind, Sample, Unit, Value};
use crate::observe::view::View;

pub use filling::fill;
pub use page::page;

/// What the text is, for its Content-Type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The OpenMetrics text of a view.
pub fn render(view: &View) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(OfView(Arc::new(view.clone()))));
    let mut text = String::new();
    // Writing to a string cannot fail, and names and labels are ours.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

/// A registry wants to own what it asks.
#[derive(Debug)]
struct OfView(Arc<View>);

impl Collector for OfView {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        FAMILIES.iter().try_for_each(|family| write_family(family, &self.0, &mut encoder))
    }
}

fn write_family(
    family: &Family,
    view: &View,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let unit = family.unit.map(client_unit);
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
    for sample in (family.read)(view) {
        write_sample(family, &sample, view, &mut metric)?;
    }
    Ok(())
}

fn write_sample(
    family: &Family,
    sample: &Sample,
    view: &View,
    metric: &mut MetricEncoder<'_>,
) -> Result<(), fmt::Error> {
    debug_assert_eq!(family.labels.len(), sample.labels.len(), "{}", family.name);
    let labels = family.labels.iter().zip(&sample.labels);
    let labels: Vec<(&str, &str)> = labels.map(|(name, value)| (*name, value.as_str())).collect();
    if family.kind == Kind::Info {
        return metric.encode_info(&labels);
    }
    let mut metric = metric.encode_family(&labels)?;
    match (&sample.value, family.kind) {
        (Value::Count(count), Kind::Counter) => {
            metric.encode_counter::<NoLabelSet, _, u64>(count, None)
        }
        (Value::Number(number), Kind::Counter) => {
            metric.encode_counter::<NoLabelSet, _, f64>(number, None)
        }
        // What a gauge says is exact up to 2⁵³.
        (Value::Count(count), _) => metric.encode_gauge(&(*count as f64)),
        (Value::Number(number), _) => metric.encode_gauge(number),
        (Value::Histogram(histogram), _) => {
            let bounds = view.histogram_bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(histogram.counts.iter().copied()).collect();
            let count = buckets.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
            metric.encode_histogram::<NoLabelSet>(histogram.sum, count, &buckets, None)
        }
    }
}

fn client_unit(unit: Unit) -> ClientUnit {
    match unit {
        Unit::Seconds => ClientUnit::Seconds,
        Unit::Bytes => ClientUnit::Bytes,
        // The crate's own says "ratios", which the naming rules do not.
        Unit::Ratio => ClientUnit::Other("ratio".to_owned()),
    }
}

#[cfg(test)]
mod tests;
