//! Incoming requests get a correlation id, a span, and a duration under the name of their endpoint.

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use journey_core::DropReason;
use parking_lot::RwLock;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Span, field::Empty};

use super::id::{self, CORRELATION_ID, RequestId};
use crate::handle::JourneyHandle;

/// Endpoint names per layer; all further ones are `other`. Names come from outside where nobody says otherwise.
const MAX_ENDPOINTS: usize = 128;
/// The name of all endpoints beyond.
const OTHER: &str = "other";

/// Gives every request a correlation id and a span, and measures it.
///
/// - The id is that of `X-Correlation-ID`, else of `X-Request-ID`, else the trace id of `traceparent`, else a new UUID. An id
///   with other characters than `[A-Za-z0-9._~:+/=-]` or more than 128 is passed over and counted as `invalid_id`.
/// - The request goes on with that id in its headers and as [`RequestId`] in its extensions, inside a span `request` whose
///   field `correlation_id` every stage below inherits.
/// - The response carries it as `X-Correlation-ID`, unless the service put one there itself.
/// - The time until the response (or until the request was dropped) is counted as an operation named after the endpoint.
///
/// ```
/// use tracing_journey::tower::ServerLayer;
/// // In axum, where this layer is given to `Router::layer`, the matched path is the best name:
/// // .endpoint(|method, uri, extensions| match extensions.get::<axum::extract::MatchedPath>() {
/// //     Some(path) => format!("{method} {}", path.as_str()),
/// //     None => format!("{method} unmatched"),
/// // })
/// let layer = ServerLayer::new().endpoint(|method, uri, _| format!("{method} {}", uri.path()));
/// ```
#[derive(Clone, Default)]
pub struct ServerLayer {
    handle: Option<JourneyHandle>,
    name: Option<NameEndpoint>,
    names: Arc<Endpoints>,
}

/// The service of [`ServerLayer`].
#[derive(Clone, Debug)]
pub struct Server<S> {
    inner: S,
    layer: ServerLayer,
}

type NameEndpoint = Arc<dyn Fn(&Method, &Uri, &Extensions) -> String + Send + Sync>;

/// The endpoint names given so far.
#[derive(Debug, Default)]
struct Endpoints(RwLock<HashSet<Arc<str>>>);

impl ServerLayer {
    /// The layer for the process-wide [`handle`](crate::handle()), with names of the default kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Measures into this handle instead of the process-wide one.
    #[must_use]
    pub fn handle(mut self, handle: &JourneyHandle) -> Self {
        self.handle = Some(handle.clone());
        self
    }

    /// Sets how endpoints are named. The names have to be few: never an id, a user or a whole path with either in it.
    ///
    /// Default: the method with the first segment of the path (`GET /users`), for gRPC the whole path
    /// (`/chat.Chat/Send`), and `GET unmatched` for what was answered by 404 or 405. Whoever names, the 129th name and
    /// all later ones are `other`.
    #[must_use]
    pub fn endpoint(mut self, name: impl Fn(&Method, &Uri, &Extensions) -> String + Send + Sync + 'static) -> Self {
        self.name = Some(Arc::new(name));
        self
    }

    fn journey(&self) -> Option<&JourneyHandle> {
        self.handle.as_ref().or_else(|| crate::start::global())
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;

    fn layer(&self, inner: S) -> Server<S> {
        Server { inner, layer: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Server<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let found = id::find(request.headers());
        if found.refused
            && let Some(journey) = self.layer.journey()
        {
            journey.intake().count_lost(DropReason::InvalidId, 1);
        }
        let (method, uri) = (request.method(), request.uri());
        let own_name = self.layer.name.as_ref().map(|name| name(method, uri, request.extensions()));
        let named = own_name.is_some();
        let endpoint = self.layer.names.known(own_name.unwrap_or_else(|| default_name(method, uri, request.headers())));
        let span = tracing::info_span!(
            "request",
            correlation_id = found.id.as_str(),
            otel.name = &*endpoint,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method_name(method),
            http.route = &*endpoint,
            http.response.status_code = Empty,
        );
        let measured = Measured {
            journey: self.layer.journey().cloned(),
            endpoint,
            unmatched: (!named).then(|| format!("{} unmatched", method_name(method))),
            since: Instant::now(),
        };
        request.headers_mut().insert(CORRELATION_ID, found.id.header());
        request.extensions_mut().insert(found.id.clone());
        let future = span.in_scope(|| self.inner.call(request));
        ServerFuture { future, span, id: found.id, measured }
    }
}

pin_project! {
    /// The response of [`Server`] to come.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ServerFuture<F> {
        #[pin]
        future: F,
        span: Span,
        id: RequestId,
        measured: Measured,
    }
}

/// Counts its own life under the name of the endpoint.
struct Measured {
    journey: Option<JourneyHandle>,
    endpoint: Arc<str>,
    /// The name to take where no such endpoint turns out to exist.
    unmatched: Option<String>,
    since: Instant,
}

impl<F, R, E> Future for ServerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let entered = this.span.enter();
        let mut result = ready!(this.future.poll(cx));
        match &mut result {
            Ok(response) => {
                let status = response.status();
                this.span.record("http.response.status_code", status.as_u16());
                if status.is_server_error() {
                    this.span.record("otel.status_code", "ERROR");
                }
                if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
                    && let Some(unmatched) = this.measured.unmatched.take()
                {
                    this.measured.endpoint = unmatched.into();
                }
                response.headers_mut().entry(CORRELATION_ID).or_insert_with(|| this.id.header());
            }
            Err(_) => {
                this.span.record("otel.status_code", "ERROR");
            }
        }
        drop(entered);
        this.measured.end();
        Poll::Ready(result)
    }
}

impl Measured {
    /// Counts now, and never again.
    fn end(&mut self) {
        if let Some(journey) = self.journey.take() {
            journey.operation(&self.endpoint, self.since.elapsed());
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.end();
    }
}

impl Endpoints {
    fn known(&self, name: String) -> Arc<str> {
        if let Some(known) = self.0.read().get(name.as_str()) {
            return Arc::clone(known);
        }
        let mut names = self.0.write();
        if names.len() >= MAX_ENDPOINTS && !names.contains(name.as_str()) {
            return OTHER.into();
        }
        let name: Arc<str> = name.into();
        names.insert(Arc::clone(&name));
        name
    }
}

fn default_name(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let path = uri.path();
    let content_type = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if content_type.starts_with(b"application/grpc") {
        return path.chars().take(64).collect();
    }
    let first = path.split('/').nth(1).unwrap_or_default();
    let first: String = first.chars().take(48).collect();
    format!("{} /{first}", method_name(method))
}

/// The methods of the standards; a caller may make up any others.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

impl fmt::Debug for ServerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLayer").field("names", &self.names).finish_non_exhaustive()
    }
}

impl<F: fmt::Debug> fmt::Debug for ServerFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerFuture").field("future", &self.future).field("id", &self.id).finish_non_exhaustive()
    }
}
