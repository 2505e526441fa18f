//! Which numbers come next? A small seeded generator, so that a run can be told again.

use std::time::Duration;

/// A splitmix64 generator: good enough to make traffic look alive, and no dependency.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end - 1`; 0 where `end` is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// A number from 0 up to, not including, 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A duration as networks and language models have them: mostly near the median, with a long tail.
    ///
    /// Log-normal; never more than ten times the median, so that a run has an end.
    pub(super) fn latency(&mut self, median: Duration, spread: f64) -> Duration {
        // Box and Muller: two even numbers make one of the bell curve. The first must not be 0.
        let (u, v) = (1.0 - self.unit(), self.unit());
        let bell = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        median.mul_f64((spread * bell).exp().min(10.0))
    }

    /// A duration between two arrivals that know nothing of each other.
    pub(super) fn gap(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.unit()).ln())
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_same_numbers_again() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn half_of_the_latencies_are_below_the_median_and_none_is_endless() {
        let mut random = Random::new(1);
        let median = Duration::from_millis(20);
        let drawn: Vec<_> = (0..4_000).map(|_| random.latency(median, 0.6)).collect();
        let below = drawn.iter().filter(|latency| **latency < median).count();
        assert!((1_800..2_200).contains(&below), "{below} of 4000");
        assert!(drawn.iter().all(|latency| *latency > Duration::ZERO && *latency <= median * 10));
    }
}
