//! Which events were given already: the newest so many.

use std::collections::{HashSet, VecDeque};

use crate::message::Identity;

/// Events that are remembered: more than all publishers of a fleet resend after one outage, for at most about 7 MB.
const REMEMBERED: usize = 65_536;

/// A bounded memory of events.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    known: HashSet<Identity>,
    oldest_first: VecDeque<Identity>,
}

impl Seen {
    /// Remembers an event; `false` where it was remembered already.
    pub(crate) fn insert(&mut self, identity: Identity) -> bool {
        if !self.known.insert(identity) {
            return false;
        }
        self.oldest_first.push_back(identity);
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use journey_store::{Event, SpanId, TraceId};

    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut event = Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "a:b", 0);
        let mut identity = |seq: usize| {
            event.seq = seq as u64;
            Identity::of(&event)
        };
        let mut seen = Seen::default();
        assert!((0..=REMEMBERED).all(|n| seen.insert(identity(n))));
        assert!(!seen.insert(identity(1)) && seen.insert(identity(0)));
        assert_eq!((seen.known.len(), seen.oldest_first.len()), (REMEMBERED, REMEMBERED));
    }
}
