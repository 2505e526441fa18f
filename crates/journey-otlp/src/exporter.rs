//! The exporter as the rest of the process sees it: takes finished journeys, reports on itself, ends in time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use journey_core::{FinishedSink, Journey, Live, ReportSource, TraceIdKey};
use parking_lot::{Condvar, Mutex};
use serde_json::{Value as Json, json};
use tokio::{sync::watch, task::JoinSet, time::timeout_at};

use crate::{
    client::Client,
    config::{Collector, ConfigError, OtlpConfig, Outputs},
    encoder::TraceEncoder,
    journeys::{Delivery, Destination, Journeys},
    lines::Lines,
    metrics::DestinationFigures,
    policy::ExportPolicy,
    queue::{Fate, Queue},
    resource::{resource, service_name},
    sender::{Sender, Shared, Stop},
    statistics::{Requests, Statistics, StatisticsLines},
    trace::Context,
    unobserved::Unobserved,
};

/// How long after its deadline a shutdown waits for the export thread to count what it could not send.
const COUNTING: Duration = Duration::from_millis(250);
/// Threads for writes that can hang on a disk, and for names that are looked up.
const MAX_BLOCKING_THREADS: usize = 4;

/// Exports finished journeys and statistics from a thread of its own.
///
/// Nothing here waits for a collector but [`OtlpExporter::flush`] and [`OtlpExporter::shutdown`], and these end at their
/// deadline whatever the collector does. Dropping the last handle ends the thread without sending what waits.
pub struct OtlpExporter {
    policy: ExportPolicy,
    context: Arc<Context>,
    /// The first is the one that [`ExportReport`] and exemplars are about.
    destinations: Vec<Arc<DestinationState>>,
    metrics: Vec<(String, Shared)>,
    requests: Option<Arc<Requests>>,
    warnings: Vec<String>,
    stop: watch::Sender<Option<Instant>>,
    ended: Arc<Ended>,
    /// A forked child has this exporter but not its thread.
    process: u32,
}

/// What became of the journeys that were chosen for export: `chosen = exported + dropped + failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Journeys that the destination took.
    pub exported: u64,
    /// Journeys that found no room, or were still waiting at the deadline of the shutdown.
    pub dropped: u64,
    /// Journeys that the collector refused, or failed on too often.
    pub failed: u64,
}

/// One place where journeys go.
struct DestinationState {
    name: String,
    queue: Arc<Journeys>,
    shared: Shared,
}

