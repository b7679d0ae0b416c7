//! What a workload asks for: its classes, with their service times, arrivals and connections.
//!
//! A workload without `[[workload.class]]` is its own only class. Where there are classes, what one
//! does not say itself, the workload says for it; one that names its own number of connections has
//! a set of its own.
//!
//! Not here: the rest of a workload (`read`).

use std::path::Path;
use std::time::Duration;

use crate::experiment::load::limits::{BURST_MAX, CONNECTIONS_MAX, RATE_MAX};
use crate::experiment::load::{Arrivals, Ask, Choice, Pace, ServiceKind, ServiceTimes};
use crate::experiment::plan::file::{RawArrivals, RawClass, RawService, RawWorkload};
use crate::experiment::plan::limits::CLASSES_MAX;
use crate::experiment::plan::model::{ConnectionSet, LoadClass};
use crate::experiment::plan::read::{
    PlanFault, TraceReader, fault, name, optional, seconds, share,
};

/// Connections where the plan does not say.
const CONNECTIONS: u64 = 64;

/// The only class of a workload that names none.
const ONLY: &str = "requests";

/// What the workload has said already.
pub(super) struct ClassContext<'a> {
    pub(super) workers: u16,
    pub(super) threads: u16,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
    pub(super) read_trace: TraceReader<'a>,
    pub(super) place: &'a str,
}

/// How long the connections of a class live.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    Endless,
    New,
    Requests(u32),
}

pub(super) fn read(
    raw: &RawWorkload,
    context: &ClassContext<'_>,
) -> Result<(Vec<LoadClass>, Vec<ConnectionSet>), PlanFault> {
    let own = RawClass {
        name: Some(ONLY.to_owned()),
        connections: raw.connections,
        per_connection: raw.per_connection.clone(),
        choice: raw.choice.clone(),
        skew: raw.skew.clone(),
        path: raw.path.clone(),
        service: raw.service.clone(),
        arrivals: raw.arrivals.clone(),
        replay: raw.replay.clone(),
    };
    if raw.class.len() > CLASSES_MAX {
        return Err(fault(context.place, format!("at most {CLASSES_MAX} classes")));
    }
    let raw_classes: Vec<RawClass> = match raw.class.as_slice() {
        [] => vec![own.clone()],
        classes => classes.iter().map(|class| inherited(class, &own)).collect(),
    };
    let mut reading = Reading { context, raw, classes: Vec::new(), sets: Vec::new(), shared: None };
    for (index, class) in raw_classes.iter().enumerate() {
        let is_own_set = raw.class.get(index).is_some_and(|class| class.connections.is_some());
        reading.class(class, is_own_set)?;
    }
    Ok((reading.classes, reading.sets))
}

/// What a class does not say itself, the workload says.
fn inherited(class: &RawClass, workload: &RawClass) -> RawClass {
    let class = class.clone();
    RawClass {
        name: class.name,
        connections: class.connections.or(workload.connections),
        per_connection: class.per_connection.or_else(|| workload.per_connection.clone()),
        choice: class.choice.or_else(|| workload.choice.clone()),
        skew: class.skew.or_else(|| workload.skew.clone()),
        // A path and a service are one question.
        path: if class.service.is_some() { None } else { class.path }
            .or_else(|| workload.path.clone()),
        service: class.service.or_else(|| workload.service.clone()),
        arrivals: class.arrivals.or_else(|| workload.arrivals.clone()),
        replay: class.replay.or_else(|| workload.replay.clone()),
    }
}

struct Reading<'a> {
    context: &'a ClassContext<'a>,
    raw: &'a RawWorkload,
    classes: Vec<LoadClass>,
    sets: Vec<ConnectionSet>,
    /// The set of all classes without one of their own, and how its connections live.
    shared: Option<(usize, Life)>,
}

