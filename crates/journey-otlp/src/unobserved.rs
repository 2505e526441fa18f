//! Work of ours that no subscriber of the application sees.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tracing_core::{Dispatch, dispatcher::with_default};

pin_project! {
    /// A future whose spans and events nobody sees: hyper and h2 emit some, which would otherwise stand among the
    /// application's own.
    ///
    /// Only while it is polled. A subscriber that is set for a thread's whole life would put every span and event of the
    /// process on the slow path of `tracing` for as long.
    pub(crate) struct Unobserved<F> {
        #[pin]
        future: F,
    }
}

/// Runs the connections of a client unobserved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnobservedExecutor;

impl<F> Unobserved<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Unobserved<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        with_default(&Dispatch::none(), || self.project().future.poll(context))
    }
}

impl<F> Executor<F> for UnobservedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(Unobserved::new(future));
    }
}
