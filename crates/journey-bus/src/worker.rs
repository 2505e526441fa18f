//! The publishing thread: one connection at a time, one batch at a time, until it is told to end.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{sync::watch, time::timeout};

use crate::{
    link::{Link, Target},
    message::Message,
    queue::Queue,
    quiet,
    state::{LiveState, State},
};

/// Events per batch at most: one round trip each, and all that is in flight.
const BATCH: usize = 256;
/// Bytes per batch at most, but for one event more.
const BATCH_BYTES: usize = 1 << 20;
/// How long a server may take to answer a batch.
const ANSWER: Duration = Duration::from_secs(5);
/// How often a connection without events is asked whether it still is one.
const CHECK: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect: from, to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The longest such pause while a shutdown waits.
const LAST_PAUSES: Duration = Duration::from_millis(100);

/// When the publisher has to have ended, once it has to.
pub(crate) type Stop = watch::Receiver<Option<Instant>>;

/// What the publishing thread works with.
pub(crate) struct Worker {
    target: Target,
    queue: Arc<Queue>,
    state: Arc<State>,
    stop: Stop,
    /// Sent once without an answer; goes out before anything new.
    again: Vec<Message>,
}

/// Ends the account when the thread ends, however it does.
struct Ending(Arc<Queue>);

/// How the work on one connection ended.
enum Served {
    /// The publisher has to end.
    Over,
    /// The connection is of no more use; whether it published anything.
    Broken { published: bool },
}

/// Starts the publishing thread.
pub(crate) fn start(target: Target, queue: Arc<Queue>, state: Arc<State>, stop: Stop) -> std::io::Result<()> {
    let ending = Ending(Arc::clone(&queue));
    let runtime = quiet::runtime()?;
    let worker = Worker { target, queue, state, stop, again: Vec::new() };
    let body = move || {
        let _ending = ending;
        quiet::hush();
        runtime.block_on(worker.run());
        // What hangs in a client, a look-up or a handshake must not keep the thread.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("journey-live".to_owned()).spawn(body).map(drop)
}

/// Pauses that double from 0.1 s to 5 s, with jitter: processes that lost one server do not come back in step.
pub(crate) fn pauses() -> ExponentialBackoff {
    let (first, longest) = PAUSES;
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).without_max_times().with_jitter().build()
}

impl Worker {
    async fn run(mut self) {
        let mut between = pauses();
        while !self.is_over() {
            let connected = tokio::select! {
                connected = Link::connect(&self.target) => connected,
                () = self.over() => return,
            };
            match connected {
                Ok(link) => match self.serve(link).await {
                    Served::Over => return,
                    Served::Broken { published: true } => between = pauses(),
                    Served::Broken { published: false } => {}
                },
                Err(why) => self.state.set(LiveState::Away(why)),
            }
            let pause = between.next().unwrap_or(PAUSES.1);
            if self.stop.borrow().is_some() {
                tokio::time::sleep(pause.min(LAST_PAUSES)).await;
            } else {
                // An end that is asked for meanwhile ends the pause.
                let _ = timeout(pause, self.stop.changed()).await;
            }
        }
    }

    async fn serve(&mut self, mut link: Link) -> Served {
        let mut published = false;
        self.state.set(link.up());
        while !self.is_over() {
            if self.again.is_empty() {
                match timeout(CHECK, self.queue.ready()).await {
                    Ok(true) => self.again = self.queue.take(BATCH, BATCH_BYTES),
                    Ok(false) => return Served::Over,
                    Err(_) => {
                        let checked = tokio::select! {
                            checked = link.check(ANSWER) => checked,
                            () = self.over() => return Served::Over,
                        };
                        if let Err(why) = checked {
                            self.state.set(LiveState::Away(why));
                            return Served::Broken { published };
                        }
                        continue;
                    }
                }
            }
            let batch = std::mem::take(&mut self.again);
            let sent = link.send(batch, pin!(out_of_time(self.stop.clone()))).await;
            self.queue.settle(sent.published, sent.refused);
            published |= sent.published > 0;
            self.again = sent.again;
            if let Some(why) = sent.trouble {
                self.state.set(LiveState::Away(why));
                return Served::Broken { published };
            }
            self.state.set(sent.refusal.map_or_else(|| link.up(), LiveState::Refusing));
        }
        Served::Over
    }

    /// Whether the thread has to end: it is told to, and there is nothing left or no time left.
    fn is_over(&self) -> bool {
        let Some(deadline) = *self.stop.borrow() else { return false };
        deadline <= Instant::now() || self.again.is_empty() && self.queue.is_empty()
    }

    /// Waits until [`Worker::is_over`]. Nothing is taken meanwhile, so only the end and its deadline change that.
    async fn over(&self) {
        let mut stop = self.stop.clone();
        loop {
            if self.is_over() {
                return;
            }
            let deadline = *stop.borrow_and_update();
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None if stop.changed().await.is_err() => return,
                None => {}
            }
        }
    }
}

/// Waits as long as a server may take to answer a batch; less where the end comes first.
async fn out_of_time(mut stop: Stop) {
    let latest = Instant::now() + ANSWER;
    loop {
        let deadline = *stop.borrow_and_update();
        let until = deadline.map_or(latest, |deadline| deadline.min(latest));
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => return,
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}
