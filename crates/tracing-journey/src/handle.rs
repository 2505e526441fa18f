//! What an application holds: lookups, checkpoints by hand, and the end.

use std::{
    collections::HashSet,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use journey_core::{
    Live, Window,
    view::{JourneyView, SummaryView},
};
use parking_lot::{Mutex, RwLock};

use crate::{
    clock::ProcessClock, error::SetupError, intake::Intake, parts::Parts, self_check::SelfCheck,
    subscription::Subscription, watch::Watch, worker::Worker,
};

/// How much longer than its deadline a shutdown may take, whatever hangs.
const SHUTDOWN_SLACK: Duration = Duration::from_millis(300);
/// And how long it may then take to say how it ended.
const COUNT_SLACK: Duration = Duration::from_millis(100);
/// Names of operations that are kept, so that measuring allocates nothing.
const INTERNED_NAMES: usize = 1024;

/// The way into a running tracker; a clone is the same one.
///
/// Dropping a handle, also the last one, does **not** shut down: the layer stays in the subscriber for the life of the
/// process. Call [`shutdown`](Self::shutdown) before `main` returns, or the last checkpoints are not exported.
#[derive(Clone)]
pub struct JourneyHandle(Arc<Inner>);

struct Inner {
    live: Arc<Live>,
    intake: Arc<Intake>,
    clock: ProcessClock,
    names: Names,
    worker: Arc<Worker>,
    parts: Parts,
    closed: AtomicBool,
    /// Held by the one shutdown that does the work.
    shutdown: Mutex<()>,
    report: OnceLock<Report>,
}

/// What became of all checkpoints by the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Checkpoints that became part of a journey.
    pub recorded: u64,
    /// Finished journeys that were sent; 0 where nothing is exported.
    pub exported: u64,
    /// Checkpoints lost, for any reason, and finished journeys that should have been exported and were not.
    pub dropped: u64,
    /// Journeys still open: they are not exported.
    pub open: u64,
    /// Events that are in the store; 0 where nothing is stored.
    pub stored: u64,
    /// Events that should have been stored and were not.
    pub unstored: u64,
}

/// Operation names seen before.
#[derive(Default)]
pub(crate) struct Names(RwLock<HashSet<Arc<str>>>);

impl JourneyHandle {
    pub(crate) fn new(
        live: Arc<Live>,
        intake: Arc<Intake>,
        clock: ProcessClock,
        worker: Arc<Worker>,
        parts: Parts,
    ) -> Self {
        Self(Arc::new(Inner {
            live,
            intake,
            clock,
            names: Names::default(),
            worker,
            parts,
            closed: AtomicBool::new(false),
            shutdown: Mutex::new(()),
            report: OnceLock::new(),
        }))
    }

    /// One journey, in its newest generation: active, or finished and still retained.
    ///
    /// What was recorded a moment ago may not be in it; [`flush`](Self::flush) waits for that.
    pub fn get(&self, id: &str) -> Option<JourneyView> {
        self.0.live.journey(id, None)
    }

    /// Statistics of all routes over the last five minutes.
    pub fn summary(&self) -> SummaryView {
        self.summary_of(Window::default())
    }

    /// Statistics of all routes over a window.
    pub fn summary_of(&self, window: Window) -> SummaryView {
        // Losses of this moment, also after the tracker's thread has ended.
        self.0.intake.settle(&self.0.live);
        self.0.live.summary(None, window)
    }

    /// Follows what happens from now on.
    pub fn subscribe(&self) -> Subscription {
        let inner = Arc::clone(&self.0);
        Subscription::new(Arc::clone(&self.0.live), Box::new(move || !inner.closed.load(Ordering::Acquire)))
    }

    /// The tracker with its readers, to build something of one's own on.
    pub fn live(&self) -> &Arc<Live> {
        &self.0.live
    }

