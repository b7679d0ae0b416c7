//! What to send: classes of requests, the sets of connections they travel on, and how a request
//! finds its connection. Data with a check, and no more.
//!
//! A *set* is a number of connections that belong together. A *class* is a kind of request with
//! its own pace and its own histogram. Several classes may share a set: short requests beside slow
//! ones on the same connections is the case that keep-alive makes hard.
//!
//! Not here: when requests are due (`arrivals`), sending them (`generator`).

use std::sync::Arc;
use std::time::Duration;

use crate::experiment::load::arrivals::Arrivals;
use crate::experiment::load::limits::{
    BURST_INTERVAL_MIN, BURST_MAX, DURATION_MAX, PATH_SIZE_MAX, RATE_MAX, SERVICE_MAX,
    TRACE_REQUESTS_MAX,
};
use crate::experiment::load::replay::Due;
use crate::experiment::load::service::{ServiceError, ServiceKind, ServiceTimes};

/// A set of connections that a generator has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetId(pub(super) usize);

impl SetId {
    /// The set with this number among those of a run.
    pub(crate) fn numbered(index: usize) -> SetId {
        SetId(index)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// How a request finds its connection within its set. A connection carries one request at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// Any connection that is free, at random; without one the request waits for the first that
    /// is. What a proxy or a client's pool does.
    Random,
    /// The connection that has been free for the longest: all are used in turn.
    InTurn,
    /// Its own connection, free or not: there it waits. What a user's one connection does. A share
    /// of the connections, drawn at random, gets a share of the requests; under [`Pace::Replay`]
    /// the trace says which connection, and the shares say nothing.
    Bound {
        /// Of the connections, from 0 to 1.
        hot_connections: f64,
        /// Of the requests, from 0 to 1.
        hot_requests: f64,
    },
    /// A new connection, closed behind the answer; as many at a time as the set is large.
    New,
    /// The connection that has been free for the longest, closed behind its last answer and opened
    /// anew when the next request comes to it, which waits for that. The first life of each is cut
    /// short by a random number of requests: otherwise all would be renewed at one time.
    Renewed {
        /// Requests of a connection's life.
        requests: u32,
    },
}

impl Choice {
    /// Each connection has its own share of the requests, and all are equal.
    pub const EVEN: Choice = Choice::Bound { hot_connections: 0.0, hot_requests: 0.0 };

    /// After how many requests a connection is closed; none if it is kept.
    pub(crate) fn requests_of_life(self) -> Option<u32> {
        match self {
            Choice::New => Some(1),
            Choice::Renewed { requests } => Some(requests),
            Choice::Random | Choice::InTurn | Choice::Bound { .. } => None,
        }
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// This path: visible ASCII, beginning with `/`.
    Path(String),
    /// To be worked on for a time, which the sample then says. The times are drawn by the generator
    /// from the plan's seed, in the order in which requests become due: every server is asked for
    /// the same. Under [`Pace::Replay`] they are the trace's.
    Service {
        /// In which way.
        kind: ServiceKind,
        /// How long.
        times: ServiceTimes,
    },
}

/// When the requests of a class are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Pace {
    /// At their own time, whatever became of the earlier ones.
    Open(Arrivals),
    /// Each connection sends its next request when the last one is answered. It slows down with the
    /// server, so its latencies hide stalls: for throughput alone. Needs a set of its own.
    Closed,
    /// At the times of a trace, which must not decrease.
    Replay(Arc<[Due]>),
}

/// A kind of request.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its name in reports.
    pub name: String,
    /// What it asks for.
    pub ask: Ask,
    /// When.
    pub pace: Pace,
    /// On which connections.
    pub set: SetId,
    /// Which of them.
    pub choice: Choice,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is sent.
    pub classes: Vec<Class>,
    /// For how long requests become due.
    pub duration: Duration,
    /// Requests due earlier than this are sent, and their latencies are not kept.
    pub warm_up: Duration,
    /// How long an answer may take, from when its request was due. Requests that are unanswered
    /// then are errors, and their connections are closed.
    pub answer_within: Duration,
    /// Decides times and choices.
    pub seed: u64,
    /// Whether the report has a sample of each answer, up to [`SAMPLES_MAX`].
    ///
    /// [`SAMPLES_MAX`]: crate::experiment::load::limits::SAMPLES_MAX
    pub keep_samples: bool,
}

