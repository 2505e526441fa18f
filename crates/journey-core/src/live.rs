//! One writer and many readers around a tracker.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::{
    checkpoint::{Source, Sources},
    feed::Feed,
    id::CorrelationId,
    journey::{Journey, Status},
    metrics::{MetricFamily, MetricsSnapshot},
    routes::{RouteIndex, Routes, StageRef},
    time::{millis, rfc3339},
    trace_id::TraceIdKey,
    tracker::{Limits, ListQuery, Recorded, Tracker},
    view::{InProgressView, JourneyView, ListView, SelfView, SummaryView},
    window::Window,
};

/// Steps of one tick: some milliseconds, and at ten ticks a second 40 000 journeys that expire.
const STEPS_PER_TICK: usize = 256;
/// Exported journeys that are noted in one hold of the lock.
const EXPORTED_PER_HOLD: usize = 16;

/// Reads the time: unix nanoseconds that never go back within the process.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Somebody who wants every finished journey, such as an exporter.
pub trait FinishedSink: Send + Sync {
    /// Takes a finished journey and says whether it will be exported. Runs on the tracker's thread: it must not wait.
    fn finished(&self, journey: &Journey) -> bool;
}

/// Somebody who wants every checkpoint that became part of a journey, such as a store of events.
pub trait CheckpointSink: Send + Sync {
    /// Takes the checkpoints of one write, in the order in which they were recorded. Runs on the tracker's thread, without
    /// its lock and before [`FinishedSink::finished`] of journeys that they ended: it must not wait.
    fn recorded(&self, recorded: Vec<Recorded>);
}

/// A stage span that is open now.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenStage {
    /// The journey.
    pub id: CorrelationId,
    /// The stage.
    pub stage: StageRef,
    /// When the span was opened, unix nanoseconds.
    pub since: i64,
}

/// Somebody who knows which stage spans are open; asked by readers only.
pub trait OpenStages: Send + Sync {
    /// The open stage spans whose journey is known, in no order.
    fn open_stages(&self) -> Vec<OpenStage>;
}

/// A part that reports on itself in [`SelfView`].
pub trait ReportSource: Send + Sync {
    /// Figures of the part, as a JSON object.
    fn report(&self) -> serde_json::Value;

    /// Sentences about what is wrong, each with what to do.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Figures that deserve metrics of their own, because people watch them. Every number of the report is a metric anyway,
    /// one of many under a common name. Of a name that is given twice, the first is shown.
    fn metrics(&self) -> Vec<MetricFamily> {
        Vec::new()
    }
}

/// A tracker with its readers.
///
/// The lock is held for one short operation at a time; everything that formats or sends does so after letting go.
pub struct Live {
    tracker: Mutex<Tracker>,
    routes: Arc<Routes>,
    sources: Sources,
    feed: Feed,
    clock: Clock,
    limits: Limits,
    key: TraceIdKey,
    sinks: RwLock<Arc<[Arc<dyn FinishedSink>]>>,
    recorder: OnceLock<Arc<dyn CheckpointSink>>,
    /// Journeys that were handed out.
    used: Mutex<Vec<Journey>>,
    parts: RwLock<BTreeMap<String, Arc<dyn ReportSource>>>,
    open_stages: RwLock<Option<Arc<dyn OpenStages>>>,
}

impl Live {
    /// Starts an empty tracker.
    pub fn new(routes: Arc<Routes>, own: Source, limits: Limits, key: TraceIdKey, clock: Clock) -> Arc<Self> {
        let sources = Sources::new(own);
        let tracker = Tracker::new(Arc::clone(&routes), sources.clone(), limits.clone(), key.clone(), clock());
        Arc::new(Self {
            tracker: Mutex::new(tracker),
            routes,
            sources,
            feed: Feed::default(),
            clock,
            limits,
            key,
            sinks: RwLock::default(),
            recorder: OnceLock::new(),
            used: Mutex::default(),
            parts: RwLock::default(),
            open_stages: RwLock::default(),
        })
    }

    /// The time by this tracker's clock, unix nanoseconds.
    pub fn now(&self) -> i64 {
        (self.clock)()
    }

    /// How much the tracker keeps, and for how long.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The key under which journeys are exported.
    pub fn trace_id_key(&self) -> &TraceIdKey {
        &self.key
    }

    /// The active routes.
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Who saw checkpoints.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The stream of events.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Adds somebody who wants every finished journey from now on.
    pub fn add_sink(&self, sink: Arc<dyn FinishedSink>) {
        let mut sinks = self.sinks.write();
        *sinks = sinks.iter().cloned().chain([sink]).collect();
    }

    /// Sets who wants every checkpoint from now on. There is one at most: `false` where there was one already.
    pub fn set_checkpoint_sink(&self, sink: Arc<dyn CheckpointSink>) -> bool {
        self.recorder.set(sink).is_ok()
    }

    /// Adds or replaces a part that reports on itself.
    pub fn add_part(&self, name: &str, part: Arc<dyn ReportSource>) {
        self.parts.write().insert(name.to_owned(), part);
    }

    /// Sets who knows which stage spans are open.
    pub fn set_open_stages(&self, source: Arc<dyn OpenStages>) {
        *self.open_stages.write() = Some(source);
    }

