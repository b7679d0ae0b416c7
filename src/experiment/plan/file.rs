//! What stands in a plan's file, word for word: TOML as serde sees it, before anything is believed.
//!
//! Every key is optional here, so that what is missing is told by the place where it is missing
//! (`read`), not by a line number alone. A key that is none of these is refused.
//!
//! Not here: what the keys mean, their defaults and bounds (`read`).

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlan {
    pub(super) title: Option<String>,
    pub(super) about: Option<String>,
    pub(super) repetitions: Option<i64>,
    pub(super) duration_s: Option<f64>,
    pub(super) warm_up_s: Option<f64>,
    pub(super) workers: Option<i64>,
    pub(super) threads: Option<i64>,
    #[serde(default)]
    pub(super) serve: Vec<String>,
    #[serde(default)]
    pub(super) quick: RawQuick,
    #[serde(default)]
    pub(super) arm: Vec<RawArm>,
    #[serde(default)]
    pub(super) workload: Vec<RawWorkload>,
    #[serde(default)]
    pub(super) prediction: Vec<RawPrediction>,
}

/// What `--quick` makes of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuick {
    pub(super) repetitions: Option<i64>,
    pub(super) duration_s: Option<f64>,
    pub(super) warm_up_s: Option<f64>,
}

/// `[[arm]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawArm {
    pub(super) name: Option<String>,
    pub(super) about: Option<String>,
    /// Of maitred.
    pub(super) accept: Option<String>,
    /// Of maitred: more flags.
    pub(super) serve: Option<Vec<String>>,
    /// Of another server.
    pub(super) command: Option<Vec<String>>,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
    pub(super) workers: Option<i64>,
    pub(super) threads: Option<i64>,
    #[serde(default)]
    pub(super) workloads: Vec<String>,
}

/// `[[workload]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWorkload {
    pub(super) name: Option<String>,
    pub(super) about: Option<String>,
    #[serde(rename = "loop")]
    pub(super) loop_kind: Option<String>,
    pub(super) duration_s: Option<f64>,
    pub(super) warm_up_s: Option<f64>,
    pub(super) workers: Option<i64>,
    pub(super) threads: Option<i64>,
    #[serde(default)]
    pub(super) serve: Vec<String>,
    pub(super) opened_at_once: Option<i64>,
    pub(super) background: Option<i64>,
    pub(super) generators: Option<i64>,
    pub(super) slo_ms: Option<f64>,
    pub(super) answer_within_s: Option<f64>,
    pub(super) event: Option<RawEvent>,
    pub(super) grid: Option<RawGrid>,
    #[serde(default)]
    pub(super) class: Vec<RawClass>,
    // Of the only class, where there is no [[workload.class]]; of each that does not say its own,
    // where there are. (serde's flatten would take unknown keys without a word.)
    pub(super) connections: Option<i64>,
    pub(super) per_connection: Option<toml::Value>,
    pub(super) choice: Option<String>,
    pub(super) skew: Option<RawSkew>,
    pub(super) path: Option<String>,
    pub(super) service: Option<RawService>,
    pub(super) arrivals: Option<RawArrivals>,
    pub(super) replay: Option<String>,
}

/// `[[workload.class]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClass {
    pub(super) name: Option<String>,
    pub(super) connections: Option<i64>,
    pub(super) per_connection: Option<toml::Value>,
    pub(super) choice: Option<String>,
    pub(super) skew: Option<RawSkew>,
    pub(super) path: Option<String>,
    pub(super) service: Option<RawService>,
    pub(super) arrivals: Option<RawArrivals>,
    pub(super) replay: Option<String>,
}

/// `skew = { connections = 0.1, requests = 0.9 }`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSkew {
    pub(super) connections: Option<f64>,
    pub(super) requests: Option<f64>,
}

/// `service = { kind = "sleep", law = "bimodal", short_ms = 0.5, long_ms = 50, long_share = 0.005 }`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub(super) kind: Option<String>,
    pub(super) law: Option<String>,
    pub(super) ms: Option<f64>,
    pub(super) mean_ms: Option<f64>,
    pub(super) short_ms: Option<f64>,
    pub(super) long_ms: Option<f64>,
    pub(super) long_share: Option<f64>,
    pub(super) sigma: Option<f64>,
    pub(super) shape: Option<f64>,
    pub(super) least_ms: Option<f64>,
    pub(super) most_ms: Option<f64>,
    pub(super) run_share: Option<f64>,
}

/// `arrivals = { process = "poisson", rate = 800 }`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawArrivals {
    pub(super) process: Option<String>,
    pub(super) rate: Option<f64>,
    pub(super) load: Option<f64>,
    pub(super) count: Option<i64>,
    pub(super) at_share: Option<f64>,
    pub(super) every_s: Option<f64>,
}

/// `event = { kind = "stalled", at_share = 0.3, for_share = 0.2 }`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEvent {
    pub(super) kind: Option<String>,
    pub(super) at_share: Option<f64>,
    pub(super) for_share: Option<f64>,
    pub(super) times_slower: Option<f64>,
    pub(super) count: Option<i64>,
}

/// `[workload.grid]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGrid {
    pub(super) x: Option<RawAxis>,
    pub(super) y: Option<RawAxis>,
    pub(super) load_max: Option<f64>,
}

/// One axis of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAxis {
    pub(super) name: Option<String>,
    pub(super) sets: Option<String>,
    #[serde(default)]
    pub(super) values: Vec<f64>,
}

/// `[[prediction]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrediction {
    pub(super) text: Option<String>,
    pub(super) because: Option<String>,
}
