//! Whole bodies: JSON that is safe wherever it is pasted, and gzip for those who ask.

use std::io::Write;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

/// A body below this fits a packet or two; packing it saves nothing.
const GZIP_FROM_BYTES: usize = 1_400;

/// An answer whose body is known whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// 200 with a JSON body.
    pub(crate) fn json(document: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: json_bytes(document) }
    }

    /// 200 with a plain text body.
    pub(crate) fn text(body: String) -> Self {
        Self { status: StatusCode::OK, content_type: "text/plain; charset=utf-8", body: body.into_bytes() }
    }

    /// The same with another status.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The response, packed where the client takes gzip and it is worth it.
    pub(crate) fn into_response(self, request: &HeaderMap) -> Response {
        let packed = if self.body.len() >= GZIP_FROM_BYTES && takes_gzip(request) { gzip(&self.body) } else { None };
        let encoding = packed.is_some();
        let mut response = (self.status, Body::from(packed.unwrap_or(self.body))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
        if encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// A document as JSON in which no text can end a script or open a tag.
pub(crate) fn json_bytes(document: &impl Serialize) -> Vec<u8> {
    // Our documents have text keys and no failing serializers, so this cannot go wrong; an empty object is still JSON.
    let plain = serde_json::to_vec(document).unwrap_or_else(|_| b"{}".to_vec());
    escape_markup(plain)
}

/// Writes `<`, `>` and `&` as JSON escapes: in JSON they only ever stand inside a string.
fn escape_markup(json: Vec<u8>) -> Vec<u8> {
    if !json.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&')) {
        return json;
    }
    let mut escaped = Vec::with_capacity(json.len() + 32);
    for byte in json {
        match byte {
            b'<' => escaped.extend_from_slice(b"\\u003c"),
            b'>' => escaped.extend_from_slice(b"\\u003e"),
            b'&' => escaped.extend_from_slice(b"\\u0026"),
            _ => escaped.push(byte),
        }
    }
    escaped
}

/// Whether `Accept-Encoding` names gzip (or `*`) with a weight above 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for coding in values.flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        if name.eq_ignore_ascii_case("gzip") {
            return weight > 0.0;
        }
        any |= name == "*" && weight > 0.0;
    }
    any
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    // The fastest level: this thread serves everybody, and the network is mostly loopback.
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap())])
    }

    #[test]
    fn markup_in_json_is_escaped_and_reads_the_same() {
        let document = serde_json::json!({ "id": "</script><img src=x onerror=alert(1)>&\"" });
        let bytes = json_bytes(&document);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), document);
    }

    #[test]
    fn gzip_is_used_only_where_it_is_taken() {
        for (accept, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("", false),
            ("gzip;q=0", false),
        ] {
            assert_eq!(takes_gzip(&headers(accept)), takes, "{accept}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_packed_body_unpacks_to_the_same() {
        use std::io::Read;
        let body = "journey ".repeat(1_000);
        let packed = gzip(body.as_bytes()).unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
        assert!(unpacked == body && packed.len() < body.len() / 10);
    }
}
