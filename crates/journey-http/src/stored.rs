//! Events that outlive the process, as far as a store has them: traces, why, live watching, statistics.
//!
//! | module | question it answers |
//! |---|---|
//! | `desk` | how is the store asked without anybody waiting for it in vain? |
//! | `parameters` | which instants, types and tags does a request name? |
//! | `traces` | what do one trace and lists of traces and events look like? |
//! | `figures` | what do days and many traces say together? |
//! | `stream` | what happens in a trace now? |
//! | `upkeep` | how does the store feel? |
//! | `view` | what do readers see (the JSON types)? |

mod desk;
#[cfg(test)]
mod faulty;
mod figures;
mod parameters;
mod stream;
mod traces;
mod upkeep;
mod view;

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Path},
    response::Response,
};
use http::{StatusCode, request::Parts};
use journey_core::CorrelationId;
use journey_store::{Emitter, EventStore};

use crate::{problem::Problem, query::Params, router::App, routes::Stored};

pub(crate) use self::desk::Desk;
pub use self::view::{DailyView, EventsView, Omitted, StoredTraceView, TraceRow, TracesView};

/// How the reader of an error turns this on.
const HOW_TO: &str = "this endpoint was given no store of events (set `HttpConfig::store` to \
                      `StoredEvents::new(store)`)";

/// The store that the endpoint reads, to be put into [`HttpConfig::store`](crate::HttpConfig::store).
///
/// Whatever the store does, no other answer waits for it: it is asked on threads of the runtime for blocking work, six
/// questions at a time at most, and each only for so long.
///
/// ```
/// use std::sync::Arc;
/// use journey_http::{HttpConfig, StoredEvents};
/// use journey_store::MemoryStore;
///
/// let stored = StoredEvents::new(Arc::new(MemoryStore::new()));
/// let config = HttpConfig { store: Some(stored), ..HttpConfig::default() };
/// # assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct StoredEvents {
    store: Arc<dyn EventStore>,
    emitter: Option<Emitter>,
    timeout: Duration,
    long_timeout: Duration,
    /// Least time between two looks of a stream into the store.
    poll: Duration,
}

impl StoredEvents {
    /// Answers from this store.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self {
            store,
            emitter: None,
            timeout: Duration::from_secs(5),
            long_timeout: Duration::from_secs(30),
            poll: Duration::from_secs(1),
        }
    }

    /// Shows events to watchers as this emitter emits them, before the store has them, and shows what became of them
    /// ([`Emitter::report_to`]).
    ///
    /// Without it, a stream of one trace looks into the store about once a second, and there is none of all traces.
    #[must_use]
    pub fn with_emitter(mut self, emitter: Emitter) -> Self {
        self.emitter = Some(emitter);
        self
    }

    /// Sets how long an answer waits for the store before it is 503: for one trace or page, and for questions over many
    /// traces. Defaults to 5 s and 30 s.
    #[must_use]
    pub fn with_timeouts(mut self, quick: Duration, long: Duration) -> Self {
        (self.timeout, self.long_timeout) = (quick, long);
        self
    }

    #[cfg(test)]
    fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }
}

/// The answer to one of the paths.
pub(crate) async fn answer(app: &App, asked: Stored, mut parts: Parts, params: &Params) -> Result<Response, Problem> {
    let desk = app.stored.as_ref().ok_or_else(|| Problem::new(StatusCode::NOT_IMPLEMENTED, HOW_TO))?;
    let now = app.live.now();
    match asked {
        Stored::Traces => traces::list(desk, &parts, params, now).await,
        Stored::Trace => {
            let id = id(&mut parts).await?;
            traces::one(desk, &parts, params, id, now).await
        }
        Stored::TraceEvents => {
            let id = id(&mut parts).await?;
            traces::events_of_one(desk, &parts, params, id).await
        }
        Stored::TraceStream => {
            let id = id(&mut parts).await?;
            stream::of_trace(app, desk, &parts, id).await
        }
        Stored::Events => traces::events(desk, &parts, params, now).await,
        Stored::EventStream => stream::of_all(app, desk, &parts, params),
        Stored::Daily => figures::daily(desk, &parts, params, now).await,
        Stored::Analytics => {
            let kind = segment(&mut parts).await?;
            figures::analytics(desk, &parts, params, &kind, now).await
        }
    }
}

/// The trace id or correlation id in the path.
async fn id(parts: &mut Parts) -> Result<CorrelationId, Problem> {
    let text = segment(parts).await?;
    // A trace id has the form of a correlation id too.
    CorrelationId::new(&text).map_err(|invalid| Problem::bad_request(invalid.to_string()))
}

/// The one part of the path that varies.
async fn segment(parts: &mut Parts) -> Result<String, Problem> {
    let segment = Path::<String>::from_request_parts(parts, &()).await;
    segment.map(|Path(text)| text).map_err(|_| Problem::bad_request("the id in the path is not UTF-8 text"))
}

#[cfg(test)]
mod tests;
