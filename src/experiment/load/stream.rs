//! The requests of one class, one after the other: when each is due, what it asks for, and which
//! connection is its own where it has one. Pure: seeds decide everything.
//!
//! Times, service times and connections come from three generators of their own. So none of them
//! depends on how fast the server is, and every server is asked for the same.
//!
//! Not here: finding a free connection, and sending (`run`).

use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use crate::experiment::load::arrivals::Times;
use crate::experiment::load::plan::{Ask, Choice, Class, Pace};
use crate::experiment::load::replay::Due;

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// After the start.
    pub(crate) at: Duration,
    /// Zero where the class asks for a path.
    pub(crate) service: Duration,
    /// The place that it has to wait for; any will do without one.
    pub(crate) own: Option<usize>,
}

/// A class on its way.
pub(crate) struct Stream {
    ask: Ask,
    dues: Dues,
    service_rng: fastrand::Rng,
    own_rng: fastrand::Rng,
    /// The set's places, the hot ones first.
    order: Vec<usize>,
    hot: usize,
    /// For [`Choice::Bound`].
    hot_requests: Option<f64>,
}

enum Dues {
    Times(Peekable<Times>),
    Trace {
        trace: Arc<[Due]>,
        next: usize,
    },
    /// A closed loop: nothing is due by itself.
    Never,
}

impl Stream {
    /// The class has been checked, so that its set has places.
    pub(crate) fn new(class: &Class, places: &[usize], rng: &mut fastrand::Rng) -> Stream {
        let mut order = places.to_vec();
        rng.shuffle(&mut order);
        let (times_seed, service_seed, own_seed) = (rng.u64(..), rng.u64(..), rng.u64(..));
        let (hot, hot_requests) = match class.choice {
            Choice::Bound { hot_connections, hot_requests } => {
                ((order.len() as f64 * hot_connections).round() as usize, Some(hot_requests))
            }
            Choice::Random | Choice::InTurn | Choice::New | Choice::Renewed { .. } => (0, None),
        };
        Stream {
            ask: class.ask.clone(),
            dues: match &class.pace {
                Pace::Open(arrivals) => Dues::Times(arrivals.times(times_seed).peekable()),
                Pace::Replay(trace) => Dues::Trace { trace: Arc::clone(trace), next: 0 },
                Pace::Closed => Dues::Never,
            },
            service_rng: fastrand::Rng::with_seed(service_seed),
            own_rng: fastrand::Rng::with_seed(own_seed),
            hot: hot.min(order.len()),
            order,
            hot_requests,
        }
    }

    /// When the next request is due, after the start.
    pub(crate) fn peek(&mut self) -> Option<Duration> {
        match &mut self.dues {
            Dues::Times(times) => times.peek().copied(),
            Dues::Trace { trace, next } => trace.get(*next).map(|due| due.at),
            Dues::Never => None,
        }
    }

    /// The next request.
    pub(crate) fn take(&mut self) -> Option<Next> {
        let (at, traced) = match &mut self.dues {
            Dues::Times(times) => (times.next()?, None),
            Dues::Trace { trace, next } => {
                let due = *trace.get(*next)?;
                *next += 1;
                (due.at, Some(due))
            }
            Dues::Never => return None,
        };
        let service = match (traced, &self.ask) {
            (Some(due), Ask::Service { .. }) => due.service,
            (None, Ask::Service { .. }) | (_, Ask::Path(_)) => self.draw_service(),
        };
        let own = self.hot_requests.map(|hot_requests| match traced {
            Some(due) => self.order[due.connection as usize % self.order.len()],
            None => self.draw_own(hot_requests),
        });
        Some(Next { at, service, own })
    }

    /// How long the next request of a closed loop asks to be worked on.
    pub(crate) fn draw_service(&mut self) -> Duration {
        match self.ask {
            Ask::Path(_) => Duration::ZERO,
            Ask::Service { times, .. } => times.draw(&mut self.service_rng),
        }
    }

