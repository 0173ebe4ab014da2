//! Time until the headers of a response of the origin, in fixed buckets.

/// The upper bounds of the buckets, in milliseconds. One more bucket after them has no bound.
pub const BOUNDS_MILLIS: [u64; 40] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 350,
    400, 500, 600, 800, 1_000, 1_250, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 7_500, 10_000,
    15_000, 30_000,
];

/// The number of buckets.
pub(super) const BUCKETS: usize = BOUNDS_MILLIS.len() + 1;

/// The bucket of a duration.
pub(super) fn bucket(micros: u64) -> usize {
    BOUNDS_MILLIS.partition_point(|bound| bound * 1000 < micros)
}

/// The percentile for `share` (0.9 for the 90th) in milliseconds, interpolated within its bucket. `None` if nothing was
/// counted. Latencies above the last bound count as that bound.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^52 need no exact percentile"
)]
pub(super) fn percentile(counts: &[u64], share: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = all as f64 * share;
    let mut before = 0.0;
    let mut lower = 0.0;
    for (count, bound) in counts.iter().zip(BOUNDS_MILLIS) {
        let (count, bound) = (*count as f64, bound as f64);
        if count > 0.0 && before + count >= wanted {
            return Some(lower + (bound - lower) * ((wanted - before) / count).clamp(0.0, 1.0));
        }
        before += count;
        lower = bound;
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_durations_up_to_its_bound() {
        for (micros, expected) in [
            (0, 0),
            (1000, 0),
            (1001, 1),
            (30_000_000, 39),
            (u64::MAX, 40),
        ] {
            assert_eq!(bucket(micros), expected, "{micros}");
        }
    }

    #[test]
    fn percentiles_lie_within_the_bucket_that_holds_them() {
        let mut counts = [0; BUCKETS];
        assert_eq!(percentile(&counts, 0.5), None);
        counts[bucket(120_000)] = 90;
        counts[bucket(900_000)] = 10;
        let at = |share| percentile(&counts, share).unwrap();
        assert!((100.0..=150.0).contains(&at(0.5)));
        assert!((100.0..=150.0).contains(&at(0.9)));
        assert!((800.0..=1000.0).contains(&at(0.99)));
    }

    #[test]
    fn latencies_above_the_last_bound_count_as_that_bound() {
        let mut counts = [0; BUCKETS];
        counts[BUCKETS - 1] = 1;
        assert_eq!(percentile(&counts, 0.5), Some(30_000.0));
    }
}
