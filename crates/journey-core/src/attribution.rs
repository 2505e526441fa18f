//! Which leg is the bottleneck: mean share, and share at a percentile that adds up.

use crate::histogram::quantile_rank;

/// The fewest journeys around the quantile that an attribution looks at, where there are as many.
const MIN_NEIGHBOURS: usize = 20;

/// The largest part of all journeys that counts as "around the quantile".
const MAX_NEIGHBOUR_SHARE: f64 = 0.02;

/// Latencies of one finished journey over one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct LegVector<'a> {
    /// Latency of the segment, nanoseconds.
    pub total: i64,
    /// Latency of each leg inside it, nanoseconds; `None` where it is unknown, its time is then unexplained.
    ///
    /// A negative latency enters as measured.
    pub legs: &'a [Option<i64>],
}

/// How a segment's latency divides over its legs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribution {
    /// Journeys this rests on.
    pub journeys: usize,
    /// The quantile's value, nanoseconds, exact; 0 without journeys.
    pub at_quantile: f64,
    /// One entry a leg, in the order of the vectors; none without journeys.
    pub legs: Vec<LegShare>,
    /// Time that no leg explains; negative where legs overlap or skewed clocks make them longer than the whole.
    pub unexplained: LegShare,
}

/// The part of one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegShare {
    /// Sum of the leg over sum of the segment; 0 where the segment's sum is not positive.
    ///
    /// The shares of all legs and of what is unexplained add up to 1, and any of them may be negative.
    pub mean_share: f64,
    /// Its part of the quantile's value, nanoseconds; all parts and what is unexplained add up to it.
    pub at_quantile: f64,
    /// How often it was the largest, 0 to 1; of equally large ones the first counts.
    pub largest: f64,
}

/// Divides the latency of a segment at quantile `q` (0 to 1) over its legs.
///
/// The parts at the quantile are the mean parts among the journeys around it (at least 20, at most 2 % of all, where
/// there are as many), scaled so that they add up to its value. Where these journeys have no positive mean there is
/// nothing to scale by: the parts are then plain means, and what is unexplained takes the rest.
///
/// The order of the vectors makes no difference. A vector that is shorter than the longest lacks the further legs.
///
/// ```
/// use journey_core::{LegVector, attribute};
/// let shares = attribute(&[LegVector { total: 100, legs: &[Some(70), Some(20)] }], 0.95);
/// assert_eq!(shares.legs[0].at_quantile, 70.0);
/// assert_eq!(shares.unexplained.mean_share, 0.1);
/// ```
pub fn attribute(vectors: &[LegVector<'_>], q: f64) -> Attribution {
    let journeys = vectors.len();
    let width = vectors.iter().map(|vector| vector.legs.len()).max().unwrap_or(0);
    if journeys == 0 {
        return Attribution::default();
    }

    let mut order: Vec<&LegVector<'_>> = vectors.iter().collect();
    let rank = quantile_rank(q, journeys as u64) as usize;
    let around = neighbours(&mut order, rank, neighbour_count(journeys, q));
    let at_quantile = around.value as f64;

    let all = Sums::of(vectors.iter(), width);
    let near = Sums::of(around.vectors.iter().copied(), width);
    let scale = if near.total > 0 && around.value > 0 { at_quantile / near.total as f64 } else { 1.0 / near.count };

    let mut wins = vec![0_u64; width + 1];
    for vector in vectors {
        if let Some(winner) = largest(vector, width) {
            wins[winner] += 1;
        }
    }

    let share = |part: i128| if all.total > 0 { part as f64 / all.total as f64 } else { 0.0 };
    let legs: Vec<LegShare> = (0..width)
        .map(|leg| LegShare {
            mean_share: share(all.legs[leg]),
            at_quantile: near.legs[leg] as f64 * scale,
            largest: wins[leg] as f64 / journeys as f64,
        })
        .collect();
    let explained: f64 = legs.iter().map(|leg| leg.at_quantile).sum();
    let unexplained = LegShare {
        mean_share: share(all.total - all.legs.iter().sum::<i128>()),
        at_quantile: at_quantile - explained,
        largest: wins[width] as f64 / journeys as f64,
    };
    Attribution { journeys, at_quantile, legs, unexplained }
}

/// Sums over some journeys; wide enough for any number of latencies.
struct Sums {
    count: f64,
    total: i128,
    legs: Vec<i128>,
}

/// The journeys around a rank.
struct Neighbours<'v, 'a> {
    /// Total at the rank itself.
    value: i64,
    vectors: &'v [&'v LegVector<'a>],
}

impl Sums {
    fn of<'v, 'a: 'v>(vectors: impl Iterator<Item = &'v LegVector<'a>>, width: usize) -> Self {
        let mut sums = Self { count: 0.0, total: 0, legs: vec![0; width] };
        for vector in vectors {
            sums.count += 1.0;
            sums.total += i128::from(vector.total);
            for (sum, leg) in sums.legs.iter_mut().zip(vector.legs) {
                *sum += i128::from(leg.unwrap_or(0));
            }
        }
        sums
    }
}