    /// Waits until everything that was offered before is in the tracker; `false` where that takes longer.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.intake.flush(timeout)
    }

    /// Where the debug endpoint listens; `None` where there is none.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.0.parts.http_addr()
    }

    /// The way into the store, to emit events that no span tells; `None` where nothing is stored.
    #[cfg(feature = "store")]
    pub fn events(&self) -> Option<&journey_store::Emitter> {
        self.0.parts.events.as_ref().map(|events| &events.emitter)
    }

    /// Waits until everything that was offered and emitted before is in the tracker and in the store; `false` where that
    /// takes longer, or the store does not take it. Finished journeys that wait for late checkpoints are not among it.
    #[cfg(feature = "store")]
    pub fn flush_events(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let left = || until.saturating_duration_since(Instant::now());
        self.flush(left()) && self.0.parts.events.as_ref().is_none_or(|events| events.flush(left()))
    }

    /// The health checks that `/health` of the debug endpoint shows, to register components and resources.
    #[cfg(feature = "http")]
    pub fn health(&self) -> &Arc<journey_http::Health> {
        self.0.parts.health()
    }

    /// Ends the observing: takes no more checkpoints (later ones count as `shutdown`), works off the queue, exports what
    /// is finished, closes the debug endpoint, and says how it ended.
    ///
    /// Returns within `deadline` and half a second, whatever hangs; each part gets the time that is left. Blocks this
    /// thread, also in an async runtime, whose other tasks it does not need: the work runs on a thread of its own. A
    /// second call gives the report of the first. Journeys that are still open are counted, not exported.
    pub fn shutdown(&self, deadline: Duration) -> Report {
        let until = Instant::now() + deadline;
        if let Some(report) = self.0.report.get() {
            return *report;
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let inner = Arc::clone(&self.0);
        let body = move || {
            // Nobody may listen any more: the time was over.
            let _ = sender.send(inner.shut_down(until));
        };
        if std::thread::Builder::new().name("journey-shutdown".to_owned()).spawn(body).is_err() {
            return self.0.shut_down(until);
        }
        let left = until.saturating_duration_since(Instant::now());
        receiver.recv_timeout(left + SHUTDOWN_SLACK).unwrap_or_else(|_| {
            self.0.intake.close();
            self.0.closed.store(true, Ordering::Release);
            self.count_in_time()
        })
    }

    /// What can be said of a tracker that may hang.
    fn count_in_time(&self) -> Report {
        let (sender, receiver) = mpsc::sync_channel(1);
        let inner = Arc::clone(&self.0);
        let body = move || {
            // Nobody may listen any more.
            let _ = sender.send(inner.count((0, 0), (0, 0)));
        };
        let asked = std::thread::Builder::new().name("journey-shutdown".to_owned()).spawn(body);
        asked.ok().and_then(|_| receiver.recv_timeout(COUNT_SLACK).ok()).unwrap_or_default()
    }

    /// Starts the self-check.
    pub(crate) fn watch(&self, check: Arc<SelfCheck>) -> Result<(), SetupError> {
        let watch = Watch::start(check, self.clone())?;
        // Only whoever started this handle has a check to give, so there is one watch.
        self.0.parts.watch.get_or_init(|| watch);
        Ok(())
    }

    pub(crate) fn intake(&self) -> &Arc<Intake> {
        &self.0.intake
    }

    pub(crate) fn clock(&self) -> &ProcessClock {
        &self.0.clock
    }

    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }
}

impl Inner {
    fn shut_down(&self, until: Instant) -> Report {
        let left = || until.saturating_duration_since(Instant::now());
        let Some(_first) = self.shutdown.try_lock_for(left()) else { return self.count((0, 0), (0, 0)) };
        if let Some(report) = self.report.get() {
            return *report;
        }
        self.parts.stop_check();
        self.worker.stop(left());
        self.intake.settle(&self.live);
        // Journeys that still wait for checkpoints on their way: nothing comes any more.
        self.live.settle();
        // Side by side: neither a store nor a collector that hangs takes the time of the other.
        let (exported, stored) = std::thread::scope(|scope| {
            let beside = std::thread::Builder::new().name("journey-shutdown".to_owned());
            let stored = beside.spawn_scoped(scope, || self.parts.shut_down_events(left()));
            let exported = self.parts.shut_down_export(left());
            let stored = match stored {
                Ok(stored) => stored.join().unwrap_or_default(),
                Err(_) => self.parts.shut_down_events(left()),
            };
            (exported, stored)
        });
        let report = self.count(exported, stored);
        self.parts.shut_down_http(left());
        self.closed.store(true, Ordering::Release);
        *self.report.get_or_init(|| report)
    }

    fn count(&self, (exported, lost): (u64, u64), (stored, unstored): (u64, u64)) -> Report {
        // Read, not written: a write would call the sinks, one of which may be what hangs.
        let metrics = self.live.metrics();
        let open = metrics.active.iter().map(|(_, journeys)| journeys).sum();
        let dropped = metrics.accounting.dropped_total() + lost;
        Report { recorded: metrics.accounting.recorded, exported, dropped, open, stored, unstored }
    }
}

impl Names {
    /// A name to share. Beyond the limit each use is a new text, which the tracker counts under one overflow name.
    pub(crate) fn intern(&self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.read().get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        let mut names = self.0.write();
        if names.len() < INTERNED_NAMES {
            names.insert(Arc::clone(&name));
        }
        name
    }
}

impl fmt::Debug for JourneyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JourneyHandle").field("intake", &self.0.intake).finish_non_exhaustive()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recorded, exported, dropped, open, stored, unstored } = self;
        write!(
            f,
            "{recorded} checkpoints recorded, {exported} journeys exported, {dropped} dropped, {open} still open"
        )?;
        if stored + unstored > 0 {
            write!(f, "; {stored} events stored, {unstored} not")?;
        }
        Ok(())
    }
}
