//! What several test modules need.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
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
