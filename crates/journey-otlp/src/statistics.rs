//! Exports all statistics from time to time, one export at a time.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use journey_core::Live;
use parking_lot::{Condvar, Mutex};
use tokio::{
    sync::Notify,
    time::{Instant as TokioInstant, sleep_until},
};

use crate::{
    config::{HistogramForm, Protocol},
    json,
    lines::Lines,
    metrics::{DestinationFigures, metrics, period},
    model::Attribute,
    proto,
    sender::{Ended, Sender, Shared, Stop, is_stopping},
    text,
};

/// What exports statistics.
pub(crate) struct Statistics {
    pub(crate) live: Weak<Live>,
    pub(crate) resource: Arc<Vec<Attribute<'static>>>,
    pub(crate) form: HistogramForm,
    pub(crate) interval: Duration,
    pub(crate) collector: Option<Sender>,
    pub(crate) lines: Vec<(StatisticsLines, Lines, Shared)>,
    pub(crate) figures: Box<dyn Fn() -> Vec<DestinationFigures> + Send>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) stop: Stop,
}

/// How lines of statistics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatisticsLines {
    /// OTLP JSON.
    Json,
    /// Text for people.
    Text,
}

/// Exports that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    state: Mutex<RequestsState>,
    wake: Notify,
    done: Condvar,
}

#[derive(Debug, Default)]
struct RequestsState {
    wanted: u64,
    done: u64,
    /// The last export succeeded.
    succeeded: bool,
    /// No further export will happen.
    ended: bool,
}

impl Requests {
    /// Asks for an export and waits for it; `true` when it succeeded in time.
    pub(crate) fn flush(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        state.wanted += 1;
        let mine = state.wanted;
        self.wake.notify_one();
        while state.done < mine && !state.ended {
            if self.done.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.done >= mine && state.succeeded
    }

    fn wanted(&self) -> u64 {
        self.state.lock().wanted
    }

    fn finish(&self, up_to: u64, succeeded: bool) {
        let mut state = self.state.lock();
        state.done = state.done.max(up_to);
        state.succeeded = succeeded;
        drop(state);
        self.done.notify_all();
    }
}

/// Lets waiters go when the task ends, also when it is aborted or panics.
struct WaitersGo(Arc<Requests>);

impl Drop for WaitersGo {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.done.notify_all();
    }
}

impl Statistics {
    /// Runs until the exporter has to end, and exports once more then.
    pub(crate) async fn run(mut self) {
        let requests = Arc::clone(&self.requests);
        let _waiters_go = WaitersGo(Arc::clone(&requests));
        let mut next = TokioInstant::now() + self.interval;
        loop {
            if !is_stopping(&self.stop) {
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = requests.wake.notified() => {}
                    _ = self.stop.changed() => {}
                }
            }
            // Asked before the export: an end that comes while it is under way gets one of its own.
            let is_last = is_stopping(&self.stop);
            let up_to = requests.wanted();
            let succeeded = self.export().await;
            requests.finish(up_to, succeeded);
            if is_last {
                return;
            }
            // From now, not from when it was due: after a hang there is nothing to catch up, the figures are cumulative.
            if TokioInstant::now() >= next {
                next = TokioInstant::now() + self.interval;
            }
        }
    }

    async fn export(&mut self) -> bool {
        let Some(live) = self.live.upgrade() else { return false };
        let snapshot = live.metrics();
        drop(live);
        let figures = (self.figures)();
        let metrics = metrics(&snapshot, &figures, self.form);
        let period = period(&snapshot);
        let mut succeeded = true;
        for (form, lines, shared) in &self.lines {
            let text = match form {
                StatisticsLines::Json => format!("{}\n", json::metrics(&self.resource, &metrics, period)),
                StatisticsLines::Text => text::metrics(&metrics),
            };
            let written = lines.write(text).await;
            shared.wrote(&written);
            succeeded &= written.is_ok();
        }
        let Some(sender) = &mut self.collector else { return succeeded };
        // The next export says everything that this one would have said.
        if sender.is_open() && !is_stopping(&self.stop) {
            return false;
        }
        let message = match sender.client().collector().protocol {
            Protocol::HttpJson => json::metrics(&self.resource, &metrics, period).to_string().into_bytes(),
            _ => proto::metrics_request(&proto::resource(&self.resource), &metrics, period),
        };
        let body = sender.client().body(message);
        succeeded & (sender.export(&body).await == Ended::Accepted)
    }
}
