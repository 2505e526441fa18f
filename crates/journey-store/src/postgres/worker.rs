//! Who does the work, wherever the question comes from?

use std::{future::Future, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    sync::{Semaphore, oneshot},
};

use super::error::{unavailable, unusable};
use crate::store::{Answer, StoreError};

/// The most questions that wait or are worked on. Above, an answer would come too late for whoever asks.
const MAX_PENDING: u32 = 1_000;

/// How long what is under way may take after the store was dropped.
const DRAIN: Duration = Duration::from_secs(10);

/// A thread with a small runtime of its own: questions come from any thread, with a runtime, without one, or after it
/// has ended.
#[derive(Debug)]
pub(super) struct Worker {
    runtime: Handle,
    pending: Arc<Semaphore>,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

impl Worker {
    pub(super) fn start() -> Result<Self, StoreError> {
        let cannot = |error: std::io::Error| unusable(format!("the store's thread cannot be started: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let handle = runtime.handle().clone();
        let pending = Arc::new(Semaphore::new(MAX_PENDING as usize));
        let (stop, stopped) = oneshot::channel();
        let drained = Arc::clone(&pending);
        let live = async move {
            // Nobody sends: the sender goes with the store.
            let _ = stopped.await;
            // What is under way ends, and whoever waits for it gets the answer; the rest is cancelled.
            let _ = tokio::time::timeout(DRAIN, drained.acquire_many(MAX_PENDING)).await;
        };
        let run = move || runtime.block_on(live);
        thread::Builder::new().name("journey-postgres".to_owned()).spawn(run).map_err(cannot)?;
        Ok(Self { runtime: handle, pending, _stop: stop })
    }

    /// Does `work`, which begins at once and is done even where nobody waits for the answer.
    ///
    /// After `limit` the answer is that there is none, and the work is dropped.
    pub(super) fn ask<T, W>(&self, limit: Duration, work: W) -> Answer<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let Ok(place) = Arc::clone(&self.pending).try_acquire_owned() else {
            let message = format!("PostgreSQL: {MAX_PENDING} questions wait for an answer already");
            return Box::pin(async { Err(unavailable(message)) });
        };
        let work = self.runtime.spawn(async move {
            let answer = tokio::time::timeout(limit, work).await;
            drop(place);
            answer.unwrap_or_else(|_| Err(unavailable(format!("PostgreSQL: no answer within {limit:?}"))))
        });
        Box::pin(async move {
            work.await.unwrap_or_else(|ended| {
                let why = if ended.is_panic() { "the work on it panicked" } else { "the store was closed" };
                Err(unavailable(format!("PostgreSQL: no answer: {why}")))
            })
        })
    }
}
