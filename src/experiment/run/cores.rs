//! Which cores are whose: the generators' and the server's, apart where there are enough.
//!
//! A generator that shares a core with what it measures is late whenever that works, and takes what
//! it would have used. On two or three cores it cannot be helped: then nothing is pinned, since
//! pinning would only take a core from both, and the report says so.
//!
//! Not here: how many generators there are (`share`).

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::experiment::run::limits::CORES_TO_SPLIT;

/// Whose which core is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cores {
    /// Everybody's.
    Shared {
        /// All of them.
        count: usize,
    },
    /// Apart.
    Split {
        /// One for each generator.
        generators: Vec<usize>,
        /// All others.
        server: Vec<usize>,
    },
}

/// The cores that this process may use.
pub(super) fn usable() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

/// Splits them: the last ones for the generators, never more than half.
pub(super) fn split(usable: &[usize], generators: usize) -> Cores {
    let count = usable.len();
    if count < CORES_TO_SPLIT || generators == 0 {
        return Cores::Shared { count };
    }
    let own = generators.min(count / 2);
    let (server, generators) = usable.split_at(count - own);
    Cores::Split { generators: generators.to_vec(), server: server.to_vec() }
}

impl Cores {
    /// Pins the calling thread, and what it starts, to the server's.
    pub(super) fn take_servers(&self) -> io::Result<()> {
        match self {
            Cores::Shared { .. } => Ok(()),
            Cores::Split { server, .. } => pin(server),
        }
    }

    /// Pins the calling thread to one of the generators'.
    pub(super) fn take_generators(&self, index: usize) -> io::Result<()> {
        match self {
            Cores::Shared { .. } => Ok(()),
            Cores::Split { generators, .. } => pin(&[generators[index % generators.len()]]),
        }
    }

    /// For a report.
    pub(super) fn note(&self) -> String {
        let list =
            |cores: &[usize]| cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Cores::Shared { count } => {
                format!("{count} cores, shared by generators and servers: too few to keep apart")
            }
            Cores::Split { generators, server } => {
                format!("generators on {}, servers on {}", list(generators), list(server))
            }
        }
    }
}

/// Pins the calling thread.
pub(super) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| set.set(core));
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_have_cores_of_their_own_where_there_are_enough() {
        assert_eq!(split(&[0, 1], 1), Cores::Shared { count: 2 });
        let apart = |generators: &[usize], server: &[usize]| Cores::Split {
            generators: generators.to_vec(),
            server: server.to_vec(),
        };
        assert_eq!(split(&[0, 1, 2, 3], 1), apart(&[3], &[0, 1, 2]));
        assert_eq!(split(&[0, 2, 4, 6], 3), apart(&[4, 6], &[0, 2]));
        assert_eq!(split(&[], 1), Cores::Shared { count: 0 });
    }

    #[test]
    fn a_thread_is_where_it_was_pinned() {
        let first = *usable().first().expect("there is a core");
        let found = std::thread::spawn(move || {
            pin(&[first]).expect("one of ours");
            usable()
        });
        assert_eq!(found.join().expect("it does not panic"), [first]);
    }
}
