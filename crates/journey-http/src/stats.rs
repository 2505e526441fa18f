//! What this endpoint knows about itself: part `http` of the self view.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use journey_core::ReportSource;
use serde_json::{Value, json};

/// Counters of one endpoint, since it was made.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    answered: AtomicU64,
    client_errors: AtomicU64,
    server_errors: AtomicU64,
    rate_limited: AtomicU64,
    pub(crate) connections: Gauge,
    /// Turned away because all connections were taken.
    pub(crate) connections_refused: AtomicU64,
    /// Closed because the client did not read.
    pub(crate) write_timeouts: AtomicU64,
    pub(crate) streams: Gauge,
    /// Turned away because all streams were taken.
    pub(crate) streams_refused: AtomicU64,
    /// Events that readers of streams missed because they were too slow.
    pub(crate) events_lagged: AtomicU64,
}

/// How many of something are open now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Stats {
    pub(crate) fn answered(&self, status: StatusCode) {
        add(&self.answered, 1);
        if status == StatusCode::TOO_MANY_REQUESTS {
            add(&self.rate_limited, 1);
        }
        if status.is_client_error() {
            add(&self.client_errors, 1);
        } else if status.is_server_error() {
            add(&self.server_errors, 1);
        }
    }
}

impl ReportSource for Stats {
    fn report(&self) -> Value {
        json!({
            "answered": read(&self.answered),
            "clientErrors": read(&self.client_errors),
            "serverErrors": read(&self.server_errors),
            "rateLimited": read(&self.rate_limited),
            "connections": self.connections.get(),
            "connectionsRefused": read(&self.connections_refused),
            "writeTimeouts": read(&self.write_timeouts),
            "streams": self.streams.get(),
            "streamsRefused": read(&self.streams_refused),
            "eventsLagged": read(&self.events_lagged),
        })
    }

    fn warnings(&self) -> Vec<String> {
        let refused = read(&self.streams_refused);
        let warning = (refused > 0).then(|| {
            format!("{refused} event streams were refused because all were taken (close some, or raise `max_streams`)")
        });
        warning.into_iter().collect()
    }
}

impl Gauge {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes one more, where fewer than `most` are open.
    pub(crate) fn take(&self, most: usize) -> bool {
        let most = most as u64;
        let taken = self.0.try_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < most).then_some(open + 1));
        taken.is_ok()
    }

    /// Gives one back.
    pub(crate) fn give(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_gives_out_no_more_than_there_are() {
        let gauge = Gauge::default();
        assert!(gauge.take(2) && gauge.take(2) && !gauge.take(2));
        gauge.give();
        assert!(gauge.take(2));
        assert_eq!(gauge.get(), 2);
    }
}
