//! Where in a span a value stands, and how it is written there over the one before, at the same length.

use crate::{layout::Placed, model::unix_nanos};

/// Key of a span among others, and two bytes for its length: every span of ours has 128 to 16 383 bytes.
pub(super) const SPAN_HEAD: usize = 3;
/// Where ids are in a span.
pub(super) const TRACE_ID_AT: usize = SPAN_HEAD + 2;
pub(super) const SPAN_ID_AT: usize = TRACE_ID_AT + 16 + 2;
pub(super) const PARENT_ID_AT: usize = SPAN_ID_AT + 8 + 2;

pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// Start and end, with the key of the end between them.
pub(super) fn put_period(span: &mut [u8], at: usize, placed: Placed) {
    put(span, at, unix_nanos(placed.start).to_le_bytes());
    put(span, at + 9, unix_nanos(placed.end).to_le_bytes());
}

/// The length of a span that ends with its bytes.
pub(super) fn put_length(span: &mut [u8]) {
    let length = span.len() - SPAN_HEAD;
    debug_assert!((0x80..0x4000).contains(&length), "{length}");
    put(span, 1, [length as u8 | 0x80, (length >> 7) as u8]);
}

/// A number into as many bytes as it takes.
pub(super) fn put_varint(bytes: &mut [u8], value: u64) {
    if let [eight @ .., last] = bytes
        && let Some(eight) = eight.first_chunk_mut::<8>()
        && value >> 63 == 0
    {
        // Instants of our time are nine bytes: seven bits into each at once.
        let mut spread = value & 0x00ff_ffff_ffff_ffff;
        spread = spread & 0x0fff_ffff | (spread & 0x00ff_ffff_f000_0000) << 4;
        spread = spread & 0x0000_3fff_0000_3fff | (spread & 0x0fff_c000_0fff_c000) << 2;
        spread = spread & 0x007f_007f_007f_007f | (spread & 0x3f80_3f80_3f80_3f80) << 1;
        *eight = (spread | 0x8080_8080_8080_8080).to_le_bytes();
        *last = (value >> 56) as u8;
        return;
    }
    let mut rest = value;
    for byte in bytes {
        *byte = rest as u8 & 0x7f | if rest < 0x80 { 0 } else { 0x80 };
        rest >>= 7;
    }
}

pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    #[test]
    fn every_number_is_written_as_a_varint() {
        for shift in 0..64 {
            for value in [1 << shift, (1 << shift) - 1, u64::MAX >> shift, 1_800_000_000_000_000_000 >> shift] {
                let mut bytes = vec![0xee; varint_len(value)];
                put_varint(&mut bytes, value);
                let mut expected = Vec::new();
                Writer(&mut expected).varint(value);
                assert_eq!(bytes, expected, "{value}");
            }
        }
    }
}
