//! Finished journeys as OTLP traces, and the statistics of all journeys as OTLP metrics.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let live: std::sync::Arc<journey_core::Live> = unimplemented!();
//! use std::time::Duration;
//! use journey_otlp::{OtlpConfig, OtlpExporter};
//!
//! // None: nothing in the environment asks for an export.
//! if let Some(config) = OtlpConfig::from_env(&|name| std::env::var(name).ok())? {
//!     let exporter = OtlpExporter::start(&live, config)?;
//!     // ... the application runs ...
//!     let report = exporter.shutdown(Duration::from_secs(5));
//!     println!("{} journeys were exported", report.exported);
//! }
//! # Ok(()) }
//! ```
//!
//! | module | question it answers |
//! |---|---|
//! | `config`, `env` | what was asked for, in code or by variables? |
//! | `policy` | which journeys are exported? |
//! | `resource`, `trace`, `layout`, `metrics` | what do journeys and statistics say, as plain spans and points (`model`)? |
//! | `proto`, `wire`, `json`, `text` | how is the model written? |
//! | `encoder` | how is a journey written in a fraction of a microsecond? |
//! | `queue` | which journeys wait, and what became of all others? |
//! | `journeys`, `statistics` | when does what go out? |
//! | `sender`, `retry`, `breaker` | what happens when it fails? |
//! | `unobserved` | how do our requests stay out of the application's own traces? |
//! | `client`, `tls`, `lines` | how are bytes brought to a collector, a file, the screen? |
//! | `exporter` | how does the process see all this? |
//!
//! # Decisions
//!
//! **One sender of our own for both signals and both protocols**, on hyper, instead of opentelemetry-otlp. The SDK's
//! metrics can carry neither our buckets nor exemplars, so half of the wire is ours anyway. Its span exporter takes
//! finished spans, but its attempts cannot be abandoned (a hung collector holds it for 10 to 20 s), partial success and
//! losses are logged rather than counted, TLS files and several values of variables are not read, and which HTTP client
//! it uses depends on features that any other crate can turn on. Here one task per signal sends one request at a time;
//! every wait in it ends at the shutdown.
//!
//! **Messages are written by hand** (`proto` over `wire`): nothing is allocated per field. The tests read everything back with the generated types of opentelemetry-proto, and over a real tonic server.
//!
//! **Standard variables are lenient, ours are strict**; see [`OtlpConfig::from_env`].
//!
//! **Not supported**: proxies from the environment, `OTEL_CONFIG_FILE`, delta temporality, unix sockets.

mod breaker;
mod client;
mod config;
mod encoder;
mod env;
mod exporter;
mod journeys;
mod json;
mod layout;
mod lines;
mod metrics;
mod model;
mod policy;
mod proto;
mod queue;
mod resource;
mod retry;
mod sender;
mod statistics;
mod text;
mod tls;
mod trace;
mod unobserved;
mod wire;

pub use self::{
    config::{ConfigError, HistogramForm, OtlpConfig, Protocol},
    encoder::TraceEncoder,
    exporter::{ExportReport, OtlpExporter},
    policy::ExportPolicy,
};
