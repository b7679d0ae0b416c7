//! A status page from any bytes.
//!
//! Hardly any bytes have the checksum that a page needs, so they are tried a second time with it:
//! what is whole must be refused by name, or survive being written and read again, to the byte.

use maitred::account::Status;
use maitred::account::page::{PageError, Stamp, decode, encode};

const WORD: usize = 8;

pub(crate) fn run(input: &[u8]) {
    // Refused or not: it may not panic, and what is read must be itself again.
    let _ = check(input);
    let mut page = input[..input.len() / WORD * WORD].to_vec();
    let words = page.len() / WORD;
    if words >= 4 {
        page[2 * WORD..3 * WORD].copy_from_slice(&(words as u64).to_le_bytes());
        let body = page.len() - WORD;
        let sum = checksum(&page[..body]);
        page[body..].copy_from_slice(&sum.to_le_bytes());
        let torn = check(&page) == Err(PageError::Torn);
        assert!(!torn || words < shortest(), "a whole page is said to be torn");
    }
}

/// Words of a page without slots and workers.
fn shortest() -> usize {
    let mut page = Vec::new();
    encode(&Status::default(), Stamp::default(), &mut page);
    page.len() / WORD
}

fn check(bytes: &[u8]) -> Result<(), PageError> {
    let (status, stamp) = decode(bytes)?;
    let mut again = Vec::new();
    encode(&status, stamp, &mut again);
    assert!(bytes.starts_with(&again), "not itself again");
    assert!(status.workers.len() <= status.workers_in_all as usize);
    // Any numbers: their sum must not overflow.
    let _ = (status.account.missing(), status.account.here.total(), status.account.to_string());
    Ok(())
}

/// FNV-1a over words, written a second time.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 14_695_981_039_346_656_037;
    for word in bytes.chunks_exact(WORD) {
        hash ^= u64::from_le_bytes(word.try_into().expect("eight bytes"));
        hash = hash.wrapping_mul(1_099_511_628_211);
    }
    hash
}
