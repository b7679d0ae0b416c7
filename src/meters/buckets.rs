//! The bounds of all histograms, and which bucket a time falls into.
//!
//! Not here: where a bucket's count stands (`layout`).

use std::time::Duration;

/// Upper bounds of the buckets, each part of its bucket. One more bucket has none.
///
/// Steps of 1, 2.5 and 5, so that what people promise (10 ms, 100 ms, 250 ms, 1 s) are bounds
/// themselves: the share below them is exact, and only what lies between is interpolated. They
/// begin below what an unloaded hand-off takes (a tenth of a millisecond) and end where the usual
/// proxies have given up (60 s). Nineteen, and not the hundreds of an HDR histogram: a server of 64
/// workers has three histograms for each, and a scraper keeps every bucket as a series of its own.
pub const BOUNDS: [Duration; 19] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_micros(1_000),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Buckets of a histogram.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The bounds as the clock counts: a comparison of two durations costs seven times as much as one of
/// two numbers (32 ns in place of 4 for a bucket, measured).
const BOUNDS_NS: [u64; BOUNDS.len()] = {
    let mut nanos = [0; BOUNDS.len()];
    let mut bucket = 0;
    while bucket < BOUNDS.len() {
        nanos[bucket] = BOUNDS[bucket].as_nanos() as u64;
        bucket += 1;
    }
    nanos
};

/// The bucket of a time: the first whose bound is not below it.
pub fn bucket_of(time: Duration) -> usize {
    let seconds_ns = time.as_secs().saturating_mul(1_000_000_000);
    let nanos = seconds_ns.saturating_add(u64::from(time.subsec_nanos()));
    // Five comparisons. Leading zeros would find the power of two, and then a bound or two is
    // compared all the same: these are no powers.
    BOUNDS_NS.partition_point(|bound| *bound < nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_rise_and_belong_to_their_buckets() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
        for (bucket, bound) in BOUNDS.into_iter().enumerate() {
            assert_eq!(bucket_of(bound), bucket);
            assert_eq!(bucket_of(bound + Duration::from_nanos(1)), bucket + 1);
        }
        assert_eq!(bucket_of(Duration::ZERO), 0);
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    proptest! {
        /// Each time lies between the bound before its bucket and the bucket's own.
        #[test]
        fn a_time_lies_within_its_bucket(nanos in any::<u64>(), shift in 0_u32..64) {
            let time = Duration::from_nanos(nanos >> shift);
            let bucket = bucket_of(time);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(BOUNDS.get(bucket).is_none_or(|bound| time <= *bound));
            prop_assert!(bucket == 0 || time > BOUNDS[bucket - 1]);
        }
    }
}
