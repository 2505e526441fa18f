//! What several test modules need.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use journey_core::{Checkpoint, CorrelationId, Limits, Live, Routes, Source, TraceIdKey};
use tower::ServiceExt;

use crate::{Health, HttpConfig, router};

/// 2023-11-14T22:13:20Z.
pub(crate) const START: i64 = 1_700_000_000_000_000_000;

pub(crate) const MILLI: i64 = 1_000_000;

/// A tracker of the `message` route whose clock stands still.
pub(crate) fn live() -> Arc<Live> {
    let own = Source { service: "gateway".into(), instance: "gateway-1".into(), ..Source::default() };
    let now = START + 10_000 * MILLI;
    Live::new(Arc::new(Routes::default()), own, Limits::default(), TraceIdKey::default(), Arc::new(move || now))
}

/// Records stages of one journey, each with its milliseconds after [`START`].
pub(crate) fn record(live: &Live, id: &str, stages: &[(&str, i64)]) {
    live.write(|tracker, now| {
        for (stage, ms) in stages {
            let stage = live.routes().stages_named(stage)[0];
            let id = CorrelationId::new(id).unwrap();
            let _ = tracker.record(Checkpoint::reached(id, stage, START + ms * MILLI), now);
        }
    });
}

/// Every stage of the route, from 0 ms to 2255 ms.
pub(crate) const WHOLE: [(&str, i64); 12] = [
    ("T0", 0),
    ("T1", 52),
    ("T2", 75),
    ("T3", 90),
    ("T4", 217),
    ("T5", 240),
    ("T6", 263),
    ("T7", 2_105),
    ("T8", 2_130),
    ("T9", 2_160),
    ("T10", 2_200),
    ("T11", 2_255),
];

/// Settings with which every path has an answer.
#[cfg(not(feature = "store"))]
pub(crate) fn whole() -> HttpConfig {
    HttpConfig::default()
}

/// Settings with which every path has an answer: a store with one order that failed, and an emitter.
#[cfg(feature = "store")]
pub(crate) fn whole() -> HttpConfig {
    use journey_store::{Batch, Emitter, EventStore, MemoryStore, fixture::Saga, wait};
    let saga = Saga { fails_at: Some(9), begin: START, ..Saga::default() };
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
    wait(store.put(Arc::new(Batch { events: saga.events(), account: None, now: START }))).unwrap();
    let emitter = Emitter::builder(Arc::clone(&store)).start().unwrap();
    HttpConfig { store: Some(crate::StoredEvents::new(store).with_emitter(emitter)), ..HttpConfig::default() }
}

/// A path of the table with ids in it that are known to [`record`] and [`whole`].
pub(crate) fn concrete(path: &str) -> String {
    path.replace("{correlationId}", "msg_1").replace("{id}", "order-1042").replace("{kind}", "failures")
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An endpoint without a port.
pub(crate) struct Endpoint(axum::Router);

impl Endpoint {
    pub(crate) fn new(live: &Arc<Live>) -> Self {
        Self::with(live, HttpConfig::default())
    }

    pub(crate) fn with(live: &Arc<Live>, config: HttpConfig) -> Self {
        Self::with_health(live, Arc::new(Health::empty()), config)
    }

    pub(crate) fn with_health(live: &Arc<Live>, health: Arc<Health>, config: HttpConfig) -> Self {
        Self(router(Arc::clone(live), health, &config))
    }

    /// Around a router that was made by hand.
    #[cfg(feature = "store")]
    pub(crate) fn of(router: axum::Router) -> Self {
        Self(router)
    }

    /// Asks with `GET` and the right `Host`.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", "localhost:7117");
        }
        // An empty value leaves a header out.
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        run(async {
            let response = self.send(request).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes().to_vec();
            Answer { status: parts.status.as_u16(), headers: parts.headers, body }
        })
    }

    /// Sends a request and gives back the response with its open body.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.0.clone().oneshot(request).await.unwrap()
    }
}

/// One event as a browser sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SentEvent {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// A client of the stream.
pub(crate) struct Reader {
    pub(crate) body: BodyDataStream,
    pub(crate) text: String,
}

impl Reader {
    pub(crate) async fn open_path(endpoint: &Endpoint, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(path).header("host", "localhost");
        if let Some(id) = last_event_id {
            let id = http::HeaderValue::from_bytes(id.as_bytes()).unwrap();
            request = request.header("last-event-id", id);
        }
        let response = endpoint.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next block up to an empty line; `None` at the end of the stream.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk =
                tokio::time::timeout(Duration::from_secs(20), self.body.next()).await.expect("nothing came in 20 s");
            self.text.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }

    /// The next event that a browser would dispatch or take an id from.
    pub(crate) async fn event(&mut self) -> Option<SentEvent> {
        let block = self.block().await?;
        let field = |name: &str| {
            let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            lines.map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned()).next()
        };
        Some(SentEvent {
            kind: field("event").unwrap_or_default(),
            id: field("id"),
            data: field("data").unwrap_or_default(),
        })
    }

    /// Skips heartbeats.
    pub(crate) async fn next(&mut self) -> SentEvent {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let event = tokio::time::timeout_at(deadline, self.event()).await.expect("no event came in 20 s");
            let event = event.expect("the stream ended");
            if event.kind != "heartbeat" && !(event.kind.is_empty() && event.data.is_empty()) {
                return event;
            }
        }
    }

    /// The first thing written: an id and nothing else.
    pub(crate) async fn hello(&mut self) -> String {
        let hello = self.event().await.unwrap();
        assert_eq!((hello.kind.as_str(), hello.data.as_str()), ("", ""));
        hello.id.unwrap()
    }
}

/// Runs a future to its end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits until something holds, at most 20 s.
#[track_caller]
pub(crate) fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "this did not come to hold within 20 s");
        std::thread::yield_now();
    }
}
