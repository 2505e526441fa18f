//! What must not leave the process, and how large may the rest be?
//!
//! | module | question it answers |
//! |---|---|
//! | `keys` | which keys name a secret, and which an id? |
//! | `text` | which parts of a text look like a secret? |
//! | `cards` | where in a text is the number of a payment card? |
//! | `clean` | how is nested data cleaned and cut, however hostile? |

mod cards;
mod clean;
mod keys;
mod text;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::{clean::Cleaner, keys::KeyRules};
use crate::event::Event;

pub(crate) use self::clean::{data_bytes, shallow};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// What stands at the end of a text or list that was cut, and in place of what was nested too deep.
pub const CUT: &str = "…";

/// The member of a cut object that says how many of its members were left out.
pub const CUT_KEY: &str = "_cut";

/// The most tags of an event.
const MAX_TAGS: usize = 64;

/// The longest key of a tag, in bytes.
const MAX_TAG_KEY: usize = 64;

/// The longest value of a tag, in bytes: `key=value` stays below the 256 that a summary keeps.
const MAX_TAG_VALUE: usize = 180;

/// What is taken out of events before they leave the process. On by default.
///
/// - Under a key that names a secret (`password`, `api_key`, `Authorization`, `creditCard`, `ssn`, ...; upper and lower case
///   and separators do not matter) the whole value becomes `"[redacted]"`. `true`, `false` and `null` stay, and so do
///   numbers under keys of tokens: `promptTokens: 152` is a count.
/// - In every text, wherever it stands: numbers of payment cards (13 to 19 digits that satisfy Luhn's check, also with spaces
///   and dashes), bearer tokens, JSON Web Tokens, private keys, well-known forms of API keys, passwords in URLs, and what
///   follows `password=`, `token:` and the like. Only that part is replaced.
/// - Ids stay: under a key that ends in the word `id`, `ids` or `uuid` (`correlationId`, `order_id`) a number is no card. So
///   does whatever begins with 1 and has not fifteen digits, because instants and chat ids look like that and cards do not.
/// - What is too large is cut, see [`DataLimits`].
///
/// It is a net, not a proof: a secret without a telling key or form passes. Do not put secrets into events.
///
/// ```
/// use journey_store::Redaction;
/// use serde_json::json;
///
/// let rules = Redaction::default().redact_keys(["tenant name"]).allow_keys(["cookieConsent"]);
/// let data = json!({
///     "orderId": "4111111111111111", "note": "paid with 4111 1111 1111 1111", "Tenant-Name": "Ada", "cookieConsent": "yes",
///     "user": { "apiKey": "k-17" },
/// });
/// let (data, done) = rules.clean(data.as_object().unwrap().clone());
/// assert_eq!(serde_json::Value::from(data), json!({
///     "orderId": "4111111111111111", "note": "paid with [redacted]", "Tenant-Name": "[redacted]", "cookieConsent": "yes",
///     "user": { "apiKey": "[redacted]" },
/// }));
/// assert_eq!((done.redacted, done.cut), (3, 0));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    keys: KeyRules,
    limits: DataLimits,
    off: bool,
}

/// How large the data of one event may be. What is beyond is cut, marked with `…` or `_cut`, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLimits {
    /// How deep objects and lists may stand in each other: 1 to 60, default 16.
    pub depth: usize,
    /// Bytes of all keys and values together: at most 1 MiB, default 64 KiB.
    pub bytes: usize,
    /// Bytes of one text: default 8 KiB.
    pub text_bytes: usize,
    /// Members of one object or list: default 256.
    pub members: usize,
}

/// What cleaning did to one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Secrets that were replaced.
    pub redacted: u64,
    /// Texts, members and nested values that were cut.
    pub cut: u64,
}

impl Default for DataLimits {
    fn default() -> Self {
        Self { depth: 16, bytes: 64 << 10, text_bytes: 8 << 10, members: 256 }
    }
}

impl DataLimits {
    /// Within what stores keep (they refuse more than 64 levels) and what a spill record holds.
    fn sensible(self) -> Self {
        let bytes = self.bytes.min(1 << 20);
        Self { depth: self.depth.clamp(1, 60), bytes, text_bytes: self.text_bytes.min(bytes), members: self.members }
    }
}

impl Redaction {
    /// No redaction: secrets in events are stored and shown. The limits on size still hold.
    #[must_use]
    pub fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// Redacts the value of every key that contains one of these words, beside those that are built in.
    ///
    /// Upper and lower case and separators do not matter: `tenant name` means `tenantName` and `X-Tenant-Name` too.
    #[must_use]
    pub fn redact_keys<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.keys.redact(words);
        self
    }

    /// Leaves the value of exactly these keys alone, case and separators aside, whatever else is said. Texts below them are
    /// still searched for cards and tokens.
    #[must_use]
    pub fn allow_keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.keys.allow(keys);
        self
    }

    /// Sets how large data may be; defaults to [`DataLimits::default`].
    #[must_use]
    pub fn limits(mut self, limits: DataLimits) -> Self {
        self.limits = limits.sensible();
        self
    }

    /// Cleans data. Its depth does not matter: nothing here recurses deeper than the limit.
    pub fn clean(&self, data: Map<String, Value>) -> (Map<String, Value>, Cleaned) {
        let mut cleaner = Cleaner::new(&self.keys, self.limits, self.off);
        let data = cleaner.object(data);
        (data, cleaner.done())
    }

    /// Cleans data and tags of an event in place.
    pub(crate) fn clean_event(&self, event: &mut Event) -> Cleaned {
        let mut cleaner = Cleaner::new(&self.keys, self.limits, self.off);
        if !event.data.is_empty() {
            event.data = cleaner.object(std::mem::take(&mut event.data));
        }
        if !event.tags.is_empty() {
            event.tags = clean_tags(&mut cleaner, std::mem::take(&mut event.tags));
        }
        cleaner.done()
    }
}

fn clean_tags(cleaner: &mut Cleaner<'_>, tags: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let too_many = tags.len().saturating_sub(MAX_TAGS);
    cleaner.count_cut(too_many);
    tags.into_iter().take(MAX_TAGS).map(|(key, value)| cleaner.tag(key, value, MAX_TAG_KEY, MAX_TAG_VALUE)).collect()
}

#[cfg(test)]
mod tests;
