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
    /// Only while it is polled or dropped. A subscriber that is set for a thread's whole life would put every span and event of the
    /// process on the slow path of `tracing` for as long.
    pub(crate) struct Unobserved<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Unobserved<F> {
        fn drop(this: Pin<&mut Self>) {
            with_default(&Dispatch::none(), || this.project().future.set(None));
        }
    }
}

/// Runs the connections of a client unobserved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnobservedExecutor;

impl<F> Unobserved<F> {
    pub(crate) fn new(future: F) -> Self {
        Self { future: Some(future) }
    }
}

impl<F: Future> Future for Unobserved<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        with_default(&Dispatch::none(), || match self.project().future.as_pin_mut() {
            Some(future) => future.poll(context),
            // Only a dropped one has no future.
            None => Poll::Pending,
        })
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
