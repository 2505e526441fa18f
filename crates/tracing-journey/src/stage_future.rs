//! Futures that are stages: ready, failed, and dropped half way are told apart.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use journey_core::{CorrelationId, DropReason, InvalidId, Outcome, StageError};
use pin_project_lite::pin_project;

use crate::{
    clock::Reading,
    handle::JourneyHandle,
    sighting::{FullRecord, Passage},
};

/// Makes any future a stage, with or without a span.
pub trait StageFutureExt: Future + Sized {
    /// Records a stage around this future.
    ///
    /// | what happens | what is recorded |
    /// |---|---|
    /// | it becomes ready | the stage is reached, at the first poll or at the end as the stage says |
    /// | it is dropped after its first poll | a cancelled attempt |
    /// | it is dropped while a panic unwinds | a failed attempt of kind `panic` |
    /// | it is dropped before its first poll | nothing: the attempt never began |
    ///
    /// Goes to the process-wide [`handle`](crate::handle()), and works where tracing is filtered or absent. A stage that
    /// a span of the same journey records as well counts two attempts: use one or the other.
    ///
    /// ```
    /// # async fn save(text: &str) {}
    /// # async fn store(id: &str) {
    /// use tracing_journey::StageFutureExt;
    /// save("hello").stage("db_stored", id).await;
    /// # }
    /// ```
    fn stage(self, stage: &'static str, id: &str) -> StageFuture<Self> {
        StageFuture::new(self, stage, id, |_| None)
    }

    /// The same for a future that gives a `Result`: an error is a failed attempt, with its text cut to 256 bytes.
    fn stage_result<T, E>(self, stage: &'static str, id: &str) -> StageFuture<Self>
    where
        Self: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        StageFuture::new(self, stage, id, |output| {
            output.as_ref().err().map(|error| Box::new(StageError::new("error", &error.to_string())))
        })
    }
}

impl<F: Future> StageFutureExt for F {}

/// What an output says about the attempt.
type Judge<T> = fn(&T) -> Option<Box<StageError>>;

pin_project! {
    /// A future that is a stage, see [`StageFutureExt::stage`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct StageFuture<F>
    where
        F: Future,
    {
        #[pin]
        future: F,
        judge: Judge<F::Output>,
        attempt: Attempt,
    }

    impl<F> PinnedDrop for StageFuture<F>
    where
        F: Future,
    {
        fn drop(this: Pin<&mut Self>) {
            this.project().attempt.dropped();
        }
    }
}

/// The attempt at the stage.
#[derive(Debug)]
struct Attempt {
    stage: &'static str,
    id: Result<CorrelationId, InvalidId>,
    /// `None` before the first poll and after the end.
    running: Option<Running>,
    ended: bool,
}

#[derive(Debug)]
struct Running {
    handle: &'static JourneyHandle,
    opened: Reading,
    /// Ticks spent in polls.
    busy: u64,
    entered: Reading,
}

impl<F: Future> StageFuture<F> {
    fn new(future: F, stage: &'static str, id: &str, judge: Judge<F::Output>) -> Self {
        let attempt = Attempt { stage, id: CorrelationId::new(id), running: None, ended: false };
        Self { future, judge, attempt }
    }
}

impl<F: Future> Future for StageFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.attempt.enter();
        let polled = this.future.poll(cx);
        this.attempt.leave();
        if let Poll::Ready(output) = &polled {
            let error = (this.judge)(output);
            let outcome = if error.is_some() { Outcome::Failed } else { Outcome::Reached };
            this.attempt.end(outcome, error);
        }
        polled
    }
}

impl<F: Future + fmt::Debug> fmt::Debug for StageFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageFuture")
            .field("future", &self.future)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Attempt {
    fn enter(&mut self) {
        if let Some(running) = &mut self.running {
            running.entered = running.handle.clock().read();
        } else if !self.ended {
            self.running = crate::start::global().map(|handle| {
                let opened = handle.clock().read();
                Running { handle, opened, busy: 0, entered: opened }
            });
        }
    }

    fn leave(&mut self) {
        if let Some(running) = &mut self.running {
            running.busy += running.handle.clock().read().since(running.entered);
        }
    }

    fn dropped(&mut self) {
        if std::thread::panicking() {
            self.end(Outcome::Failed, Some(Box::new(StageError::new("panic", "the future panicked"))));
        } else {
            self.end(Outcome::Cancelled, None);
        }
    }

    /// Offers the one record of this attempt; later calls do nothing.
    fn end(&mut self, outcome: Outcome, error: Option<Box<StageError>>) {
        self.ended = true;
        let Some(Running { handle, opened, busy, .. }) = self.running.take() else { return };
        let intake = handle.intake();
        let Ok(id) = self.id.clone() else { return intake.count_lost(DropReason::InvalidId, 1) };
        let Some(stage) = handle.find_stage(None, self.stage) else {
            return intake.count_lost(DropReason::UnknownStage, 1);
        };
        let passage = Passage { opened, end: handle.clock().read(), busy };
        let record = FullRecord { outcome, error, ..FullRecord::reached(id, stage, passage) };
        intake.offer(record.into());
    }
}
