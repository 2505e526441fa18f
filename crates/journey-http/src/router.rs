//! Which answer belongs to a request.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::{Method, StatusCode, header, request::Parts};
use journey_core::Live;
use tokio::sync::watch;

use crate::{
    Health, HttpConfig, document, journeys, openapi,
    problem::{Problem, shown},
    process::ProcessReader,
    prometheus,
    query::Params,
    reply::Reply,
    routes::{Endpoint, ROUTES, Route},
    security::{self, Guard},
    stats::Stats,
    stream::{self, Streams},
    summary,
};

/// Everything that answers need.
pub(crate) struct App {
    pub(crate) live: Arc<Live>,
    pub(crate) health: Arc<Health>,
    pub(crate) process: ProcessReader,
    pub(crate) guard: Guard,
    pub(crate) stats: Arc<Stats>,
    pub(crate) streams: Arc<Streams>,
    /// Becomes `true` when streams have to end.
    pub(crate) closing: watch::Receiver<bool>,
    #[cfg(feature = "store")]
    pub(crate) stored: Option<Arc<crate::stored::Desk>>,
}

/// The endpoint as an axum router, to mount in a server of one's own.
///
/// All checks but those of connections are inside: `Host` and `Origin`, the token, the rate limit, headers, errors.
/// The address of the client is known to the rate limit where the server is made with
/// `into_make_service_with_connect_info::<SocketAddr>()`; else all clients share one quota. Header and write timeouts
/// and the connection limit are the server's: [`HttpServer`](crate::HttpServer) has them, `axum::serve` has not.
///
/// `config.addr` and `config.insecure` are not used here, except that the address itself is an allowed `Host`.
pub fn router(live: Arc<Live>, health: Arc<Health>, config: &HttpConfig) -> Router {
    // The other end is gone at once, so nothing is ever announced: these streams end with the server around them.
    let (_, never) = watch::channel(false);
    routed(Arc::new(App::new(live, health, config, never)))
}

impl App {
    pub(crate) fn new(
        live: Arc<Live>,
        health: Arc<Health>,
        config: &HttpConfig,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let stats = Arc::new(Stats::default());
        live.add_part("http", Arc::clone(&stats) as _);
        let streams = Streams::new(&live, Arc::clone(&stats), config);
        let guard = Guard::new(config);
        Self {
            #[cfg(feature = "store")]
            stored: config.store.as_ref().map(|stored| crate::stored::Desk::open(stored, &live, &health)),
            live,
            health,
            process: ProcessReader::default(),
            guard,
            stats,
            streams,
            closing,
        }
    }
}

pub(crate) fn routed(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in &ROUTES {
        let handler = move |State(app): State<Arc<App>>, request: Request| async move {
            let (parts, _) = request.into_parts();
            answer(&app, route, parts).await.unwrap_or_else(IntoResponse::into_response)
        };
        // GET answers HEAD as well.
        let method = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::GET);
        router = router.route(route.path, on(method, handler));
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), security::guard))
        .with_state(app)
}

async fn answer(app: &App, route: &'static Route, mut parts: Parts) -> Result<Response, Problem> {
    let params = Params::read(route, &parts.uri)?;
    let reply = match route.endpoint {
        Endpoint::Index => index(&parts),
        Endpoint::Journey => {
            let id = Path::<String>::from_request_parts(&mut parts, &()).await;
            let Path(id) = id.map_err(|_| Problem::bad_request("the correlation id in the path is not UTF-8 text"))?;
            journeys::one(&app.live, &id, &params)?
        }
        Endpoint::Journeys => journeys::list(&app.live, &params)?,
        Endpoint::Summary => summary::summary(&app.live, &params)?,
        Endpoint::Stream => return stream::open(app, &parts, &params),
        Endpoint::SelfView => Reply::json(&app.live.self_view()),
        Endpoint::Prometheus => prometheus::metrics(app, &parts.headers),
        Endpoint::Document => Reply::json(&document::document(app)),
        Endpoint::Livez => probe("livez", &[("process", true)], &params),
        Endpoint::Readyz => probe("readyz", &[("accepting", !app.health.is_draining())], &params),
        Endpoint::Health => {
            let view = app.health.view(app.live.now());
            let status = if view.is_down() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            Reply::json(&view).status(status)
        }
        Endpoint::OpenApi => Reply::json(openapi::document()),
        #[cfg(feature = "store")]
        Endpoint::Stored(asked) => return crate::stored::answer(app, asked, parts, &params).await,
    };
    Ok(reply.into_response(&parts.headers))
}

/// The list of routes: HTML for a browser, else text.
fn index(parts: &Parts) -> Reply {
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.contains("text/html") {
        let mut text = format!("Journey {}\n\n", env!("CARGO_PKG_VERSION"));
        for route in &ROUTES {
            text.push_str(&format!("{:4} {:42} {}\n", route.method.as_str(), route.path, route.help));
        }
        return Reply::text(text);
    }
    let mut html =
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Journey</title><h1>Journey</h1><ul>"
            .to_owned();
    // The texts are constants of the table without markup of their own.
    for Route { method, path, help, .. } in &ROUTES {
        if path.contains('{') {
            html.push_str(&format!("<li><code>{method} {path}</code> {help}"));
        } else {
            html.push_str(&format!("<li><a href=\"{path}\"><code>{method} {path}</code></a> {help}"));
        }
    }
    html.push_str("</ul></html>\n");
    Reply { content_type: "text/html; charset=utf-8", ..Reply::text(html) }
}

/// The form that orchestrators and their users know: a status, and a line for each check where asked.
fn probe(name: &str, checks: &[(&str, bool)], params: &Params) -> Reply {
    let passed = checks.iter().all(|(_, passed)| *passed);
    let mut text = String::new();
    if params.is_set("verbose") {
        for (check, passed) in checks {
            text.push_str(&if *passed { format!("[+]{check} ok\n") } else { format!("[-]{check} failed\n") });
        }
        text.push_str(&format!("{name} check {}\n", if passed { "passed" } else { "failed" }));
    } else {
        text.push_str(if passed { "ok\n" } else { "not ok\n" });
    }
    Reply::text(text).status(if passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

async fn not_found(request: Request) -> Problem {
    let path = request.uri().path();
    let has_id = ["/api/v2/metrics/journey/", "/api/v2/traces/"].iter().any(|prefix| path.starts_with(prefix));
    let hint = if has_id { "; a `/` inside a correlation id is written `%2F`" } else { "" };
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at `{}` (`GET /` lists what there is{hint})", shown(path)),
    )
}

async fn method_not_allowed(request: Request) -> Problem {
    let method: &Method = request.method();
    // The router adds `Allow`.
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{}` is not possible here", shown(method.as_str())))
}

#[cfg(test)]
mod tests;
