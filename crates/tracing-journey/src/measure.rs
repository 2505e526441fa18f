//! Durations of named pieces of work that are no stage of any route.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use pin_project_lite::pin_project;

use crate::{handle::JourneyHandle, intake::Message};

/// Runs `work` and counts how long it took under `name`, also when it panics.
///
/// Durations stand in `operations` of the summary and in `journey.operation.duration`. Names are few: beyond a limit all
/// further ones share one series. Before there is a process-wide [`handle`](crate::handle()), only `work` runs.
///
/// ```
/// let number = tracing_journey::measure("parse", || "42".parse::<u32>());
/// assert_eq!(number, Ok(42));
/// ```
pub fn measure<R>(name: &str, work: impl FnOnce() -> R) -> R {
    let _running = Running::start(name);
    work()
}

/// The same for a future: from its first poll until it is ready or dropped.
pub fn measure_async<'a, F: Future>(name: &'a str, future: F) -> Measured<'a, F> {
    Measured { future, name, running: None }
}

pin_project! {
    /// A future whose duration is counted, see [`measure_async`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Measured<'a, F> {
        #[pin]
        future: F,
        name: &'a str,
        running: Option<Running<'a>>,
    }
}

impl<F: Future> Future for Measured<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _ = this.running.get_or_insert_with(|| Running::start(this.name));
        let polled = this.future.poll(cx);
        if polled.is_ready() {
            *this.running = None;
        }
        polled
    }
}

/// Counts its own life.
#[derive(Debug)]
struct Running<'a> {
    handle: Option<&'static JourneyHandle>,
    name: &'a str,
    since: Instant,
}

impl<'a> Running<'a> {
    fn start(name: &'a str) -> Self {
        Self { handle: crate::start::global(), name, since: Instant::now() }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            handle.operation(self.name, self.since.elapsed());
        }
    }
}

impl JourneyHandle {
    /// Counts the duration of a named operation that was measured elsewhere.
    pub fn operation(&self, name: &str, duration: std::time::Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.intake().offer(Message::Operation { name: self.names().intern(name), nanos });
    }
}
