//! One export with its attempts: retries within a budget, the breaker before them, never two at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use crate::{
    breaker::{Breaker, State},
    client::{Client, Failure, FailureKind},
    proto::PartialSuccess,
    retry::{Backoff, Chance},
};

/// For how long attempts at one export go on at most; then the breaker decides.
const RETRY_BUDGET: Duration = Duration::from_secs(60);

/// When the exporter has to end, once it has to.
pub(crate) type Stop = watch::Receiver<Option<Instant>>;

/// What others may know about a destination.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<SharedState>>);

/// See [`Shared`].
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedState {
    /// `None` where there is no breaker.
    pub(crate) breaker: Option<&'static str>,
    /// What went wrong last, until something succeeds.
    pub(crate) last_error: Option<String>,
    /// Attempts after the first.
    pub(crate) retries: u64,
    /// Requests that succeeded.
    pub(crate) requests: u64,
    /// Requests that did not.
    pub(crate) failed_requests: u64,
    /// Spans or points that the collector refused out of requests that it took.
    pub(crate) rejected: u64,
    /// What it said about them.
    pub(crate) rejected_because: Option<String>,
}

/// Exports to one collector.
pub(crate) struct Sender {
    client: Client,
    breaker: Breaker,
    chance: Chance,
    shared: Shared,
    stop: Stop,
}

/// How an export ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The collector took it, perhaps without some parts.
    Accepted,
    /// The collector will never take it.
    Refused,
    /// The collector was not reached; later it may be.
    Unreachable,
    /// The collector was reached and failed.
    Failed,
}

impl Sender {
    pub(crate) fn new(client: Client, shared: Shared, stop: Stop) -> Self {
        let sender = Self { client, breaker: Breaker::default(), chance: Chance::default(), shared, stop };
        sender.show_breaker();
        sender
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether exports would wait now.
    pub(crate) fn is_open(&mut self) -> bool {
        self.breaker.wait(Instant::now()).is_some()
    }

    /// Waits until the breaker lets an export out, or the exporter has to end: then one may try whatever it says.
    pub(crate) async fn ready(&mut self) {
        loop {
            let pause = self.breaker.wait(Instant::now());
            self.show_breaker();
            let Some(pause) = pause else { return };
            if self.stopping() {
                return self.breaker.force();
            }
            let _ = timeout(pause, self.stop.changed()).await;
        }
    }

    /// Exports a body made by the client.
    pub(crate) async fn export(&mut self, body: &Bytes) -> Ended {
        let ended = self.attempts(body).await;
        let mut shared = self.shared.0.lock();
        match &ended {
            Ok(partial) => {
                shared.requests += 1;
                shared.rejected += partial.rejected;
                if !partial.message.is_empty() {
                    shared.rejected_because = Some(partial.message.chars().take(200).collect());
                }
                shared.last_error = None;
            }
            Err(failure) => {
                shared.failed_requests += 1;
                shared.last_error = Some(failure.text.clone());
            }
        }
        drop(shared);
        self.show_breaker();
        match ended.map_err(|failure| failure.kind) {
            Ok(_) => Ended::Accepted,
            Err(FailureKind::Refused) => Ended::Refused,
            Err(FailureKind::Unreachable) => Ended::Unreachable,
            Err(FailureKind::Busy(_)) => Ended::Failed,
        }
    }

    async fn attempts(&mut self, body: &Bytes) -> Result<PartialSuccess, Failure> {
        let started = Instant::now();
        let limit = self.client.collector().timeout;
        let budget = limit.map_or(RETRY_BUDGET, |limit| limit.min(RETRY_BUDGET));
        // A half-open breaker lets one attempt out, not a series.
        let once = self.breaker.state() == State::HalfOpen;
        let mut backoff = Backoff::default();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let failure = match self.attempt(body.clone(), left).await {
                Ok(partial) => {
                    self.breaker.succeeded();
                    return Ok(partial);
                }
                Err(failure) if failure.is_refusal() => {
                    // It answers, so it is there.
                    self.breaker.succeeded();
                    return Err(failure);
                }
                Err(failure) => failure,
            };
            let asked = match failure.kind {
                FailureKind::Busy(asked) => asked,
                FailureKind::Unreachable | FailureKind::Refused => None,
            };
            // At least as long as asked; one who asks for no pause at all still gets ours.
            let pause = asked.unwrap_or_default().max(backoff.next(&mut self.chance));
            let out_of_time = started.elapsed().saturating_add(pause) >= budget;
            let mut last = once || out_of_time || self.stopping();
            // An end cuts the pause short for one last attempt, unless the collector asked for the pause.
            last = last || self.pause(pause).await && asked.is_some();
            if last {
                self.breaker.failed(Instant::now(), asked, self.chance.next());
                return Err(failure);
            }
            self.shared.0.lock().retries += 1;
        }
    }

    async fn attempt(&mut self, body: Bytes, left: Option<Duration>) -> Result<PartialSuccess, Failure> {
        let sent = self.client.send(body, left);
        let Some(left) = left else { return sent.await };
        match timeout(left, sent).await {
            Ok(answer) => answer,
            Err(_) => {
                self.client.reconnect();
                Err(Failure::timed_out())
            }
        }
    }

    fn stopping(&self) -> bool {
        is_stopping(&self.stop)
    }

    /// Sleeps; `true` when the exporter has to end meanwhile.
    async fn pause(&mut self, pause: Duration) -> bool {
        // An error is the exporter gone, which is an end too.
        timeout(pause, self.stop.changed()).await.is_ok()
    }

    fn show_breaker(&self) {
        self.shared.0.lock().breaker = Some(self.breaker.state().as_str());
    }
}

/// Whether the exporter has to end, or is gone.
pub(crate) fn is_stopping(stop: &Stop) -> bool {
    stop.borrow().is_some() || stop.has_changed().is_err()
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn get(&self) -> SharedState {
        self.0.lock().clone()
    }

    /// Notes the end of a write that needs no collector.
    pub(crate) fn wrote(&self, result: &std::io::Result<()>) {
        let mut shared = self.0.lock();
        match result {
            Ok(()) => {
                shared.requests += 1;
                shared.last_error = None;
            }
            Err(error) => {
                shared.failed_requests += 1;
                shared.last_error = Some(error.to_string());
            }
        }
    }
}
