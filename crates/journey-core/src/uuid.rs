//! UUIDs in their usual text as sixteen bytes, exactly reversible: an id that is written otherwise stays text.

/// Where the dashes are: `01234567-89ab-cdef-0123-456789abcdef`.
const DASHES: [usize; 4] = [8, 13, 18, 23];
/// The characters of a UUID.
pub(crate) const LEN: usize = 36;

/// The sixteen bytes of a UUID; `None` unless the text is one in small letters, with its four dashes and nothing else.
pub(crate) fn pack(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; LEN] = text.try_into().ok()?;
    let mut digits = [0; 32];
    let mut start = 0;
    let mut at = 0;
    for dash in DASHES.into_iter().chain([LEN]) {
        if dash < LEN && text[dash] != b'-' {
            return None;
        }
        let count = dash - start;
        digits[at..at + count].copy_from_slice(&text[start..dash]);
        at += count;
        start = dash + 1;
    }
    // All at once and without a branch for each: this is done for every checkpoint.
    let values = digits.map(|digit| {
        let number = digit.wrapping_sub(b'0');
        let letter = digit.wrapping_sub(b'a');
        let of_letter = if letter < 6 { letter + 10 } else { 0xff };
        if number < 10 { number } else { of_letter }
    });
    if values.iter().fold(0, |all, value| all | value) > 0xf {
        return None;
    }
    Some(std::array::from_fn(|byte| values[2 * byte] << 4 | values[2 * byte + 1]))
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
