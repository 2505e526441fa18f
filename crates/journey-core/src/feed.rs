//! What happened since a reader looked last: one ring for all readers, so a slow one costs nobody anything.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::view::{JourneyView, StuckView};

/// How many events are kept for readers that come back.
const RING_EVENTS: usize = 4096;

/// Something that readers may follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeedEvent {
    /// A checkpoint was recorded.
    Checkpoint(CheckpointEvent),
    /// A journey was finished.
    Journey(Box<JourneyView>),
    /// A journey became stuck.
    Stuck(StuckView),
}

/// One recorded checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckpointEvent {
    /// The journey.
    pub correlation_id: String,
    /// Its generation.
    pub generation: u32,
    /// Its route.
    pub route: String,
    /// Stage id.
    pub stage: String,
    /// Stage name.
    pub name: String,
    /// `reached`, `failed` or `cancelled`.
    pub outcome: String,
    /// The instant that counts.
    pub at: String,
    /// Service that saw it.
    pub service: String,
    /// Leg that ends here, where its latency is known now.
    pub leg: Option<String>,
    /// Latency of that leg.
    pub leg_ms: Option<f64>,
}

/// One event with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedItem {
    /// Counts from 1 without gaps.
    pub seq: u64,
    /// What happened.
    pub event: FeedEvent,
}

/// What a reader gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedBatch {
    /// Events after the asked number, oldest first.
    pub items: Vec<Arc<FeedItem>>,
    /// Events that are gone because the reader was too slow.
    pub lagged: u64,
    /// Ask with this next.
    pub next: u64,
}

/// The ring of events.
///
/// Events are only made while somebody reads ([`Feed::reader`]), so nobody pays for a stream that nobody follows.
#[derive(Default)]
pub struct Feed {
    ring: Mutex<Ring>,
    news: Condvar,
    listeners: RwLock<Vec<Arc<dyn Fn() + Send + Sync>>>,
    readers: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Ring {
    items: VecDeque<Arc<FeedItem>>,
    last: u64,
}

/// Keeps the feed going while it lives.
pub struct FeedReader(Arc<AtomicUsize>);

impl Feed {
    /// Starts to read: events are made while the returned value lives.
    pub fn reader(&self) -> FeedReader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        FeedReader(Arc::clone(&self.readers))
    }

    /// Whether anybody reads.
    pub fn wanted(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// Number of the newest event; 0 before the first.
    pub fn head(&self) -> u64 {
        self.ring.lock().last
    }

    /// At most `limit` events after number `seq`.
    pub fn since(&self, seq: u64, limit: usize) -> FeedBatch {
        let ring = self.ring.lock();
        let seq = seq.min(ring.last);
        let first = ring.items.front().map_or(ring.last + 1, |item| item.seq);
        let lagged = first.saturating_sub(seq + 1);
        let skip = usize::try_from((seq + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let items: Vec<_> = ring.items.iter().skip(skip).take(limit).cloned().collect();
        let next = items.last().map_or(seq + lagged, |item| item.seq);
        FeedBatch { items, lagged, next }
    }

    /// Blocks until there is an event after `seq`, or the time is over.
    pub fn wait(&self, seq: u64, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut ring = self.ring.lock();
        while ring.last <= seq {
            if self.news.wait_until(&mut ring, deadline).timed_out() {
                return;
            }
        }
    }

    /// Calls `listener` after every publication, on the tracker's thread: it must only wake somebody.
    pub fn on_news(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        self.listeners.write().push(listener);
    }

    /// Appends events.
    pub(crate) fn publish(&self, events: impl IntoIterator<Item = FeedEvent>) {
        let mut ring = self.ring.lock();
        let before = ring.last;
        for event in events {
            ring.last += 1;
            let seq = ring.last;
            if ring.items.len() == RING_EVENTS {
                ring.items.pop_front();
            }
            ring.items.push_back(Arc::new(FeedItem { seq, event }));
        }
        let news = ring.last > before;
        drop(ring);
        if news {
            self.news.notify_all();
            for listener in self.listeners.read().iter() {
                listener();
            }
        }
    }
}

impl FeedEvent {
    /// The word in the stream: `checkpoint`, `journey`, `stuck`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Checkpoint(_) => "checkpoint",
            Self::Journey(_) => "journey",
            Self::Stuck(_) => "stuck",
        }
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("head", &self.head()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuck(id: usize) -> FeedEvent {
        FeedEvent::Stuck(StuckView { correlation_id: id.to_string(), ..StuckView::default() })
    }

    #[test]
    fn a_reader_sees_every_event_once_in_order() {
        let feed = Feed::default();
        feed.publish((0..10).map(stuck));
        let first = feed.since(0, 4);
        assert_eq!((first.items.len(), first.lagged, first.next), (4, 0, 4));
        let rest = feed.since(first.next, 100);
        assert_eq!((rest.items[0].seq, rest.next), (5, 10));
        assert_eq!(feed.since(10, 100), FeedBatch { next: 10, ..FeedBatch::default() });
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told_how_many_it_missed() {
        let feed = Feed::default();
        feed.publish((0..RING_EVENTS + 100).map(stuck));
        let batch = feed.since(50, 10);
        assert_eq!((batch.lagged, batch.items[0].seq, batch.next), (50, 101, 110));
        let nothing_missed = feed.since(100, 10);
        assert_eq!((nothing_missed.lagged, nothing_missed.items[0].seq), (0, 101));
    }

    #[test]
    fn a_number_from_the_future_is_the_newest() {
        let feed = Feed::default();
        feed.publish([stuck(1)]);
        assert_eq!(feed.since(u64::MAX - 1, 10), FeedBatch { next: 1, ..FeedBatch::default() });
    }

    #[test]
    fn nobody_reading_is_known() {
        let feed = Feed::default();
        assert!(!feed.wanted());
        let reader = feed.reader();
        assert!(feed.wanted());
        drop(reader);
        assert!(!feed.wanted());
    }
}
