//! One request to a collector, over HTTP or gRPC, and what its answer means.

use std::{io::Write as _, time::Duration};

use base64::Engine as _;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Hyper, connect::HttpConnector},
    rt::TokioTimer,
};
use rustls::ClientConfig;

use crate::{
    config::{Collector, ConfigError, Protocol},
    json,
    proto::{self, PartialSuccess},
    retry::{grpc_code_name, is_grpc_retryable, is_http_retryable, retry_after},
    tls,
    unobserved::UnobservedExecutor,
};

/// The largest answer that is read.
const MAX_RESPONSE_BYTES: usize = 4 << 20;
/// The most that is shown of what a collector says.
const MAX_SHOWN: usize = 200;
/// A connection that takes longer is not there; an export with less time leaves half of it for the request.
const CONNECT: Duration = Duration::from_secs(5);
/// An idle connection is closed after this long.
const IDLE: Duration = Duration::from_secs(90);
const USER_AGENT: &str = concat!("Journey/", env!("CARGO_PKG_VERSION"), " OTel-OTLP-Exporter-Rust/0.33");

type Connection = Hyper<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Talks to one collector about one signal.
pub(crate) struct Client {
    collector: Collector,
    tls: ClientConfig,
    connection: Connection,
}

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For people.
    pub(crate) text: String,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The collector was not reached: it may be later.
    Unreachable,
    /// The collector was reached and failed, or asks to be left alone for a while.
    Busy(Option<Duration>),
    /// The collector will never take this request.
    Refused,
}

impl Client {
    pub(crate) fn new(collector: Collector) -> Result<Self, ConfigError> {
        let tls = tls::client_config(&collector)?;
        let connection = connection(&tls, &collector);
        Ok(Self { collector, tls, connection })
    }

    pub(crate) fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Forgets connections: one that swallowed a request without an answer may do so for ever.
    pub(crate) fn reconnect(&mut self) {
        self.connection = connection(&self.tls, &self.collector);
    }

    /// A message as the body of a request: compressed, and for gRPC in a frame.
    pub(crate) fn body(&self, message: Vec<u8>) -> Bytes {
        let message = match self.collector.gzip {
            true => compressed(&message),
            false => message,
        };
        if self.collector.protocol != Protocol::Grpc {
            return message.into();
        }
        let mut frame = Vec::with_capacity(message.len() + 5);
        frame.push(u8::from(self.collector.gzip));
        // A request never comes near 4 GiB: batches are bounded.
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
        frame.extend_from_slice(&message);
        frame.into()
    }

    /// Sends a body made by [`Client::body`]. `limit` is only told to the collector: the caller stops waiting.
    pub(crate) async fn send(&self, body: Bytes, limit: Option<Duration>) -> Result<PartialSuccess, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.collector.url.clone();
        self.write_headers(request.headers_mut(), limit);
        let response = self.connection.request(request).await.map_err(|error| Failure::of(&error))?;
        let (head, body) = response.into_parts();
        let read = Limited::new(body, MAX_RESPONSE_BYTES).collect().await;
        let head = Response::from_parts(head, ());
        match self.collector.protocol {
            Protocol::Grpc => grpc_answer(&head, read.ok()),
            protocol => http_answer(&head, &read.map(Collected::to_bytes).unwrap_or_default(), protocol),
        }
    }

    fn write_headers(&self, headers: &mut HeaderMap, limit: Option<Duration>) {
        let gzip = HeaderValue::from_static("gzip");
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        match self.collector.protocol {
            Protocol::Grpc => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
                if self.collector.gzip {
                    headers.insert("grpc-encoding", gzip);
                }
                // At most eight digits are allowed; more is no limit worth telling.
                if let Some(millis) = limit.map(|limit| limit.as_millis()).filter(|millis| *millis < 100_000_000)
                    && let Ok(value) = HeaderValue::try_from(format!("{}m", millis.max(1)))
                {
                    headers.insert("grpc-timeout", value);
                }
            }
            protocol => {
                let json = protocol == Protocol::HttpJson;
                let kind = if json { "application/json" } else { "application/x-protobuf" };
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                if self.collector.gzip {
                    headers.insert(header::CONTENT_ENCODING, gzip);
                }
            }
        }
        for (name, value) in &self.collector.headers {
            headers.insert(name, value.clone());
        }
    }
}

