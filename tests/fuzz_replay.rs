//! Replays the fuzz corpora and seeded mutations of them, on the stable compiler.
//!
//! The targets are plain functions on bytes (`tests/fuzz/*.rs`); cargo-fuzz drives the same ones,
//! see `tests/fuzz/cargo-fuzz`. `SEEDS=100000` widens a run, `SEED=7` repeats one mutation; a
//! failure prints the line that repeats it. An input that cargo-fuzz found belongs into the corpus.
//!
//! Not here: what a target checks.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

#[path = "fuzz/drive.rs"]
mod drive;

/// Mutations of each target in an ordinary run.
const SEEDS_DEFAULT: u64 = 3000;

/// Bytes of a mutated input: nothing is learnt from longer ones that shorter ones do not teach.
const INPUT_SIZE_MAX: usize = 2000;

/// Bytes that mean something in a head or a chunk, or are forbidden in one.
const BYTES_OF_MEANING: &[u8] = b"\r\n\t :;=,\0\x7f\x80\xff";

/// A line here, a file and a corpus of that name: that is a target.
macro_rules! targets {
    ($($name:ident in $file:literal,)*) => {$(
        #[path = $file]
        mod $name;

        #[test]
        fn $name() {
            replay(stringify!($name), $name::run);
        }
    )*};
}

targets! {
    request_head in "fuzz/request_head.rs",
    chunked_body in "fuzz/chunked_body.rs",
    frame in "fuzz/frame.rs",
    status_page in "fuzz/status_page.rs",
    admin_frame in "fuzz/admin_frame.rs",
    admin_order in "fuzz/admin_order.rs",
    admin_reply in "fuzz/admin_reply.rs",
    access_line in "fuzz/access_line.rs",
    proxy_header in "fuzz/proxy_header.rs",
    forwarded in "fuzz/forwarded.rs",
    measured in "fuzz/measured.rs",
}

fn replay(name: &str, run: fn(&[u8])) {
    let corpus = read_corpus(name);
    if let Some(seed) = number_from_environment("SEED") {
        return run(&mutate(&corpus, seed));
    }
    for (file, input) in &corpus {
        attempt(run, input, &format!("the corpus file {name}/{file}"));
    }
    for seed in 0..number_from_environment("SEEDS").unwrap_or(SEEDS_DEFAULT) {
        let replay = format!("SEED={seed} cargo test --test fuzz_replay {name}");
        attempt(run, &mutate(&corpus, seed), &replay);
    }
}

/// Runs a target; if it fails, says how to repeat it before the failure goes its way.
fn attempt(run: fn(&[u8]), input: &[u8], replay: &str) {
    if let Err(failure) = panic::catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("replay: {replay}\ninput: {}", input.escape_ascii());
        panic::resume_unwind(failure);
    }
}

/// The corpus in the order of the files' names, so that a seed means the same everywhere.
fn read_corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut corpus: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let entry = entry.unwrap_or_else(|error| panic!("{folder:?}: {error}"));
            let file = entry.file_name().to_string_lossy().into_owned();
            let input = fs::read(entry.path()).unwrap_or_else(|error| panic!("{file}: {error}"));
            (file, input)
        })
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "{folder:?} is empty");
    corpus
}

/// One corpus file, changed in a few places; all choices come from the seed.
fn mutate(corpus: &[(String, Vec<u8>)], seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let pick = |random: &mut fastrand::Rng| &corpus[random.usize(..corpus.len())].1;
    let mut input = pick(&mut random).clone();
    for _ in 0..random.usize(1..=6) {
        let start = random.usize(..=input.len());
        let end = random.usize(start..=input.len().min(start + 16));
        match random.u8(..8) {
            // One byte becomes any, or one that means something.
            0 if start < input.len() => input[start] = random.u8(..),
            1 if start < input.len() => {
                input[start] = BYTES_OF_MEANING[random.usize(..BYTES_OF_MEANING.len())];
            }
            0 | 1 => input.push(random.u8(..)),
            2 => input.insert(start, BYTES_OF_MEANING[random.usize(..BYTES_OF_MEANING.len())]),
            3 => drop(input.drain(start..end)),
            4 => input.truncate(start),
            // A piece twice.
            5 => drop(input.splice(start..start, input[start..end].to_vec())),
            // One bit.
            6 if start < input.len() => input[start] ^= 1 << random.u8(..8),
            // A piece of another file, in place of this one's.
            6.. => {
                let other = pick(&mut random);
                let from = random.usize(..=other.len());
                let to = random.usize(from..=other.len());
                input.splice(start..end, other[from..to].iter().copied());
            }
        }
    }
    input.truncate(INPUT_SIZE_MAX);
    input
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}
