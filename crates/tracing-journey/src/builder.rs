//! What an application can ask for, and the ways to start.

use std::{net::SocketAddr, time::Duration};

use journey_core::{Route, TraceIdKey};
use tracing_core::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    layer::{Filter, Layered},
    registry::LookupSpan,
};

use crate::{
    config::Environment,
    error::SetupError,
    handle::JourneyHandle,
    install,
    layer::{JourneyFilter, JourneyLayer},
    plan::{Asked, Plan},
    start::{self, Started},
};

/// What further layers of [`Builder::layer`] stand on: the Journey layer inside, right at the registry.
pub type Stack = Layered<JourneyLayer, Registry>;

/// The Journey layer behind its own filter, as [`Builder::build_filtered`] gives it.
pub type FilteredLayer<S> = tracing_subscriber::filter::Filtered<JourneyLayer, JourneyFilter, S>;

/// Configures Journey in code. What code does not say, the environment and the settings file do (docs/configuration.md).
///
/// ```
/// use std::time::Duration;
/// use tracing_subscriber::prelude::*;
///
/// let (layer, journey) = tracing_journey::builder()
///     .service("gateway")
///     .retention(Duration::from_secs(60))
///     .no_http()
///     .build()?;
/// let _guard = tracing_subscriber::registry().with(layer).set_default();
///
/// let span = tracing::info_span!("db_stored", correlation_id = "msg_1");
/// span.in_scope(|| { /* the work of the stage */ });
/// drop(span);
///
/// assert!(journey.flush(Duration::from_secs(5)));
/// assert_eq!(journey.get("msg_1").unwrap().checkpoints[0].stage, "T4");
/// # Ok::<(), tracing_journey::SetupError>(())
/// ```
#[must_use = "nothing starts before `install`, `build` or `build_filtered`"]
pub struct Builder {
    asked: Asked,
    layers: Option<Box<dyn Layer<Stack> + Send + Sync>>,
    fmt: bool,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { asked: Asked::default(), layers: None, fmt: true }
    }

    /// Names the service, as it stands on every checkpoint. Default: `JOURNEY_SERVICE`, `OTEL_SERVICE_NAME`, or the
    /// name of the executable.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.asked.service = Some(service.into());
        self
    }

    /// Sets the version of the service. Default: none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.asked.version = Some(version.into());
        self
    }

    /// Names this instance of the service. Default: host name and process id.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.asked.instance = Some(instance.into());
        self
    }

    /// Adds a route. The built-in `message` route is active only where no route is given, or when it is given too.
    pub fn route(mut self, route: Route) -> Self {
        self.asked.routes.push(route);
        self
    }

    /// Adds several routes.
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        self.asked.routes.extend(routes);
        self
    }

    /// Declares an open route for [`Flow`](crate::Flow)s of this name, with statistics of its own. Flows of other names
    /// share the open route `flow`, which is always there.
    pub fn flow_route(mut self, name: impl Into<String>) -> Self {
        self.asked.flow_routes.push(name.into());
        self
    }

    /// Lets routes claim one stage name together; spans then say which they mean in the field `journey.name`.
    /// Default: off, and such routes are refused.
    pub fn name_on_spans(mut self, on: bool) -> Self {
        self.asked.name_on_spans = Some(on);
        self
    }

    /// Sets how long a journey of any route may go without a checkpoint. Default: what each route says, 5 minutes.
    ///
    /// Longer keeps the journeys that never finish in memory for longer, up to [`max_active`](Self::max_active).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.asked.ttl = Some(ttl);
        self
    }

    /// Sets how long a finished journey stays readable. Default: 5 minutes.
    ///
    /// More costs memory in proportion to the rate of journeys, up to [`max_finished`](Self::max_finished).
    pub fn retention(mut self, retention: Duration) -> Self {
        self.asked.retention = Some(retention);
        self
    }

    /// Sets how many journeys may be open, at least 1; beyond, the one idle longest is evicted. Default: 100 000.
    pub fn max_active(mut self, journeys: usize) -> Self {
        self.asked.max_active = Some(journeys);
        self
    }

    /// Sets how many finished journeys are kept at most. Default: 20 000.
    pub fn max_finished(mut self, journeys: usize) -> Self {
        self.asked.max_finished = Some(journeys);
        self
    }

    /// Sets how long a finished journey with a gap waits for checkpoints still on their way. Default: 1 second.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.asked.grace = Some(grace);
        self
    }

    /// Sets how long an open journey may make no progress before it is called stuck. Default: 30 seconds.
    pub fn stuck_after(mut self, idle: Duration) -> Self {
        self.asked.stuck_after = Some(idle);
        self
    }

    /// Sets how many checkpoints may wait for the tracker: 64 to 1 048 576, the nearest of which is taken.
    /// Default: 16 384, about 2 MiB. Beyond, new ones are dropped and counted.
    pub fn queue(mut self, checkpoints: usize) -> Self {
        self.asked.queue = Some(checkpoints);
        self
    }

    /// Sets the most verbose level that stage spans may have. Default: `INFO`. Spans that are more verbose are no stages.
    pub fn level(mut self, level: impl Into<LevelFilter>) -> Self {
        self.asked.level = Some(level.into());
        self
    }

    /// Sums the time of database, HTTP and RPC client spans inside each stage. Default: off, as each such span then
    /// costs about as much as a stage.
    pub fn within(mut self, on: bool) -> Self {
        self.asked.within = Some(on);
        self
    }

    /// Writes one event `journey_timing` per finished journey. Default: on, at the level `DEBUG` where nothing is wrong.
    pub fn log_summary(mut self, on: bool) -> Self {
        self.asked.log_summary = Some(on);
        self
    }

    /// Chooses which finished journeys are exported: `all`, `slow_failed`, `ratio:0.1` or `none`. Default: `all`.
    ///
    /// Whether anything is exported at all, and where to, the `OTEL_*` variables say.
    pub fn export(mut self, which: impl Into<String>) -> Self {
        self.asked.export = Some(which.into());
        self
    }

    /// Stores what happens in this folder, or PostgreSQL database: every checkpoint, every end of a journey, `tracing` events
    /// with a field `event_type` and spans with a field `compensates`. Default: `JOURNEY_STORE`, else nothing is stored.
    ///
    /// Needs the cargo feature `store`; a database needs `postgres`. [`JourneyHandle::events`] emits further events.
    pub fn store(mut self, place: impl Into<String>) -> Self {
        self.asked.store = Some(place.into());
        self
    }

    /// Sets the key behind the trace ids of exported journeys: the same in all processes that export parts of one
    /// journey. Default: a key that everybody knows.
    pub fn trace_id_key(mut self, key: TraceIdKey) -> Self {
        self.asked.trace_id_key = Some(key);
        self
    }

    /// Sets where the debug endpoint listens. Default: `127.0.0.1:7117`. Port 0 takes any free port, which
    /// [`JourneyHandle::http_addr`] tells. An address that is not loopback needs a token.
    pub fn http(mut self, addr: SocketAddr) -> Self {
        self.asked.http = Some(Some(addr));
        self
    }

    /// Starts no debug endpoint.
    pub fn no_http(mut self) -> Self {
        self.asked.http = Some(None);
        self
    }

    /// Sets the bearer token that requests to the debug endpoint must carry. Default: `JOURNEY_HTTP_TOKEN_FILE`.
    pub fn http_token(mut self, token: impl Into<String>) -> Self {
        self.asked.http_token = Some(token.into());
        self
    }

    /// Whether [`install`](Self::install) writes the log to stderr, filtered by `RUST_LOG`. Default: on, with the cargo
    /// feature `fmt`; without that feature there is none.
    pub fn with_fmt(mut self, on: bool) -> Self {
        self.fmt = on;
        self
    }

    /// Adds a layer that [`install`](Self::install) puts outside the Journey layer, such as that of
    /// tracing-opentelemetry, which is the order in which trace ids can be read. Layers keep the order of the calls.
    ///
    /// Give it a filter of its own (`layer.with_filter(..)`) where it should not see everything: filters for all layers
    /// would hide stages.
    pub fn layer(mut self, layer: impl Layer<Stack> + Send + Sync) -> Self {
        self.layers = Some(match self.layers {
            None => Box::new(layer),
            // Not a `Vec` of layers: that would not tell them which subscriber they are part of.
            Some(inner) => Box::new(inner.and_then(layer)),
        });
        self
    }

    /// Takes settings from these variables instead of the environment of the process.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.asked.environment = Some(Environment::of_pairs(variables));
        self
    }

    /// Starts everything and makes it the subscriber of the process: the registry, the Journey layer at its side, the
    /// layers added, and the log, each with its own filter. Works with and without an async runtime.
    ///
    /// # Errors
    ///
    /// A setting or route that does not fit, a debug address that cannot be listened on, or a process that has a
    /// subscriber already. Nothing is left running then.
    pub fn install(self) -> Result<JourneyHandle, SetupError> {
        install::check_first()?;
        let plan = Plan::resolve(self.asked)?;
        let log = if self.fmt { install::log(&plan)? } else { install::Log::default() };
        // A layer without a level of its own wants everything, and would be capped at the level of stages.
        let hint = match &self.layers {
            Some(layers) => layers.max_level_hint().map_or(LevelFilter::TRACE, |_| plan.level),
            None => plan.level,
        };
        let started = start::start(plan, hint)?;
        install::install(started, self.layers, log)
    }

    /// Starts everything but the subscriber, and gives the layer to compose into one: innermost, right at the registry,
    /// and without any filter around it. Layers and log of this builder are not used.
    ///
    /// Other spans and events cost a few nanoseconds each. The layer gives the level of stages ([`level`](Self::level)) as
    /// its hint, which the subscriber takes for the level of the process where no other layer names one: a log that shall
    /// show more says so by a filter of its own, such as `fmt::layer().with_filter(LevelFilter::DEBUG)`.
    ///
    /// # Errors
    ///
    /// A setting or route that does not fit, or a debug address that cannot be listened on.
    pub fn build(self) -> Result<(JourneyLayer, JourneyHandle), SetupError> {
        let plan = Plan::resolve(self.asked)?;
        let hint = plan.level;
        let Started { layer, handle, check, .. } = start::start(plan, hint)?;
        handle.watch(check)?;
        start::publish(&handle);
        Ok((layer, handle))
    }

    /// The same behind a filter of its own, for a registry with no other layer: spans and events that are no stages then
    /// cost nothing at all. Where another layer wants them, [`build`](Self::build) costs less.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_filtered<S>(self) -> Result<(FilteredLayer<S>, JourneyHandle), SetupError>
    where
        S: tracing_core::Subscriber + for<'a> LookupSpan<'a>,
        JourneyFilter: Filter<S>,
        JourneyLayer: Layer<S>,
    {
        let plan = Plan::resolve(self.asked)?;
        let hint = plan.level;
        let Started { layer, filter, handle, check } = start::start(plan, hint)?;
        handle.watch(check)?;
        start::publish(&handle);
        Ok((layer.with_filter(filter), handle))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("routes", &self.asked.routes.len()).finish_non_exhaustive()
    }
}
