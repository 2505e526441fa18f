//! Watching: what is kept first, then what comes, each event once.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

use futures_core::Stream;
use journey_store::{Event, TraceId};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
};

use crate::{
    config::{ConfigError, LiveConfig, Server},
    link::Target,
    message::Identity,
    quiet,
    seen::Seen,
    state::reason,
};

/// Watches at one time: each has a connection of its own.
const MAX_WATCHES: usize = 64;
/// What is read ahead of whoever watches.
const READ_AHEAD: usize = 128;
/// Nobody publishes longer entries; they may be there all the same.
const MAX_ENTRY: usize = 1 << 20;

/// Watches events on Redis Streams or NATS, with a thread of its own for all its watches.
///
/// No runtime is needed. The thread ends with the last watch and the watcher.
#[derive(Clone)]
pub struct LiveWatcher(Arc<Inner>);

/// What one watch is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Watched {
    /// An event, each once. Those of one publisher come in its order, but for what it had to send again.
    Event(Box<Event>),
    /// All that was kept when the watch began has been given (once).
    Live,
    /// Events are known or suspected to be missing here: why.
    Missed(String),
    /// The server is not reached: why. Once per outage; what it keeps follows when it is back.
    Away(String),
}

/// Events of one trace or of all, from what is kept to what comes, until it is dropped.
///
/// Whoever reads slowly slows down the reading, nothing else: events are read from the server when they are wanted, and
/// what it trimmed away meanwhile is said as [`Watched::Missed`]. An event that repeats within 65 536 others is given once.
pub struct Watch {
    told: mpsc::Receiver<Watched>,
    _watcher: LiveWatcher,
}

struct Inner {
    target: Arc<Target>,
    runtime: Handle,
    places: Arc<Semaphore>,
    /// Its end ends the thread.
    _running: oneshot::Sender<()>,
}

/// Where a reader of a server puts what it reads.
pub(crate) struct Sink {
    to: mpsc::Sender<Watched>,
    wanted: Option<TraceId>,
    seen: Seen,
    is_live: bool,
    is_away: bool,
    /// Said with the next thing that is told.
    missed: Option<String>,
}

/// Nobody watches any more.
#[derive(Debug)]
pub(crate) struct Gone;

impl LiveWatcher {
    /// Starts the watching thread. That the server is not there is no error: every watch is told.
    ///
    /// # Errors
    ///
    /// A file that the address names cannot be used, or the thread cannot be started.
    pub fn start(config: LiveConfig) -> Result<Self, ConfigError> {
        let target = Arc::new(Target::of(config)?);
        let cannot = |error| ConfigError::new(format!("the watching thread cannot be started: {error}"));
        let runtime = quiet::runtime().map_err(cannot)?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        let body = move || {
            quiet::hush();
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("journey-watch".to_owned()).spawn(body).map_err(cannot)?;
        let places = Arc::new(Semaphore::new(MAX_WATCHES));
        Ok(Self(Arc::new(Inner { target, runtime: handle, places, _running: running })))
    }

    /// Watches one trace.
    ///
    /// # Errors
    ///
    /// There are 64 watches already.
    pub fn watch(&self, trace: TraceId) -> Result<Watch, TooManyWatches> {
        self.begin(Some(trace))
    }

    /// Watches all traces.
    ///
    /// # Errors
    ///
    /// There are 64 watches already.
    pub fn watch_all(&self) -> Result<Watch, TooManyWatches> {
        self.begin(None)
    }

    fn begin(&self, wanted: Option<TraceId>) -> Result<Watch, TooManyWatches> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| TooManyWatches)?;
        let (to, told) = mpsc::channel(READ_AHEAD);
        let sink = Sink { to, wanted, seen: Seen::default(), is_live: false, is_away: false, missed: None };
        let target = Arc::clone(&self.0.target);
        self.0.runtime.spawn(async move {
            read(&target, sink).await;
            drop(place);
        });
        Ok(Watch { told, _watcher: self.clone() })
    }
}

