//! UUIDs in their usual text as sixteen bytes, exactly reversible: an id that is written otherwise stays text.

/// Where the dashes are: `01234567-89ab-cdef-0123-456789abcdef`.
const DASHES: [usize; 4] = [8, 13, 18, 23];
/// The characters of a UUID.
pub(crate) const LEN: usize = 36;

/// The sixteen bytes of a UUID; `None` unless the text is one in small letters, with its four dashes and nothing else.
pub(crate) fn pack(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; LEN] = text.try_into().ok()?;
    if DASHES.into_iter().any(|dash| text[dash] != b'-') {
        return None;
    }
    // Eight digits at once: this is done for every checkpoint.
    let four = |at: usize| u32::from_be_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
    let eight = |first: usize, second: usize| u64::from(four(first)) << 32 | u64::from(four(second));
    let parts = [eight(0, 4), eight(9, 14), eight(19, 24), eight(28, 32)];
    let [a, b, c, d] = parts.map(digits);
    let [a, b, c, d] = [a?.to_be_bytes(), b?.to_be_bytes(), c?.to_be_bytes(), d?.to_be_bytes()];
    let mut bytes = [0; 16];
    for (place, part) in bytes.chunks_exact_mut(4).zip([a, b, c, d]) {
        place.copy_from_slice(&part);
    }
    Some(bytes)
}

/// The number that eight digits write, the first of them in the highest byte; `None` where one of them is no digit.
fn digits(text: u64) -> Option<u32> {
    /// A byte eight times.
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // Of all characters that are digits, letters alone have the bit of 0x40. No byte here ever carries into the next.
    let letters = text >> 6 & each(1);
    let values = (text & each(0x0f)) + letters * 9;
    let is_letter = (values + each(6)) >> 4 & each(1);
    // Whatever is no digit is written otherwise than it was read.
    if values & each(0xf0) != 0 || values + each(b'0') + is_letter * u64::from(b'a' - b'0' - 10) != text {
        return None;
    }
    let pairs = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((fours | fours >> 16) as u32)
}

/// The text that [`pack`] read.
pub(crate) fn text(bytes: [u8; 16]) -> [u8; LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; LEN];
    let mut at = 0;
    for byte in bytes {
        if DASHES.contains(&at) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 0xf)];
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_usual_text_is_packed() {
        let usual = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(
            pack(usual.as_bytes()),
            Some([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef])
        );
        for other in [
            "01234567-89AB-CDEF-0123-456789ABCDEF",
            "01234567-89ab-cdef-0123-456789abcdeF",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
            "0123456789abcdef0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "01234567-89ab-cdef-0123-456789abcde",
            "01234567-89ab-cdef-0123-456789abcdef0",
            "01234567+89ab-cdef-0123-456789abcdef",
            "0123456-789ab-cdef-0123-456789abcdef",
            "01234567-89ab-cdef-0123-456789abcd-f",
            "01234567-89ab-cdef-0123-456789abcd\u{e9}",
            "",
        ] {
            assert_eq!(pack(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn every_character_at_every_place_is_a_digit_or_refused() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *b"0f9a0000";
                text[place] = byte;
                let expected = match byte {
                    b'0'..=b'9' | b'a'..=b'f' => {
                        std::str::from_utf8(&text).ok().and_then(|text| u32::from_str_radix(text, 16).ok())
                    }
                    _ => None,
                };
                assert_eq!(digits(u64::from_be_bytes(text)), expected, "{byte:x}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_uuid_has_its_text_and_the_text_its_uuid(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(pack(&text(bytes)), Some(bytes));
        }

        #[test]
        fn a_text_that_is_packed_is_written_back_as_it_was(bytes in any::<[u8; 16]>(), at in 0..LEN, byte: u8) {
            let mut changed = text(bytes);
            changed[at] = byte;
            if let Some(packed) = pack(&changed) {
                prop_assert_eq!(text(packed), changed);
            }
        }
    }
}
