//! Where a page ended, as text: one form for every store, so that a client cannot tell stores apart.

use crate::{
    event::{Event, TraceId},
    store::{MAX_PAGE, StoreError, StoreErrorKind, TraceSummary},
};

/// A place among events in the order of `(timestamp, emitter, seq, trace_id)`: pages go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventPlace {
    /// Unix nanoseconds.
    pub(crate) timestamp: i64,
    pub(crate) emitter: u64,
    pub(crate) seq: u64,
    pub(crate) trace_id: TraceId,
}

/// A place among traces, by the instant of their newest event: pages go on with what is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TracePlace {
    /// Unix nanoseconds.
    pub(crate) last: i64,
    pub(crate) trace_id: TraceId,
}

/// How many entries a page has that was asked to have `limit`.
pub(crate) fn page_size(limit: usize) -> usize {
    limit.clamp(1, MAX_PAGE)
}

impl EventPlace {
    pub(crate) fn of(event: &Event) -> Self {
        Self { timestamp: event.timestamp, emitter: event.emitter, seq: event.seq, trace_id: event.trace_id }
    }

    pub(crate) fn to_cursor(self) -> String {
        format!("e.{}.{}.{}.{}", self.timestamp, self.emitter, self.seq, self.trace_id)
    }

    /// # Errors
    ///
    /// `BadRequest`: the text is no cursor for events.
    pub(crate) fn from_cursor(text: &str) -> Result<Self, StoreError> {
        let parse = || {
            let mut parts = text.strip_prefix("e.")?.split('.');
            let place = Self {
                timestamp: parts.next()?.parse().ok()?,
                emitter: stored_number(parts.next()?)?,
                seq: stored_number(parts.next()?)?,
                trace_id: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(place)
        };
        parse().ok_or_else(|| invalid(text))
    }
}

impl TracePlace {
    pub(crate) fn of(summary: &TraceSummary) -> Self {
        Self { last: summary.last, trace_id: summary.trace_id }
    }

    pub(crate) fn to_cursor(self) -> String {
        format!("t.{}.{}", self.last, self.trace_id)
    }

    /// # Errors
    ///
    /// `BadRequest`: the text is no cursor for traces.
    pub(crate) fn from_cursor(text: &str) -> Result<Self, StoreError> {
        let parse = || {
            let (last, trace_id) = text.strip_prefix("t.")?.split_once('.')?;
            Some(Self { last: last.parse().ok()?, trace_id: trace_id.parse().ok()? })
        };
        parse().ok_or_else(|| invalid(text))
    }
}

/// Emitters and numbers are below 2^63.
fn stored_number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok())
}

fn invalid(text: &str) -> StoreError {
    let shown: String = text.chars().take(64).collect();
    let message = format!("`{}` is not a cursor of this list (pass `next` of the page before)", shown.escape_debug());
    StoreError::new(StoreErrorKind::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_from_their_cursors() {
        let trace_id = TraceId::new(77).unwrap();
        let event = EventPlace { timestamp: -5, emitter: 1 << 62, seq: 3, trace_id };
        assert_eq!(EventPlace::from_cursor(&event.to_cursor()), Ok(event));
        let trace = TracePlace { last: i64::MIN, trace_id };
        assert_eq!(TracePlace::from_cursor(&trace.to_cursor()), Ok(trace));
        assert!(EventPlace::from_cursor(&trace.to_cursor()).is_err());
        let too_large = format!("e.0.{}.1.{trace_id}", u64::MAX);
        assert!(EventPlace::from_cursor(&too_large).unwrap_err().message.starts_with("`e.0.184"));
    }
}