async fn read(target: &Target, mut sink: Sink) {
    match target.config.server {
        #[cfg(feature = "redis")]
        Server::Redis => crate::redis::watch(target, &mut sink).await,
        #[cfg(feature = "nats")]
        Server::Nats => crate::nats::watch(target, &mut sink).await,
        #[cfg(not(all(feature = "redis", feature = "nats")))]
        _ => drop(sink.away("this program was built without it".to_owned()).await),
    }
}

impl Watch {
    /// The next thing to tell, waited for at most so long on this thread; `None` when the time is over.
    pub fn next_within(&mut self, timeout: Duration) -> Option<Watched> {
        let until = Instant::now() + timeout.min(Duration::from_secs(86_400));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(told) = self.told.poll_recv(&mut context) {
                return told;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            std::thread::park_timeout(left);
        }
    }
}

/// Ends only with the watching thread.
impl Stream for Watch {
    type Item = Watched;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Watched>> {
        self.told.poll_recv(context)
    }
}

impl Sink {
    /// Gives an entry on, where it is an event that is wanted and was not given before.
    pub(crate) async fn event(&mut self, body: &[u8]) -> Result<(), Gone> {
        self.is_away = false;
        let is_unwanted = |trace: TraceId| !contains(body, trace.to_string().as_bytes());
        if self.wanted.is_some_and(is_unwanted) {
            return Ok(());
        }
        if body.len() > MAX_ENTRY {
            return self.missed("an entry is longer than 1 MiB");
        }
        let event: Event = match serde_json::from_slice(body) {
            Ok(event) => event,
            Err(error) => return self.missed(&format!("an entry is no event: {}", reason(error))),
        };
        if self.wanted.is_some_and(|trace| trace != event.trace_id) || !self.seen.insert(Identity::of(&event)) {
            return Ok(());
        }
        self.tell(Watched::Event(Box::new(event))).await
    }

    /// All that was kept has been given.
    pub(crate) async fn live(&mut self) -> Result<(), Gone> {
        self.is_away = false;
        self.say_missed().await?;
        if std::mem::replace(&mut self.is_live, true) {
            return Ok(());
        }
        self.tell(Watched::Live).await
    }

    pub(crate) async fn away(&mut self, why: String) -> Result<(), Gone> {
        if std::mem::replace(&mut self.is_away, true) {
            return if self.to.is_closed() { Err(Gone) } else { Ok(()) };
        }
        self.tell(Watched::Away(why)).await
    }

    /// Events are missing before what is told next. Said once for many.
    pub(crate) fn missed(&mut self, why: &str) -> Result<(), Gone> {
        self.missed.get_or_insert_with(|| why.to_owned());
        if self.to.is_closed() { Err(Gone) } else { Ok(()) }
    }

    async fn say_missed(&mut self) -> Result<(), Gone> {
        match self.missed.take() {
            Some(why) => self.to.send(Watched::Missed(why)).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }

    async fn tell(&mut self, what: Watched) -> Result<(), Gone> {
        self.say_missed().await?;
        self.to.send(what).await.map_err(|_| Gone)
    }

    /// The trace that is watched; `None` for all.
    #[cfg(feature = "nats")]
    pub(crate) fn wanted(&self) -> Option<TraceId> {
        self.wanted
    }

    /// Waits until nobody watches any more.
    pub(crate) async fn closed(&self) {
        self.to.closed().await;
    }

    pub(crate) async fn pause(&self, pause: Duration) -> Result<(), Gone> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.to.closed() => Err(Gone),
        }
    }
}

/// Whether a text with these digits is in an entry, so that other traces' events need not be read.
fn contains(body: &[u8], digits: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|body| std::str::from_utf8(digits).is_ok_and(|digits| body.contains(digits)))
}

/// Wakes a thread that waits for its watch.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// There are 64 watches already, each with a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWatches;

impl fmt::Display for TooManyWatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are {MAX_WATCHES} watches already (end one, or start another watcher)")
    }
}

impl std::error::Error for TooManyWatches {}

impl fmt::Debug for LiveWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveWatcher").field("place", &self.0.target.config.place()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
