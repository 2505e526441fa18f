//! Every message becomes a journey through named stages, with a latency for every leg.
//!
//! Install one Layer, name spans after stages, and give them a correlation id:
//!
//! ```no_run
//! use tracing::{info_span, instrument};
//!
//! #[instrument(name = "db_stored", skip_all, fields(correlation_id = %id))]
//! fn store(id: &str) { /* stage T4 ends when this returns */ }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let journey = tracing_journey::init()?;
//!     store("msg_1");
//!     println!("{}", journey.shutdown(std::time::Duration::from_secs(5)));
//!     Ok(())
//! }
//! ```
//!
//! `init` starts the debug endpoint on `127.0.0.1:7117` (cargo feature `http`), exports by OTLP when
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set (feature `otlp`), and writes the log to stderr as `RUST_LOG` says (feature `fmt`).
//! docs/configuration.md lists all settings; [`SETTINGS`] is that list.
//!
//! # Four rungs
//!
//! | rung | for |
//! |---|---|
//! | [`init`] | everything, configured by the environment |
//! | [`builder`]`().service("gateway").install()` | the same, configured in code, with further layers |
//! | [`builder`]`().build()` | a [`JourneyLayer`] for a subscriber of one's own, innermost and unfiltered |
//! | [`journey_core`]`::Tracker` | no tracing at all |
//!
//! Checkpoints need no span: [`JourneyHandle::checkpoint`], [`checkpoint!`], [`StageFutureExt::stage`] and [`Flow`] work
//! where tracing is filtered, compiled out or absent.
//!
//! # What is not promised
//!
//! Readers see a checkpoint about 100 ms after it was recorded, or after [`JourneyHandle::flush`]. Under a load that the
//! tracker cannot follow, checkpoints are lost, newest first; each loss is counted by its reason. Dropping the last
//! handle is not a shutdown.

/// The README's example is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

mod builder;
mod clock;
mod config;
mod direct;
mod error;
#[cfg(feature = "store")]
mod events;
mod flow;
mod handle;
mod install;
mod intake;
mod layer;
mod line;
mod measure;
mod parts;
mod plan;
mod self_check;
mod settings;
mod sighting;
mod stage_future;
mod start;
mod subscription;
mod summary_line;
#[cfg(feature = "tower")]
pub mod tower;
mod visibility;
mod watch;
mod worker;

pub use journey_core::{
    self, Correlation, CorrelationId, DropReason, FeedEvent, FeedItem, InstantRule, LegKind, PlatformTime,
    PlatformTimeError, Presence, Route, RouteBuilder, RouteError, Status, Timings, TraceIdKey, Window, view,
};
#[cfg(feature = "http")]
pub use journey_http;
#[cfg(feature = "otlp")]
pub use journey_otlp;
#[cfg(feature = "store")]
pub use journey_store;
#[cfg(feature = "opentelemetry")]
pub use {opentelemetry, tracing_opentelemetry};

#[doc(hidden)]
pub use self::direct::mark;
pub use self::{
    builder::{Builder, FilteredLayer, Stack},
    direct::{CheckpointBuilder, CheckpointTime},
    error::SetupError,
    flow::Flow,
    handle::{JourneyHandle, Report},
    layer::{JourneyFilter, JourneyLayer, current_correlation_id},
    measure::{Measured, measure, measure_async},
    settings::{SETTINGS, Setting, SettingGroup, settings_page},
    stage_future::{StageFuture, StageFutureExt},
    subscription::Subscription,
};

/// Starts everything as the environment says and makes it the subscriber of the process.
///
/// The same as [`builder`]`().install()`. Keep the handle to look at journeys, and call [`JourneyHandle::shutdown`] at
/// the end.
///
/// # Errors
///
/// As [`Builder::install`].
pub fn init() -> Result<JourneyHandle, SetupError> {
    builder().install()
}

/// Starts to configure in code.
pub fn builder() -> Builder {
    Builder::new()
}

/// The process-wide handle: that of the first [`init`], [`Builder::install`] or [`Builder::build`].
///
/// It stays the same after a shutdown. `None` before anything was started.
pub fn handle() -> Option<JourneyHandle> {
    start::global().cloned()
}
