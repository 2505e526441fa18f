//! Correlation ids: short texts that name one message, refused at the door when they are hostile.

use std::{fmt, hash, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest correlation id that is taken, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// A UUID in text form is 36 bytes; up to this length an id needs no allocation.
const INLINE_BYTES: usize = 38;

/// The id of one message: 1 to 128 bytes of UTF-8 without control characters.
///
/// Ids of up to 38 bytes are stored inline; longer ones are shared, so a clone never copies them.
#[derive(Clone)]
pub struct CorrelationId(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Shared(Arc<str>),
}

/// Why a text is not a correlation id. The text itself is not repeated: it may be hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidId {
    /// It has no characters.
    Empty,
    /// It has this many bytes, more than [`MAX_ID_BYTES`].
    TooLong(usize),
    /// The character at this byte is a control character.
    ControlCharacter(usize),
}

impl CorrelationId {
    /// Takes a text as an id.
    ///
    /// # Errors
    ///
    /// Empty, longer than 128 bytes, or with a control character (C0, C1, DEL).
    ///
    /// ```
    /// use journey_core::{CorrelationId, InvalidId};
    /// assert_eq!(CorrelationId::new("msg_1").unwrap().as_str(), "msg_1");
    /// assert_eq!(CorrelationId::new(""), Err(InvalidId::Empty));
    /// assert_eq!(CorrelationId::new("a\u{1b}[31m"), Err(InvalidId::ControlCharacter(1)));
    /// ```
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(InvalidId::TooLong(text.len()));
        }
        if let Some(at) = first_control_character(text.as_bytes()) {
            return Err(InvalidId::ControlCharacter(at));
        }
        if text.len() <= INLINE_BYTES {
            let mut bytes = [0; INLINE_BYTES];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            return Ok(Self(Repr::Inline { len: text.len() as u8, bytes }));
        }
        Ok(Self(Repr::Shared(text.into())))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // The bytes were copied from a `str`, so the check never fails.
            Repr::Inline { len, bytes } => std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default(),
            Repr::Shared(text) => text,
        }
    }

    /// The id as UTF-8.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(text) => text.as_bytes(),
        }
    }
}

/// Where the first control character of a UTF-8 text is. By bytes: C0 and DEL are one byte, and C1 is U+0080 to U+009F,
/// which is C2 and that byte.
fn first_control_character(text: &[u8]) -> Option<usize> {
    // This is on the application's path, and nearly every id is printable ASCII: without an early exit the compiler looks
    // at sixteen bytes at once.
    if text.iter().fold(true, |printable, byte| printable & (0x20..0x7F).contains(byte)) {
        return None;
    }
    let mut before = 0;
    for (at, byte) in text.iter().copied().enumerate() {
        if byte < 0x20 || byte == 0x7F {
            return Some(at);
        }
        if before == 0xC2 && byte <= 0x9F {
            return Some(at - 1);
        }
        before = byte;
    }
    None
}

impl PartialEq for CorrelationId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for CorrelationId {}

impl hash::Hash for CorrelationId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for CorrelationId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CorrelationId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for CorrelationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl Serialize for CorrelationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for CorrelationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the correlation id is empty (a right one: `msg_abc123`)"),
            Self::TooLong(bytes) => {
                write!(
                    f,
                    "the correlation id has {bytes} bytes, at most {MAX_ID_BYTES} are taken (a right one: `msg_abc123`)"
                )
            }
            Self::ControlCharacter(at) => {
                write!(f, "the correlation id has a control character at byte {at} (a right one: `msg_abc123`)")
            }
        }
    }
}

impl std::error::Error for InvalidId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_and_shared_ids_of_the_same_text_are_the_same() {
        for len in [1, 36, 37, 38, 39, 127, 128] {
            let text = "x".repeat(len);
            let id = CorrelationId::new(&text).unwrap();
            assert_eq!(id.as_str(), text);
            assert_eq!(id, id.clone());
        }
        assert_eq!(std::mem::size_of::<CorrelationId>(), 40);
    }

    #[test]
    fn control_characters_are_those_of_unicode() {
        for number in 0..=0x10_FFFF_u32 {
            let Some(c) = char::from_u32(number) else { continue };
            let expected = c.is_control().then_some(1);
            assert_eq!(first_control_character(format!("a{c}\u{b5}").as_bytes()), expected, "{number:x}");
        }
    }

    #[test]
    fn hostile_ids_are_refused_with_the_reason() {
        assert_eq!(CorrelationId::new(&"x".repeat(129)), Err(InvalidId::TooLong(129)));
        assert_eq!(CorrelationId::new(&"x".repeat(1 << 20)), Err(InvalidId::TooLong(1 << 20)));
        assert_eq!(CorrelationId::new("a\0"), Err(InvalidId::ControlCharacter(1)));
        assert_eq!(CorrelationId::new("ab\u{85}"), Err(InvalidId::ControlCharacter(2)));
        // Markup is no control character: it is taken, and escaped wherever it is shown.
        assert!(CorrelationId::new("<script>").is_ok());
    }
}