    /// Replaces what is there by the bytes of a request.
    pub(crate) fn write_request(&self, service: Duration, is_last: bool, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(b"GET ");
        match &self.ask {
            Ask::Path(path) => out.extend_from_slice(path.as_bytes()),
            Ask::Service { kind, .. } => kind.write_path(service, out),
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: maitred\r\n");
        if is_last {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn draw_own(&mut self, hot_requests: f64) -> usize {
        let (hot, cold) = self.order.split_at(self.hot);
        let rng = &mut self.own_rng;
        let is_hot = !hot.is_empty() && (cold.is_empty() || rng.f64() < hot_requests);
        let among = if is_hot { hot } else { cold };
        among[rng.usize(..among.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::load::plan::SetId;
    use crate::experiment::load::{Arrivals, ServiceKind, ServiceTimes};

    fn class(pace: Pace, choice: Choice) -> Class {
        let times = ServiceTimes::Exponential { mean: Duration::from_millis(1) };
        let ask = Ask::Service { kind: ServiceKind::Sleep, times };
        Class { name: "a".to_owned(), ask, pace, set: SetId(0), choice }
    }

    fn stream(class: &Class, seed: u64) -> Stream {
        Stream::new(class, &[4, 5, 6], &mut fastrand::Rng::with_seed(seed))
    }

    #[test]
    fn a_seed_is_one_sequence_of_requests() {
        let class = class(Pace::Open(Arrivals::Poisson { rate: 100.0 }), Choice::EVEN);
        let of = |seed| {
            let mut stream = stream(&class, seed);
            (0..100).map(|_| stream.take().expect("endless")).collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert!(of(1).iter().all(|next| (4..7).contains(&next.own.expect("bound"))));
    }

    /// What is asked for is the same whichever connections there are to choose from.
    #[test]
    fn service_times_do_not_depend_on_connections() {
        let pace = || Pace::Open(Arrivals::Poisson { rate: 100.0 });
        let of = |choice| {
            let mut stream = stream(&class(pace(), choice), 1);
            let next = move || stream.take().expect("endless");
            std::iter::repeat_with(next).take(50).map(|next| (next.at, next.service))
        };
        let of = |choice| of(choice).collect::<Vec<_>>();
        assert_eq!(of(Choice::EVEN), of(Choice::Random));
        assert_eq!(of(Choice::EVEN), of(Choice::New));
    }

    #[test]
    fn a_trace_says_when_how_long_and_where() {
        let due = |ms, connection| Due {
            at: Duration::from_millis(ms),
            connection,
            service: Duration::from_millis(ms + 1),
        };
        let trace: Arc<[Due]> = [due(1, 0), due(1, 1), due(3, 3)].into();
        let mut stream = stream(&class(Pace::Replay(trace), Choice::EVEN), 1);
        assert_eq!(stream.peek(), Some(Duration::from_millis(1)));
        let all: Vec<_> = std::iter::from_fn(|| stream.take()).collect();
        let times = all.iter().map(|next| (next.at.as_millis(), next.service.as_millis()));
        let times: Vec<_> = times.collect();
        assert_eq!(times, [(1, 2), (1, 2), (3, 4)]);
        // Three places: the trace's connections 0 and 3 are one.
        assert_eq!(all[0].own, all[2].own);
        assert_ne!(all[0].own, all[1].own);
        assert_eq!(stream.peek(), None);
    }

    #[test]
    fn requests_are_what_they_ask_for() {
        let mut out = b"earlier".to_vec();
        let stream = stream(&class(Pace::Closed, Choice::New), 1);
        stream.write_request(Duration::from_micros(1500), true, &mut out);
        let expected = b"GET /sleep/1.500 HTTP/1.1\r\nHost: maitred\r\nConnection: close\r\n\r\n";
        assert_eq!(out, expected);
    }
}
