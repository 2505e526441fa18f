//! How many events are put at once, while somebody waits for others?

use std::time::{Duration, Instant};

use super::settings::Settings;

/// Events of a batch while somebody waits: SQLite, which puts one batch after the other, puts so many in about 2 ms.
const SHORT_BATCH: usize = 100;

/// Whoever waited once is taken to wait again within this time: the first to wait after it may meet a whole batch.
const MEMORY: Duration = Duration::from_secs(60);

/// A store with one writer puts what somebody waits for only after the batch that it just puts: that one must be short.
#[derive(Default)]
pub(super) struct Pace {
    waited_at: Option<Instant>,
}

impl Pace {
    /// Somebody waits for an event now.
    pub(super) fn note(&mut self, now: Instant) {
        self.waited_at = Some(now);
    }

    /// The most events of the next background batch, of so many that wait.
    pub(super) fn rows(&self, now: Instant, waiting: usize, settings: &Settings) -> usize {
        let is_remembered = self.waited_at.is_some_and(|at| now.saturating_duration_since(at) < MEMORY);
        // Short batches cost more per event. Where they do not keep up, that nothing is lost comes first.
        let keeps_up = waiting < settings.queue_rows / 4;
        if is_remembered && keeps_up { settings.batch_rows.min(SHORT_BATCH) } else { settings.batch_rows }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use std::sync::Arc;

    use futures_channel::oneshot;

    use super::*;
    use crate::{
        event::{Event, SpanId, TraceId},
        memory::MemoryStore,
        redact::Cleaned,
        writer::{Shared, Writer, lane::Lane},
    };

    const NOW: i64 = 1_795_132_800_000_000_000;

    fn writer_with(settings: Settings) -> (Arc<Shared>, Writer) {
        let shared = Shared::new(1, "test".to_owned(), NOW, settings);
        let store = Arc::new(MemoryStore::new());
        let writer = Writer::new(Arc::clone(&shared), store, None, Arc::new(|| NOW), Arc::new(|| 1));
        (shared, writer)
    }

    fn record(shared: &Shared, count: u128) {
        (0..count).for_each(|_| shared.offer(Ok(event()), Cleaned::default(), None).unwrap());
    }

    fn emit(shared: &Shared) {
        let (reply, _answer) = oneshot::channel();
        shared.offer(Ok(event()), Cleaned::default(), Some(reply)).unwrap();
    }

    fn event() -> Event {
        Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "stage:completed", NOW)
    }

    /// What the store was given, which answers at once.
    fn given(lane: &mut Lane) -> Vec<usize> {
        lane.take_all().iter().map(|piece| piece.events().len()).collect()
    }

    #[test]
    fn while_somebody_waits_or_waited_lately_background_batches_are_short() {
        let (shared, mut writer) = writer_with(Settings::default());
        let began = Instant::now();
        record(&shared, 4_000);
        assert!(writer.start(began));
        assert_eq!(given(&mut writer.background), [1_000], "nobody waited yet");

        emit(&shared);
        assert!(writer.start(began));
        assert_eq!((given(&mut writer.urgent), given(&mut writer.background)), (vec![1], vec![SHORT_BATCH]));
        for after in [Duration::from_millis(1), MEMORY - Duration::from_nanos(1)] {
            assert!(writer.start(began + after));
            assert_eq!(given(&mut writer.background), [SHORT_BATCH], "{after:?}");
        }
        assert!(writer.start(began + MEMORY));
        assert_eq!(given(&mut writer.background), [1_000], "nobody waits any more");
    }

    #[test]
    fn a_short_batch_is_put_as_soon_as_it_is_there_and_not_only_after_the_wait_for_a_whole_one() {
        let (shared, mut writer) = writer_with(Settings::default());
        let now = Instant::now();
        emit(&shared);
        writer.start(now);
        record(&shared, SHORT_BATCH as u128 - 1);
        assert!(!writer.start(now), "the batch is not full, and did not wait long enough");
        record(&shared, 1);
        assert!(writer.start(now));
        assert_eq!(given(&mut writer.background), [SHORT_BATCH]);
    }

    #[test]
    fn a_queue_that_grows_is_put_in_whole_batches_whoever_waits() {
        let (shared, mut writer) = writer_with(Settings { queue_rows: 4_000, ..Settings::default() });
        let now = Instant::now();
        record(&shared, 1_010);
        emit(&shared);
        writer.start(now);
        assert_eq!(given(&mut writer.background), [1_000]);
        record(&shared, 500);
        writer.start(now);
        assert_eq!(given(&mut writer.background), [SHORT_BATCH], "it is short again");
    }

    #[test]
    fn batches_that_were_asked_to_be_shorter_stay_so() {
        let settings = Settings { batch_rows: 7, ..Settings::default() };
        let mut pace = Pace::default();
        let now = Instant::now();
        pace.note(now);
        assert_eq!(pace.rows(now, 100, &settings), 7);
    }
}
