//! Errors as RFC 9457 problem details.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::reply;

/// The longest part of a request that is repeated in an error.
const MAX_SHOWN: usize = 128;

/// An answer that says what is wrong and what to do.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

/// Boxed, so that the results of all checks stay small.
#[derive(Debug)]
struct Parts {
    status: StatusCode,
    /// `about:blank` means: nothing beyond the status.
    kind: &'static str,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let (kind, members, headers) = ("about:blank", Map::new(), Vec::new());
        Self(Box::new(Parts { status, kind, detail: detail.into(), members, headers }))
    }

    /// Something in the request cannot be used: 400.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What is wrong, as a sentence.
    #[cfg(feature = "store")]
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Sets the problem type, a URI.
    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds a member for programs.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Says when to come again.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { status, kind, detail, members, headers } = *self.0;
        let mut document = Map::new();
        document.insert("type".to_owned(), kind.into());
        document.insert("title".to_owned(), status.canonical_reason().unwrap_or("Error").into());
        document.insert("status".to_owned(), status.as_u16().into());
        document.insert("detail".to_owned(), detail.into_owned().into());
        document.extend(members);
        let mut response = (status, reply::json_bytes(&document)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// A text from outside as it may be repeated: cut, control and invisible characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(MAX_SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", cut.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_cut_and_escaped() {
        assert_eq!(shown("msg_1"), "msg_1");
        assert_eq!(shown("a\u{1b}[31m\n\u{202e}"), "a\\u{1b}[31m\\n\\u{202e}");
        let long = shown(&"ä".repeat(1_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_SHOWN + 1, true));
    }
}
