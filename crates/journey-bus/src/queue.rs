//! Events that wait to be sent: bounded in number and bytes, the newest dropped, every one accounted for.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::message::Message;

/// Why an event was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// There was no room: the server is away or slower than the events come.
    QueueFull,
    /// Longer than 512 KiB.
    TooLarge,
    /// No event that could be read back: its type, its numbers, or data that nests too deep.
    Invalid,
    /// The server refused it for good.
    Refused,
    /// The publisher ended before it was sent.
    Shutdown,
    /// It was sent, and the publisher ended before an answer came: it may have arrived.
    Unconfirmed,
}

/// What became of the events at one instant: `offered = published + waiting + sum(dropped)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveAccount {
    /// Calls of `publish`.
    pub offered: u64,
    /// The server confirmed them.
    pub published: u64,
    /// Queued, or sent and not yet confirmed.
    pub waiting: u64,
    /// Not published, by reason: `queue_full`, `too_large`, `invalid`, `refused`, `shutdown`, `unconfirmed` (sent without
    /// an answer: may have arrived), `forked` (offered in a forked child, which has no publishing thread).
    pub dropped: BTreeMap<&'static str, u64>,
}

/// A bounded queue between any number of threads that never wait and one task that takes.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    max_events: usize,
    max_bytes: usize,
    /// Wakes the task that takes.
    wake: Notify,
    /// Wakes those who wait in [`Queue::flush`] or [`Queue::wait_for_end`].
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Message>,
    bytes: usize,
    offered: u64,
    /// Taken out, and neither published nor lost.
    in_flight: u64,
    published: u64,
    lost: [u64; Loss::ALL.len()],
    /// Takes no more.
    closed: bool,
    /// Nobody will take any more; the account is final.
    ended: bool,
}

impl Loss {
    const ALL: [Self; 6] =
        [Self::QueueFull, Self::TooLarge, Self::Invalid, Self::Refused, Self::Shutdown, Self::Unconfirmed];

    /// The word in accounts.
    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
            Self::Shutdown => "shutdown",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl Queue {
    pub(crate) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { inner: Mutex::default(), max_events, max_bytes, wake: Notify::new(), changed: Condvar::new() }
    }

    /// Whether an event would be taken: where not, it is counted as lost and need not be written.
    pub(crate) fn has_room(&self) -> bool {
        let mut inner = self.inner.lock();
        let refusal = self.refusal(&inner, 1);
        if let Some(loss) = refusal {
            inner.offered += 1;
            inner.lost[loss as usize] += 1;
        }
        refusal.is_none()
    }

    /// Takes an event, or drops it and counts why.
    pub(crate) fn push(&self, message: Result<Message, Loss>) {
        let mut inner = self.inner.lock();
        inner.offered += 1;
        let message = message.and_then(|message| match self.refusal(&inner, message.size()) {
            Some(loss) => Err(loss),
            None => Ok(message),
        });
        match message {
            Ok(message) => {
                inner.bytes += message.size();
                inner.waiting.push_back(message);
                let is_first = inner.waiting.len() == 1;
                drop(inner);
                // Only the first wakes: whoever takes, takes all.
                if is_first {
                    self.wake.notify_one();
                }
            }
            Err(loss) => inner.lost[loss as usize] += 1,
        }
    }

