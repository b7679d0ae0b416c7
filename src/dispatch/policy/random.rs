//! Any worker that has room, each as likely as the others.

use crate::dispatch::ledger::{Ledger, NOT_ELIGIBLE};
use crate::dispatch::policy::Policy;

/// Places drawn before the eligible ones are counted off. With half of the workers eligible one draw
/// in 256 gets so far.
const DRAWS_MAX: usize = 8;

/// A worker drawn at random.
#[derive(Debug)]
pub(super) struct Random {
    rng: fastrand::Rng,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random { rng: fastrand::Rng::with_seed(seed) }
    }
}

impl Policy for Random {
    fn pick(&mut self, ledger: &Ledger, _affinity: u64) -> Option<usize> {
        draw(ledger, &mut self.rng, None)
    }
}

/// An eligible place other than `but`, each as likely as the others.
pub(super) fn draw(ledger: &Ledger, rng: &mut fastrand::Rng, but: Option<usize>) -> Option<usize> {
    let ranks = ledger.ranks();
    let count = ledger.eligible() - usize::from(but.is_some());
    if count == 0 {
        return None;
    }
    let fits = |place: usize| ranks[place] != NOT_ELIGIBLE && Some(place) != but;
    // Whoever is drawn from all and fits is drawn from those that fit.
    let mut draws = (0..DRAWS_MAX).map(|_| rng.usize(..ranks.len()));
    if let Some(place) = draws.find(|place| fits(*place)) {
        return Some(place);
    }
    let drawn = rng.usize(..count);
    (0..ranks.len()).filter(|place| fits(*place)).nth(drawn)
}
