//! Was this event shown already?

use std::collections::HashSet;

use journey_store::{Event, TraceId};

/// A repeat within so many events is recognized.
const RECOGNIZED: usize = 65_536;

/// What names an event.
type Identity = (TraceId, i64, u64, u64);

/// Events that were shown: the newest some ten thousand.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    newer: HashSet<Identity>,
    older: HashSet<Identity>,
}

impl Seen {
    /// Whether it was not seen before; now it was.
    pub(crate) fn is_new(&mut self, event: &Event) -> bool {
        let identity = (event.trace_id, event.timestamp, event.emitter, event.seq);
        let is_known = self.older.contains(&identity);
        let is_new = self.newer.insert(identity) && !is_known;
        if self.newer.len() >= RECOGNIZED {
            self.older = std::mem::take(&mut self.newer);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use journey_store::SpanId;

    use super::*;

    #[test]
    fn a_repeat_is_recognized_within_so_many_events_and_memory_is_bounded() {
        let event = |at: i64| Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "x", at);
        let mut seen = Seen::default();
        for at in 0..3 * RECOGNIZED as i64 {
            assert!(seen.is_new(&event(at)));
            assert!(at < 5 || !seen.is_new(&event(at - 5)), "{at}");
        }
        assert!(seen.newer.len() + seen.older.len() <= 2 * RECOGNIZED);
        assert!(seen.is_new(&event(0)));
    }
}