/// Whether the export thread has ended.
#[derive(Default)]
struct Ended {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl OtlpExporter {
    /// Starts the export thread and registers with the tracker, as a sink of finished journeys and as the part
    /// `exporter` of its report.
    ///
    /// # Errors
    ///
    /// A certificate or the export file cannot be used, or the thread cannot be started. That a collector is not there
    /// is no error: see the report.
    pub fn start(live: &Arc<Live>, config: OtlpConfig) -> Result<Arc<Self>, ConfigError> {
        let own = live.sources().get(journey_core::SourceIndex(0));
        let resource = Arc::new(resource(&own, &config));
        let context = Arc::new(Context::new(live, service_name(&resource)));
        let (stop, stopping) = watch::channel(None);

        let mut tasks = JoinSet::new();
        let runtime = OwnRuntime::new()?;
        let mut destinations = Vec::new();
        for (name, to, shared) in trace_destinations(&config, &stopping)? {
            let queue = Arc::new(Queue::new(config.queue_capacity, config.batch_size, config.schedule_delay));
            let delivery = Delivery {
                queue: Arc::clone(&queue),
                context: Arc::clone(&context),
                encoder: TraceEncoder::of(Arc::clone(&context), &resource),
                resource: Arc::clone(&resource),
                batch_size: config.batch_size,
                to,
                shared: shared.clone(),
                stop: stopping.clone(),
            };
            runtime.spawn(&mut tasks, delivery.run());
            destinations.push(Arc::new(DestinationState { name, queue, shared }));
        }
        let mut metrics = Vec::new();
        let mut requests = None;
        if !config.metrics.is_empty() {
            let (collector, lines) = metric_destinations(&config.metrics, &stopping, &mut metrics)?;
            let known = destinations.clone();
            let statistics = Statistics {
                live: Arc::downgrade(live),
                resource,
                form: config.histograms,
                interval: config.metric_interval,
                collector,
                lines,
                figures: Box::new(move || known.iter().map(|one| one.figures()).collect()),
                requests: Arc::clone(requests.insert(Arc::new(Requests::default()))),
                stop: stopping.clone(),
            };
            runtime.spawn(&mut tasks, statistics.run());
        }

        let ended = Arc::new(Ended::default());
        let ending = Ending(Arc::clone(&ended));
        let thread = std::thread::Builder::new().name("journey-export".to_owned());
        let body = move || {
            let _ending = ending;
            runtime.run(tasks, stopping);
        };
        thread
            .spawn(body)
            .map_err(|error| ConfigError::unspoken("export thread", "cannot be started").caused_by(error))?;

        let exporter = Arc::new(Self {
            policy: config.policy,
            context,
            destinations,
            metrics,
            requests,
            warnings: config.warnings,
            stop,
            ended,
            process: std::process::id(),
        });
        if !exporter.destinations.is_empty() {
            live.add_sink(Arc::clone(&exporter) as Arc<dyn FinishedSink>);
        }
        live.add_part("exporter", Arc::clone(&exporter) as Arc<dyn ReportSource>);
        Ok(exporter)
    }

    /// Waits until everything that was finished before is sent, and exports the statistics once.
    ///
    /// `true` when all of it was taken in time. Returns at the timeout whatever the collector does.
    pub fn flush(&self, timeout: Duration) -> bool {
        if self.is_forked() {
            return false;
        }
        let until = after(timeout);
        // Journeys first, so that the statistics may point to them.
        let journeys = self.destinations.iter().map(|one| one.queue.flush(until)).fold(true, |all, one| all & one);
        journeys & self.requests.as_ref().is_none_or(|requests| requests.flush(until))
    }

    /// Sends what waits, exports the statistics a last time and ends the thread.
    ///
    /// Returns as soon as that is done, at the latest a quarter of a second after the deadline; what could not be sent
    /// until then is counted as dropped. Later journeys are dropped and counted. Calling it again only reports.
    pub fn shutdown(&self, deadline: Duration) -> ExportReport {
        if self.is_forked() {
            return self.report_of_journeys();
        }
        let until = after(deadline);
        self.destinations.iter().for_each(|one| one.queue.close());
        let is_first = self.stop.send_if_modified(|stop| {
            let is_first = stop.is_none();
            *stop = stop.or(Some(until));
            is_first
        });
        if is_first {
            self.ended.wait(until + COUNTING);
            self.destinations.iter().for_each(|one| one.queue.abandon());
        }
        self.report_of_journeys()
    }

    /// What became of the journeys chosen for export so far, at the first destination.
    fn report_of_journeys(&self) -> ExportReport {
        let Some(first) = self.destinations.first() else { return ExportReport::default() };
        let figures = first.queue.figures();
        // After a shutdown, what a thread that hangs has not settled is lost.
        let hanging = if self.stop.borrow().is_some() { figures.unsettled } else { 0 };
        ExportReport {
            exported: figures.of(Fate::Exported),
            dropped: figures.of(Fate::QueueFull) + figures.of(Fate::Shutdown) + hanging,
            failed: figures.of(Fate::Refused) + figures.of(Fate::GivenUp),
        }
    }

    fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }
}

