//! How is nested data cleaned and cut, however hostile?

use serde_json::{Map, Number, Value};

use super::{
    CUT, CUT_KEY, Cleaned, DataLimits, REDACTED,
    cards::is_card,
    keys::{KeyKind, KeyRules},
    text::clean_text,
};

/// The longest key, in bytes.
const MAX_KEY: usize = 128;

/// So many bytes of a key are looked at.
const READ_OF_KEY: usize = 1 << 10;

/// A text is searched for secrets beyond where it is cut, so that none is cut in two and then passes. Forms without an end
/// of their own (tokens, keys) are recognised by their beginning; a card is far shorter than this.
const SEARCHED_BEYOND: usize = 4 << 10;

/// Cleans the data of one event. Recursion ends at the depth limit; what is deeper is taken apart in a loop.
pub(super) struct Cleaner<'a> {
    keys: &'a KeyRules,
    limits: DataLimits,
    off: bool,
    /// Bytes that may still be kept.
    left: usize,
    cleaned: Cleaned,
}

impl<'a> Cleaner<'a> {
    pub(super) fn new(keys: &'a KeyRules, limits: DataLimits, off: bool) -> Self {
        Self { keys, limits, off, left: limits.bytes, cleaned: Cleaned::default() }
    }

    pub(super) fn done(self) -> Cleaned {
        self.cleaned
    }

    pub(super) fn count_cut(&mut self, count: usize) {
        self.cleaned.cut += count as u64;
    }

    pub(super) fn object(&mut self, map: Map<String, Value>) -> Map<String, Value> {
        self.members(map, self.limits.depth.saturating_sub(1))
    }

    pub(super) fn tag(&mut self, key: String, value: String, key_bytes: usize, value_bytes: usize) -> (String, String) {
        let kind = self.kind(&key);
        let key = self.text(key, KeyKind::Plain, key_bytes);
        let secret = matches!(kind, KeyKind::Secret) || (kind == KeyKind::Token && value.parse::<f64>().is_err());
        let value = if secret { self.redacted() } else { self.text(value, kind, value_bytes) };
        (key, value)
    }

    /// `depth`: how many more levels may stand below the members.
    fn members(&mut self, map: Map<String, Value>, depth: usize) -> Map<String, Value> {
        let mut kept = Map::new();
        let mut left_out = 0_usize;
        for (key, value) in map {
            if kept.len() >= self.limits.members || self.left == 0 {
                left_out += 1;
                drop_in_a_loop(value);
                continue;
            }
            let kind = self.kind(&key);
            let key = self.text(key, KeyKind::Plain, MAX_KEY);
            let value = self.value(value, kind, depth);
            // Two long or redacted keys may have become one.
            left_out += usize::from(kept.insert(key, value).is_some());
        }
        if left_out > 0 {
            self.count_cut(left_out);
            kept.insert(CUT_KEY.to_owned(), left_out.into());
        }
        kept
    }

    fn values(&mut self, values: Vec<Value>, kind: KeyKind, depth: usize) -> Vec<Value> {
        let mut kept = Vec::new();
        let mut left_out = 0_usize;
        for value in values {
            if kept.len() >= self.limits.members || self.left == 0 {
                left_out += 1;
                drop_in_a_loop(value);
            } else {
                kept.push(self.value(value, kind, depth));
            }
        }
        if left_out > 0 {
            self.count_cut(left_out);
            kept.push(CUT.into());
        }
        kept
    }

    fn value(&mut self, value: Value, kind: KeyKind, depth: usize) -> Value {
        let is_plain = matches!(value, Value::Null | Value::Bool(_));
        let is_count = kind == KeyKind::Token && value.is_number();
        if matches!(kind, KeyKind::Secret | KeyKind::Token) && !is_plain && !is_count {
            drop_in_a_loop(value);
            return self.redacted().into();
        }
        match value {
            Value::Null | Value::Bool(_) => {
                self.spend(4);
                value
            }
            Value::Number(number) => self.number(number, kind),
            Value::String(text) => Value::String(self.text(text, kind, self.limits.text_bytes)),
            Value::Array(_) | Value::Object(_) if depth == 0 => {
                drop_in_a_loop(value);
                self.count_cut(1);
                self.spend(CUT.len());
                CUT.into()
            }
            Value::Array(values) => Value::Array(self.values(values, kind, depth - 1)),
            Value::Object(map) => Value::Object(self.members(map, depth - 1)),
        }
    }

