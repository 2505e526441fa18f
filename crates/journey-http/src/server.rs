//! The endpoint on a thread of its own: connections taken, bounded, and ended in time.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use journey_core::Live;
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Health, HttpConfig, HttpError,
    config::bounded,
    router::{App, routed},
    stats::{Stats, add},
    timed_io::TimedIo,
};

/// The head of a request, and what is buffered of an answer that a client does not take.
const MAX_BUFFER: usize = 64 * 1_024;

/// The head of a request, start line included: ids and tokens are short.
const MAX_HEAD: usize = 16 * 1_024;

/// Headers of one request. A browser sends about 20.
const MAX_HEADERS: usize = 64;

/// How long accepting rests after it failed: most often files ran out, and trying again at once takes a whole core.
const REST_AFTER_ERROR: Duration = Duration::from_millis(50);

/// How much later than its deadline a shutdown may be seen to end.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(250);

/// What a client beyond the limit reads.
const TOO_MANY_CONNECTIONS: &str = "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"too many connections (come again in 1 s)\"}";

/// A running endpoint. Dropping it ends it at once, without waiting.
///
/// It has one thread with a runtime of its own, so it works without tokio, inside any runtime, and after one was dropped.
/// Nothing it does is seen by `tracing`.
pub struct HttpServer {
    addr: SocketAddr,
    health: Arc<Health>,
    stop: watch::Sender<Option<Instant>>,
    ended: Mutex<Ended>,
}

/// How it ended, once that is known.
struct Ended {
    outcome: Option<bool>,
    news: mpsc::Receiver<bool>,
}

impl HttpServer {
    /// Opens the socket and starts to answer.
    ///
    /// # Errors
    ///
    /// A setting that [`HttpConfig::check`] refuses, an address that cannot be had, or no thread left.
    pub fn start(live: Arc<Live>, health: Arc<Health>, config: HttpConfig) -> Result<Self, HttpError> {
        config.check()?;
        let bind_error = |error| HttpError::bind(config.addr, error);
        let listener = StdListener::bind(config.addr).map_err(bind_error)?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        let addr = listener.local_addr().map_err(bind_error)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(HttpError::thread)?;
        let (stop, stopping) = watch::channel(None);
        let (ending, ended) = mpsc::sync_channel(1);
        let (close, closing) = watch::channel(false);
        let app = Arc::new(App::new(live, Arc::clone(&health), &config, closing));
        let serve = move || {
            let whole = runtime.block_on(serve(listener, app, config, close, stopping));
            // Connections that are still open end here, and nothing is waited for.
            runtime.shutdown_background();
            let _ = ending.send(whole);
        };
        let thread = thread::Builder::new().name("journey-http".to_owned());
        thread.spawn(serve).map_err(HttpError::thread)?;
        Ok(Self { addr, health, stop, ended: Mutex::new(Ended { outcome: None, news: ended }) })
    }

    /// Where it listens, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it: `/readyz` says no, nothing new is taken, streams end, answers that are being written are finished.
    ///
    /// Returns after at most `deadline` (and a quarter of a second), whatever hangs: `true` where every connection ended
    /// by itself. Later calls cannot move the deadline of the first; they tell what became of it.
    pub fn shutdown(&self, deadline: Duration) -> bool {
        self.health.drain();
        let deadline = bounded(deadline);
        let at = Instant::now() + deadline;
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(at);
            first
        });
        let Some(mut ended) = self.ended.try_lock_for(deadline + SHUTDOWN_GRACE) else { return false };
        if ended.outcome.is_none() {
            ended.outcome = ended.news.recv_timeout(deadline + SHUTDOWN_GRACE).ok();
        }
        ended.outcome.unwrap_or(false)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.send_replace(Some(Instant::now()));
    }
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// Takes connections until told to stop, then waits for them until the deadline. Whether all ended.
async fn serve(
    listener: StdListener,
    app: Arc<App>,
    config: HttpConfig,
    close: watch::Sender<bool>,
    mut stopping: watch::Receiver<Option<Instant>>,
) -> bool {
    // It was bound by the caller; taking it over only fails where the runtime has no I/O, and this one has.
    let Ok(listener) = TcpListener::from_std(listener) else { return false };
    let stats = Arc::clone(&app.stats);
    let router = routed(app);
    let mut connections = JoinSet::new();
    let deadline = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if stats.connections.take(config.max_connections) => {
                    let connection = connection(stream, peer, router.clone(), &config, &stats, close.subscribe());
                    connections.spawn(connection);
                }
                Ok((stream, _)) => refuse(stream, &stats),
                Err(_) => sleep(REST_AFTER_ERROR).await,
            },
            // Ended ones are taken out as they end, so the set stays as small as what is open.
            Some(_) = connections.join_next() => {}
            deadline = told_to_stop(&mut stopping) => break deadline,
        }
    };
    drop(listener);
    let _ = close.send(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all_ended => true,
        () = sleep_until(deadline) => false,
    }
}

/// Waits for the word to stop; gives the deadline. An owner that is gone has said it as well.
async fn told_to_stop(stopping: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match stopping.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        Err(_) => Instant::now(),
    }
}

/// One connection, from its first byte to its end.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    config: &HttpConfig,
    stats: &Arc<Stats>,
    mut closing: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + 'static {
    let place = Place(Arc::clone(stats));
    // Events are small and should not wait for more. A socket that refuses this is closed already.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(TimedIo::new(stream, bounded(config.write_timeout), Arc::clone(stats)));
    let service = tower_service(router, peer);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounded(config.header_timeout))
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    async move {
        let _place = place;
        let connection = builder.serve_connection(io, service);
        tokio::pin!(connection);
        tokio::select! {
            // What a client did wrong is its own affair; hyper has answered it where it could.
            _ = connection.as_mut() => return,
            _ = closing.wait_for(|closing| *closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// The router for one client, whose address the rate limit needs.
fn tower_service(
    router: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    let inner = TowerToHyperService::new(router);
    hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        hyper::service::Service::call(&inner, request)
    })
}

/// Says no without keeping anything.
fn refuse(stream: TcpStream, stats: &Stats) {
    add(&stats.connections_refused, 1);
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
                cache-control: no-store\r\nconnection: close";
    let body = TOO_MANY_CONNECTIONS;
    let response = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // A new connection has room for this; where it has not, the close says enough.
    let _ = stream.try_write(response.as_bytes());
}

/// One of the connections that may be open; given back when it ends, also by a panic.
struct Place(Arc<Stats>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.give();
    }
}

#[cfg(test)]
mod tests;
