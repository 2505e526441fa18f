//! What all clients of the stream share: their places, the news, rendered events, and the period of unbroken reading.

use std::{
    collections::VecDeque,
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use journey_core::{FeedItem, FeedReader, Live};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, futures::OwnedNotified},
};

use crate::{
    HttpConfig,
    config::bounded,
    stats::{Stats, add},
};

/// How long events go on being made after the last client left: one that only lost its connection can resume.
const LINGER: Duration = Duration::from_secs(30);

/// Rendered events that are kept for the other clients, who are about to want the same ones.
const RENDERED_EVENTS: usize = 1_024;

/// What all clients of one endpoint share.
pub(crate) struct Streams {
    live: Arc<Live>,
    stats: Arc<Stats>,
    places: usize,
    heartbeat: Duration,
    linger: Duration,
    news: Arc<News>,
    period: Mutex<Period>,
    rendered: Mutex<Rendered>,
}

/// Wakes clients, at most once for all that happened since they looked.
#[derive(Debug, Default)]
struct News {
    pending: AtomicBool,
    notify: Arc<Notify>,
}

/// A time in which every event was made, so that numbers within it have no gaps.
///
/// Events are only made while somebody reads. After a pause the numbers go on, but what happened in between was never
/// numbered: the next period has another nonce, so a client of the earlier one is told to start anew.
#[derive(Default)]
struct Period {
    nonce: Arc<str>,
    reader: Option<FeedReader>,
    clients: u64,
    /// Counts departures of the last client.
    pauses: u64,
}

/// Events as text, newest last; all of one period.
#[derive(Default)]
struct Rendered {
    nonce: Arc<str>,
    events: VecDeque<(u64, Arc<str>)>,
}

/// One client's place.
pub(crate) struct Seat {
    streams: Arc<Streams>,
    nonce: Arc<str>,
}

impl Streams {
    pub(crate) fn new(live: &Arc<Live>, stats: Arc<Stats>, config: &HttpConfig) -> Arc<Self> {
        let news = Arc::new(News::default());
        let listener = Arc::clone(&news);
        // On the tracker's thread: one swap while clients are busy, else one wake-up for all of them.
        live.feed().on_news(Arc::new(move || {
            if !listener.pending.swap(true, Ordering::AcqRel) {
                listener.notify.notify_waiters();
            }
        }));
        Arc::new(Self {
            live: Arc::clone(live),
            stats,
            places: config.max_streams,
            heartbeat: bounded(config.heartbeat),
            linger: LINGER,
            news,
            period: Mutex::default(),
            rendered: Mutex::default(),
        })
    }

    /// Takes a place; `None` where all are taken.
    pub(crate) fn sit(self: &Arc<Self>) -> Option<Seat> {
        if !self.stats.streams.take(self.places) {
            add(&self.stats.streams_refused, 1);
            return None;
        }
        let mut period = self.period.lock();
        period.clients += 1;
        if period.reader.is_none() {
            period.reader = Some(self.live.feed().reader());
            period.nonce = format!("{:016x}", RandomState::new().hash_one(0)).into();
        }
        Some(Seat { streams: Arc::clone(self), nonce: Arc::clone(&period.nonce) })
    }

    /// Takes a place without asking for the tracker's events; whoever took it gives it back.
    #[cfg(feature = "store")]
    pub(crate) fn take_place(&self) -> bool {
        let taken = self.stats.streams.take(self.places);
        if !taken {
            add(&self.stats.streams_refused, 1);
        }
        taken
    }

    pub(crate) fn places(&self) -> usize {
        self.places
    }

    pub(crate) fn clients(&self) -> u64 {
        self.stats.streams.get()
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Resolves when there is something new since it began to listen.
    pub(crate) fn news(&self) -> Listening {
        Listening { notified: Box::pin(Arc::clone(&self.news.notify).notified_owned()), news: Arc::clone(&self.news) }
    }

    /// Ends the period unless somebody came since the pause of that number began.
    fn pause_over(&self, pause: u64) {
        let mut period = self.period.lock();
        if period.clients == 0 && period.pauses == pause {
            period.reader = None;
            drop(period);
            *self.rendered.lock() = Rendered::default();
        }
    }
}

impl Seat {
    pub(crate) fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// The period, as it stands in event ids.
    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    pub(crate) fn event_id(&self, seq: u64) -> String {
        format!("{}-{seq}", self.nonce)
    }

