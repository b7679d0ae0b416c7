//! What answers at an admin address, as any bytes: `maitred top` asks whoever is there.
//!
//! The same bytes in pieces must never be whole before they are whole, and what is whole stays so.

use maitred::observe::asking::parse;

pub(crate) fn run(input: &[u8]) {
    let mut before = None;
    for end in 0..=input.len() {
        let Some(answer) = parse(&input[..end]) else {
            assert!(before.is_none(), "an answer that was one is none any more");
            continue;
        };
        assert!(answer.body.len() <= end);
        if let Some((status, body, true)) = before {
            assert_eq!((answer.status, answer.body, answer.is_whole), (status, body, true));
        }
        before = Some((answer.status, answer.body, answer.is_whole));
    }
}
