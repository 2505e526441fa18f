//! Which bucket does a latency fall into, and where are its edges?
//!
//! Buckets are counted in seconds and latencies come in whole nanoseconds, so a bucket's edge is the irrational number
//! `10^9 * 2^(j/64)` of nanoseconds. A whole number is at most such an edge exactly when it is at most the edge rounded
//! down, which makes integer comparison with 64 rounded edges exact: no logarithm and no rounding is involved.

/// Logarithm of the number of buckets per power of two.
pub(super) const SCALE: i32 = 6;

/// Buckets per power of two.
const PER_OCTAVE: i32 = 1 << SCALE;

const NANOS_PER_SECOND: f64 = 1e9;

/// `floor(10^9 * 2^34 * 2^(t/64))` for `t` from -57 to 6: every edge of the octave from `2^63` to `2^64`, ascending.
const EDGES: [u64; PER_OCTAVE as usize] = [
    0x8099_2abb_83a5_34a2,
    0x81ff_a7a9_549c_a6e3,
    0x836a_0bee_9d9d_5401,
    0x84d8_626d_3118_d396,
    0x864a_b625_376b_7b77,
    0x87c1_1235_836d_16a3,
    0x893b_81db_e7ed_5966,
    0x8aba_1075_8e1e_a3cf,
    0x8c3c_c97f_4cf1_aadd,
    0x8dc3_b896_0164_a7d9,
    0x8f4e_e976_e7c8_b4cc,
    0x90de_67ff_f600_044c,
    0x9272_4030_36b7_aa56,
    0x940a_7e28_259f_b382,
    0x95a7_2e2a_0ca4_4f7c,
    0x9748_5c9a_622a_db60,
    0x98ee_1600_2855_a076,
    0x9a98_6705_4d51_2391,
    0x9c47_5c77_0cad_e96d,
    0x9dfb_0346_51c9_9c68,
    0x9fb3_6888_1b4a_8811,
    0xa170_9975_dfb0_6757,
    0xa332_a36d_f2fd_8a6a,
    0xa4f9_93f3_ed7b_61ca,
    0xa6c5_78b1_139d_848c,
    0xa896_5f74_bf06_5071,
    0xaa6c_5634_c8b0_4b16,
    0xac47_6b0d_f43f_745f,
    0xae27_ac44_5c7d_c318,
    0xb00d_2843_e106_0dc2,
    0xb1f7_eda0_9520_aa93,
    0xb3e8_0b17_2fd5_1af7,
    0xb5dd_8f8d_7d34_1ffd,
    0xb7d8_8a12_d0dd_9ea0,
    0xb9d9_09e0_79c5_c456,
    0xbbdf_1e5a_373c_e5c6,
    0xbdea_d70e_af3d_9b5a,
    0xbffc_43b7_e604_a922,
    0xc213_743b_b6f6_4957,
    0xc430_78ac_4ed4_7ae7,
    0xc653_6148_a749_ff7d,
    0xc87c_3e7d_03cd_bec3,
    0xcaab_20e3_6fe2_4ee5,
    0xcce0_1944_3eb5_6ce4,
    0xcf1b_3896_8c23_39b8,
    0xd15c_9000_bf21_1c1f,
    0xd3a4_30d9_0d94_3190,
    0xd5f2_2ca6_0197_43e0,
    0xd846_951f_0034_440a,
    0xdaa1_7c2c_d195_55db,
    0xdd02_f3ea_2ab1_8362,
    0xdf6b_0ea4_3879_3a89,
    0xe1d9_dedb_2c86_c2b2,
    0xe44f_7742_cb56_e3dd,
    0xe6cb_eac2_fc0e_04aa,
    0xe94f_4c78_59ce_1066,
    0xebd9_afb4_c6a1_8262,
    0xee6b_2800_0000_0000,
    0xf103_c918_34f0_f723,
    0xf3a3_a6f2_9dd0_c333,
    0xf64a_d5bc_15bc_e751,
    0xf8f9_69d9_b5ab_f948,
    0xfbaf_77e9_7135_e555,
    0xfe6d_14c2_b511_4024,
];

/// Place in [`EDGES`] of one second, which is `10^9 * 2^34` there.
const ONE_SECOND: i32 = 57;
const ONE_SECOND_SHIFT: i32 = 34;

/// Cells that an octave is cut into for the first guess. Edges are at least 1/92 of an octave apart, so none of the
/// 128 cells holds two of them and one comparison settles the rest.
const CELLS: usize = 128;

/// Number of edges below each cell.
const EDGES_BELOW: [u8; CELLS] = edges_below();

/// Index of the bucket of one nanosecond, the lowest there is.
pub(super) const LOWEST: i32 = index(1);
/// Index of the bucket of the longest latency.
pub(super) const HIGHEST: i32 = index(u64::MAX);

/// Index of the bucket of a latency above 0: the `i` with `base^i < nanos * 10^-9 <= base^(i+1)`, exactly.
pub(super) const fn index(nanos: u64) -> i32 {
    debug_assert!(nanos > 0);
    let shift = nanos.leading_zeros();
    let mantissa = nanos << shift;
    // The bit below the leading one and its six neighbours.
    let cell = (mantissa >> 56) as usize & (CELLS - 1);
    let guess = EDGES_BELOW[cell] as usize;
    let past = guess < EDGES.len() && mantissa > EDGES[guess];
    let edges_below = guess as i32 + past as i32;
    (edges_below - ONE_SECOND - 1) + PER_OCTAVE * (ONE_SECOND_SHIFT - shift as i32)
}