impl Failure {
    fn of(error: &hyper_util::client::legacy::Error) -> Self {
        let first: &(dyn std::error::Error + 'static) = error;
        let causes = std::iter::successors(Some(first), |error| error.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        let kind = if error.is_connect() { FailureKind::Unreachable } else { FailureKind::Busy(None) };
        Self { kind, text: texts.join(": ") }
    }

    pub(crate) fn timed_out() -> Self {
        Self { kind: FailureKind::Busy(None), text: "no answer in time".to_owned() }
    }

    pub(crate) fn is_refusal(&self) -> bool {
        self.kind == FailureKind::Refused
    }
}

fn connection(tls: &ClientConfig, collector: &Collector) -> Connection {
    let protocol = collector.protocol;
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(collector.timeout.map_or(CONNECT, |limit| CONNECT.min(limit / 2))));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let schemes = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
    let connector = match protocol {
        Protocol::Grpc => schemes.enable_http2().wrap_connector(tcp),
        Protocol::HttpProtobuf | Protocol::HttpJson => schemes.enable_http1().wrap_connector(tcp),
    };
    Hyper::builder(UnobservedExecutor)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .http2_only(protocol == Protocol::Grpc)
        .build(connector)
}

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(message);
    encoder.finish().unwrap_or_default()
}

fn http_answer(head: &Response<()>, body: &[u8], protocol: Protocol) -> Result<PartialSuccess, Failure> {
    let status = head.status();
    let kind = head.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if status.is_success() {
        // An answer that cannot be read was still a success by its status.
        let is_json = if kind.is_empty() { protocol == Protocol::HttpJson } else { kind.contains("json") };
        return Ok(if is_json { json::partial_success(body) } else { proto::partial_success(body) });
    }
    let text = match kind.split(';').next().unwrap_or_default().trim() {
        "application/x-protobuf" => proto::status_message(body).unwrap_or_default(),
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    let text = format!("HTTP status {}{}", status.as_u16(), said(&text));
    let kind = match is_http_retryable(status.as_u16()) {
        true => FailureKind::Busy(retry_after_of(head.headers())),
        false => FailureKind::Refused,
    };
    Err(Failure { kind, text })
}

fn grpc_answer(head: &Response<()>, body: Option<Collected<Bytes>>) -> Result<PartialSuccess, Failure> {
    if !head.status().is_success() {
        // A proxy answered: no gRPC server says anything but 200.
        return http_answer(head, b"", Protocol::Grpc);
    }
    let trailers = body.as_ref().and_then(Collected::trailers);
    let find = |name: &str| trailers.and_then(|map| map.get(name)).or_else(|| head.headers().get(name));
    let Some(code) = find("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u32>().ok()) else {
        // The connection broke before the end: the request may or may not have been taken.
        let text = "the answer ended without a gRPC status".to_owned();
        return Err(Failure { kind: FailureKind::Busy(None), text });
    };
    if code == 0 {
        let message = body.map(Collected::to_bytes).unwrap_or_default();
        // One byte says compressed, which was not asked for, and four the length.
        return Ok(message.get(5..).map(proto::partial_success).unwrap_or_default());
    }
    let details = find("grpc-status-details-bin").and_then(|value| {
        let text = value.as_bytes().trim_ascii_end();
        let text: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'=').collect();
        base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).ok()
    });
    let delay = details.as_deref().and_then(proto::retry_delay);
    let message = find("grpc-message").map(|value| percent_decoded_lossy(value.as_bytes())).unwrap_or_default();
    let text = format!("gRPC status {}{}", grpc_code_name(code), said(&message));
    let kind = match is_grpc_retryable(code, delay.is_some()) {
        true => FailureKind::Busy(delay),
        false => FailureKind::Refused,
    };
    Err(Failure { kind, text })
}

fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    retry_after(value, now.as_secs() as i64)
}

/// What a collector says, short and on one line, with a colon before it.
fn said(text: &str) -> String {
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

fn percent_decoded_lossy(text: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
