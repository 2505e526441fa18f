//! Where do events go, and within which bounds?

use std::{fmt, io, path::PathBuf, sync::Arc, thread, time::Duration};

use journey_core::{Clock, TraceIdKey};

use super::{
    Emitter, Handle,
    process::{self, Process, Random},
};
use crate::{
    event::Event,
    redact::Redaction,
    spill::Spill,
    store::EventStore,
    writer::{Settings, Shared, Upkeep, Writer},
};

/// An emitter before it starts.
#[must_use = "an emitter begins with `start`"]
pub struct EmitterBuilder {
    store: Arc<dyn EventStore>,
    service: String,
    redaction: Redaction,
    clock: Clock,
    random: Random,
    key: TraceIdKey,
    spill: Option<(PathBuf, u64)>,
    settings: Settings,
}

/// Why an emitter did not start.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: io::Error,
}

impl EmitterBuilder {
    pub(super) fn new(store: Arc<dyn EventStore>) -> Self {
        Self {
            store,
            service: String::new(),
            redaction: Redaction::default(),
            clock: process::process_clock(),
            random: process::process_random(),
            key: TraceIdKey::default(),
            spill: None,
            settings: Settings::default(),
        }
    }

    /// Names the service in the accounts; defaults to the empty text.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Sets what is taken out of events; defaults to [`Redaction::default`].
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// Sets the clock: unix nanoseconds that never go back; defaults to one that is anchored to the wall clock now.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets where the emitter's number, ids and the jitter of retries come from.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Sets the key that trace ids are derived with. Give it the one of the Layer, or the same message gets two traces.
    pub fn trace_id_key(mut self, key: TraceIdKey) -> Self {
        self.key = key;
        self
    }

    /// Keeps events in a file of at most so many bytes while the store is away or slow. Defaults to none.
    ///
    /// They are put when the store is back, also those of an earlier process that was killed. Each process needs a file of
    /// its own. It survives a crash of the process, but not a loss of power.
    pub fn spill(mut self, file: impl Into<PathBuf>, bytes: u64) -> Self {
        self.spill = Some((file.into(), bytes));
        self
    }

    /// Sets how many events may wait in memory, and their bytes; what comes when as many wait is lost as `queue_full`.
    ///
    /// Defaults to 20 000 events and 32 MiB. A store that hangs costs this much memory and no more.
    pub fn queue(mut self, events: usize, bytes: usize) -> Self {
        (self.settings.queue_rows, self.settings.queue_bytes) = (events.max(1), bytes);
        self
    }

    /// Sets how many events are put at once (1 to 10 000), and how long one waits for others. Defaults to 1 000 and 50 ms.
    ///
    /// Larger batches cost less per event. An event that somebody waits for never waits for others to come; so that it meets a
    /// short batch in front, batches have at most 100 events until a minute after somebody waited, as long as less than a
    /// quarter of the queue waits.
    pub fn batch(mut self, events: usize, wait: Duration) -> Self {
        self.settings.batch_rows = events.clamp(1, crate::admit::MAX_BATCH);
        self.settings.batch_wait = wait;
        self
    }

    /// Sets after which time a store that has not answered counts as away; defaults to 10 s.
    pub fn put_timeout(mut self, timeout: Duration) -> Self {
        self.settings.put_timeout = timeout;
        self
    }

    /// Sets the delay before the first retry, and the longest; each is twice the last, and up to twice that at random.
    /// Defaults to 50 ms and 5 s.
    pub fn retry(mut self, first: Duration, longest: Duration) -> Self {
        (self.settings.retry_first, self.settings.retry_most) = (first, longest.max(first));
        self
    }

    /// Gives each event also to this function, on the thread that emits it, whether or not the store takes it: number and
    /// emitter are on it, and secrets are not. Such as the live view of `journey-bus`. It must not wait. Defaults to none.
    pub fn also(mut self, listener: Arc<dyn Fn(&Event) + Send + Sync>) -> Self {
        self.settings.also = Some(listener);
        self
    }

    /// Sets how often the emitter looks after its store: recomputes daily statistics after new events, and drops the days
    /// that are beyond the store's retention. Defaults to a minute and an hour, by the emitter's [`clock`](Self::clock).
    ///
    /// Both are done once when the emitter starts; what came since is recomputed when it is shut down, where that takes less
    /// than a third of a second. Recomputing takes at most about a hundredth of the time: where it takes long, it is done more
    /// seldom. What fails is counted, see [`WriterStats`](crate::WriterStats), and never holds up events. Several emitters on
    /// one store may all do it.
    pub fn upkeep(mut self, recompute: Duration, expire: Duration) -> Self {
        self.settings.upkeep = Some(Upkeep { recompute, expire });
        self
    }

    /// Leaves statistics and retention to whoever calls [`EventStore::recompute`] and [`EventStore::expire`].
    pub fn without_upkeep(mut self) -> Self {
        self.settings.upkeep = None;
        self
    }

    /// Starts the writer's thread.
    ///
    /// # Errors
    ///
    /// The spill file cannot be opened or is in use by another emitter, or there is no thread to be had.
    pub fn start(self) -> Result<Emitter, StartError> {
        let spill = self.spill.map(|(path, bytes)| {
            let what = format!("the spill file `{}` cannot be opened", path.display());
            Spill::open(&path, bytes).map_err(|source| StartError { what, source })
        });
        let spill = spill.transpose()?;
        let emitter = process::emitter_number(&self.random);
        let shared = Shared::new(emitter, self.service, (self.clock)(), self.settings);
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&self.store), spill, clock, random);
        let thread = thread::Builder::new().name("journey-events".to_owned()).spawn(move || writer.run());
        thread.map_err(|source| StartError { what: "the writer's thread cannot be started".to_owned(), source })?;
        let handle = Handle {
            shared,
            store: self.store,
            process: Process::this(),
            redaction: self.redaction,
            clock: self.clock,
            random: self.random,
            key: self.key,
        };
        Ok(Emitter { handle: Arc::new(handle) })
    }
}

impl fmt::Debug for EmitterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("EmitterBuilder");
        debug.field("store", &self.store).field("spill", &self.spill).field("settings", &self.settings);
        debug.finish_non_exhaustive()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
