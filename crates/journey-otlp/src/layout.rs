//! Where legs stand in the picture of a trace: inside the root, in a row, wide enough to be seen.
//!
//! Measured legs can be zero or negative (two clocks), spans cannot. What moves here is only the picture; the measured
//! instants are attributes of each span.

/// The shortest span: back ends show microseconds.
pub(crate) const SHORTEST: i64 = 1_000;

/// A leg as it was measured, unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Places of its ends in the order of stages.
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) from_at: i64,
    pub(crate) to_at: i64,
}

/// Start and end of a span, unix nanoseconds; the end is later by at least [`SHORTEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Places legs one after the other, in the order of their end, and then the root around them.
///
/// A leg starts no earlier than the one before it ends, so neighbours touch where they were measured so. Only a leg that
/// was declared beside others (it starts at a stage that an earlier leg has already passed) may overlap them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    first: i64,
    reached: i64,
    furthest: usize,
}

impl Row {
    /// Starts at the first instant of the journey.
    pub(crate) fn new(first: i64) -> Self {
        Self { first, reached: first, furthest: 0 }
    }

    /// Places the next leg.
    pub(crate) fn place(&mut self, leg: Measured) -> Placed {
        let beside = leg.from < self.furthest;
        let start = leg.from_at.max(if beside { self.first } else { self.reached });
        let end = leg.to_at.max(start.saturating_add(SHORTEST));
        self.reached = self.reached.max(end);
        self.furthest = self.furthest.max(leg.to);
        Placed { start, end }
    }

    /// Places the root; `last` is the last instant of the journey.
    pub(crate) fn root(&self, last: i64) -> Placed {
        let end = last.max(self.reached).max(self.first.saturating_add(SHORTEST));
        Placed { start: self.first, end }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(first: i64, last: i64, legs: &[Measured]) -> (Placed, Vec<Placed>) {
        let mut row = Row::new(first);
        let placed = legs.iter().map(|leg| row.place(*leg)).collect();
        (row.root(last), placed)
    }

    fn chain(instants: &[i64]) -> Vec<Measured> {
        let pairs = instants.windows(2).enumerate();
        pairs.map(|(at, pair)| Measured { from: at, to: at + 1, from_at: pair[0], to_at: pair[1] }).collect()
    }

    fn picture(instants: &[i64]) -> Vec<(i64, i64)> {
        let (first, last) = (*instants.iter().min().unwrap(), *instants.iter().max().unwrap());
        let (root, legs) = place(first, last, &chain(instants));
        [root].into_iter().chain(legs).map(|one| (one.start, one.end)).collect()
    }

    #[test]
    fn measured_legs_stand_where_they_were_measured() {
        assert_eq!(picture(&[0, 5_000, 9_000]), [(0, 9_000), (0, 5_000), (5_000, 9_000)]);
    }

    #[test]
    fn a_leg_of_zero_is_a_microsecond_wide_and_the_next_one_touches_it() {
        assert_eq!(picture(&[0, 0, 9_000]), [(0, 9_000), (0, 1_000), (1_000, 9_000)]);
    }

    #[test]
    fn a_negative_leg_does_not_reach_back_into_the_leg_before_it() {
        assert_eq!(picture(&[0, 9_000, 4_000, 20_000]), [(0, 20_000), (0, 9_000), (9_000, 10_000), (10_000, 20_000)]);
    }

    #[test]
    fn the_root_grows_where_a_wide_enough_leg_would_stick_out() {
        assert_eq!(picture(&[0, 0, 0]), [(0, 2_000), (0, 1_000), (1_000, 2_000)]);
    }

    #[test]
    fn a_leg_declared_beside_others_keeps_its_place() {
        let legs = [
            Measured { from: 0, to: 1, from_at: 0, to_at: 50_000 },
            Measured { from: 0, to: 2, from_at: 0, to_at: 90_000 },
        ];
        let (_, placed) = place(0, 90_000, &legs);
        assert_eq!(placed[1], Placed { start: 0, end: 90_000 });
    }

    proptest! {
        #[test]
        fn legs_of_any_journey_lie_in_a_row_inside_the_root(
            instants in prop::collection::vec(prop_oneof![0..10_000_i64, any::<i64>()], 2..12),
            gone in any::<u16>(),
        ) {
            let legs: Vec<Measured> =
                chain(&instants).into_iter().filter(|leg| gone >> leg.to & 1 == 0).collect();
            // Instants near the end of time have no room for another microsecond.
            prop_assume!(instants.iter().all(|at| *at < i64::MAX - 100 * SHORTEST));
            let first = *instants.iter().min().unwrap();
            let last = *instants.iter().max().unwrap();
            let (root, placed) = place(first, last, &legs);
            prop_assert_eq!(root.start, first);
            prop_assert!(root.end >= last);
            for leg in &placed {
                prop_assert!(leg.start >= root.start && leg.end <= root.end, "{leg:?} in {root:?}");
                prop_assert!(leg.end.checked_sub(leg.start).is_none_or(|width| width >= SHORTEST));
            }
            for (pair, measured) in placed.windows(2).zip(legs.windows(2)) {
                prop_assert!(pair[0].end <= pair[1].start);
                if measured[0].to_at == measured[1].from_at && measured[1].from_at >= pair[0].start {
                    prop_assert_eq!(pair[0].end, pair[1].start);
                }
            }
        }
    }
}
