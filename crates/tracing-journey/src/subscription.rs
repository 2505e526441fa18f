//! Following what happens, as a blocking iterator.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use journey_core::{FeedItem, FeedReader, Live};

/// Events fetched at once.
const FETCH: usize = 256;
/// How long the iterator sleeps before it looks whether the handle was shut down.
const LOOK: Duration = Duration::from_millis(250);

/// Checkpoints, finished and stuck journeys as they come.
///
/// Made by [`JourneyHandle::subscribe`](crate::JourneyHandle::subscribe). A reader that is too slow loses the oldest events
/// and learns how many ([`lagged`](Self::lagged)); it never slows anybody.
pub struct Subscription {
    live: Arc<Live>,
    is_open: Box<dyn Fn() -> bool + Send + Sync>,
    next: u64,
    fetched: VecDeque<Arc<FeedItem>>,
    lagged: u64,
    /// Events are made while this lives.
    _reader: FeedReader,
}

impl Subscription {
    pub(crate) fn new(live: Arc<Live>, is_open: Box<dyn Fn() -> bool + Send + Sync>) -> Self {
        let reader = live.feed().reader();
        let next = live.feed().head();
        Self { live, is_open, next, fetched: VecDeque::new(), lagged: 0, _reader: reader }
    }

    /// The next event, or `None` where none comes within `timeout`.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Arc<FeedItem>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(item) = self.fetched.pop_front() {
                return Some(item);
            }
            let batch = self.live.feed().since(self.next, FETCH);
            (self.next, self.lagged) = (batch.next, self.lagged + batch.lagged);
            self.fetched.extend(batch.items);
            if self.fetched.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                self.live.feed().wait(self.next, left);
            }
        }
    }

    /// Events that were lost so far because this reader was too slow.
    pub fn lagged(&self) -> u64 {
        self.lagged
    }
}

/// Blocks for the next event; ends once the handle was shut down and everything was read.
impl Iterator for Subscription {
    type Item = Arc<FeedItem>;

    fn next(&mut self) -> Option<Arc<FeedItem>> {
        loop {
            // Asked before reading: what was published before the end is then always read.
            let open = (self.is_open)();
            if let Some(item) = self.next_timeout(if open { LOOK } else { Duration::ZERO }) {
                return Some(item);
            }
            if !open {
                return None;
            }
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("next", &self.next).field("lagged", &self.lagged).finish_non_exhaustive()
    }
}
