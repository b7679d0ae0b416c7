//! Ids of requests: the one that a believed peer has given, or a new one, in the form of a random
//! UUID (RFC 9562 section 5.4). They tell requests apart, and are no secrets: the generator is a
//! fast one.
//!
//! A stranger's id is not passed on: who searches a log for a request's id must find that request
//! alone.
//!
//! Not here: where they go (`introducing`, `answering`, the access log).

use fastrand::Rng;
use http::HeaderValue;

use crate::config::{PeerList, REQUEST_ID_SIZE_MAX};
use crate::ident::{Incarnation, PeerAddress};

/// Gives requests their ids.
#[derive(Debug)]
pub struct RequestIds {
    random: Rng,
}

impl RequestIds {
    /// A seed is the server's: each of its workers makes others of it.
    pub fn new(seed: Option<u64>, who: Incarnation) -> Self {
        let place = u64::from(who.generation.0) << 16 | u64::from(who.slot.0);
        let random = match seed {
            Some(seed) => Rng::with_seed(seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            None => Rng::new(),
        };
        RequestIds { random }
    }

    /// The id of a request of this peer's, which has given it one perhaps.
    pub fn id_of(
        &mut self,
        given: Option<&HeaderValue>,
        peer: PeerAddress,
        believed: &PeerList,
    ) -> HeaderValue {
        match given.filter(|id| is_id(id.as_bytes()) && believed.has(peer)) {
            // A copy: what the request's other fields share must not live as long as this may.
            Some(id) => HeaderValue::from_bytes(id.as_bytes()).unwrap_or_else(|_| self.make()),
            None => self.make(),
        }
    }

    /// A new id.
    pub(super) fn make(&mut self) -> HeaderValue {
        const VERSION: u128 = 0x4 << 76;
        const VARIANT: u128 = 0x2 << 62;
        const FIXED: u128 = 0xf << 76 | 0x3 << 62;
        let number = self.random.u128(..) & !FIXED | VERSION | VARIANT;
        let digits = format!("{number:032x}");
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        HeaderValue::try_from(parts.join("-")).expect("digits and dashes are visible")
    }
}

/// Bytes that need no escaping anywhere: not in a log, a URL or a shell.
fn is_id(bytes: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+=@".contains(byte);
    (1..=REQUEST_ID_SIZE_MAX).contains(&bytes.len()) && bytes.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ident::{Generation, Slot};

    fn id(given: &str, believed: &str) -> String {
        let peer = PeerAddress::Inet("10.0.0.1:4711".parse().unwrap());
        let given = HeaderValue::from_str(given).unwrap();
        let mut ids = RequestIds::new(Some(1), Incarnation::default());
        let id = ids.id_of(Some(&given), peer, &PeerList::parse(believed));
        id.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_believed_peers_id_is_passed_on_if_it_is_one() {
        let longest = "a".repeat(REQUEST_ID_SIZE_MAX);
        for good in ["1", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "a_B.c:d+e=@f", &longest] {
            assert_eq!(id(good, "10.0.0.0/8"), good);
            assert_ne!(id(good, "127.0.0.1"), good, "anybody could forge it");
        }
        for bad in ["", "a b", "a\"b", "a,b", "a/b", "<x>", &"a".repeat(REQUEST_ID_SIZE_MAX + 1)] {
            assert_ne!(id(bad, "*"), bad);
        }
    }

    #[test]
    fn new_ones_are_random_uuids_and_differ_between_workers_of_one_seed() {
        let worker =
            |slot, generation| Incarnation { slot: Slot(slot), generation: Generation(generation) };
        let mut all = BTreeSet::new();
        for who in [worker(0, 1), worker(1, 2), worker(0, 3)] {
            let mut ids = RequestIds::new(Some(7), who);
            for _ in 0..1000 {
                let id = ids.make().to_str().unwrap().to_owned();
                let form: Vec<usize> = id.split('-').map(str::len).collect();
                assert_eq!(form, [8, 4, 4, 4, 12], "{id}");
                assert_eq!(id.as_bytes()[14], b'4', "{id}");
                assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
                assert!(all.insert(id), "made twice");
            }
        }
        let mut again = RequestIds::new(Some(7), worker(0, 1));
        assert!(all.contains(again.make().to_str().unwrap()), "a seed decides");
    }
}