/// How many journeys count as around quantile `q` of `journeys`.
fn neighbour_count(journeys: usize, q: f64) -> usize {
    let share = ((1.0 - q) / 2.0).clamp(0.0, MAX_NEIGHBOUR_SHARE);
    let wanted = (journeys as f64 * share).ceil() as usize;
    wanted.max(MIN_NEIGHBOURS).min(journeys)
}

/// Finds the `count` journeys around `rank` by total. Selects instead of sorting: that is linear in all journeys.
fn neighbours<'v, 'a>(order: &'v mut [&'v LegVector<'a>], rank: usize, count: usize) -> Neighbours<'v, 'a> {
    // Among equal totals the legs decide, so that the order in which journeys come does not.
    let by_total = |a: &&LegVector<'_>, b: &&LegVector<'_>| a.total.cmp(&b.total).then_with(|| a.legs.cmp(b.legs));
    let start = rank.saturating_sub(count / 2).min(order.len() - count);
    order.select_nth_unstable_by(start, by_total);
    let from_start = &mut order[start..];
    from_start.select_nth_unstable_by(count - 1, by_total);
    let around = &mut from_start[..count];
    let (_, at_rank, _) = around.select_nth_unstable_by(rank - start, by_total);
    Neighbours { value: at_rank.total, vectors: around }
}