impl Reading<'_> {
    fn class(&mut self, raw: &RawClass, is_own_set: bool) -> Result<(), PlanFault> {
        let place = match self.raw.class.is_empty() {
            true => self.context.place.to_owned(),
            false => {
                let name = raw.name.as_deref().unwrap_or_default();
                format!("{}, class {name:?}", self.context.place)
            }
        };
        let at = |wrong: String| fault(&place, wrong);
        let name = name(raw.name.as_deref()).map_err(at)?;
        if self.classes.iter().any(|class| class.name == name) {
            return Err(at("there is another class of this name".to_owned()));
        }
        let is_closed = match self.raw.loop_kind.as_deref() {
            None | Some("open") => false,
            Some("closed") => true,
            Some(_) => return Err(at("loop is open or closed".to_owned())),
        };
        let life = life(raw).map_err(at)?;
        let choice = choice(raw, life).map_err(at)?;
        let set = self.set(raw, is_own_set, life).map_err(at)?;
        let ask = ask(raw, self.context.duration).map_err(at)?;
        let pace = match (&raw.replay, is_closed) {
            (Some(_), true) => {
                return Err(at("a trace is replayed in an open loop".to_owned()));
            }
            (Some(path), false) => {
                if raw.arrivals.is_some() {
                    return Err(at("a trace says itself when requests arrive".to_owned()));
                }
                let trace = (self.context.read_trace)(Path::new(path)).map_err(|source| {
                    PlanFault::Trace { place: place.clone(), path: path.clone(), source }
                })?;
                Pace::Replay(trace)
            }
            (None, true) if raw.arrivals.is_some() => {
                return Err(at("a closed loop has no arrivals".to_owned()));
            }
            (None, true) => Pace::Closed,
            (None, false) => Pace::Open(self.arrivals(raw, &ask, set).map_err(at)?),
        };
        self.classes.push(LoadClass { name, ask, pace, set, choice });
        Ok(())
    }

    fn set(&mut self, raw: &RawClass, is_own: bool, life: Life) -> Result<usize, String> {
        if let (false, Some((set, other))) = (is_own, self.shared) {
            if other != life {
                return Err("the connections of a set live alike: give it connections".to_owned());
            }
            return Ok(set);
        }
        let bounds = 1..=CONNECTIONS_MAX as u64;
        let count = optional("connections", raw.connections, bounds)?;
        let count = count.map_or(CONNECTIONS as u32, u32::from);
        // A connection for one request is opened when that is due; so is one for some.
        self.sets.push(ConnectionSet { count, is_opened: life == Life::Endless });
        let set = self.sets.len() - 1;
        if !is_own {
            self.shared = Some((set, life));
        }
        Ok(set)
    }

    fn arrivals(&self, raw: &RawClass, ask: &Ask, set: usize) -> Result<Arrivals, String> {
        let raw = raw.arrivals.as_ref().ok_or("arrivals are missing")?;
        let places = f64::from(self.context.workers) * f64::from(self.context.threads.max(1));
        match raw.process.as_deref() {
            None | Some("poisson") => Ok(Arrivals::Poisson { rate: rate(raw, ask, places)? }),
            Some("constant") => Ok(Arrivals::Constant { rate: rate(raw, ask, places)? }),
            Some("burst") => self.burst(raw, self.sets[set].count),
            Some(_) => Err("arrivals: process is poisson, constant, or burst".to_owned()),
        }
    }

    /// As many as there are connections, unless it says how many.
    fn burst(&self, raw: &RawArrivals, connections: u32) -> Result<Arrivals, String> {
        if raw.rate.is_some() || raw.load.is_some() {
            return Err("arrivals: a burst has a count, and no rate".to_owned());
        }
        let given = raw.count.unwrap_or_else(|| i64::from(connections));
        let count = u32::try_from(given).ok().filter(|count| (1..=BURST_MAX).contains(count));
        let count = count.ok_or_else(|| format!("arrivals: count is from 1 to {BURST_MAX}"))?;
        let measured = self.context.duration - self.context.warm_up;
        let at = share("arrivals: at_share", raw.at_share.unwrap_or(0.1))?;
        let first = self.context.warm_up + measured.mul_f64(at);
        match raw.every_s {
            None => Ok(Arrivals::Burst { count, at: first }),
            Some(every) => {
                let every = seconds("arrivals: every_s", every)?;
                Ok(Arrivals::Bursts { count, first, every })
            }
        }
    }
}

fn rate(raw: &RawArrivals, ask: &Ask, places: f64) -> Result<f64, String> {
    if raw.count.is_some() || raw.every_s.is_some() || raw.at_share.is_some() {
        return Err("arrivals: count, every_s and at_share are of a burst".to_owned());
    }
    let rate = match (raw.rate, raw.load, ask) {
        (Some(rate), None, _) => rate,
        (None, Some(load), Ask::Service { times, .. }) => {
            load * places / times.mean().as_secs_f64()
        }
        (None, Some(_), Ask::Path(_)) => {
            return Err("arrivals: load needs a service, whose mean is known".to_owned());
        }
        _ => return Err("arrivals: either rate, requests a second, or load, from 0 to 1".into()),
    };
    // Written so that NaN is refused.
    if !(rate > 0.0 && rate <= RATE_MAX) {
        return Err(format!("arrivals: the rate is above 0 and at most {RATE_MAX} a second"));
    }
    Ok(rate)
}

fn life(raw: &RawClass) -> Result<Life, String> {
    let wrong = || "per_connection is \"endless\", \"new\", or a number of requests".to_owned();
    match &raw.per_connection {
        None => Ok(Life::Endless),
        Some(toml::Value::String(text)) if text == "endless" => Ok(Life::Endless),
        Some(toml::Value::String(text)) if text == "new" => Ok(Life::New),
        Some(toml::Value::Integer(1)) => Ok(Life::New),
        Some(toml::Value::Integer(number)) => {
            let number = u32::try_from(*number).ok().filter(|number| *number > 0);
            Ok(Life::Requests(number.ok_or_else(wrong)?))
        }
        Some(_) => Err(wrong()),
    }
}

