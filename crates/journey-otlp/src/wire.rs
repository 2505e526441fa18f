//! Protobuf as bytes: a writer that needs no sizes in advance, and a reader for the few answers that come back.

/// Appends fields to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

/// One field that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// A variable length integer.
    Varint(u64),
    /// A text, a byte string or a message.
    Bytes(&'a [u8]),
    /// Eight or four bytes, which none of our answers has.
    Fixed,
}

impl Writer<'_> {
    pub(crate) fn varint_field(&mut self, number: u32, value: u64) {
        self.key(number, 0);
        self.varint(value);
    }

    /// A `sint32`.
    pub(crate) fn zigzag_field(&mut self, number: u32, value: i32) {
        self.varint_field(number, u64::from(((value << 1) ^ (value >> 31)) as u32));
    }

    pub(crate) fn fixed64(&mut self, number: u32, value: u64) {
        self.key(number, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn double(&mut self, number: u32, value: f64) {
        self.fixed64(number, value.to_bits());
    }

    pub(crate) fn fixed32(&mut self, number: u32, value: u32) {
        self.key(number, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.key(number, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message, or packed numbers, that `fill` writes.
    pub(crate) fn message(&mut self, number: u32, fill: impl FnOnce(&mut Writer<'_>)) {
        self.key(number, 2);
        // Nearly all our messages are shorter than 128 bytes, so one byte is kept for the length; longer ones are
        // moved up once it is known.
        let length_at = self.0.len();
        self.0.push(0);
        fill(&mut Writer(self.0));
        let length = self.0.len() - length_at - 1;
        if length < 0x80 {
            self.0[length_at] = length as u8;
            return;
        }
        let more = (usize::BITS - length.leading_zeros()).div_ceil(7) as usize - 1;
        let end = self.0.len();
        self.0.resize(end + more, 0);
        self.0.copy_within(length_at + 1..end, length_at + 1 + more);
        for (place, byte) in self.0[length_at..=length_at + more].iter_mut().enumerate() {
            *byte = (length >> (7 * place)) as u8 & 0x7f | if place < more { 0x80 } else { 0 };
        }
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, number: u32, wire_type: u32) {
        self.varint(u64::from(number << 3 | wire_type));
    }
}

/// Reads the fields of a message; ends early where the bytes are not one.
pub(crate) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u32, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = take_varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Varint(take_varint(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| Field::Fixed)?,
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => take(&mut bytes, 4).map(|_| Field::Fixed)?,
            _ => return None,
        };
        Some((u32::try_from(key >> 3).ok()?, field))
    })
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_at_every_length() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384, 100_000] {
            let content = vec![7_u8; length];
            let mut bytes = Vec::new();
            let mut writer = Writer(&mut bytes);
            writer.varint_field(1, u64::MAX);
            writer.message(2, |w| w.bytes(3, &content));
            writer.fixed64(4, 1);
            writer.fixed32(5, 1);
            let read: Vec<_> = fields(&bytes).collect();
            let Field::Bytes(inner) = read[1].1 else { panic!("{read:?}") };
            assert_eq!(fields(inner).collect::<Vec<_>>(), [(3, Field::Bytes(&content[..]))]);
            assert_eq!(read[0], (1, Field::Varint(u64::MAX)));
            assert_eq!(read[2..], [(4, Field::Fixed), (5, Field::Fixed)]);
        }
    }

    #[test]
    fn bytes_that_are_no_message_end_the_reading_without_a_panic() {
        for bytes in
            [&[0xff][..], &[0xff; 11], &[0x0a, 0x05, 1], &[0x0b], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[9, 1]]
        {
            assert_eq!(fields(bytes).count(), 0, "{bytes:?}");
        }
    }
}
