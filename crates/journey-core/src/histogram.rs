//! Base-2 exponential histograms of scale 6.

mod bucket;

use crate::window::Slot;

/// Buckets added beyond a value that does not fit: a quarter of a power of two, 128 bytes.
const SLACK: i32 = 16;

/// A latency distribution: base-2 exponential buckets of scale 6, counted in seconds.
///
/// Bucket `i` holds `(base^i, base^(i+1)]` seconds with `base = 2^(1/64)`; a latency of 0 has a counter of its own.
/// Latencies are whole nanoseconds and each falls into its bucket exactly, also one at or next to an edge.
///
/// Any two histograms merge without loss, in any order, and equal each other when they hold the same values. Memory is
/// 8 bytes for each bucket between the smallest and the largest value, 512 bytes per power of two, at most 32 KiB.
/// Recording allocates only when a value lies outside of what earlier values covered.
///
/// Counts end at 2^64-1; what comes after that is not counted (one per nanosecond gets there in 584 years).
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Number of values; no bucket holds more, so buckets cannot overflow before it does.
    count: u64,
    zero_count: u64,
    /// Cannot overflow: at most 2^64-1 values of at most 2^64-1.
    sum: u128,
    /// `u64::MAX` while empty.
    min: u64,
    max: u64,
    /// Index of the first of `counts`.
    offset: i32,
    /// Values per bucket; both ends may be zeros.
    counts: Vec<u64>,
}

/// Dense buckets of one scale: element `k` counts values in `(base^(offset+k), base^(offset+k+1)]` seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramBuckets {
    /// `base = 2^(2^-scale)`.
    pub scale: i32,
    /// Index of the first bucket; 0 where there is none.
    pub offset: i32,
    /// Values per bucket; neither the first nor the last is 0.
    pub counts: Vec<u64>,
}

/// Place of quantile `q` among `count` sorted values, from 0: the nearest to `q * (count - 1)`.
///
/// A `q` outside of 0 to 1 is taken as the nearer of the two, one that is not a number as 0.
pub(crate) fn quantile_rank(q: f64, count: u64) -> u64 {
    let last = count.saturating_sub(1);
    ((q.clamp(0.0, 1.0) * last as f64).round() as u64).min(last)
}

/// The least `exponent` for which a latency is at most `2^exponent` seconds; `i32::MIN` for 0.
pub(crate) fn power_of_two_above(nanos: u64) -> i32 {
    if nanos == 0 { i32::MIN } else { (bucket::index(nanos) >> bucket::SCALE) + 1 }
}

impl Histogram {
    /// The scale of every histogram: 64 buckets per power of two.
    pub const SCALE: i32 = bucket::SCALE;

