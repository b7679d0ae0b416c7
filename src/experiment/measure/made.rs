//! Repetitions that tests have made up.
//!
//! Not here: real ones (`run`).

use crate::experiment::load::report::Report;
use crate::experiment::load::sample::Sample;
use crate::experiment::measure::observed::{Capacity, Observed};
use crate::time::Nanos;

/// One class, these samples, measured from and to these nanoseconds, workers and threads of each.
pub(super) fn trial(
    samples: Vec<Sample>,
    measured: (u64, u64),
    (workers, threads): (u16, u16),
) -> Observed {
    let measured = (Nanos(measured.0), Nanos(measured.1));
    let mut report = Report::new(["hello"].into_iter(), measured);
    let class = &mut report.classes[0];
    for sample in &samples {
        class.due += 1;
        class.answered += 1;
        class.due_measured += u64::from(sample.due >= measured.0);
        class.answered_measured += u64::from((measured.0..measured.1).contains(&sample.answered));
    }
    Observed {
        repetition: 0,
        place: 0,
        report,
        samples,
        measured,
        capacity: Capacity { workers, threads },
        bound: None,
        usage: None,
        began_at_rest: true,
    }
}