    /// Lets the writer work on the tracker, then passes on what became finished, stuck or seen by it.
    pub fn write<R>(&self, work: impl FnOnce(&mut Tracker, i64) -> R) -> R {
        let now = self.now();
        let mut finished = std::mem::take(&mut *self.used.lock());
        let mut tracker = self.tracker.lock();
        tracker.collect_events(self.feed.wanted());
        let recorder = self.recorder.get();
        tracker.collect_recorded(recorder.is_some());
        let result = work(&mut tracker, now);
        let events = tracker.take_events();
        let recorded = tracker.take_recorded();
        tracker.exchange_finished(&mut finished);
        // A writer that is never idle would take the lock again before a waiting reader wakes up.
        MutexGuard::unlock_fair(tracker);

        if !events.is_empty() {
            self.feed.publish(events);
        }
        if let (Some(recorder), false) = (recorder, recorded.is_empty()) {
            recorder.recorded(recorded);
        }
        if !finished.is_empty() {
            self.hand_out(&finished, now);
        }
        // Their memory is for those that finish next.
        *self.used.lock() = finished;
        result
    }

    /// Offers finished journeys to the sinks, and notes which of them will be exported.
    fn hand_out(&self, finished: &[Journey], now: i64) {
        let sinks = Arc::clone(&*self.sinks.read());
        if sinks.is_empty() {
            return;
        }
        let exported: Vec<&Journey> = finished
            .iter()
            // Every sink is asked: `any` would stop at the first that takes it.
            .filter(|journey| sinks.iter().fold(false, |taken, sink| sink.finished(journey) | taken))
            .collect();
        for journeys in exported.chunks(EXPORTED_PER_HOLD) {
            let mut tracker = self.tracker.lock();
            for journey in journeys {
                tracker.exported(journey, now);
            }
            MutexGuard::unlock_fair(tracker);
        }
    }

    /// Lets time pass: expiry, retention, stuck journeys. At most a bounded piece of work per call, in steps between
    /// which others get the lock.
    pub fn tick(&self) {
        for _ in 0..STEPS_PER_TICK {
            if !self.write(|tracker, now| tracker.tick_step(now)) {
                return;
            }
        }
    }

    /// Hands every finished journey to the sinks at once, without waiting for checkpoints still on their way.
    pub fn settle(&self) {
        while self.write(|tracker, now| tracker.settle_step(now)) {}
    }

    /// One journey: its newest generation, or the one asked for.
    pub fn journey(&self, correlation_id: &str, generation: Option<u32>) -> Option<JourneyView> {
        let now = self.now();
        let mut view = self.tracker.lock().journey(correlation_id, generation)?;
        if view.status == Status::Active.as_str() {
            let mut open = self.open_stages();
            open.retain(|open| self.is_of(open, correlation_id, &view.route));
            open.sort_by_key(|open| (open.stage, open.since));
            view.in_progress = open
                .into_iter()
                .map(|open| {
                    let texts = self.routes.stage_texts(open.stage);
                    InProgressView { stage: texts.id, name: texts.name, open_ms: millis(now - open.since) }
                })
                .collect();
        }
        Some(view)
    }

    /// Whether an open stage is one of this journey.
    fn is_of(&self, open: &OpenStage, correlation_id: &str, route: &str) -> bool {
        open.id.as_str() == correlation_id && self.routes.get(open.stage.route).name() == route
    }

    fn open_stages(&self) -> Vec<OpenStage> {
        let source = self.open_stages.read().clone();
        source.map(|source| source.open_stages()).unwrap_or_default()
    }

    /// Which journey of an id is the newest, counted from 1; 1 where none is known.
    pub fn generation(&self, route: RouteIndex, id: &CorrelationId) -> u32 {
        self.tracker.lock().generation(route, id)
    }

    /// Journeys that fit a query.
    ///
    /// # Errors
    ///
    /// A sentence about a cursor that is not ours, or an unknown route or stage.
    pub fn list(&self, query: &ListQuery) -> Result<ListView, String> {
        self.tracker.lock().list(query, self.now())
    }

    /// Statistics over a window, of all routes or of one.
    pub fn summary(&self, route: Option<RouteIndex>, window: Window) -> SummaryView {
        let parts = self.tracker.lock().summary_parts(route, window, self.now());
        let mut view = parts.view();
        if view.routes.iter().any(|route| !route.stuck.is_empty()) {
            let open = self.open_stages();
            for stuck in view.routes.iter_mut().flat_map(|route| &mut route.stuck) {
                let inside = open.iter().filter(|open| self.is_of(open, &stuck.correlation_id, &stuck.route));
                // Of nested spans the innermost says most.
                let innermost = inside.max_by_key(|open| open.since);
                stuck.in_progress = innermost.map(|open| self.routes.stage_texts(open.stage).id);
            }
        }
        view
    }

    /// Everything that is exported as metrics.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.tracker.lock().metrics(self.now())
    }

    /// Metrics that parts add to those of the tracker, in the order of the parts' names.
    pub fn part_metrics(&self) -> Vec<MetricFamily> {
        let parts = self.parts.read().clone();
        parts.values().flat_map(|part| part.metrics()).collect()
    }

    /// What the process knows about its own observing.
    pub fn self_view(&self) -> SelfView {
        let mut view = self.tracker.lock().self_view(self.now());
        view.at = rfc3339(self.now());
        for (name, part) in self.parts.read().clone() {
            view.warnings.extend(part.warnings());
            view.parts.insert(name, part.report());
        }
        view
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("feed", &self.feed).finish_non_exhaustive()
    }
}
