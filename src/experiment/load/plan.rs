//! What to send: classes of requests, the sets of connections they travel on, and how a request
//! finds its connection. Data with a check, and no more.
//!
//! A *set* is a number of connections that belong together. A *class* is a kind of request with
//! its own pace and its own histogram. Several classes may share a set: short requests beside slow
//! ones on the same connections is the case that keep-alive makes hard.
//!
//! Not here: when requests are due (`arrivals`), sending them (`generator`).

use std::time::Duration;

use crate::experiment::load::arrivals::Arrivals;
use crate::experiment::load::limits::{BURST_MAX, DURATION_MAX, PATH_SIZE_MAX, RATE_MAX};

/// A set of connections that a generator has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetId(pub(super) usize);

/// How a request finds its connection within its set. A connection carries one request at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// Any connection that is free, at random; without one the request waits for the first that
    /// is. What a proxy or a client's pool does.
    Random,
    /// The connection that has been free for the longest: all are used in turn.
    InTurn,
    /// Its own connection, free or not: there it waits. What a user's one connection does. A share
    /// of the connections, drawn at random, gets a share of the requests.
    Bound {
        /// Of the connections, from 0 to 1.
        hot_connections: f64,
        /// Of the requests, from 0 to 1.
        hot_requests: f64,
    },
    /// A new connection, closed behind the answer; as many at a time as the set is large.
    New,
}

impl Choice {
    /// Each connection has its own share of the requests, and all are equal.
    pub const EVEN: Choice = Choice::Bound { hot_connections: 0.0, hot_requests: 0.0 };
}

/// When the requests of a class are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// At their own time, whatever became of the earlier ones.
    Open(Arrivals),
    /// Each connection sends its next request when the last one is answered. It slows down with the
    /// server, so its latencies hide stalls: for throughput alone. Needs a set of its own.
    Closed,
}

/// A kind of request.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its name in reports.
    pub name: String,
    /// What it asks for: visible ASCII, beginning with `/`.
    pub path: String,
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
    /// Shares outside 0 to 1.
    #[error("class {0}: shares are from 0 to 1")]
    Share(String),
    /// A set that this generator does not have, or that has no connections.
    #[error("class {0}: there is no such set, or it has no connections")]
    Set(String),
    /// Classes on one set that do not agree on its use.
    #[error(
        "class {0}: a closed loop needs a set of its own, new connections share none with kept"
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
            let is_visible = class.path.bytes().all(|byte| byte.is_ascii_graphic());
            let fits = class.path.starts_with('/') && class.path.len() <= PATH_SIZE_MAX;
            if !is_visible || !fits {
                return Err(PlanError::Path(name()));
            }
            match class.pace {
                Pace::Open(Arrivals::Constant { rate } | Arrivals::Poisson { rate }) => {
                    // Written so that NaN is refused.
                    if !(rate > 0.0 && rate <= RATE_MAX) {
                        return Err(PlanError::Rate(name()));
                    }
                }
                Pace::Open(Arrivals::Burst { count, .. }) if count > BURST_MAX => {
                    return Err(PlanError::Burst(name()));
                }
                Pace::Open(Arrivals::Burst { .. }) | Pace::Closed => {}
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
                let is_new = |one: &Class| one.choice == Choice::New;
                is_same || (class.pace != Pace::Closed && is_new(other) == is_new(class))
            };
            if !others.all(shares) {
                return Err(PlanError::Shared(name()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(path: &str, pace: Pace, set: usize, choice: Choice) -> Class {
        Class { name: "a".to_owned(), path: path.to_owned(), pace, set: SetId(set), choice }
    }

    fn check(classes: &[Class]) -> Result<(), PlanError> {
        let second = Duration::from_secs(1);
        let plan = Plan {
            classes: classes.to_vec(),
            duration: second,
            warm_up: Duration::ZERO,
            answer_within: second,
            seed: 0,
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
        for set in [1, 2] {
            let wrong = class("/", PACE, set, Choice::Random);
            assert_eq!(check(&[wrong]), Err(PlanError::Set(name())));
        }
    }

    #[test]
    fn a_set_is_shared_by_classes_that_use_it_alike() {
        let random = class("/", PACE, 0, Choice::Random);
        let new = class("/", PACE, 0, Choice::New);
        let closed = class("/", Pace::Closed, 0, Choice::Random);
        assert_eq!(check(&[random.clone(), random.clone()]), Ok(()));
        assert_eq!(check(std::slice::from_ref(&closed)), Ok(()));
        for pair in [[random.clone(), new], [random, closed.clone()], [closed.clone(), closed]] {
            assert_eq!(check(&pair), Err(PlanError::Shared("a".to_owned())));
        }
    }
}