    fn number(&mut self, number: Number, kind: KeyKind) -> Value {
        let text = number.to_string();
        self.spend(text.len());
        if !self.off && kind != KeyKind::Id && is_card_number(&number, &text) {
            return self.redacted().into();
        }
        Value::Number(number)
    }

    /// Cleans a text and cuts it to so many bytes, and to what is left of all.
    fn text(&mut self, mut text: String, kind: KeyKind, bytes: usize) -> String {
        let mut bytes = bytes.min(self.left.max(CUT.len()));
        let was_long = cut_at(&mut text, bytes + SEARCHED_BEYOND);
        if !self.off {
            let (clean, secrets) = clean_text(&text, kind == KeyKind::Id);
            self.cleaned.redacted += secrets;
            if let std::borrow::Cow::Owned(clean) = clean {
                text = clean;
            }
        }
        if was_long {
            // What is replaced becomes shorter, so what stood at the end of the search may have moved into what is kept.
            bytes = bytes.min(text.len().saturating_sub(SEARCHED_BEYOND));
        }
        if cut_at(&mut text, bytes) || was_long {
            cut_at(&mut text, bytes.saturating_sub(CUT.len()));
            text.push_str(CUT);
            self.count_cut(1);
        }
        self.spend(text.len() + 2);
        text
    }

    fn kind(&self, key: &str) -> KeyKind {
        // A key of a megabyte is not read to its end.
        let mut end = key.len().min(READ_OF_KEY);
        while !key.is_char_boundary(end) {
            end -= 1;
        }
        if self.off { KeyKind::Plain } else { self.keys.kind(&key[..end]) }
    }

    fn redacted(&mut self) -> String {
        self.cleaned.redacted += 1;
        self.spend(REDACTED.len());
        REDACTED.to_owned()
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

/// Whether a number is written as a card number; `4.111111111111111e15` is.
fn is_card_number(number: &Number, text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let written;
    let digits = if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        unsigned
    } else {
        match number.as_f64().map(f64::abs) {
            Some(whole) if whole.fract() == 0.0 && (1e12..1e19).contains(&whole) => {
                written = format!("{whole:.0}");
                &written
            }
            _ => return false,
        }
    };
    let digits: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
    is_card(&digits)
}

/// Cuts a text at a character's boundary; whether there was something to cut.
fn cut_at(text: &mut String, bytes: usize) -> bool {
    if text.len() <= bytes {
        return false;
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    true
}

/// Replaces what is nested deeper than `depth` by `…`, so that the rest can be cloned, written and dropped by recursion.
pub(crate) fn shallow(value: Value, depth: usize) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => {
            drop_in_a_loop(value);
            CUT.into()
        }
        Value::Array(values) => values.into_iter().map(|value| shallow(value, depth - 1)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, shallow(value, depth - 1))).collect(),
        _ => value,
    }
}

/// Dropping nested values recurses as deep as they are nested, which exhausts the stack at some ten thousand levels.
fn drop_in_a_loop(value: Value) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(values) => {
                waiting.extend(values.into_iter().filter(|value| value.is_array() || value.is_object()))
            }
            Value::Object(map) => waiting.extend(map.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
}

/// About how many bytes of memory data takes. Only for data that was cleaned: it recurses.
pub(crate) fn data_bytes(data: &Map<String, Value>) -> usize {
    data.iter().map(|(key, value)| 64 + key.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(|value| 32 + value_bytes(value)).sum(),
        Value::Object(map) => data_bytes(map),
        _ => 0,
    }
}
