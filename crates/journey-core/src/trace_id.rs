//! The ids under which a journey is exported: the same journey gives the same ids, wherever they are computed.

/// The key of the hash behind trace ids; the same in all processes that export parts of one journey.
#[derive(Clone)]
pub struct TraceIdKey([u8; 32]);

impl TraceIdKey {
    /// Derives a key from a secret text. The empty text is the default key.
    ///
    /// With a key of one's own, ids cannot be computed from outside, so callers can neither learn correlation ids
    /// from trace ids nor choose ids that dodge sampling.
    pub fn new(secret: &str) -> Self {
        Self(blake3::derive_key("journey 2026-11 trace ids", secret.as_bytes()))
    }

    /// The trace id of one journey: a keyed hash of route, id and generation.
    ///
    /// Never zero, and its last 7 bytes are uniform and never all zero, as W3C Trace Context level 2 asks of samplers'
    /// randomness. It is not the UUID itself even where the correlation id is one: the variant bits of a UUID make
    /// ratio samplers keep all or nothing.
    pub fn trace_id(&self, route: &str, correlation_id: &str, generation: u32) -> u128 {
        let parts: [&[u8]; 6] =
            [b"journey/1\0", route.as_bytes(), b"\0", correlation_id.as_bytes(), b"\0", &generation.to_be_bytes()];
        let mut attempt = 0_u32;
        loop {
            let id = u128::from_be_bytes(first(self.hash(&parts, attempt).as_bytes()));
            if id & ((1 << 56) - 1) != 0 {
                return id;
            }
            attempt += 1;
        }
    }

    /// The keyed hash of all parts in a row.
    fn hash(&self, parts: &[&[u8]], attempt: u32) -> blake3::Hash {
        // In one piece it is several times as quick: names and ids are short, so that this is the rule.
        let mut whole = [0; 256];
        let mut len = 0;
        for part in parts.iter().copied().chain([&attempt.to_be_bytes()[..]]) {
            let Some(place) = whole.get_mut(len..len + part.len()) else { return self.hash_long(parts, attempt) };
            place.copy_from_slice(part);
            len += part.len();
        }
        blake3::keyed_hash(&self.0, &whole[..len])
    }

    #[cold]
    fn hash_long(&self, parts: &[&[u8]], attempt: u32) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        hasher.update(&attempt.to_be_bytes()).finalize()
    }
}

impl Default for TraceIdKey {
    fn default() -> Self {
        Self::new("")
    }
}

impl std::fmt::Debug for TraceIdKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TraceIdKey(..)")
    }
}

/// The id of the root span of an exported journey: derived from the trace id, never zero.
pub fn root_span_id(trace_id: u128) -> u64 {
    SpanIdSeed::ROOT.span_id(trace_id)
}

/// The id of the span of one leg of an exported journey: derived from the trace id, never zero.
///
/// The trace id is a keyed hash already, so a mix is enough here: FNV-1a (Fowler, Noll, Vo) of the name, and the
/// finalizer of SplitMix64 (Steele, Lea, Flood 2014).
pub fn span_id_for_leg(trace_id: u128, leg: &str) -> u64 {
    SpanIdSeed::of_leg(leg).span_id(trace_id)
}

/// The part of a span's id that is the same in all traces: made once for each leg of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanIdSeed(u64);

impl SpanIdSeed {
    /// Of the root span: no leg has an empty name.
    pub const ROOT: Self = Self::of_leg("");

    /// Of the span of one leg.
    pub const fn of_leg(leg: &str) -> Self {
        let name = leg.as_bytes();
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        let mut at = 0;
        while at < name.len() {
            hash = (hash ^ name[at] as u64).wrapping_mul(0x0000_0100_0000_01B3);
            at += 1;
        }
        Self(hash)
    }

    /// The id of the span in a trace, as [`span_id_for_leg`] gives it.
    pub const fn span_id(self, trace_id: u128) -> u64 {
        let mut mixed = self.0 ^ (trace_id as u64) ^ ((trace_id >> 64) as u64).rotate_left(32);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The mix is a bijection, so only one input in 2^64 gives zero.
        if mixed == 0 { 1 } else { mixed }
    }
}

fn first<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_journey_gives_the_same_ids_and_any_other_gives_others() {
        let key = TraceIdKey::default();
        let id = key.trace_id("message", "msg_1", 1);
        assert_eq!(id, TraceIdKey::new("").trace_id("message", "msg_1", 1));
        let others = [
            key.trace_id("message", "msg_1", 2),
            key.trace_id("message", "msg_2", 1),
            key.trace_id("messag", "emsg_1", 1),
            TraceIdKey::new("secret").trace_id("message", "msg_1", 1),
        ];
        assert_eq!(others.iter().chain([&id]).collect::<HashSet<_>>().len(), 5);
        let route = crate::route::Route::message();
        let spans: HashSet<u64> = route.legs().iter().map(|leg| span_id_for_leg(id, &leg.name)).collect();
        assert!(spans.len() == 11 && !spans.contains(&root_span_id(id)) && !spans.contains(&0));
    }

    #[test]
    fn a_long_name_and_id_are_hashed_as_a_short_one_is() {
        let key = TraceIdKey::default();
        let parts: [&[u8]; 2] = [&[b'a'; 100], b"b"];
        assert_eq!(key.hash(&parts, 7), key.hash_long(&parts, 7));
        for length in [1, 128, 200, 300] {
            assert_ne!(key.trace_id("message", &"x".repeat(length), 1), key.trace_id("message", "y", 1));
        }
        // Ids are the same in all versions: parts of a journey may be exported by several.
        assert_eq!(key.trace_id("message", "msg_1", 1), 0x31da_de5b_4d02_5de1_2ceb_8ce7_df9e_fd06);
    }

    #[test]
    fn the_last_seven_bytes_are_uniform() {
        let key = TraceIdKey::default();
        let mut counts = [[0_u32; 256]; 7];
        let journeys = 20_000;
        for number in 0..journeys {
            let bytes = key.trace_id("message", &format!("msg_{number}"), 1).to_be_bytes();
            for (count, byte) in counts.iter_mut().zip(&bytes[9..]) {
                count[usize::from(*byte)] += 1;
            }
        }
        let expected = f64::from(journeys) / 256.0;
        for count in counts {
            let chi2: f64 = count.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
            // 255 degrees of freedom: beyond 330 lies less than one in a thousand; the ids are fixed, so this is stable.
            assert!(chi2 < 330.0, "{chi2}");
        }
    }

    #[test]
    fn a_ratio_sampler_keeps_its_ratio_on_derived_ids() {
        // The Rust SDK compares bytes 8..16, shifted right by one, with ratio * 2^63; a UUID's variant bits break that.
        let key = TraceIdKey::default();
        for ratio in [0.1, 0.5, 0.9] {
            let bound = (ratio * (1_u64 << 63) as f64) as u64;
            let kept = (0..20_000).filter(|n| (key.trace_id("message", &n.to_string(), 1) as u64) >> 1 < bound).count();
            assert!((kept as f64 / 20_000.0 - ratio).abs() < 0.015, "{ratio}: {kept}");
        }
    }
}
