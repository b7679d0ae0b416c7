//! Independent runs on all cores: each has a number, and its result stands at that number, whoever
//! has run it and when.
//!
//! Not here: the runs.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Runs `count` of them, and says of each when it is done.
pub fn run_all<T: Send>(
    count: usize,
    run: impl Fn(usize) -> T + Sync,
    is_done: impl Fn() + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<T>>> = (0..count).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..cores().min(count) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(place) = results.get(number) else { return };
                    let result = run(number);
                    // Nobody else has this number: poisoned or not, the place is ours.
                    *place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
                    is_done();
                }
            });
        }
    });
    let results = results.into_iter();
    let result = |place: Mutex<Option<T>>| {
        place.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    };
    results.filter_map(result).collect()
}

/// Cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_their_numbers() {
        let done = AtomicUsize::new(0);
        let count = |_| ();
        let results = run_all(
            100,
            |number| number * number,
            || {
                count(done.fetch_add(1, Ordering::Relaxed));
            },
        );
        assert_eq!(results, (0..100).map(|number| number * number).collect::<Vec<_>>());
        assert_eq!(done.into_inner(), 100);
        assert!(run_all(0, |number| number, || ()).is_empty());
    }
}
