//! The publisher as the rest of the process sees it: takes events and never waits, reports on itself, ends in time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use journey_store::Event;
use tokio::sync::watch;

use crate::{
    config::{ConfigError, LiveConfig},
    link::Target,
    message::Message,
    queue::{LiveAccount, Queue},
    state::{LiveState, State},
    worker,
};

/// How long after its deadline a shutdown waits for the thread to count what it could not send.
const COUNTING: Duration = Duration::from_millis(250);
/// No deadline is later, so that instants do not overflow.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Publishes events to Redis Streams or NATS from a thread of its own.
///
/// Nothing here waits for a server but [`LivePublisher::flush`] and [`LivePublisher::shutdown`], and these end at their
/// deadline whatever the server does. No runtime is needed and none is used. Dropping the publisher ends the thread
/// without sending what waits.
pub struct LivePublisher {
    queue: Arc<Queue>,
    state: Arc<State>,
    stop: watch::Sender<Option<Instant>>,
    place: String,
    /// A forked child has this publisher but not its thread.
    process: u32,
    forked: AtomicU64,
}

impl LivePublisher {
    /// Starts the publishing thread. That the server is not there is no error: see [`LivePublisher::state`].
    ///
    /// # Errors
    ///
    /// A file that the address names cannot be used, or the thread cannot be started.
    pub fn start(config: LiveConfig) -> Result<Self, ConfigError> {
        let place = config.place();
        let queue = Arc::new(Queue::new(config.queue, config.queue_bytes));
        let state = Arc::new(State::new(place.clone()));
        let (stop, stopping) = watch::channel(None);
        worker::start(Target::of(config)?, Arc::clone(&queue), Arc::clone(&state), stopping)
            .map_err(|error| ConfigError::new(format!("the publishing thread cannot be started: {error}")))?;
        Ok(Self { queue, state, stop, place, process: std::process::id(), forked: AtomicU64::new(0) })
    }

    /// Publishes an event, or drops it and counts why. Never waits; without room it does not even write the event.
    pub fn publish(&self, event: &Event) {
        if self.is_forked() {
            self.forked.fetch_add(1, Relaxed);
        } else if self.queue.has_room() {
            self.queue.push(Message::of(event));
        }
    }

    /// What became of the events so far.
    pub fn account(&self) -> LiveAccount {
        let forked = self.forked.load(Relaxed);
        // The lock may have been held by a thread that the child does not have.
        let mut account = if self.is_forked() { LiveAccount::default() } else { self.queue.account() };
        if forked > 0 {
            account.offered += forked;
            account.dropped.insert("forked", forked);
        }
        account
    }

    /// How it stands with the server.
    pub fn state(&self) -> LiveState {
        if self.is_forked() { LiveState::Away("the process was forked".to_owned()) } else { self.state.get() }
    }

    /// The server's address without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Waits until everything offered before is published or lost; `false` when the timeout comes first.
    pub fn flush(&self, timeout: Duration) -> bool {
        !self.is_forked() && self.queue.flush(after(timeout))
    }

    /// Sends what waits and ends the thread. Later events are dropped and counted.
    ///
    /// Returns as soon as that is done, at the latest a quarter of a second after the deadline; what could not be sent
    /// until then is counted: as `shutdown` when it never was, as `unconfirmed` when an answer is missing. The account
    /// is final. Calling it again only reports.
    pub fn shutdown(&self, deadline: Duration) -> LiveAccount {
        if !self.is_forked() {
            let until = after(deadline);
            self.queue.close();
            self.stop(until);
            self.queue.wait_for_end(until + COUNTING);
            self.queue.end();
        }
        self.account()
    }

    fn stop(&self, until: Instant) {
        self.stop.send_if_modified(|stop| {
            let is_first = stop.is_none();
            *stop = stop.or(Some(until));
            is_first
        });
    }

    fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }
}

impl Drop for LivePublisher {
    fn drop(&mut self) {
        if !self.is_forked() {
            self.queue.close();
            self.stop(Instant::now());
        }
    }
}

impl fmt::Debug for LivePublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LivePublisher").field("place", &self.place).finish_non_exhaustive()
    }
}

fn after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST)
}
