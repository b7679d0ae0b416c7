//! A load report in the forms of ORCA (Open Request Cost Aggregation), which Envoy and gRPC read.
//!
//! | form | field | value |
//! |---|---|---|
//! | bin | `endpoint-load-metrics-bin` | base64 of a serialised `xds.data.orca.v3.OrcaLoadReport` (gRFC A51) |
//! | json | `endpoint-load-metrics` | `JSON {"rps_fractional":…}` |
//! | text | `endpoint-load-metrics` | `TEXT rps_fractional=…,eps=…` |
//!
//! A reader weighs a node by `rps_fractional / (application_utilization + penalty · eps / rps)`: what
//! it would serve if it were just full. So the two must be of the same time and of the whole node,
//! and the utilisation is the load, which exceeds 1 where more is offered than served.
//!
//! The message is encoded by hand: three fields of eight bytes behind a byte each need no generator
//! and no runtime; a test has it decoded by somebody else.
//!
//! Not here: when a response carries it (`worker::load_field`, `maitred.asgi`).

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::LoadForm;
use crate::fleet::node::NodeLoad;

/// The names under which a load report is sent; an application's own is known by them.
pub const FIELD_NAMES: [&str; 2] = ["endpoint-load-metrics", "endpoint-load-metrics-bin"];

/// What is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadMetrics {
    /// 1 is what the node can just serve.
    pub application_utilization: f64,
    /// Requests answered in a second.
    pub rps_fractional: f64,
    /// Requests that ended badly, in a second.
    pub eps: f64,
}

impl From<&NodeLoad> for LoadMetrics {
    fn from(load: &NodeLoad) -> Self {
        LoadMetrics {
            application_utilization: load.load,
            rps_fractional: load.requests_per_second,
            eps: load.errors_per_second,
        }
    }
}

impl LoadMetrics {
    /// Two words, for a page: the first holds what readers divide, so that it is always of one time.
    pub fn to_words(self) -> (u64, u32) {
        let bits = |number: f64| (number as f32).to_bits();
        let (load, rate) = (bits(self.application_utilization), bits(self.rps_fractional));
        (u64::from(load) << 32 | u64::from(rate), bits(self.eps))
    }

    /// The other way; any bits may stand there.
    pub fn from_words(first: u64, second: u32) -> Self {
        let number = |bits: u32| f64::from(f32::from_bits(bits));
        LoadMetrics {
            application_utilization: number((first >> 32) as u32),
            rps_fractional: number(first as u32),
            eps: number(second),
        }
    }
}

/// The name of the field in this form.
pub fn field_name(form: LoadForm) -> &'static str {
    match form {
        LoadForm::Json | LoadForm::Text => FIELD_NAMES[0],
        LoadForm::Bin => FIELD_NAMES[1],
    }
}

/// The value of the field: visible ASCII.
pub fn field_value(form: LoadForm, metrics: LoadMetrics) -> String {
    let metrics = [
        (Tag::Rps, "rps_fractional", metrics.rps_fractional),
        (Tag::Eps, "eps", metrics.eps),
        (Tag::Utilization, "application_utilization", metrics.application_utilization),
    ];
    let metrics = metrics.map(|(tag, name, value)| (tag, name, sound(value)));
    let mut text = String::new();
    match form {
        LoadForm::Bin => {
            let mut message = Vec::with_capacity(metrics.len() * 9);
            for (tag, _, value) in metrics {
                // A field that has the value zero is left out (proto3).
                if value != 0.0 {
                    message.push((tag as u8) << 3 | WIRE_TYPE_64_BIT);
                    message.extend_from_slice(&value.to_le_bytes());
                }
            }
            // With padding: Envoy's decoder insists on it, and gRPC's takes it.
            STANDARD.encode_string(message, &mut text);
        }
        LoadForm::Json => {
            text.push_str("JSON {");
            for (place, (_, name, value)) in metrics.into_iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                // Writing to a string does not fail.
                let _ = write!(text, "{comma}\"{name}\":{value:.4}");
            }
            text.push('}');
        }
        LoadForm::Text => {
            text.push_str("TEXT ");
            for (place, (_, name, value)) in metrics.into_iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                let _ = write!(text, "{comma}{name}={value:.4}");
            }
        }
    }
    text
}

/// Numbers of the message's fields.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Tag {
    Rps = 6,
    Eps = 7,
    Utilization = 9,
}

const WIRE_TYPE_64_BIT: u8 = 1;

/// The message's rules: at least zero; and no reader takes what is no number.
fn sound(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// The fields of `xds.data.orca.v3.OrcaLoadReport` that are sent, as another decoder has them.
    #[derive(Message, PartialEq)]
    struct OrcaLoadReport {
        #[prost(double, tag = "6")]
        rps_fractional: f64,
        #[prost(double, tag = "7")]
        eps: f64,
        #[prost(double, tag = "9")]
        application_utilization: f64,
    }

    const METRICS: LoadMetrics =
        LoadMetrics { application_utilization: 0.75, rps_fractional: 1234.5, eps: 0.25 };

    fn decoded(metrics: LoadMetrics) -> OrcaLoadReport {
        let value = field_value(LoadForm::Bin, metrics);
        OrcaLoadReport::decode(&STANDARD.decode(value).unwrap()[..]).unwrap()
    }

    #[test]
    fn another_decoder_reads_the_message() {
        let report = decoded(METRICS);
        assert_eq!(report.application_utilization, 0.75);
        assert_eq!(report.rps_fractional, 1234.5);
        assert_eq!(report.eps, 0.25);
        assert_eq!(decoded(LoadMetrics::default()), OrcaLoadReport::default());
        assert_eq!(field_name(LoadForm::Bin), "endpoint-load-metrics-bin");
    }

    #[test]
    fn the_readable_forms_are_as_envoy_parses_them() {
        assert_eq!(
            field_value(LoadForm::Text, METRICS),
            "TEXT rps_fractional=1234.5000,eps=0.2500,application_utilization=0.7500"
        );
        let json = field_value(LoadForm::Json, METRICS);
        let parsed: serde_json::Value =
            serde_json::from_str(json.strip_prefix("JSON ").unwrap()).unwrap();
        assert_eq!(parsed["application_utilization"], 0.75);
        assert_eq!(parsed["rps_fractional"], 1234.5);
        assert_eq!(field_name(LoadForm::Text), field_name(LoadForm::Json));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            let metrics =
                LoadMetrics { application_utilization: bad, rps_fractional: bad, eps: bad };
            assert_eq!(decoded(metrics), OrcaLoadReport::default());
            let text = field_value(LoadForm::Text, metrics);
            assert!(text.ends_with("application_utilization=0.0000"), "{text}");
        }
    }

    #[test]
    fn it_travels_in_two_words_whatever_stands_there() {
        let (first, second) = METRICS.to_words();
        assert_eq!(LoadMetrics::from_words(first, second), METRICS);
        for bits in [0, u64::MAX, u64::from(f32::NAN.to_bits()) << 32] {
            let metrics = LoadMetrics::from_words(bits, bits as u32);
            let value = field_value(LoadForm::Json, metrics);
            assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{value}");
        }
    }
}
