//! What can be measured: keys, titles, units, who wins.
//!
//! Not here: computing it (`summary`).

use crate::experiment::report::schema::MeasureInfo;

/// All measures, in the order of their columns.
pub fn catalogue() -> Vec<MeasureInfo> {
    Vec::new()
}
