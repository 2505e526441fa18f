//! Which correlation id does a request carry?

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header in which correlation ids travel, in both directions.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest id taken from a header, in bytes.
const MAX_BYTES: usize = 128;

/// The correlation id of a request; [`ServerLayer`](super::ServerLayer) puts it into the extensions of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    text: String,
    header: HeaderValue,
}

/// Where an id comes from, and whether one was refused on the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: RequestId,
    pub(super) refused: bool,
}

impl RequestId {
    /// The id as text: 1 to 128 of `[A-Za-z0-9._~:+/=-]`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// `None` for anything but 1 to 128 of the allowed characters.
    pub(super) fn new(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:+/=-".contains(&byte);
        if text.is_empty() || text.len() > MAX_BYTES || !text.bytes().all(allowed) {
            return None;
        }
        Some(Self { text: text.to_owned(), header: HeaderValue::from_str(text).ok()? })
    }

    /// A random UUID.
    fn generated() -> Self {
        let text = uuid::Uuid::new_v4().to_string();
        Self::new(&text).unwrap_or_else(|| unreachable!("a UUID has only allowed characters"))
    }
}

/// `X-Correlation-ID`, then `X-Request-ID`, then the trace id of `traceparent`, else a new UUID.
///
/// An id that is not allowed is passed over like a missing one, and so is a header that is there more than once: one of
/// them was put there by somebody else.
pub(super) fn find(headers: &HeaderMap) -> Found {
    let mut refused = false;
    for name in [CORRELATION_ID, REQUEST_ID] {
        let mut values = headers.get_all(name).iter();
        let Some(first) = values.next() else { continue };
        let only = if values.next().is_none() { Some(first) } else { None };
        match only.and_then(|value| value.to_str().ok()).and_then(|text| RequestId::new(text.trim())) {
            Some(id) => return Found { id, refused },
            None => refused = true,
        }
    }
    let trace = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(trace_id);
    Found { id: trace.and_then(RequestId::new).unwrap_or_else(RequestId::generated), refused }
}

/// The trace id of a W3C `traceparent`: `version-traceid-parentid-flags`, all lowercase hex.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.trim().split('-');
    let hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Version ff is forbidden; version 00 has exactly four parts, later ones may have more.
    let shape = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let ended = version != "00" || parts.next().is_none();
    let not_zero = |part: &str| part.bytes().any(|b| b != b'0');
    (shape && ended && not_zero(trace) && not_zero(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-5b8aa5a2d2c872e8321cf37308d69df2-051581bf3cb55c13-01";

    fn found(headers: &[(&'static str, &str)]) -> Found {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        find(&map)
    }

    #[test]
    fn the_first_header_with_an_allowed_id_wins() {
        for (headers, expected) in [
            (vec![("traceparent", TRACE), ("x-request-id", "r"), ("x-correlation-id", "c")], "c"),
            (vec![("traceparent", TRACE), ("x-request-id", "r")], "r"),
            (vec![("traceparent", TRACE)], "5b8aa5a2d2c872e8321cf37308d69df2"),
        ] {
            let found = found(&headers);
            assert_eq!((found.id.as_str(), found.refused), (expected, false));
        }
        let (one, two) = (found(&[]), found(&[]));
        assert_eq!((one.id.as_str().len(), one.refused), (36, false));
        assert_ne!(one.id, two.id);
    }

    #[test]
    fn hostile_ids_are_passed_over_and_noted() {
        let long = "x".repeat(129);
        for bad in ["", " ", "a b", "a\"b", "<script>", "a;b", "a,b", "ä", &long] {
            let found = found(&[("x-correlation-id", bad), ("x-request-id", "r")]);
            assert_eq!((found.id.as_str(), found.refused), ("r", true), "{bad:?}");
        }
        let twice = found(&[("x-correlation-id", "a"), ("x-correlation-id", "b")]);
        assert!(twice.refused && twice.id.as_str().len() == 36);
        assert_eq!(found(&[("x-correlation-id", &"x".repeat(128))]).id.as_str().len(), 128);
    }

    #[test]
    fn a_traceparent_is_read_as_w3c_says() {
        let trace = "5b8aa5a2d2c872e8321cf37308d69df2";
        assert_eq!(trace_id(TRACE), Some(trace));
        assert_eq!(trace_id(&format!("cc-{trace}-051581bf3cb55c13-01-more")), Some(trace));
        for bad in [
            format!("00-{trace}-051581bf3cb55c13-01-more"),
            format!("ff-{trace}-051581bf3cb55c13-01"),
            format!("00-{}-051581bf3cb55c13-01", trace.to_uppercase()),
            format!("00-{}-051581bf3cb55c13-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            "00".to_owned(),
        ] {
            assert_eq!(trace_id(&bad), None, "{bad}");
        }
    }
}
