//! Correlation ids: short texts that name one message, refused at the door when they are hostile.

use std::{fmt, hash, num::NonZeroU64, sync::Arc};

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

/// A short id of printable ASCII as five words: what threads can share without a lock, and a queue without a copy of text.
///
/// Text stands in the words from the lowest byte up; the highest byte of the last word is its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdWords([u64; ID_WORDS - 1], NonZeroU64);

/// Words of an [`IdWords`].
pub const ID_WORDS: usize = 5;

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

impl IdWords {
    /// Takes 1 to 38 bytes of printable ASCII; `None` for any other text, which may be a correlation id all the same.
    #[inline(always)]
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > INLINE_BYTES {
            return None;
        }
        // Spaces behind the text, because they are printable. All bytes are looked at alike, sixteen at a time.
        let mut bytes = [b' '; PADDED];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        if bytes.iter().fold(0, |most, byte| byte.wrapping_sub(b' ').max(most)) > b'~' - b' ' {
            return None;
        }
        let (chunks, _) = bytes.as_chunks::<8>();
        let [a, b, c, d, e] = std::array::from_fn(|at| u64::from_le_bytes(chunks[at]));
        let last = NonZeroU64::new(e & (u64::MAX >> 8) | (text.len() as u64) << 56)?;
        Some(Self([a, b, c, d], last))
    }

    /// The words, to be given back to [`from_words`](Self::from_words).
    #[inline]
    pub fn words(self) -> [u64; ID_WORDS] {
        let Self([a, b, c, d], last) = self;
        [a, b, c, d, last.get()]
    }

    /// The id of these words. Others than [`words`](Self::words) gave are found out here or by [`id`](Self::id).
    #[inline]
    pub fn from_words([a, b, c, d, last]: [u64; ID_WORDS]) -> Option<Self> {
        Some(Self([a, b, c, d], NonZeroU64::new(last)?))
    }

    /// The text; `None` where the words are none.
    #[inline]
    pub fn text(self) -> Option<String> {
        let all = self.bytes();
        let text =
            all.get(..usize::from(all[8 * ID_WORDS - 1])).filter(|text| (1..=INLINE_BYTES).contains(&text.len()))?;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }

    /// The id; `None` where the words are none.
    pub fn id(self) -> Option<CorrelationId> {
        let all = self.bytes();
        let len = all[8 * ID_WORDS - 1];
        let text = all.get(..usize::from(len)).filter(|text| (1..=INLINE_BYTES).contains(&text.len()))?;
        if !text.iter().fold(true, |printable, byte| printable & (0x20..0x7F).contains(byte)) {
            return None;
        }
        let (bytes, _) = all.split_first_chunk::<INLINE_BYTES>()?;
        Some(CorrelationId(Repr::Inline { len, bytes: *bytes }))
    }

    #[inline]
    fn bytes(self) -> [u8; 8 * ID_WORDS] {
        let mut all = [0; 8 * ID_WORDS];
        for (bytes, word) in all.as_chunks_mut::<8>().0.iter_mut().zip(self.words()) {
            *bytes = word.to_le_bytes();
        }
        all
    }
}

/// Room for the text of an [`IdWords`], in whole vectors.
const PADDED: usize = 48;

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
    fn words_hold_every_short_printable_text_and_no_other() {
        for len in 0..=48 {
            for byte in 0..=0x7F_u8 {
                for at in 0..len {
                    let mut text = vec![b'x'; len];
                    text[at] = byte;
                    let text = String::from_utf8(text).unwrap();
                    let expected = (len <= INLINE_BYTES && (0x20..0x7F).contains(&byte)).then_some(text.as_str());
                    let words = IdWords::new(&text).and_then(|words| IdWords::from_words(words.words()));
                    let id = words.and_then(IdWords::id);
                    assert_eq!(id.as_ref().map(CorrelationId::as_str), expected, "{byte:#x} at {at} of {len}");
                    assert_eq!(words.and_then(IdWords::text).as_deref(), expected);
                }
            }
        }
        for text in ["", "ä", "xxxxxxxä", "xxxxxxxxä", "\u{80}", "€uro"] {
            assert_eq!(IdWords::new(text), None, "{text}");
        }
    }

    #[test]
    fn words_that_are_no_id_are_found_out() {
        let words = IdWords::new("msg_1").unwrap().words();
        let with = |at: usize, word: u64| {
            let mut words = words;
            words[at] = word;
            IdWords::from_words(words)?.id()
        };
        assert!(with(0, words[0]).is_some());
        assert!(with(0, 0).is_none() && with(0, u64::MAX).is_none());
        assert!(with(4, 0).is_none() && with(4, 39 << 56).is_none() && with(4, u64::MAX).is_none());
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
