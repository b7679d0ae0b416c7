//! What each of maitred's ways of distributing connections is, in words for a report.
//!
//! Not here: doing it (`worker`, `master`), which of them a plan measures (`model`).

/// The values of `--accept`, and what the kernel does in each.
const WAYS: [(&str, &str); 6] = [
    (
        "master",
        "one listener, in the master's epoll alone, level-triggered; the master accepts a batch, \
         chooses a worker for each connection, and lends it over that worker's own socketpair: one \
         packet and one wake-up a worker and turn",
    ),
    (
        "shared",
        "one listener, inherited by every worker, each of which has it in its own epoll, \
         level-triggered: the kernel wakes every worker that waits, the first to call accept gets \
         the connection, the others come in vain",
    ),
    (
        "exclusive",
        "one listener, inherited by every worker, each of which has it in its own epoll, \
         level-triggered and EPOLLEXCLUSIVE: the kernel wakes one that waits, in the order of \
         registration, so that a few workers get most connections while load is low",
    ),
    (
        "reuseport",
        "a listener for each worker (SO_REUSEPORT), in that worker's epoll, level-triggered: the \
         kernel gives a connection to a listener by a hash of its addresses when the handshake \
         ends, busy or not, and nobody can fetch it from there",
    ),
    (
        "reuseport-cbpf",
        "as reuseport, but a classic BPF program in place of the hash says which listener: a random \
         one, or the one of the CPU that took the packet",
    ),
    (
        "blocking",
        "one listener, inherited by every worker, which waits in accept(2) while it has no \
         connection: the kernel wakes one, in the order in which they began to wait; one connection \
         at a time in each worker",
    ),
];

/// The ways that there are.
pub fn ways() -> impl Iterator<Item = &'static str> {
    WAYS.iter().map(|(way, _)| *way)
}

/// What a way is; none of one that is none.
pub fn about(way: &str) -> Option<&'static str> {
    WAYS.iter().find(|(name, _)| *name == way).map(|(_, about)| *about)
}

/// Flags that the bench gives itself, and where a plan says the same.
const OWN_FLAGS: [(&str, &str); 9] = [
    ("-b", "the bench chooses the address"),
    ("--bind", "the bench chooses the address"),
    ("--port", "the bench chooses the address"),
    ("--host", "the bench chooses the address"),
    ("-w", "say workers = N"),
    ("--workers", "say workers = N"),
    ("--threads", "say threads = N"),
    ("--accept", "say accept = \"…\" in the arm"),
    ("--seed", "the bench gives its own"),
];

/// Why a plan may not give a flag itself; none if it may.
pub(super) fn refusal(flag: &str) -> Option<&'static str> {
    let name = flag.split('=').next().unwrap_or(flag);
    // `-w8` is `-w 8`.
    let is_short = |own: &str| own.len() == 2 && name.starts_with(own);
    let own = OWN_FLAGS.iter().find(|(own, _)| name == *own || is_short(own));
    own.map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bench_says_itself_is_refused() {
        for flag in ["-w", "-w8", "--workers=8", "--threads", "-b", "--accept=shared"] {
            assert!(refusal(flag).is_some(), "{flag}");
        }
        for flag in ["--balance", "two-choices", "--worker-header", "-t", "--rebalance=never"] {
            assert_eq!(refusal(flag), None, "{flag}");
        }
    }
}