/// Why a plan cannot be run. The caller is at fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A path that would not be one request line.
    #[error(
        "class {0}: a path begins with / and has visible ASCII characters, at most {PATH_SIZE_MAX}"
    )]
    Path(String),
    /// No rate, or one past [`RATE_MAX`].
    #[error("class {0}: a rate is above 0 and at most {RATE_MAX} requests a second")]
    Rate(String),
    /// A burst past [`BURST_MAX`].
    #[error("class {0}: a burst has at most {BURST_MAX} requests")]
    Burst(String),
    /// A service time that cannot be drawn.
    #[error("class {0}: {1}")]
    Service(String, #[source] ServiceError),
    /// Bursts that follow each other too closely.
    #[error("class {0}: bursts are at least {BURST_INTERVAL_MIN:?} apart")]
    BurstInterval(String),
    /// A trace that is not in order, or past [`TRACE_REQUESTS_MAX`] or [`SERVICE_MAX`].
    #[error("class {0}: a trace is in order, and neither it nor its service times are too long")]
    Trace(String),
    /// A connection without requests.
    #[error("class {0}: a connection has at least one request")]
    Renewal(String),
    /// Shares outside 0 to 1.
    #[error("class {0}: shares are from 0 to 1")]
    Share(String),
    /// A set that this generator does not have, or that has no connections.
    #[error("class {0}: there is no such set, or it has no connections")]
    Set(String),
    /// Classes on one set that do not agree on its use.
    #[error(
        "class {0}: a closed loop needs a set of its own, and the connections of a set live alike"
    )]
    Shared(String),
    /// Longer than [`DURATION_MAX`].
    #[error("a run lasts at most {} s", DURATION_MAX.as_secs())]
    Duration,
}

impl Plan {
    /// Whether this can be run on sets of these sizes.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self, set_sizes: &[usize]) -> Result<(), PlanError> {
        if self.duration > DURATION_MAX || self.answer_within > DURATION_MAX {
            return Err(PlanError::Duration);
        }
        for class in &self.classes {
            let name = || class.name.clone();
            match &class.ask {
                Ask::Path(path) if !is_path(path) => return Err(PlanError::Path(name())),
                Ask::Path(_) => {}
                Ask::Service { times, .. } => {
                    times.check().map_err(|error| PlanError::Service(name(), error))?;
                }
            }
            match &class.pace {
                Pace::Open(Arrivals::Constant { rate } | Arrivals::Poisson { rate }) => {
                    // Written so that NaN is refused.
                    if !(*rate > 0.0 && *rate <= RATE_MAX) {
                        return Err(PlanError::Rate(name()));
                    }
                }
                Pace::Open(Arrivals::Burst { count, .. } | Arrivals::Bursts { count, .. })
                    if *count > BURST_MAX =>
                {
                    return Err(PlanError::Burst(name()));
                }
                Pace::Open(Arrivals::Bursts { every, .. }) if *every < BURST_INTERVAL_MIN => {
                    return Err(PlanError::BurstInterval(name()));
                }
                Pace::Replay(trace) if !is_trace(trace) => return Err(PlanError::Trace(name())),
                Pace::Open(_) | Pace::Replay(_) | Pace::Closed => {}
            }
            if class.choice.requests_of_life() == Some(0) {
                return Err(PlanError::Renewal(name()));
            }
            if let Choice::Bound { hot_connections, hot_requests } = class.choice {
                let is_share = |share| (0.0..=1.0).contains(&share);
                if !is_share(hot_connections) || !is_share(hot_requests) {
                    return Err(PlanError::Share(name()));
                }
            }
            if set_sizes.get(class.set.0).is_none_or(|&size| size == 0) {
                return Err(PlanError::Set(name()));
            }
            let mut others = self.classes.iter().filter(|other| other.set == class.set);
            let shares = |other: &Class| {
                let is_same = std::ptr::eq(other, class);
                let life = |one: &Class| one.choice.requests_of_life();
                is_same || (class.pace != Pace::Closed && life(other) == life(class))
            };
            if !others.all(shares) {
                return Err(PlanError::Shared(name()));
            }
        }
        Ok(())
    }
}