    /// An event as text; rendered once for all clients that are near the newest.
    pub(crate) fn rendered(&self, item: &FeedItem) -> Arc<str> {
        let mut rendered = self.streams.rendered.lock();
        if rendered.nonce != self.nonce {
            *rendered = Rendered { nonce: Arc::clone(&self.nonce), events: VecDeque::new() };
        }
        if let Ok(index) = rendered.events.binary_search_by_key(&item.seq, |(seq, _)| *seq) {
            return Arc::clone(&rendered.events[index].1);
        }
        let text: Arc<str> = super::render(item, &self.event_id(item.seq)).into();
        // A client that is behind renders for itself: the kept ones stay in order, and are those that others need next.
        if rendered.events.back().is_none_or(|(newest, _)| *newest < item.seq) {
            if rendered.events.len() == RENDERED_EVENTS {
                rendered.events.pop_front();
            }
            rendered.events.push_back((item.seq, Arc::clone(&text)));
        }
        text
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.streams.stats.streams.give();
        let mut period = self.streams.period.lock();
        period.clients -= 1;
        if period.clients > 0 {
            return;
        }
        period.pauses += 1;
        let pause = period.pauses;
        drop(period);
        let streams = Arc::downgrade(&self.streams);
        let (linger, over) = (self.streams.linger, move || {
            if let Some(streams) = streams.upgrade() {
                streams.pause_over(pause);
            }
        });
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(linger).await;
                over();
            })),
            // Nobody could wait.
            Err(_) => over(),
        }
    }
}

/// Waits for news.
pub(crate) struct Listening {
    notified: Pin<Box<OwnedNotified>>,
    news: Arc<News>,
}

impl Listening {
    /// From here on nothing is missed, even before the first poll.
    pub(crate) fn listen(mut self: Pin<&mut Self>) {
        self.notified.as_mut().enable();
        // After this client is listed: whoever publishes from now on sees the flag down and wakes it.
        self.news.pending.store(false, Ordering::Release);
    }
}

impl Future for Listening {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.notified.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn streams(linger: Duration) -> Arc<Streams> {
        let live = testing::live();
        let made = Streams::new(&live, Arc::default(), &HttpConfig { max_streams: 2, ..HttpConfig::default() });
        let mut streams = Arc::into_inner(made).unwrap();
        streams.linger = linger;
        Arc::new(streams)
    }

    #[test]
    fn there_are_as_many_places_as_configured() {
        let streams = streams(LINGER);
        let first = streams.sit().unwrap();
        let _second = streams.sit().unwrap();
        assert!(streams.sit().is_none());
        drop(first);
        assert!(streams.sit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn events_go_on_for_a_while_after_the_last_client_and_then_a_new_period_begins() {
        let streams = streams(LINGER);
        let first = streams.sit().unwrap();
        let nonce = first.nonce().to_owned();
        drop(first);
        tokio::time::sleep(LINGER / 2).await;
        assert!(streams.live.feed().wanted());
        let second = streams.sit().unwrap();
        assert_eq!(second.nonce(), nonce);
        // The first pause ends while the second client is here, and ends nothing.
        tokio::time::sleep(LINGER).await;
        assert!(streams.live.feed().wanted());
        drop(second);
        tokio::time::sleep(LINGER + Duration::from_secs(1)).await;
        assert!(!streams.live.feed().wanted());
        assert_ne!(streams.sit().unwrap().nonce(), nonce);
    }

    #[test]
    fn an_event_is_rendered_once_and_a_straggler_never_mixes_the_order() {
        let streams = streams(LINGER);
        let seat = streams.sit().unwrap();
        let item = |seq| FeedItem { seq, event: journey_core::FeedEvent::Stuck(Default::default()) };
        let first = seat.rendered(&item(7));
        assert!(Arc::ptr_eq(&first, &seat.rendered(&item(7))));
        let straggler = seat.rendered(&item(3));
        assert!(straggler.contains(&format!("id: {}-3\n", seat.nonce())));
        for seq in 8..8 + 2 * RENDERED_EVENTS as u64 {
            seat.rendered(&item(seq));
        }
        let rendered = streams.rendered.lock();
        assert!(rendered.events.len() == RENDERED_EVENTS && rendered.events.iter().is_sorted_by_key(|(seq, _)| *seq));
    }
}