impl FinishedSink for OtlpExporter {
    fn finished(&self, journey: &Journey) -> bool {
        let Context { routes, key, .. } = &*self.context;
        if !self.policy.chooses(journey, routes, key as &TraceIdKey) || self.is_forked() {
            return false;
        }
        let mut copy = None;
        let mut first_took = None;
        for one in &self.destinations {
            let took = one.queue.has_room() && {
                let journey = copy.get_or_insert_with(|| Arc::new(journey.clone()));
                one.queue.push(Arc::clone(journey))
            };
            first_took.get_or_insert(took);
        }
        first_took.unwrap_or(false)
    }
}

impl ReportSource for OtlpExporter {
    fn report(&self) -> Json {
        let journeys: Vec<Json> = self.destinations.iter().map(|one| one.report()).collect();
        let metrics: Vec<Json> = self
            .metrics
            .iter()
            .map(|(name, shared)| {
                let shared = shared.get();
                json!({
                    "destination": name,
                    "requests": shared.requests,
                    "failedRequests": shared.failed_requests,
                    "retries": shared.retries,
                    "rejectedPoints": shared.rejected,
                    "breaker": shared.breaker,
                    "lastError": shared.last_error,
                })
            })
            .collect();
        json!({"policy": self.policy.to_string(), "journeys": journeys, "metrics": metrics})
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        for one in &self.destinations {
            let figures = one.queue.figures();
            let full = figures.of(Fate::QueueFull);
            if full > 0 {
                warnings.push(format!(
                    "{full} journeys were not exported to {} because its queue of {} was full (raise \
                     `OTEL_BSP_MAX_QUEUE_SIZE`, or export fewer with `JOURNEY_EXPORT=slow_failed`)",
                    one.name,
                    one.queue.capacity()
                ));
            }
            let failed = figures.of(Fate::Refused) + figures.of(Fate::GivenUp);
            if failed > 0 {
                warnings.push(format!("{failed} journeys were not taken by {}", one.name));
            }
        }
        let journeys = self.destinations.iter().map(|one| (&one.name, &one.shared));
        for (name, shared) in journeys.chain(self.metrics.iter().map(|(name, shared)| (name, shared))) {
            let shared = shared.get();
            if let Some(error) = shared.last_error {
                let pause =
                    if shared.breaker == Some("open") { "; exporting pauses for at most 30 s at a time" } else { "" };
                warnings.push(format!(
                    "the last export to {name} failed: {error}{pause} (check `OTEL_EXPORTER_OTLP_ENDPOINT` and \
                     `OTEL_EXPORTER_OTLP_PROTOCOL`, or turn exporting off with `OTEL_SDK_DISABLED=true`)"
                ));
            }
            if let Some(because) = shared.rejected_because {
                warnings.push(format!("{name} said about what it took: {because} ({} rejected)", shared.rejected));
            }
        }
        warnings
    }
}

impl Drop for OtlpExporter {
    fn drop(&mut self) {
        self.stop.send_if_modified(|stop| {
            let is_first = stop.is_none();
            *stop = stop.or(Some(Instant::now()));
            is_first
        });
    }
}

impl std::fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpExporter").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl DestinationState {
    fn figures(&self) -> DestinationFigures {
        let figures = self.queue.figures();
        DestinationFigures {
            name: self.name.clone(),
            queued: figures.queued,
            capacity: self.queue.capacity() as u64,
            exported: figures.of(Fate::Exported),
            lost: figures.lost(),
            breaker: self.shared.get().breaker,
        }
    }

    fn report(&self) -> Json {
        let figures = self.queue.figures();
        let lost: serde_json::Map<String, Json> =
            figures.lost().into_iter().map(|(reason, n)| (reason.to_owned(), n.into())).collect();
        let shared = self.shared.get();
        json!({
            "destination": self.name,
            "queued": figures.queued,
            "capacity": self.queue.capacity(),
            "beingSent": figures.unsettled - figures.queued,
            "exported": figures.of(Fate::Exported),
            "lost": lost,
            "requests": shared.requests,
            "failedRequests": shared.failed_requests,
            "retries": shared.retries,
            "rejectedSpans": shared.rejected,
            "breaker": shared.breaker,
            "lastError": shared.last_error,
        })
    }
}

