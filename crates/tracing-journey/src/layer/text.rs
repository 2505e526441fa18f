//! Text on the stack, from values that format themselves.

use std::fmt::{self, Debug, Write as _};

use journey_core::{CorrelationId, IdWords, MAX_ID_BYTES};

/// The longest id and the `Some("…")` that a `Debug` value may put around it.
const ID_TEXT: usize = MAX_ID_BYTES + 8;

/// A value as `tracing` gives it.
pub(super) enum Value<'a> {
    Text(&'a str),
    Integer(i128),
    Float(f64),
    Flag(bool),
    Debug(&'a dyn Debug),
}

/// Text on the stack. What does not fit is swallowed, because a `Display` that unwraps its result must not panic here.
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
}

/// What a formatted value holds.
pub(super) enum Content<'a> {
    /// No value: `None`.
    Nothing,
    /// More than fits.
    Cut,
    Text(&'a str),
}

/// A value taken as a correlation id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TakenId {
    /// No value: `None`; or an id that does not fit here.
    #[default]
    Nothing,
    Short(IdWords),
    /// It is no correlation id.
    Invalid,
}

/// Takes an id while it is being formatted: nearly always in one piece, which then needs no buffer.
struct IdPieces<'a> {
    taken: &'a mut TakenId,
    several: Option<Text<ID_TEXT>>,
}

impl TakenId {
    /// Takes a value, and gives an id that does not fit. User code runs inside, except for a text.
    #[inline(always)]
    pub(super) fn take(&mut self, value: &Value<'_>) -> Option<Box<CorrelationId>> {
        // The most frequent forms come first.
        match value {
            Value::Text(text) => match IdWords::new(text) {
                Some(id) => {
                    *self = Self::Short(id);
                    None
                }
                None => self.take_text(text),
            },
            Value::Debug(value) => {
                *self = Self::Nothing;
                let mut pieces = IdPieces { taken: self, several: None };
                // A value whose `Debug` reports an error is taken as far as it got.
                let _ = write!(pieces, "{value:?}");
                if pieces.several.is_none() && matches!(pieces.taken, Self::Short(_)) { None } else { pieces.finish() }
            }
            value => self.take_formatted(&Text::of(value)),
        }
    }

    /// The id: `None` where nothing was said, `Some(None)` where it is no correlation id.
    pub(super) fn id(self) -> Option<Option<CorrelationId>> {
        match self {
            Self::Nothing => None,
            Self::Short(id) => Some(id.id()),
            Self::Invalid => Some(None),
        }
    }

    #[cold]
    fn take_text(&mut self, text: &str) -> Option<Box<CorrelationId>> {
        let (taken, long) = match (IdWords::new(text), CorrelationId::new(text)) {
            (Some(short), _) => (Self::Short(short), None),
            (None, Ok(id)) => (Self::Nothing, Some(Box::new(id))),
            (None, Err(_)) => (Self::Invalid, None),
        };
        *self = taken;
        long
    }

    #[cold]
    fn take_formatted(&mut self, text: &Text<ID_TEXT>) -> Option<Box<CorrelationId>> {
        *self = Self::Nothing;
        match text.content() {
            Content::Nothing => {}
            Content::Cut => *self = Self::Invalid,
            Content::Text(text) => return self.take_text(text),
        }
        None
    }
}

impl IdPieces<'_> {
    #[cold]
    fn add(&mut self, piece: &str) -> fmt::Result {
        let text = self.several.get_or_insert(Text::EMPTY);
        if let TakenId::Short(first) = std::mem::take(self.taken)
            && let Some(first) = first.id()
        {
            text.write_str(first.as_str())?;
        }
        text.write_str(piece)
    }

    #[cold]
    fn finish(self) -> Option<Box<CorrelationId>> {
        self.taken.take_formatted(&self.several.unwrap_or(Text::EMPTY))
    }
}

impl fmt::Write for IdPieces<'_> {
    #[inline]
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        // What may be `Some(…)`, `None` or in quotes has to be looked at as a whole.
        if matches!(self.taken, TakenId::Nothing)
            && self.several.is_none()
            && !matches!(piece.as_bytes().first(), Some(b'S' | b'N' | b'"'))
            && let Some(id) = IdWords::new(piece)
        {
            *self.taken = TakenId::Short(id);
            return Ok(());
        }
        self.add(piece)
    }
}

impl<const N: usize> Text<N> {
    pub(super) const EMPTY: Self = Self { bytes: [0; N], len: 0, cut: false };

    pub(super) fn of(value: &Value<'_>) -> Self {
        let mut text = Self::EMPTY;
        // A value whose `Debug` reports an error is taken as far as it got.
        let _ = match value {
            Value::Text(value) => text.write_str(value),
            Value::Integer(value) => write!(text, "{value}"),
            Value::Float(value) => write!(text, "{value}"),
            Value::Flag(value) => write!(text, "{value}"),
            Value::Debug(value) => write!(text, "{value:?}"),
        };
        text
    }

    /// As much as fits.
    pub(super) fn as_str(&self) -> &str {
        // Only whole characters are copied, so the check never fails.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// The text without what `Debug` puts around an optional or quoted text, so that `?id`, `%id` and `id` are one id.
    pub(super) fn bare(&self) -> &str {
        let text = self.as_str();
        let text = text.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
        match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            // With an escape or a quote inside, the quoted form is not the text: left as it is.
            Some(inner) if !inner.contains(['\\', '"']) => inner,
            _ => text,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.len == 0 || self.as_str() == "None"
    }

    pub(super) fn content(&self) -> Content<'_> {
        match self.as_str() {
            _ if self.cut => Content::Cut,
            "None" => Content::Nothing,
            _ => Content::Text(self.bare()),
        }
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // After a cut nothing more is taken, or pieces from behind it would follow.
        if self.cut {
            return Ok(());
        }
        let room = N - self.len;
        self.cut = text.len() > room;
        let whole = if self.cut { &text[..text.floor_char_boundary(room)] } else { text };
        self.bytes[self.len..self.len + whole.len()].copy_from_slice(whole.as_bytes());
        self.len += whole.len();
        Ok(())
    }
}