    /// Counts one latency in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        let Some(count) = self.count.checked_add(1) else { return };
        self.count = count;
        self.sum += u128::from(nanos);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
        if nanos == 0 {
            self.zero_count += 1;
            return;
        }
        let index = bucket::index(nanos);
        let place = index.wrapping_sub(self.offset) as usize;
        if let Some(bucket) = self.counts.get_mut(place) {
            *bucket += 1;
        } else {
            self.cover(index, index);
            self.counts[(index - self.offset) as usize] += 1;
        }
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let Some(count) = self.count.checked_add(other.count) else { return };
        self.count = count;
        self.zero_count += other.zero_count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let (offset, counts) = other.used();
        if counts.is_empty() {
            return;
        }
        self.cover(offset, offset + counts.len() as i32 - 1);
        let first = (offset - self.offset) as usize;
        for (mine, theirs) in self.counts[first..].iter_mut().zip(counts) {
            *mine += theirs;
        }
    }

    /// Number of values, zeros included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Number of values that are 0; they are in no bucket.
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// Sum of all values, nanoseconds, exact.
    pub fn sum_nanos(&self) -> u128 {
        self.sum
    }

    /// Smallest value, nanoseconds, exact; `None` while empty.
    pub fn min_nanos(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// Largest value, nanoseconds, exact; `None` while empty.
    pub fn max_nanos(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Arithmetic mean, nanoseconds; `None` while empty.
    pub fn mean_nanos(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Value at quantile `q`, nanoseconds; `None` while empty.
    ///
    /// That is the value at the place nearest to `q * (count - 1)` among the sorted values, with a relative error of at
    /// most `(base - 1) / (base + 1)`, 0.54 %, whatever the distribution. The smallest and the largest value are exact.
    /// A `q` outside of 0 to 1 is taken as the nearer of the two.
    pub fn quantile_nanos(&self, q: f64) -> Option<f64> {
        let last = self.count.checked_sub(1)?;
        let rank = quantile_rank(q, self.count);
        if rank < self.zero_count {
            return Some(0.0);
        }
        if rank == 0 {
            return Some(self.min as f64);
        }
        if rank == last {
            return Some(self.max as f64);
        }
        let mut seen = self.zero_count;
        let place = self.counts.iter().position(|count| {
            seen += count;
            seen > rank
        });
        let index = self.offset + place? as i32;
        let (min, max) = (self.min as f64, self.max as f64);
        let (low, high) = (bucket::lower_edge(index).max(min), bucket::lower_edge(index + 1).min(max));
        // The harmonic mean of the edges is off by the same share at both of them. Interpolating by rank looks finer, but
        // is off by twice as much where the values sit together at one edge.
        Some((2.0 * low * high / (low + high)).min(max))
    }

    /// The buckets in seconds at scale 6, without zeros at either end.
    pub fn buckets(&self) -> HistogramBuckets {
        let (offset, counts) = self.used();
        HistogramBuckets { scale: Self::SCALE, offset, counts: counts.to_vec() }
    }

    /// How many values are at most `2^exponent` seconds, zeros included, exactly: a power of two is a bucket's edge.
    pub fn count_up_to_power_of_two(&self, exponent: i32) -> u64 {
        let end = i64::from(exponent) << Self::SCALE;
        let buckets = (end - i64::from(self.offset)).clamp(0, self.counts.len() as i64) as usize;
        self.zero_count + self.counts[..buckets].iter().sum::<u64>()
    }

    /// Forgets all values and keeps the memory.
    pub(crate) fn clear(&mut self) {
        let mut counts = std::mem::take(&mut self.counts);
        counts.fill(0);
        *self = Self { offset: self.offset, counts, ..Self::default() };
    }

    /// Makes room for the buckets from `first` to `last`.
    fn cover(&mut self, first: i32, last: i32) {
        if self.counts.is_empty() {
            self.offset = first;
        }
        let end = self.offset + self.counts.len() as i32;
        if last >= end {
            let wanted = (last + SLACK).min(bucket::HIGHEST) - self.offset + 1;
            self.counts.reserve_exact(wanted as usize - self.counts.len());
            self.counts.resize(wanted as usize, 0);
        }
        if first < self.offset {
            let start = (first - SLACK).max(bucket::LOWEST);
            let added = (self.offset - start) as usize;
            let mut counts = Vec::with_capacity(added + self.counts.len());
            counts.resize(added, 0);
            counts.extend_from_slice(&self.counts);
            self.counts = counts;
            self.offset = start;
        }
    }

    /// Index of the first bucket that is not 0, and the buckets from there to the last that is not.
    fn used(&self) -> (i32, &[u64]) {
        let Some(first) = self.counts.iter().position(|count| *count > 0) else { return (0, &[]) };
        let last = self.counts.iter().rposition(|count| *count > 0).unwrap_or(first);
        (self.offset + first as i32, &self.counts[first..=last])
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { count: 0, zero_count: 0, sum: 0, min: u64::MAX, max: 0, offset: 0, counts: Vec::new() }
    }
}

impl PartialEq for Histogram {
    /// By what was counted; room for more makes no difference.
    fn eq(&self, other: &Self) -> bool {
        let figures = |it: &Self| (it.count, it.zero_count, it.sum, it.min, it.max);
        figures(self) == figures(other) && self.used() == other.used()
    }
}

impl Slot for Histogram {
    fn merge(&mut self, other: &Self) {
        Histogram::merge(self, other);
    }

    fn clear(&mut self) {
        Histogram::clear(self);
    }
}

impl HistogramBuckets {
    /// The same values in buckets that are `2^by` times as wide (on the scale of their logarithm), without loss.
    ///
    /// Equal to what counting at scale `scale - by` would have given.
    #[must_use]
    pub fn downscaled(&self, by: u32) -> Self {
        let scale = self.scale.saturating_sub(i32::try_from(by).unwrap_or(i32::MAX));
        // An arithmetic shift halves towards negative infinity, as edges below one second need. By 31 all is -1 or 0.
        let shift = by.min(31);
        let mut counts: Vec<u64> = Vec::new();
        let offset = self.offset >> shift;
        for (index, count) in (self.offset..).zip(&self.counts) {
            let place = ((index >> shift) - offset) as usize;
            if counts.len() <= place {
                counts.resize(place + 1, 0);
            }
            counts[place] = counts[place].saturating_add(*count);
        }
        Self { scale, offset, counts }
    }

    /// The finest form of at most `max` buckets, at least one.
    ///
    /// Values on both sides of one second never come into one bucket, at any scale: they get two.
    #[must_use]
    pub fn at_most(&self, max: usize) -> Self {
        let (first, last) =
            (self.offset, self.offset.saturating_add_unsigned(self.counts.len().saturating_sub(1) as u32));
        let fewest = if first < 0 && last >= 0 { 2 } else { 1 };
        let wanted = max.max(fewest) as u64;
        let fits = |by: &u32| u64::from((last >> by).abs_diff(first >> by)) < wanted;
        let by = (0..31).find(fits).unwrap_or(31);
        self.downscaled(by)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The promise of scale 6, with room for the rounding of an `f64`.
    const WORST_ERROR: f64 = 0.005_415_2;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for nanos in values {
            histogram.record(*nanos);
        }
        histogram
    }

    fn merged(parts: &[&Histogram]) -> Histogram {
        let mut whole = Histogram::default();
        for part in parts {
            whole.merge(part);
        }
        whole
    }

    fn seconds(value: f64) -> u64 {
        (value * 1e9).round() as u64
    }

    /// Latencies of every size, zeros, extremes and crowds in a single bucket.
    fn latency() -> impl Strategy<Value = u64> {
        prop_oneof![
            1 => Just(0),
            8 => (any::<u64>(), 0_u32..64).prop_map(|(bits, shift)| bits >> shift),
            4 => 1_000_000_u64..10_000_000_000,
            2 => 100_000_000_u64..101_000_000,
            1 => (0_u32..34, 0_u64..3).prop_map(|(exponent, around)| (1_000_000_000_u64 << exponent) + around - 1),
        ]
    }

    fn latencies() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(latency(), 0..200)
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.zero_count(), empty.sum_nanos()), (0, 0, 0));
        assert_eq!((empty.min_nanos(), empty.max_nanos(), empty.mean_nanos()), (None, None, None));
        assert_eq!(empty.quantile_nanos(0.5), None);
        assert_eq!(empty.buckets(), HistogramBuckets { scale: 6, offset: 0, counts: vec![] });
        assert_eq!(empty.buckets().at_most(160).counts, Vec::<u64>::new());
        assert_eq!(empty.count_up_to_power_of_two(i32::MAX), 0);
    }

    #[test]
    fn the_index_is_the_one_of_the_specification() {
        let cases = [
            (0, [(0.5, -2), (1.0, -1), (1.5, 0), (2.0, 0), (4.0, 1)].as_slice()),
            (3, &[(0.5, -9), (1.0, -1), (2.0, 7), (4.0, 15)]),
            (-1, &[(1.0, -1), (2.0, 0), (4.0, 0), (4.0001, 1), (16.0, 1)]),
        ];
        for (scale, vectors) in cases {
            for (value, index) in vectors {
                let buckets = of(&[seconds(*value)]).buckets().downscaled((6 - scale) as u32);
                assert_eq!(buckets, HistogramBuckets { scale, offset: *index, counts: vec![1] }, "{value} at {scale}");
            }
        }
    }

    #[test]
    fn recording_into_a_covered_range_allocates_nothing() {
        let mut histogram = of(&[1_000_000, 1_000_000_000]);
        let memory = (histogram.counts.as_ptr(), histogram.counts.capacity());
        for nanos in (1_000_000..=1_000_000_000).step_by(9_973) {
            histogram.record(nanos);
        }
        histogram.merge(&of(&[2_000_000, 0]));
        histogram.clear();
        assert_eq!(histogram, Histogram::default());
        histogram.record(500_000_000);
        assert_eq!((histogram.counts.as_ptr(), histogram.counts.capacity()), memory);
    }

    #[test]
    fn memory_follows_the_spread_of_the_values() {
        let bytes = |values: &[u64]| of(values).counts.capacity() * 8;
        assert!(bytes(&[50_000_000]) <= 256, "{}", bytes(&[50_000_000]));
        assert!(bytes(&[50_000_000, 70_000_000, 30_000_000]) <= 1_024);
        assert!(bytes(&[0, 1, u64::MAX, 1_000_000]) <= 32 * 1_024 + 8);
    }

    #[test]
    fn a_count_at_its_end_stays_there() {
        let mut histogram = of(&[7]);
        histogram.count = u64::MAX;
        histogram.record(9);
        let full = histogram.clone();
        histogram.merge(&of(&[1, 2]));
        assert_eq!(histogram, full);
        assert_eq!(histogram.count(), u64::MAX);
    }

    #[test]
    fn values_around_one_second_never_become_one_bucket() {
        let buckets = of(&[1, 1_000_000_000, 1_000_000_001, u64::MAX]).buckets();
        for max in 0..3 {
            let coarse = buckets.at_most(max);
            assert_eq!((coarse.offset, coarse.counts), (-1, vec![2, 2]), "at most {max}");
        }
        assert_eq!(buckets.downscaled(u32::MAX).counts, vec![2, 2]);
        assert_eq!(of(&[1, 2, 3]).buckets().at_most(1).counts, vec![3]);
    }

    #[test]
    fn a_latency_belongs_to_the_power_of_two_at_or_above_it() {
        let cases = [(0, i32::MIN), (1, -29), (1_953_125, -9), (1_000_000_000, 0), (1_000_000_001, 1), (u64::MAX, 35)];
        for (nanos, exponent) in cases {
            assert_eq!(power_of_two_above(nanos), exponent, "{nanos}");
            assert_eq!(of(&[nanos]).count_up_to_power_of_two(exponent.max(-40)), 1, "{nanos}");
        }
    }

    #[test]
    fn quantiles_outside_of_zero_to_one_are_the_ends() {
        let histogram = of(&[3, 5, 8]);
        assert_eq!(histogram.quantile_nanos(-1.0), Some(3.0));
        assert_eq!(histogram.quantile_nanos(f64::NAN), Some(3.0));
        assert_eq!(histogram.quantile_nanos(f64::INFINITY), Some(8.0));
        assert_eq!(of(&[0, 0, 5]).quantile_nanos(0.5), Some(0.0));
    }

    proptest! {
        #[test]
        fn merging_is_commutative_and_associative(a in latencies(), b in latencies(), c in latencies()) {
            let (a, b, c) = (of(&a), of(&b), of(&c));
            prop_assert_eq!(merged(&[&a, &b]), merged(&[&b, &a]));
            prop_assert_eq!(merged(&[&merged(&[&a, &b]), &c]), merged(&[&a, &merged(&[&b, &c])]));
            prop_assert_eq!(merged(&[&a, &Histogram::default()]), a);
        }

        #[test]
        fn a_split_stream_merges_to_the_whole(values in latencies(), parts in prop::collection::vec(0_usize..3, 200)) {
            let part = |number| -> Vec<u64> {
                values.iter().zip(&parts).filter(|(_, part)| **part == number).map(|(nanos, _)| *nanos).collect()
            };
            let whole = merged(&[&of(&part(0)), &of(&part(1)), &of(&part(2))]);
            prop_assert_eq!(&whole, &of(&values));
            prop_assert_eq!(whole.buckets(), of(&values).buckets());
        }

        #[test]
        fn a_cleared_histogram_is_as_good_as_a_new_one(before in latencies(), after in latencies()) {
            let mut histogram = of(&before);
            histogram.clear();
            for nanos in &after {
                histogram.record(*nanos);
            }
            prop_assert_eq!(histogram, of(&after));
        }

        #[test]
        fn every_value_is_counted_once(values in latencies()) {
            let histogram = of(&values);
            let buckets = histogram.buckets();
            prop_assert_eq!(histogram.count(), values.len() as u64);
            prop_assert_eq!(histogram.zero_count() + buckets.counts.iter().sum::<u64>(), histogram.count());
            prop_assert_eq!(histogram.sum_nanos(), values.iter().map(|nanos| u128::from(*nanos)).sum::<u128>());
            prop_assert_eq!(histogram.min_nanos(), values.iter().min().copied());
            prop_assert_eq!(histogram.max_nanos(), values.iter().max().copied());
            prop_assert!(buckets.counts.first() != Some(&0) && buckets.counts.last() != Some(&0));
        }

        #[test]
        fn coarser_buckets_are_what_counting_coarsely_gives(values in latencies(), by in 0_u32..17) {
            let buckets = of(&values).buckets();
            let coarse = buckets.downscaled(by);
            prop_assert_eq!(coarse.scale, 6 - by as i32);
            let mut direct = BTreeMap::new();
            for nanos in values.iter().filter(|nanos| **nanos > 0) {
                *direct.entry(bucket::index(*nanos) >> by).or_insert(0) += 1;
            }
            let counted = (coarse.offset..).zip(coarse.counts.iter().copied()).filter(|(_, count)| *count > 0);
            prop_assert_eq!(counted.collect::<BTreeMap<_, _>>(), direct);
            prop_assert_eq!(buckets.downscaled(by / 2).downscaled(by - by / 2), coarse);
        }

        #[test]
        fn at_most_is_the_finest_that_fits(values in latencies(), max in 2_usize..400) {
            let buckets = of(&values).buckets();
            let coarse = buckets.at_most(max);
            let by = (buckets.scale - coarse.scale) as u32;
            prop_assert!(coarse.counts.len() <= max);
            prop_assert_eq!(&coarse, &buckets.downscaled(by));
            prop_assert!(by == 0 || buckets.downscaled(by - 1).counts.len() > max);
        }

        #[test]
        fn counting_up_to_a_power_of_two_is_exact(values in latencies(), exponent in -32_i32..37) {
            let direct = values.iter().filter(|nanos| match u32::try_from(exponent) {
                Ok(up) => u128::from(**nanos) <= 1_000_000_000_u128 << up,
                Err(_) => u128::from(**nanos) << exponent.unsigned_abs() <= 1_000_000_000,
            });
            prop_assert_eq!(of(&values).count_up_to_power_of_two(exponent), direct.count() as u64);
        }

        #[test]
        fn every_quantile_is_within_the_promised_error(mut values in latencies(), q in 0.0..=1.0_f64) {
            prop_assume!(!values.is_empty());
            let estimate = of(&values).quantile_nanos(q).unwrap();
            values.sort_unstable();
            let exact = values[(q * (values.len() - 1) as f64).round() as usize] as f64;
            prop_assert!((estimate - exact).abs() <= exact * WORST_ERROR, "{} for {}", estimate, exact);
        }

        #[test]
        fn quantiles_of_crowded_buckets_keep_the_promise(
            mut values in prop::collection::vec(100_000_000_u64..103_000_000, 1..500),
            q in 0.0..=1.0_f64,
        ) {
            let estimate = of(&values).quantile_nanos(q).unwrap();
            values.sort_unstable();
            let exact = values[(q * (values.len() - 1) as f64).round() as usize] as f64;
            prop_assert!((estimate - exact).abs() <= exact * WORST_ERROR, "{} for {}", estimate, exact);
        }
    }
}
