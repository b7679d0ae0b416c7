//! The plans that come with the program: what the literature has reported or claimed, and the bars
//! of this project, each in a file that anybody can copy and change.
//!
//! Not here: reading them (`read`).

/// A plan that has a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// As it is typed.
    pub name: &'static str,
    /// In a few words.
    pub what: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! preset {
    ($name:literal, $what:literal) => {
        Preset { name: $name, what: $what, text: include_str!(concat!("presets/", $name, ".toml")) }
    };
}

/// All of them, the one to begin with in front.
pub const PRESETS: [Preset; 14] = [
    preset!("hello", "what a dispatcher costs, and what it buys: the one to begin with"),
    preset!("bars", "what maitred is held to, each bar a prediction"),
    preset!("cloudflare", "one queue for all workers, or one for each"),
    preset!("puma", "two workers, one of which is taken: where do quick requests go?"),
    preset!("pitchfork", "sixteen workers and four clients: who gets the work?"),
    preset!("hermes-burst", "long-lived connections that all send at one moment"),
    preset!("seastar-ties", "least-loaded where nearly every decision is a tie"),
    preset!("herding", "least-loaded against two choices and chance"),
    preset!(
        "crossover",
        "connection rate × service time: where the dispatcher costs more than it gives"
    ),
    preset!(
        "uvicorn-tail",
        "short requests beside long ones on event loops, with Uvicorn if it is there"
    ),
    preset!("laws", "five laws of service time, asleep and as CPU"),
    preset!("skew", "kept connections of which a tenth does nine tenths of the work"),
    preset!("disturbed", "a worker that is slow, stopped, or killed"),
    preset!("flood", "a thousand new connections at one moment"),
];

/// The preset of this name.
pub fn preset(name: &str) -> Option<Preset> {
    PRESETS.into_iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::plan::{BenchPlan, Surroundings, read};

    /// What starting, opening and stopping take in each run beside the load itself.
    const AROUND: Duration = Duration::from_millis(400);

    /// The longest that a preset may take with `--quick`, for people who wait for it.
    const QUICK_MAX: Duration = Duration::from_secs(90);

    fn plan(preset: Preset, is_quick: bool) -> BenchPlan {
        let read_trace = |_: &std::path::Path| Err("a preset has no files".into());
        let surroundings = Surroundings { is_quick, cores: 2, read_trace: &read_trace };
        read(preset.text, &surroundings)
            .unwrap_or_else(|fault| panic!("{}: {fault}: {:?}", preset.name, fault))
    }

    #[test]
    fn every_preset_is_a_plan_of_its_name_and_says_what_it_expects() {
        for preset in PRESETS {
            for is_quick in [false, true] {
                let plan = plan(preset, is_quick);
                assert_eq!(plan.title, preset.name);
                assert!(!plan.about.is_empty(), "{}", preset.name);
                assert!(!plan.claims.is_empty(), "{}: no predictions", preset.name);
            }
        }
    }

    #[test]
    fn a_quick_preset_is_short() {
        for preset in PRESETS {
            let plan = plan(preset, true);
            let runs = plan.workloads.iter().flat_map(|workload| {
                plan.arms.iter().filter(|arm| arm.runs(workload)).map(|_| workload.duration)
            });
            let all: Duration = runs.map(|duration| duration + AROUND).sum();
            let all = all * plan.repetitions;
            assert!(all <= QUICK_MAX, "{} takes {all:?}", preset.name);
        }
    }
}
