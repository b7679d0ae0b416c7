//! How many workers, and how far they follow the load.

use std::time::Duration;

use super::{refusal, resolved, resolved_with, settings};
use crate::config::{ScaleLimits, Settings};

fn range(settings: &Settings) -> (u16, Option<(u16, u16)>) {
    (settings.workers, settings.scaling.map(|limits| (limits.min, limits.max)))
}

#[test]
fn a_range_begins_with_the_least_and_follows_the_load() {
    assert_eq!(range(&settings(&["-w", "2..8"])), (2, Some((2, 8))));
    assert_eq!(range(&settings(&["--workers", "1..1024"])), (1, Some((1, 1024))));
    // Nothing to follow.
    assert_eq!(range(&settings(&["-w", "3..3"])), (3, None));
    assert_eq!(range(&settings(&["-w", "3"])), (3, None));
    let by_variable = resolved(&[], &[("MAITRED_WORKERS", "2..4"), ("WEB_CONCURRENCY", "9")]);
    assert_eq!(range(&by_variable.unwrap().settings), (2, Some((2, 4))));
    let in_file = resolved_with(&[], &[], Some("workers = \"2..4\"\n"));
    assert_eq!(range(&in_file.unwrap().settings), (2, Some((2, 4))));
    for text in ["8..2", "0..4", "1..1025", "..", "2..", "..4", "2..4..6", "2-4", "2...4"] {
        let message = refusal(&["-w", text]);
        let begins = format!("--workers {text:?}: must be a whole number from 1 to 1024");
        assert!(message.starts_with(&begins), "{message}");
    }
    // What other platforms set is a number.
    let fault = resolved(&[], &[("WEB_CONCURRENCY", "2..4")]).unwrap_err().to_string();
    assert!(fault.contains("must be a whole number from 1 to 1024"), "{fault}");
}

#[test]
fn its_times_have_bounds_and_mean_nothing_without_it() {
    let times = |arguments: &[&str]| {
        let limits = settings(&[&["-w", "1..2"], arguments].concat()).scaling.unwrap();
        (limits.up_after, limits.down_after)
    };
    assert_eq!(times(&[]), (ScaleLimits::UP_AFTER, ScaleLimits::DOWN_AFTER));
    let (up, down) = (Duration::from_secs(2), Duration::from_secs(600));
    assert_eq!(times(&["--scale-up-after", "2s", "--scale-down-after", "10m"]), (up, down));
    for (flag, texts, bound) in [
        ("--scale-up-after", ["9ms", "61s", "soon"], "from 10ms to 60s"),
        ("--scale-down-after", ["999ms", "25h", "later"], "from 1s to 24h"),
    ] {
        for text in texts {
            let message = refusal(&["-w", "1..2", flag, text]);
            assert!(message.starts_with(&format!("{flag} {text:?}: ")), "{message}");
            assert!(message.contains(bound), "{message}");
        }
        let alone = refusal(&["-w", "2", flag, "2s"]);
        assert_eq!(alone, format!("{flag}: needs --workers MIN..MAX"));
        // A variable may be set for many servers.
        let variable = crate::cli::faults::variable_of(flag);
        assert!(resolved(&["-w", "2"], &[(&variable, "2s")]).is_ok());
    }
}

#[test]
fn weights_are_for_as_many_workers_as_there_may_be() {
    let weighted = |workers| ["-w", workers, "--balance", "weighted", "--weights", "3,1,1"];
    assert_eq!(settings(&weighted("1..3")).weights, [3, 1, 1]);
    assert!(refusal(&weighted("1..2")).contains("at most one weight a worker"));
}

#[test]
fn where_workers_accept_themselves_nobody_can_tell() {
    let message = refusal(&["-w", "1..4", "--accept", "reuseport"]);
    assert_eq!(
        message,
        "--workers: MIN..MAX needs --accept master: with reuseport nobody sees how long connections \
         wait"
    );
    assert!(resolved(&["-w", "4", "--accept", "reuseport"], &[]).is_ok());
}
