//! The debug endpoint of Journey: what happened to one message, where the time goes, and how the process feels.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//! use journey_http::{Health, HttpConfig, HttpServer};
//! # fn tracker() -> Arc<journey_core::Live> { unimplemented!() }
//!
//! let health = Arc::new(Health::new());
//! health.register("database", Duration::from_secs(10), Duration::from_secs(2), || Ok("reachable".to_owned()));
//! let server = HttpServer::start(tracker(), health, HttpConfig::default())?;
//! println!("see http://{}/", server.local_addr());
//! server.shutdown(Duration::from_secs(5));
//! # Ok::<(), journey_http::HttpError>(())
//! ```
//!
//! | module | question it answers |
//! |---|---|
//! | `config` | where does it listen, who may ask, and how much? |
//! | `routes` | which paths and parameters are there (the one table)? |
//! | `router` | which answer belongs to a request? |
//! | `security`, `rate_limit` | who is turned away? |
//! | `problem`, `query`, `reply` | how are errors, parameters and bodies written and read? |
//! | `journeys`, `summary`, `document`, `stream` | what do the JSON endpoints and the event stream say? |
//! | `prometheus` | how do the metrics look to Prometheus? |
//! | `process`, `health` | how do the process and what it depends on feel? |
//! | `stored` (feature `store`) | what do stored events say? |
//! | `openapi` | how is all this described to machines? |
//! | `server`, `timed_io` | how are connections taken, bounded and ended? |
//! | `stats` | what does this endpoint know about itself? |

mod config;
mod document;
mod health;
mod journeys;
mod openapi;
mod problem;
mod process;
mod prometheus;
mod query;
mod rate_limit;
mod reply;
mod router;
mod routes;
mod security;
mod server;
mod stats;
#[cfg(feature = "store")]
mod stored;
mod stream;
mod summary;
mod timed_io;

#[cfg(test)]
mod testing;

#[cfg(feature = "store")]
pub use self::stored::{DailyView, EventsView, Omitted, StoredEvents, StoredTraceView, TraceRow, TracesView};
pub use self::{
    config::{HttpConfig, HttpError},
    document::{MetricsDocument, ProcessView, RouteMetrics, SegmentMetrics, StageMetrics},
    health::{ComponentView, Health, HealthView, Resource, ResourceView},
    router::router,
    server::HttpServer,
};
