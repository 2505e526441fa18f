//! Which traces a day certainly does not have, in few bytes.

use crate::event::TraceId;

/// Bits for each trace: with [`PROBES`], one in a hundred that is not there seems to be.
const BITS_PER_TRACE: usize = 10;

/// Bits that are set for each trace.
const PROBES: u64 = 7;

/// How many traces the first part is made for; each further one is for twice as many.
const FIRST_CAPACITY: usize = 4_096;

/// A set of trace ids that forgets nothing and now and then claims too much (Bloom 1970). It grows by parts.
#[derive(Debug, Default)]
pub(super) struct TraceFilter {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    bits: Vec<u64>,
    /// Traces that it still has room for.
    room: usize,
}

impl TraceFilter {
    pub(super) fn insert(&mut self, id: TraceId) {
        if self.parts.last().is_none_or(|part| part.room == 0) {
            let capacity = FIRST_CAPACITY << self.parts.len().min(24);
            self.parts.push(Part { bits: vec![0; capacity * BITS_PER_TRACE / 64], room: capacity });
        }
        let Some(part) = self.parts.last_mut() else { return };
        part.room -= 1;
        for place in probes(id, part.bits.len()) {
            part.bits[place / 64] |= 1 << (place % 64);
        }
    }

    /// `false`: it was never inserted.
    pub(super) fn may_contain(&self, id: TraceId) -> bool {
        let is_set = |part: &Part, place: usize| part.bits[place / 64] & (1 << (place % 64)) != 0;
        self.parts.iter().any(|part| probes(id, part.bits.len()).all(|place| is_set(part, place)))
    }
}

/// The bits of an id. Ids may come from outside, so they are mixed first (SplitMix64, Steele, Lea, Flood 2014).
fn probes(id: TraceId, words: usize) -> impl Iterator<Item = usize> {
    let (high, low) = ((id.get() >> 64) as u64, id.get() as u64);
    let first = mix(low ^ mix(high));
    let step = mix(first) | 1;
    (0..PROBES).map(move |probe| (first.wrapping_add(probe.wrapping_mul(step)) % (words as u64 * 64)) as usize)
}

fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_there_and_little_else_seems_to_be() {
        let mut filter = TraceFilter::default();
        let trace = |number: u128| TraceId::new(number).unwrap();
        assert!(!filter.may_contain(trace(1)));
        // Ids in a row, the worst that a client may send.
        for number in 1..=100_000 {
            filter.insert(trace(number));
        }
        assert!((1..=100_000).all(|number| filter.may_contain(trace(number))));
        let wrong = (100_001..=200_000).filter(|number| filter.may_contain(trace(*number))).count();
        // One in a hundred of each of the five parts.
        assert!(wrong < 5_000, "{wrong} of 100 000");
        let bytes: usize = filter.parts.iter().map(|part| part.bits.len() * 8).sum();
        assert!(bytes < 200_000, "{bytes}");
    }
}