fn choice(raw: &RawClass, life: Life) -> Result<Choice, String> {
    let is_given = raw.choice.is_some() || raw.skew.is_some();
    match life {
        Life::New | Life::Requests(_) if is_given => {
            Err("choice and skew are of connections that are kept".to_owned())
        }
        Life::New => Ok(Choice::New),
        Life::Requests(requests) => Ok(Choice::Renewed { requests }),
        Life::Endless => match (raw.choice.as_deref(), &raw.skew) {
            (None | Some("random"), None) => Ok(Choice::Random),
            (Some("in-turn"), None) => Ok(Choice::InTurn),
            (Some("own"), None) => Ok(Choice::EVEN),
            (None | Some("own"), Some(skew)) => Ok(Choice::Bound {
                hot_connections: share("skew: connections", skew.connections.unwrap_or(0.1))?,
                hot_requests: share("skew: requests", skew.requests.unwrap_or(0.9))?,
            }),
            _ => Err("choice is random, in-turn, or own; skew goes with own".to_owned()),
        },
    }
}

fn ask(raw: &RawClass, duration: Duration) -> Result<Ask, String> {
    match (&raw.path, &raw.service) {
        (Some(_), Some(_)) => Err("either a path or a service".to_owned()),
        (Some(path), None) => Ok(Ask::Path(path.clone())),
        (None, None) => Ok(Ask::Path("/".to_owned())),
        (None, Some(service)) => {
            let kind = match service.kind.as_deref() {
                Some("spin") => ServiceKind::Spin,
                Some("sleep") => ServiceKind::Sleep,
                _ => return Err("service: kind is spin (CPU) or sleep".to_owned()),
            };
            let times = times(service, duration).map_err(|wrong| format!("service: {wrong}"))?;
            times.check().map_err(|wrong| format!("service: {wrong}"))?;
            Ok(Ask::Service { kind, times })
        }
    }
}

/// A law with its own numbers, and none of another law's.
fn times(raw: &RawService, duration: Duration) -> Result<ServiceTimes, String> {
    let law = raw.law.as_deref().unwrap_or("fixed");
    if let ("fixed", Some(run_share)) = (law, raw.run_share) {
        if raw.ms.is_some() {
            return Err("either ms or run_share".to_owned());
        }
        return Ok(ServiceTimes::Fixed(duration.mul_f64(share("run_share", run_share)?)));
    }
    let takes: &[&str] = match law {
        "fixed" => &["ms"],
        "exponential" => &["mean_ms"],
        "bimodal" => &["short_ms", "long_ms", "long_share"],
        "lognormal" => &["mean_ms", "sigma"],
        "pareto" => &["shape", "least_ms", "most_ms"],
        _ => return Err("law is fixed, exponential, bimodal, lognormal, or pareto".to_owned()),
    };
    let given = [
        ("ms", raw.ms),
        ("mean_ms", raw.mean_ms),
        ("short_ms", raw.short_ms),
        ("long_ms", raw.long_ms),
        ("long_share", raw.long_share),
        ("sigma", raw.sigma),
        ("shape", raw.shape),
        ("least_ms", raw.least_ms),
        ("most_ms", raw.most_ms),
        ("run_share", raw.run_share),
    ];
    for (key, value) in given {
        if value.is_some() != takes.contains(&key) {
            let or = if law == "fixed" { " or run_share" } else { "" };
            return Err(format!("{law} takes {}{or}", takes.join(", ")));
        }
    }
    let number = |key: &str| {
        let found = given.iter().find(|(name, _)| *name == key).and_then(|(_, value)| *value);
        found.ok_or_else(|| format!("{key} is missing"))
    };
    let time = |key: &str| seconds(key, number(key)? / 1e3);
    Ok(match law {
        "exponential" => ServiceTimes::Exponential { mean: time("mean_ms")? },
        "bimodal" => ServiceTimes::Bimodal {
            short: time("short_ms")?,
            long: time("long_ms")?,
            long_share: number("long_share")?,
        },
        "lognormal" => ServiceTimes::LogNormal { mean: time("mean_ms")?, sigma: number("sigma")? },
        "pareto" => ServiceTimes::BoundedPareto {
            shape: number("shape")?,
            least: time("least_ms")?,
            most: time("most_ms")?,
        },
        _ => ServiceTimes::Fixed(time("ms")?),
    })
}

/// The share of so many places that a class asks for; 0 where nobody can say.
pub(super) fn load(class: &LoadClass, places: f64, cores: usize) -> f64 {
    let Ask::Service { kind, times } = &class.ask else { return 0.0 };
    let Pace::Open(arrivals) = &class.pace else { return 0.0 };
    let places = match kind {
        // No more at a time than there are cores.
        ServiceKind::Spin => places.min(cores as f64),
        ServiceKind::Sleep => places,
    };
    arrivals.rate().unwrap_or(0.0) * times.mean().as_secs_f64() / places.max(1.0)
}