/// The largest part of a journey above 0: the place of a leg, or `width` for what is unexplained.
fn largest(vector: &LegVector<'_>, width: usize) -> Option<usize> {
    let explained: i128 = vector.legs.iter().map(|leg| i128::from(leg.unwrap_or(0))).sum();
    let legs = vector.legs.iter().map(|leg| i128::from(leg.unwrap_or(0))).enumerate();
    let parts = legs.chain([(width, i128::from(vector.total) - explained)]);
    let mut best = (None, 0);
    for (place, part) in parts {
        if part > best.1 {
            best = (Some(place), part);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (i64, Vec<Option<i64>>);

    fn of(owned: &[Owned], q: f64) -> Attribution {
        let vectors: Vec<_> = owned.iter().map(|(total, legs)| LegVector { total: *total, legs }).collect();
        attribute(&vectors, q)
    }

    /// `count` journeys whose legs are `legs(number)`, all explained.
    fn explained(count: i64, legs: impl Fn(i64) -> [i64; 2]) -> Vec<Owned> {
        (0..count).map(|number| (legs(number).iter().sum(), legs(number).map(Some).to_vec())).collect()
    }

    #[test]
    fn no_journeys_have_no_shares() {
        assert_eq!(of(&[], 0.95), Attribution::default());
    }

    #[test]
    fn the_leg_that_is_long_in_slow_journeys_leads_at_the_95th_percentile_only() {
        // One in ten journeys waits 1000 in the second leg; the first takes 100 always.
        let journeys = explained(1_000, |number| [100, if number % 10 == 0 { 1_000 } else { 10 }]);
        let shares = of(&journeys, 0.95);
        assert_eq!(shares.at_quantile, 1_100.0);
        assert_eq!(shares.legs.iter().map(|leg| leg.at_quantile).collect::<Vec<_>>(), [100.0, 1_000.0]);
        assert_eq!(shares.legs.iter().map(|leg| leg.largest).collect::<Vec<_>>(), [0.9, 0.1]);
        assert!((shares.legs[0].mean_share - 100.0 / 209.0).abs() < 1e-12);
        assert_eq!(of(&journeys, 0.5).legs[1].at_quantile, 10.0);
    }

    #[test]
    fn the_time_of_an_unknown_leg_is_unexplained() {
        let shares = of(&[(100, vec![Some(30), None]), (100, vec![Some(30)])], 0.5);
        assert_eq!(
            shares.legs,
            [
                LegShare { mean_share: 0.3, at_quantile: 30.0, largest: 0.0 },
                LegShare { mean_share: 0.0, at_quantile: 0.0, largest: 0.0 },
            ]
        );
        assert_eq!(shares.unexplained, LegShare { mean_share: 0.7, at_quantile: 70.0, largest: 1.0 });
    }

    #[test]
    fn a_leg_longer_than_the_whole_leaves_less_than_nothing_unexplained() {
        let shares = of(&[(100, vec![Some(130), Some(-10)])], 0.5);
        assert_eq!(shares.legs[0], LegShare { mean_share: 1.3, at_quantile: 130.0, largest: 1.0 });
        assert!((shares.unexplained.mean_share + 0.2).abs() < 1e-12);
        assert!((shares.unexplained.at_quantile + 20.0).abs() < 1e-9);
    }

    #[test]
    fn totals_of_zero_and_below_give_numbers() {
        for total in [0, -5, i64::MIN] {
            let shares = of(&[(total, vec![Some(7), None]), (total, vec![Some(3), None])], 0.95);
            assert_eq!(shares.at_quantile, total as f64);
            assert_eq!((shares.legs[0].mean_share, shares.legs[0].at_quantile), (0.0, 5.0));
            assert!(shares.unexplained.at_quantile.is_finite());
        }
        assert_eq!(of(&[(0, vec![Some(0)])], f64::NAN).legs, [LegShare::default()]);
    }

    #[test]
    fn around_the_quantile_are_twenty_journeys_or_two_percent() {
        let count = |journeys, q| neighbour_count(journeys, q);
        assert_eq!((count(7, 0.95), count(300, 0.95), count(20_000, 0.95)), (7, 20, 400));
        // 1 - 1/64, half of which is 1/128.
        assert_eq!((count(12_800, 0.984_375), count(20_000, 0.999), count(20_000, 1.0)), (100, 20, 20));
        assert_eq!((count(20_000, 0.5), count(20_000, -3.0), count(5, 9.0)), (400, 400, 5));
    }

    fn journeys() -> impl Strategy<Value = Vec<Owned>> {
        let latency = prop_oneof![4 => 0..5_000_000_000_i64, 1 => -1_000_000..0_i64, 1 => Just(0)];
        let legs = prop::collection::vec(prop::option::weighted(0.9, latency), 0..5);
        let journey = (legs, -1_000_000..1_000_000_000_i64)
            .prop_map(|(legs, gap)| (legs.iter().flatten().sum::<i64>() + gap, legs));
        prop::collection::vec(journey, 0..120)
    }

    proptest! {
        #[test]
        fn the_parts_at_the_quantile_add_up_to_its_value(journeys in journeys(), q in 0.0..=1.0_f64) {
            let shares = of(&journeys, q);
            let parts = shares.legs.iter().chain([&shares.unexplained]);
            let sum: f64 = parts.clone().map(|part| part.at_quantile).sum();
            let size: f64 = parts.clone().map(|part| part.at_quantile.abs()).sum();
            prop_assert!((sum - shares.at_quantile).abs() <= size * 1e-12, "{} {}", sum, shares.at_quantile);

            let mut totals: Vec<i64> = journeys.iter().map(|(total, _)| *total).collect();
            totals.sort_unstable();
            let exact = totals.get((q * totals.len().saturating_sub(1) as f64).round() as usize).copied();
            prop_assert_eq!(shares.at_quantile, exact.unwrap_or(0) as f64);
        }

        #[test]
        fn mean_shares_add_up_to_one_and_nothing_is_nan(journeys in journeys(), q in 0.0..=1.0_f64) {
            let shares = of(&journeys, q);
            let parts: Vec<LegShare> = shares.legs.iter().copied().chain([shares.unexplained]).collect();
            prop_assert!(parts.iter().all(|part| part.mean_share.is_finite() && part.at_quantile.is_finite()));
            prop_assert!(parts.iter().all(|part| (0.0..=1.0).contains(&part.largest)));
            let total: i64 = journeys.iter().map(|(total, _)| *total).sum();
            let sum: f64 = parts.iter().map(|part| part.mean_share).sum();
            let size: f64 = parts.iter().map(|part| part.mean_share.abs()).sum();
            let expected = if total > 0 { 1.0 } else { 0.0 };
            prop_assert!((sum - expected).abs() <= size * 1e-12 + 1e-12, "{}", sum);
            prop_assert!(parts.iter().map(|part| part.largest).sum::<f64>() <= 1.0 + 1e-9);
        }

        #[test]
        fn the_order_of_journeys_makes_no_difference(
            (sorted, shuffled) in journeys().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
            q in 0.0..=1.0_f64,
        ) {
            prop_assert_eq!(of(&sorted, q), of(&shuffled, q));
        }
    }
}