impl Ended {
    fn wait(&self, until: Instant) {
        let mut ended = self.ended.lock();
        while !*ended {
            if self.changed.wait_until(&mut ended, until).timed_out() {
                return;
            }
        }
    }
}

/// The end of a wait; one that nobody lives to see is a year.
fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(Duration::from_secs(365 * 86_400))
}

/// Says so when the thread ends, also by a panic.
struct Ending(Arc<Ended>);

impl Drop for Ending {
    fn drop(&mut self) {
        *self.0.ended.lock() = true;
        self.0.changed.notify_all();
    }
}

/// The runtime of the export thread. It is never waited for: a name that is looked up or a write to a disk may hang, and
/// a runtime that is dropped inside another one would panic.
struct OwnRuntime(Option<tokio::runtime::Runtime>);

impl OwnRuntime {
    fn new() -> Result<Self, ConfigError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .thread_name("journey-export-io")
            .build()
            .map_err(|error| ConfigError::unspoken("export runtime", "cannot be started").caused_by(error))?;
        Ok(Self(Some(runtime)))
    }

    fn spawn(&self, tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            tasks.spawn_on(Unobserved::new(task), runtime.handle());
        }
    }

    /// Runs until all tasks ended, or the deadline passed.
    fn run(self, mut tasks: JoinSet<()>, mut stop: Stop) {
        let Some(runtime) = &self.0 else { return };
        runtime.block_on(async {
            let _ = stop.wait_for(Option::is_some).await;
            let until = stop.borrow().unwrap_or_else(Instant::now);
            let _ = timeout_at(until.into(), async { while tasks.join_next().await.is_some() {} }).await;
            // What the aborted tasks held is counted as they are dropped.
            tasks.shutdown().await;
        });
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

type NamedDestination = (String, Destination, Shared);

fn trace_destinations(config: &OtlpConfig, stop: &Stop) -> Result<Vec<NamedDestination>, ConfigError> {
    let mut found = Vec::new();
    if config.policy == ExportPolicy::None {
        return Ok(found);
    }
    if let Some(collector) = &config.traces.collector {
        let shared = Shared::new();
        let sender = sender(collector, &shared, stop)?;
        found.push((collector.shown(), Destination::Collector(Box::new(sender)), shared));
    }
    if let Some(path) = &config.file {
        found.push((path.display().to_string(), Destination::Json(Lines::to_file(path)?), Shared::new()));
    }
    if config.traces.stdout {
        found.push(("standard output".to_owned(), Destination::Json(Lines::to_stdout()), Shared::new()));
    }
    if config.traces.console {
        found.push(("console".to_owned(), Destination::Text(Lines::to_stdout()), Shared::new()));
    }
    Ok(found)
}

type MetricDestinations = (Option<Sender>, Vec<(StatisticsLines, Lines, Shared)>);

fn metric_destinations(
    outputs: &Outputs,
    stop: &Stop,
    known: &mut Vec<(String, Shared)>,
) -> Result<MetricDestinations, ConfigError> {
    let mut collector_sender = None;
    if let Some(collector) = &outputs.collector {
        let shared = Shared::new();
        collector_sender = Some(sender(collector, &shared, stop)?);
        known.push((collector.shown(), shared));
    }
    let mut lines = Vec::new();
    let wanted = [
        (outputs.stdout, StatisticsLines::Json, "standard output"),
        (outputs.console, StatisticsLines::Text, "console"),
    ];
    for (_, form, name) in wanted.into_iter().filter(|(on, ..)| *on) {
        let shared = Shared::new();
        lines.push((form, Lines::to_stdout(), shared.clone()));
        known.push((name.to_owned(), shared));
    }
    Ok((collector_sender, lines))
}

fn sender(collector: &Collector, shared: &Shared, stop: &Stop) -> Result<Sender, ConfigError> {
    Ok(Sender::new(Client::new(collector.clone())?, shared.clone(), stop.clone()))
}
