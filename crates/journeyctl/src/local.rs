//! A store asked without any service: the endpoint's own answers, given inside this process.
//!
//! The same router answers that a service has, so the same question gets the same document whoever is asked. No port is
//! opened.

use std::{
    io::{self, BufReader, Read},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, BodyDataStream, Bytes, to_bytes},
};
use futures_core::Stream as _;
use http::{Request, Response, StatusCode, header};
use journey_core::{Clock, Limits, Live, Routes, Source, TraceIdKey};
use journey_http::{Health, HttpConfig, StoredEvents, router};
use journey_store::{EventStore, InvalidPlace, StoreError, StoreErrorKind, StorePlace};
use tokio::runtime::Runtime;
use tower_service::Service as _;

use crate::{
    client::{Stream, plain, problem_detail, query_text},
    error::{CliError, Exit},
};

/// Names the store that is asked.
pub(crate) const STORE_VARIABLE: &str = "JOURNEY_STORE";

/// Nobody else waits here, so a large store may take its time: for one trace or page, and for questions over many.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));
/// The largest answer that is read; as of an endpoint.
const MAX_BODY: usize = 64 << 20;
/// More than this process asks: the limit is for strangers.
const REQUESTS_PER_MINUTE: u32 = 1_000_000;

/// A store, opened for reading. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Local {
    /// Where it is, without user and password.
    place: String,
    router: Router,
    runtime: Arc<Runtime>,
}

/// A body that goes on as long as there is something to say, for whoever reads without a runtime.
struct BodyReader {
    runtime: Arc<Runtime>,
    body: BodyDataStream,
    /// What was received and not yet read.
    rest: Bytes,
}

impl Local {
    /// Opens the store of a place: a folder, or the URL of a database.
    ///
    /// # Errors
    ///
    /// The text names no place, or there is no store that can be read.
    pub(crate) fn open(place: &str) -> Result<Self, CliError> {
        let place: StorePlace =
            place.parse().map_err(|error: InvalidPlace| CliError::new(Exit::Usage, plain(&error.to_string())))?;
        let store = place.open_to_read().map_err(|error| cannot_open(&place, &error))?;
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        };
        Self::of(place.to_string(), store, Arc::new(now))
    }

    /// A store that is open. `now` is unix nanoseconds.
    fn of(place: String, store: Arc<dyn EventStore>, now: Clock) -> Result<Self, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let routes = Arc::new(Routes::default());
        let live = Live::new(routes, Source::default(), Limits::default(), TraceIdKey::default(), now);
        let config = HttpConfig {
            store: Some(StoredEvents::new(store).with_timeouts(TIMEOUTS.0, TIMEOUTS.1)),
            requests_per_minute: REQUESTS_PER_MINUTE,
            ..HttpConfig::default()
        };
        let router = router(live, Arc::new(Health::new()), &config);
        Ok(Self { place, router, runtime: Arc::new(runtime) })
    }

    /// Where it is, without user and password.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Asks for a document and gives its text.
    ///
    /// # Errors
    ///
    /// The thing is not there, the question is wrong, or the store cannot answer.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, CliError> {
        let response = self.call(path, query, "application/json", None)?;
        self.text(response)
    }

    /// Opens a stream of events.
    ///
    /// # Errors
    ///
    /// As [`Local::get`].
    pub(crate) fn stream(&self, path: &str, last_event_id: Option<&str>) -> Result<Option<Stream>, CliError> {
        let response = self.call(path, &[], "text/event-stream", last_event_id)?;
        let body = response.into_body().into_data_stream();
        let reader = BodyReader { runtime: Arc::clone(&self.runtime), body, rest: Bytes::new() };
        Ok(Some(BufReader::new(Box::new(reader))))
    }

    fn call(
        &self,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
        last_event_id: Option<&str>,
    ) -> Result<Response<Body>, CliError> {
        let mut request = Request::get(format!("{path}{}", query_text(query)))
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, accept);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let request =
            request.body(Body::empty()).map_err(|error| CliError::new(Exit::Unexpected, error.to_string()))?;
        let mut router = self.router.clone();
        let Ok(response) = self.runtime.block_on(async move { router.call(request).await });
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response)) }
    }

    fn text(&self, response: Response<Body>) -> Result<String, CliError> {
        let body = self.runtime.block_on(to_bytes(response.into_body(), MAX_BODY));
        let text = body.map_err(|error| error.to_string()).map(|body| String::from_utf8_lossy(&body).into_owned());
        text.map_err(|error| {
            let message = format!("the answer of the store `{}` cannot be read: {error}", plain(&self.place));
            CliError::new(Exit::Unexpected, message).hint("ask for less, for example with --limit or --route")
        })
    }

    fn refused(&self, response: Response<Body>) -> CliError {
        let status = response.status();
        let body = self.text(response).unwrap_or_default();
        let detail = problem_detail(&body).unwrap_or_else(|| format!("status {status}"));
        match status {
            StatusCode::NOT_FOUND => CliError::new(Exit::NotFound, detail),
            StatusCode::BAD_REQUEST => CliError::new(Exit::Usage, detail),
            StatusCode::SERVICE_UNAVAILABLE => CliError::new(Exit::Refused, detail).passing(),
            _ => CliError::new(Exit::Unexpected, format!("the store `{}`: {detail}", plain(&self.place))),
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let body = &mut self.body;
            let next = std::future::poll_fn(|context| Pin::new(&mut *body).poll_next(context));
            match self.runtime.block_on(next) {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A store in memory with these events, at an instant (unix nanoseconds), as commands see it.
#[cfg(test)]
pub(crate) fn with(events: &[journey_store::Event], now: i64) -> crate::source::Source {
    let store: Arc<dyn EventStore> = Arc::new(journey_store::MemoryStore::new());
    for events in events.chunks(journey_store::MAX_BATCH) {
        let batch = journey_store::Batch { events: events.to_vec(), account: None, now };
        journey_store::wait(store.put(Arc::new(batch))).unwrap();
    }
    journey_store::wait(store.recompute()).unwrap();
    crate::source::Source::Store(Local::of("memory".to_owned(), store, Arc::new(move || now)).unwrap())
}

fn cannot_open(place: &StorePlace, error: &StoreError) -> CliError {
    let message = format!("the store `{place}` cannot be opened: {}", error.message);
    let example = format!(
        "a right place for --store or {STORE_VARIABLE}: the folder that the service writes, such as \
                           journey-events, or postgresql://user:password@host:5432/database"
    );
    let exit = if error.kind == StoreErrorKind::BadRequest { Exit::Usage } else { Exit::Unreachable };
    CliError::new(exit, plain(&message)).hint(example)
}
