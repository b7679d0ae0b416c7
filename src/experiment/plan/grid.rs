//! One workload made into many: two axes, a place for every pair of their values.
//!
//! Works on the file's own words, before they are read: a place is the workload as somebody would
//! have written it out.
//!
//! Not here: reading what comes out (`read`).

use crate::experiment::plan::file::{RawAxis, RawWorkload};
use crate::experiment::plan::limits::{AXIS_VALUES_MAX, AXIS_VALUES_QUICK};
use crate::experiment::report::schema::GridPlace;

/// The largest share of what a server can do that a place may ask for, unless the plan says its own:
/// beyond it queues have no end, and every arm shows the length of the run.
pub(super) const LOAD_MAX: f64 = 0.9;

/// What an axis sets.
#[derive(Clone, Debug, PartialEq)]
enum Setting {
    Rate,
    Load,
    Service,
    Connections,
    PerConnection,
    /// A flag of maitred, with `{}` where the value stands.
    Flag(String),
}

/// A workload at one place.
pub(super) struct Placed {
    pub(super) raw: RawWorkload,
    pub(super) place: GridPlace,
    /// What its name ends with.
    pub(super) suffix: String,
}

/// All places of a workload's grid.
pub(super) fn places(raw: &RawWorkload, is_quick: bool) -> Result<Vec<Placed>, String> {
    let Some(grid) = &raw.grid else { return Ok(Vec::new()) };
    if !raw.class.is_empty() {
        return Err("a grid needs a workload without classes".to_owned());
    }
    let axis = |axis: &Option<RawAxis>, which: &str| {
        let axis = axis.clone().ok_or_else(|| format!("{which} is missing"))?;
        let setting = setting(&axis).map_err(|wrong| format!("{which}: {wrong}"))?;
        let name = axis.name.clone().unwrap_or_else(|| axis.sets.clone().unwrap_or_default());
        let count = axis.values.len();
        let is_right = (1..=AXIS_VALUES_MAX).contains(&count);
        if !is_right || axis.values.iter().any(|value| !value.is_finite() || *value < 0.0) {
            return Err(format!("{which}: values are 1 to {AXIS_VALUES_MAX} numbers from 0"));
        }
        let values = if is_quick { thinned(&axis.values) } else { axis.values };
        Ok((name, setting, values))
    };
    let (x_name, x_setting, x_values) = axis(&grid.x, "x")?;
    let (y_name, y_setting, y_values) = axis(&grid.y, "y")?;
    let mut placed = Vec::new();
    for &y in &y_values {
        for &x in &x_values {
            let mut raw = RawWorkload { grid: None, ..raw.clone() };
            set(&mut raw, &x_setting, x);
            set(&mut raw, &y_setting, y);
            let (x_name, y_name) = (x_name.clone(), y_name.clone());
            let place = GridPlace { x_name, x, y_name, y };
            placed.push(Placed { raw, place, suffix: format!("/{x}/{y}") });
        }
    }
    Ok(placed)
}

/// First, middle, and last.
fn thinned(values: &[f64]) -> Vec<f64> {
    let count = values.len().min(AXIS_VALUES_QUICK);
    let last = values.len() - 1;
    (0..count).map(|index| values[index * last / (count - 1).max(1)]).collect()
}

fn setting(axis: &RawAxis) -> Result<Setting, String> {
    match axis.sets.as_deref() {
        Some("rate") => Ok(Setting::Rate),
        Some("load") => Ok(Setting::Load),
        Some("service_ms") => Ok(Setting::Service),
        Some("connections") => Ok(Setting::Connections),
        Some("per_connection") => Ok(Setting::PerConnection),
        Some(flag) if flag.starts_with("--") && flag.matches("{}").count() == 1 => {
            Ok(Setting::Flag(flag.to_owned()))
        }
        _ => Err("sets is rate, load, service_ms, connections, per_connection, or a flag as in \
                  \"--stall-after {}ms\""
            .to_owned()),
    }
}

fn set(raw: &mut RawWorkload, setting: &Setting, value: f64) {
    match setting {
        Setting::Rate => raw.arrivals.get_or_insert_default().rate = Some(value),
        Setting::Load => raw.arrivals.get_or_insert_default().load = Some(value),
        // No work at all is another path: a service of 0 ms would still be asked for.
        Setting::Service if value == 0.0 => raw.service = None,
        Setting::Service => {
            let service = raw.service.get_or_insert_default();
            match service.law.as_deref() {
                None | Some("fixed") => service.ms = Some(value),
                Some(_) => service.mean_ms = Some(value),
            }
        }
        Setting::Connections => raw.connections = Some(value as i64),
        Setting::PerConnection => raw.per_connection = Some(toml::Value::Integer(value as i64)),
        Setting::Flag(template) => {
            let words = template.split(' ').map(|word| word.replace("{}", &value.to_string()));
            raw.serve.extend(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::plan::file::{RawGrid, RawService};

    fn workload(x: &str, y: &str) -> RawWorkload {
        let axis = |sets: &str, values: &[f64]| RawAxis {
            name: None,
            sets: Some(sets.to_owned()),
            values: values.to_vec(),
        };
        RawWorkload {
            service: Some(RawService::default()),
            grid: Some(RawGrid {
                x: Some(axis(x, &[0.0, 0.5, 2.0, 20.0])),
                y: Some(axis(y, &[100.0, 1000.0])),
                load_max: None,
            }),
            ..RawWorkload::default()
        }
    }

    #[test]
    fn every_pair_is_a_place() {
        let placed = places(&workload("service_ms", "rate"), false).unwrap();
        assert_eq!(placed.len(), 8);
        let rates: Vec<_> =
            placed.iter().map(|place| place.raw.arrivals.as_ref().unwrap().rate.unwrap()).collect();
        assert_eq!(rates[..5], [100.0, 100.0, 100.0, 100.0, 1000.0]);
        assert!(placed[0].raw.service.is_none(), "no work is no service");
        assert_eq!(placed[1].raw.service.as_ref().unwrap().ms, Some(0.5));
        assert_eq!(placed[6].suffix, "/2/1000");
        assert_eq!((placed[6].place.x, placed[6].place.y), (2.0, 1000.0));
    }

    #[test]
    fn a_quick_run_has_the_ends_and_the_middle() {
        assert_eq!(thinned(&[0.0, 1.0, 2.0, 3.0, 4.0]), [0.0, 2.0, 4.0]);
        assert_eq!(thinned(&[0.0, 1.0]), [0.0, 1.0]);
        assert_eq!(thinned(&[7.0]), [7.0]);
        assert_eq!(places(&workload("service_ms", "rate"), true).unwrap().len(), 6);
    }

    #[test]
    fn an_axis_may_be_a_flag() {
        let placed = places(&workload("--stall-after {}ms", "rate"), false).unwrap();
        assert_eq!(placed[1].raw.serve, ["--stall-after", "0.5ms"]);
        assert!(places(&workload("colour", "rate"), false).is_err());
        assert!(places(&workload("--flag", "rate"), false).is_err(), "nowhere to put the value");
    }
}
