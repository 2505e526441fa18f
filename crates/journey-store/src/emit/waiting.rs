//! How does one wait for an answer, with or without an executor?

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use futures_channel::oneshot;

use crate::writer::{EmitError, Flushed, LossReason, Reply};

/// The answer to an emitted event: `Ok` once the store has it.
///
/// The event does not depend on it: dropped or not, it is on its way.
#[derive(Debug)]
pub struct Emit(Waiting<Reply>);

/// The answer to a flush: `true` once all is settled, `false` if it was not in time.
#[derive(Debug)]
pub struct Flush(Waiting<Flushed>);

#[derive(Debug)]
enum Waiting<T> {
    For(oneshot::Receiver<T>),
    Known(Option<T>),
}

impl Emit {
    pub(super) fn waiting(answer: oneshot::Receiver<Reply>) -> Self {
        Self(Waiting::For(answer))
    }

    pub(super) fn failed(error: EmitError) -> Self {
        Self(Waiting::Known(Some(Err(error))))
    }

    /// Blocks this thread until the store has the event, or it is known that it does not get it.
    ///
    /// # Errors
    ///
    /// As [`Emitter::emit`](super::Emitter::emit).
    pub fn wait(self) -> Result<(), EmitError> {
        block_on(self)
    }
}

impl Flush {
    pub(super) fn waiting(answer: oneshot::Receiver<Flushed>) -> Self {
        Self(Waiting::For(answer))
    }

    /// There is nobody who could.
    pub(super) fn never() -> Self {
        Self(Waiting::Known(Some(false)))
    }

    /// Blocks this thread until all is settled (`true`) or the time is over (`false`).
    pub fn wait(self) -> bool {
        block_on(self)
    }
}

impl Future for Emit {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context, || Err(EmitError::lost(LossReason::Shutdown, "the emitter was shut down")))
    }
}

impl Future for Flush {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        self.0.poll(context, || false)
    }
}

impl<T> Waiting<T> {
    fn poll(&mut self, context: &mut Context<'_>, nobody: fn() -> T) -> Poll<T> {
        match self {
            Self::For(answer) => Pin::new(answer).poll(context).map(|answer| answer.unwrap_or_else(|_| nobody())),
            Self::Known(answer) => Poll::Ready(answer.take().unwrap_or_else(nobody)),
        }
    }
}

/// Blocks this thread until a future is ready. Nothing but the future wakes it, so it must not need an executor's timers.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        // Without a deadline it is ready at last.
        if let Some(output) = block_on_until(future.as_mut(), None) {
            return output;
        }
    }
}

/// As [`block_on`], until a deadline: then `None`.
pub(crate) fn block_on_until<T>(future: impl Future<Output = T>, deadline: Option<Instant>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(left) if left.is_zero() => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