fn is_path(path: &str) -> bool {
    let is_visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible && path.starts_with('/') && path.len() <= PATH_SIZE_MAX
}

fn is_trace(trace: &[Due]) -> bool {
    trace.len() <= TRACE_REQUESTS_MAX
        && trace.is_sorted_by_key(|due| due.at)
        && trace.iter().all(|due| due.service <= SERVICE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(path: &str, pace: Pace, set: usize, choice: Choice) -> Class {
        let ask = Ask::Path(path.to_owned());
        Class { name: "a".to_owned(), ask, pace, set: SetId(set), choice }
    }

    fn check(classes: &[Class]) -> Result<(), PlanError> {
        let second = Duration::from_secs(1);
        let plan = Plan {
            classes: classes.to_vec(),
            duration: second,
            warm_up: Duration::ZERO,
            answer_within: second,
            seed: 0,
            keep_samples: false,
        };
        plan.check(&[4, 0])
    }

    const PACE: Pace = Pace::Open(Arrivals::Poisson { rate: 10.0 });

    #[test]
    fn plans_that_cannot_be_run_are_refused() {
        let name = || "a".to_owned();
        assert_eq!(check(&[class("/", PACE, 0, Choice::Random)]), Ok(()));
        for path in ["", "x", "/ ", "/\r\nX: y", "/ä"] {
            let wrong = class(path, PACE, 0, Choice::Random);
            assert_eq!(check(&[wrong]), Err(PlanError::Path(name())), "{path:?}");
        }
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6] {
            let wrong = class("/", Pace::Open(Arrivals::Constant { rate }), 0, Choice::Random);
            assert_eq!(check(&[wrong]), Err(PlanError::Rate(name())), "{rate}");
        }
        let share = Choice::Bound { hot_connections: 1.5, hot_requests: 0.0 };
        assert_eq!(check(&[class("/", PACE, 0, share)]), Err(PlanError::Share(name())));
        let most = SERVICE_MAX + Duration::from_millis(1);
        let times = ServiceTimes::Fixed(most);
        let wrong = Class {
            ask: Ask::Service { kind: ServiceKind::Spin, times },
            ..class("/", PACE, 0, Choice::Random)
        };
        assert_eq!(check(&[wrong]), Err(PlanError::Service(name(), ServiceError::TooLong)));
        let renewed = Choice::Renewed { requests: 0 };
        assert_eq!(check(&[class("/", PACE, 0, renewed)]), Err(PlanError::Renewal(name())));
        let bursts = Arrivals::Bursts { count: 1, first: Duration::ZERO, every: Duration::ZERO };
        let wrong = class("/", Pace::Open(bursts), 0, Choice::Random);
        assert_eq!(check(&[wrong]), Err(PlanError::BurstInterval(name())));
        let due = |ms, service| Due { at: Duration::from_millis(ms), connection: 0, service };
        for trace in [vec![due(2, Duration::ZERO), due(1, Duration::ZERO)], vec![due(0, most)]] {
            let wrong = class("/", Pace::Replay(trace.into()), 0, Choice::EVEN);
            assert_eq!(check(&[wrong]), Err(PlanError::Trace(name())));
        }
        for set in [1, 2] {
            let wrong = class("/", PACE, set, Choice::Random);
            assert_eq!(check(&[wrong]), Err(PlanError::Set(name())));
        }
    }

    #[test]
    fn a_set_is_shared_by_classes_that_use_it_alike() {
        let random = class("/", PACE, 0, Choice::Random);
        let new = class("/", PACE, 0, Choice::New);
        let renewed = class("/", PACE, 0, Choice::Renewed { requests: 2 });
        let closed = class("/", Pace::Closed, 0, Choice::Random);
        assert_eq!(check(&[random.clone(), random.clone()]), Ok(()));
        assert_eq!(check(std::slice::from_ref(&closed)), Ok(()));
        for pair in [
            [random.clone(), new.clone()],
            [renewed, new],
            [random, closed.clone()],
            [closed.clone(), closed],
        ] {
            assert_eq!(check(&pair), Err(PlanError::Shared("a".to_owned())));
        }
    }
}