    fn refusal(&self, inner: &Inner, size: usize) -> Option<Loss> {
        if inner.closed {
            Some(Loss::Shutdown)
        } else if inner.waiting.len() >= self.max_events || inner.bytes + size > self.max_bytes {
            Some(Loss::QueueFull)
        } else {
            None
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    /// Waits for events. `false`: there will be none.
    pub(crate) async fn ready(&self) -> bool {
        loop {
            {
                let inner = self.inner.lock();
                if inner.closed || !inner.waiting.is_empty() {
                    return !inner.waiting.is_empty() && !inner.ended;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Takes the oldest events: at least one if there is one, at most `max_events` and about `max_bytes`.
    pub(crate) fn take(&self, max_events: usize, max_bytes: usize) -> Vec<Message> {
        let mut inner = self.inner.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < max_events && bytes < max_bytes {
            let Some(message) = inner.waiting.pop_front() else { break };
            bytes += message.size();
            taken.push(message);
        }
        inner.bytes -= bytes;
        inner.in_flight += taken.len() as u64;
        taken
    }

    /// Counts taken events as published and as refused. After the end nothing changes any more.
    pub(crate) fn settle(&self, published: u64, refused: u64) {
        let mut inner = self.inner.lock();
        if inner.ended {
            return;
        }
        inner.in_flight -= published + refused;
        inner.published += published;
        inner.lost[Loss::Refused as usize] += refused;
        drop(inner);
        self.changed.notify_all();
    }

    /// Waits until all that was offered before is published or lost; `false` at the deadline.
    pub(crate) fn flush(&self, until: Instant) -> bool {
        let mut inner = self.inner.lock();
        let settled = |inner: &Inner| inner.offered - inner.waiting.len() as u64 - inner.in_flight;
        let target = inner.offered;
        while settled(&inner) < target && !inner.ended {
            if self.changed.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        settled(&inner) >= target
    }

    /// Takes no more; what is there can still be taken out.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.wake.notify_one();
    }

    /// Ends it: what waits is lost, what was sent without an answer is unconfirmed.
    pub(crate) fn end(&self) {
        let left = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            inner.ended = true;
            let left = std::mem::take(&mut inner.waiting);
            inner.bytes = 0;
            inner.lost[Loss::Shutdown as usize] += left.len() as u64;
            inner.lost[Loss::Unconfirmed as usize] += std::mem::take(&mut inner.in_flight);
            left
        };
        self.changed.notify_all();
        self.wake.notify_one();
        drop(left);
    }

    /// Waits until [`Queue::end`] was called; `false` at the deadline.
    pub(crate) fn wait_for_end(&self, until: Instant) -> bool {
        let mut inner = self.inner.lock();
        while !inner.ended {
            if self.changed.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        inner.ended
    }

    pub(crate) fn account(&self) -> LiveAccount {
        let inner = self.inner.lock();
        let lost = Loss::ALL.iter().map(|loss| (loss.as_str(), inner.lost[*loss as usize]));
        LiveAccount {
            offered: inner.offered,
            published: inner.published,
            waiting: inner.waiting.len() as u64 + inner.in_flight,
            dropped: lost.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl LiveAccount {
    /// All that was dropped.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use journey_store::{Event, SpanId, TraceId};
    use proptest::prelude::*;

    use super::*;

    fn message() -> Result<Message, Loss> {
        Message::of(&Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "stage:completed", 7))
    }

    #[test]
    fn the_newest_is_dropped_where_there_is_no_room_for_its_number_or_its_bytes() {
        let queue = Queue::new(2, usize::MAX);
        for _ in 0..4 {
            if queue.has_room() {
                queue.push(message());
            }
        }
        assert_eq!(queue.account().dropped, [("queue_full", 2)].into());
        let one = message().unwrap().size();
        let queue = Queue::new(100, one * 2);
        for _ in 0..4 {
            queue.push(message());
        }
        assert_eq!(queue.account().dropped, [("queue_full", 2)].into());
        assert_eq!(queue.take(9, 1).len(), 1);
        queue.push(message());
        assert_eq!((queue.account().waiting, queue.account().lost()), (3, 2));
    }

    #[test]
    fn the_end_is_final() {
        let queue = Queue::new(9, usize::MAX);
        for _ in 0..3 {
            queue.push(message());
        }
        assert_eq!(queue.take(1, usize::MAX).len(), 1);
        queue.end();
        queue.settle(1, 0);
        assert!(!queue.has_room());
        let account = queue.account();
        assert_eq!(account.dropped, [("shutdown", 3), ("unconfirmed", 1)].into());
        assert_eq!((account.published, account.waiting, account.offered), (0, 0, 4));
        assert!(queue.wait_for_end(Instant::now()));
    }

    proptest! {
        #[test]
        fn nothing_disappears(steps in prop::collection::vec(0..7_u8, 0..200)) {
            let queue = Queue::new(4, usize::MAX);
            let mut taken = 0;
            for step in steps {
                match step {
                    0..=2 => if queue.has_room() { queue.push(message()); },
                    3 => if queue.has_room() { queue.push(Err(Loss::TooLarge)); },
                    4 => taken += queue.take(2, usize::MAX).len() as u64,
                    5 => { queue.settle(taken, 0); taken = 0; }
                    _ => { queue.settle(0, taken); taken = 0; }
                }
                let account = queue.account();
                prop_assert_eq!(account.offered, account.published + account.waiting + account.lost());
            }
            queue.end();
            let account = queue.account();
            prop_assert_eq!((account.offered, account.waiting), (account.published + account.lost(), 0));
        }
    }
}
