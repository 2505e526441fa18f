//! How do checkpoints become events without the tracker waiting for it?
//!
//! The tracker's thread puts what it recorded into a queue; a thread of its own makes events of it. What does not fit into
//! the queue is an event that is lost, and the emitter's account says so.

use std::{
    collections::VecDeque,
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    thread,
    time::Instant,
};

use journey_core::{CheckpointSink, FinishedSink, Journey, Live, Recorded};
use journey_store::{Emitter, LossReason};
use parking_lot::{Condvar, Mutex};

use super::{convert::Converter, said::Said, undone::Undone};

/// How many may wait: about 5 MiB, and a second of 30 000 stages.
const ROOM: usize = 32_768;

/// The queue and the thread behind it.
pub(crate) struct Recorder {
    queue: Mutex<Queue>,
    /// There is something to do, or nothing more will come.
    more: Condvar,
    /// Nothing waits and nothing is being worked on.
    idle: Condvar,
    emitter: Emitter,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Item>,
    /// The thread has taken some that are no events yet.
    busy: bool,
    /// What waits after this is given up, and nothing more is taken.
    closing: Option<Instant>,
}

enum Item {
    Checkpoint(Recorded),
    End(Box<Journey>),
    Said(Box<Said>),
    Undone(Box<Undone>),
}

impl Recorder {
    /// Starts the thread `journey-record`, which ends when it is stopped, or when nobody has the recorder any more.
    pub(crate) fn start(live: &Arc<Live>, emitter: Emitter) -> io::Result<Arc<Self>> {
        let converter = Converter::new(live);
        let recorder = Arc::new(Self { queue: Mutex::default(), more: Condvar::new(), idle: Condvar::new(), emitter });
        let (weak, of_live) = (Arc::downgrade(&recorder), Arc::downgrade(live));
        let body = move || while work(&weak, &of_live, &converter) {};
        thread::Builder::new().name("journey-record".to_owned()).spawn(body)?;
        Ok(recorder)
    }

    /// An event that the application said. Never waits for the store.
    pub(crate) fn said(&self, said: Said) {
        self.offer(1, [Item::Said(Box::new(said))]);
    }

    /// A compensation that began or ended. Never waits for the store.
    pub(crate) fn undone(&self, undone: Undone) {
        self.offer(1, [Item::Undone(Box::new(undone))]);
    }

    /// How many wait to become events.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Waits until everything that waits now was emitted; `false` where that takes longer.
    pub(crate) fn drain(&self, until: Instant) -> bool {
        let mut queue = self.queue.lock();
        while queue.busy || !queue.waiting.is_empty() {
            if self.idle.wait_until(&mut queue, until).timed_out() {
                return !queue.busy && queue.waiting.is_empty();
            }
        }
        true
    }

    /// Takes nothing more, and emits what waits; what is left at `until` is counted as lost.
    pub(crate) fn stop(&self, until: Instant) {
        self.queue.lock().closing.get_or_insert(until);
        self.more.notify_all();
        self.drain(until);
        let left = mem::take(&mut self.queue.lock().waiting);
        self.emitter.count_lost(left.iter().map(Item::events).sum(), LossReason::Shutdown);
    }

    fn offer(&self, count: usize, items: impl IntoIterator<Item = Item>) {
        let mut queue = self.queue.lock();
        let reason = if queue.closing.is_some() { LossReason::Shutdown } else { LossReason::QueueFull };
        let room = if queue.closing.is_some() { 0 } else { ROOM - queue.waiting.len() };
        let was_empty = queue.waiting.is_empty();
        let mut items = items.into_iter();
        queue.waiting.extend(items.by_ref().take(room.min(count)));
        drop(queue);
        if was_empty {
            self.more.notify_one();
        }
        self.emitter.count_lost(items.map(|item| item.events()).sum(), reason);
    }
}

impl Item {
    /// How many events it becomes.
    fn events(&self) -> u64 {
        match self {
            Self::Checkpoint(recorded) => Converter::events_of(recorded),
            Self::End(_) | Self::Said(_) | Self::Undone(_) => 1,
        }
    }
}

impl CheckpointSink for Recorder {
    fn recorded(&self, recorded: Vec<Recorded>) {
        self.offer(recorded.len(), recorded.into_iter().map(Item::Checkpoint));
    }
}

impl FinishedSink for Recorder {
    fn finished(&self, journey: &Journey) -> bool {
        self.offer(1, [Item::End(Box::new(journey.clone()))]);
        // Whether it goes to a collector as a trace is not said by this.
        false
    }
}

/// Waits for something to do, and does it; `false` at the end.
fn work(recorder: &Weak<Recorder>, live: &Weak<Live>, converter: &Converter) -> bool {
    let Some(recorder) = recorder.upgrade() else { return false };
    let mut queue = recorder.queue.lock();
    if queue.waiting.is_empty() {
        queue.busy = false;
        recorder.idle.notify_all();
        if queue.closing.is_some() {
            return false;
        }
        // Not for ever: whether somebody still has the recorder is seen between two waits.
        recorder.more.wait_for(&mut queue, std::time::Duration::from_secs(1));
        return true;
    }
    let items = mem::take(&mut queue.waiting);
    queue.busy = true;
    let closing = queue.closing;
    drop(queue);

    let mut items = items.into_iter();
    for item in items.by_ref() {
        let events = item.events();
        let emitted = catch_unwind(AssertUnwindSafe(|| match item {
            Item::Checkpoint(recorded) => {
                converter.checkpoint(&recorded).for_each(|event| recorder.emitter.record(event))
            }
            Item::End(journey) => converter.end(&journey).into_iter().for_each(|event| recorder.emitter.record(event)),
            Item::Said(said) => recorder.emitter.record(said.draft(live, converter)),
            Item::Undone(undone) => recorder.emitter.record(undone.draft(live, converter)),
        }));
        if emitted.is_err() {
            // A bug of ours. Of two events the first may have got through; the account must not say more than is true.
            recorder.emitter.count_lost(events, LossReason::Invalid);
        }
        if closing.is_some_and(|until| Instant::now() >= until) {
            break;
        }
    }
    recorder.emitter.count_lost(items.map(|item| item.events()).sum(), LossReason::Shutdown);
    true
}