/// The lower edge of a bucket in nanoseconds, to the precision of an `f64`.
pub(super) fn lower_edge(index: i32) -> f64 {
    (f64::from(index) / f64::from(PER_OCTAVE)).exp2() * NANOS_PER_SECOND
}

const fn edges_below() -> [u8; CELLS] {
    let mut below = [0; CELLS];
    let mut cell = 0;
    while cell < CELLS {
        let start = (1 << 63) | ((cell as u64) << 56);
        let mut edge = 0;
        while edge < EDGES.len() && EDGES[edge] < start {
            edge += 1;
        }
        below[cell] = edge as u8;
        cell += 1;
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A natural number of any size, least significant digits first.
    type Natural = Vec<u64>;

    fn times(a: &Natural, b: &Natural) -> Natural {
        let mut product = vec![0_u64; a.len() + b.len()];
        for (i, x) in a.iter().enumerate() {
            let mut carry = 0;
            for (j, y) in b.iter().enumerate() {
                let sum = u128::from(product[i + j]) + u128::from(*x) * u128::from(*y) + carry;
                product[i + j] = sum as u64;
                carry = sum >> 64;
            }
            product[i + b.len()] = carry as u64;
        }
        product
    }

    fn shifted(a: &Natural, bits: u32) -> Natural {
        let power = [vec![0; bits as usize / 64], vec![1 << (bits % 64)]].concat();
        times(a, &power)
    }

    fn to_the_64th(a: u64) -> Natural {
        (0..6).fold(vec![a], |power, _| times(&power, &power))
    }

    fn at_most(a: &Natural, b: &Natural) -> bool {
        let digit = |number: &Natural, at: usize| number.get(at).copied().unwrap_or(0);
        (0..a.len().max(b.len()))
            .rev()
            .map(|at| digit(a, at).cmp(&digit(b, at)))
            .find(|order| order.is_ne())
            .is_none_or(std::cmp::Ordering::is_lt)
    }

    /// Whether `nanos * 10^-9 <= 2^(exponent/64)`, by whole numbers: both sides to the power of 64.
    fn is_at_most(nanos: u64, exponent: i32) -> bool {
        let second = to_the_64th(1_000_000_000);
        match u32::try_from(exponent) {
            Ok(up) => at_most(&to_the_64th(nanos), &shifted(&second, up)),
            Err(_) => at_most(&shifted(&to_the_64th(nanos), exponent.unsigned_abs()), &second),
        }
    }

    fn assert_exact(nanos: u64) {
        let index = index(nanos);
        assert!(is_at_most(nanos, index + 1), "{nanos} is above the upper edge of bucket {index}");
        assert!(!is_at_most(nanos, index), "{nanos} is not above the lower edge of bucket {index}");
    }

    #[test]
    fn both_sides_of_every_edge_fall_into_the_right_bucket() {
        for shift in 0..64 {
            for edge in EDGES {
                let below = edge >> shift;
                if below > 0 {
                    assert_exact(below);
                }
                assert_exact(below + 1);
            }
        }
        assert_exact(1);
        assert_exact(u64::MAX);
        assert_eq!((LOWEST, HIGHEST), (-1914, 2182));
    }

    #[test]
    fn powers_of_two_seconds_belong_to_the_bucket_below() {
        // From 2^-9 s (1953125 ns) upwards a power of two is a whole number of nanoseconds.
        for exponent in -9..=34 {
            let nanos = if exponent < 0 { 1_000_000_000 >> -exponent } else { 1_000_000_000 << exponent };
            assert_eq!(index(nanos), (exponent << SCALE) - 1, "2^{exponent} s");
            assert_eq!(index(nanos + 1), exponent << SCALE, "one more than 2^{exponent} s");
            assert_exact(nanos - 1);
        }
        // Below, the whole numbers on its two sides are in neighbouring octaves.
        for exponent in -29..-9 {
            let nanos = 1_000_000_000 >> -exponent;
            assert!(index(nanos) < exponent << SCALE, "2^{exponent} s");
            assert!(index(nanos + 1) >= exponent << SCALE, "2^{exponent} s");
        }
    }

    #[test]
    fn two_million_random_latencies_fall_where_the_logarithm_says() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut close_calls = 0;
        for _ in 0..2_000_000 {
            // xorshift; the shift spreads the values evenly over all octaves.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let nanos = (state >> (state & 63)).max(1);
            let by_logarithm = (nanos as f64 / 1e9).log2() * 64.0;
            if (by_logarithm - by_logarithm.round()).abs() > 1e-9 {
                assert_eq!(index(nanos), by_logarithm.ceil() as i32 - 1, "{nanos}");
            } else {
                // Too close to an edge for a logarithm of 53 bits.
                close_calls += 1;
                assert_exact(nanos);
            }
        }
        assert!(close_calls < 1_000, "{close_calls}");
    }

    #[test]
    fn an_edge_lies_between_its_two_buckets() {
        for shift in 0..40 {
            let edge = EDGES[0] >> shift;
            let upper = lower_edge(index(edge) + 1);
            assert!((upper - edge as f64) / upper < 1e-4 && upper * (1.0 + 1e-15) >= edge as f64, "{edge} {upper}");
        }
    }
}
