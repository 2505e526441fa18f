//! How does a span with `compensates` read as events of a store?
//!
//! `saga:compensating` when it is opened, `saga:compensated` or `saga:compensation_failed` when it is closed.

use std::{sync::Weak, time::Duration};

use journey_core::{CorrelationId, Live, RouteIndex, SpanIdSeed, StageError};
use journey_store::{Event, EventDraft, EventStatus, SpanId};
use serde_json::json;

use super::convert::Converter;

/// A compensation that began, or ended.
#[derive(Debug)]
pub(crate) struct Undone {
    /// The journey that it is part of, where there is one.
    pub(crate) journey: Option<(RouteIndex, CorrelationId)>,
    /// The name of its span.
    pub(crate) name: &'static str,
    /// The span or the work that is undone.
    pub(crate) original: String,
    /// Unix nanoseconds.
    pub(crate) opened: i64,
    /// How it ended; `None` while it is under way.
    pub(crate) end: Option<UndoneEnd>,
}

/// How a compensation ended.
#[derive(Debug)]
pub(crate) struct UndoneEnd {
    /// Unix nanoseconds.
    pub(crate) at: i64,
    pub(crate) error: Option<Box<StageError>>,
    pub(crate) panicked: bool,
}

impl Undone {
    /// The event to emit. Its journey's generation is looked up here, where nobody waits for it.
    pub(super) fn draft(self, live: &Weak<Live>, converter: &Converter) -> EventDraft {
        let Self { journey, name, original, opened, end } = self;
        let error = match &end {
            Some(UndoneEnd { error: Some(error), .. }) => Some((error.kind.as_str(), error.message.as_str())),
            Some(UndoneEnd { panicked: true, .. }) => Some(("panic", "the work panicked")),
            _ => None,
        };
        let (event_type, status) = match (&end, error) {
            (None, _) => ("saga:compensating", EventStatus::Pending),
            (Some(_), None) => ("saga:compensated", EventStatus::Success),
            (Some(_), Some(_)) => ("saga:compensation_failed", EventStatus::Failed),
        };
        let at = end.as_ref().map_or(opened, |end| end.at);
        let mut draft = Event::draft(event_type).at(at).status(status);
        if let Some(journey) = &journey {
            let place;
            (draft, place) = converter.placed(draft, live, journey);
            // The start and the end of it share a span, which two of one name in one journey do not.
            let own = place.and_then(|(trace, _)| {
                SpanId::new(SpanIdSeed::of_leg(name).span_id(trace.get() ^ u128::from(opened.cast_unsigned())))
            });
            if let Some(own) = own {
                draft = draft.span_id(own);
            }
        }
        draft = draft.data("name", name).data("compensates", original);
        if let Some((kind, message)) = error {
            draft = draft.data("error", json!({ "type": kind, "message": message }));
        }
        if end.is_some() {
            draft = draft.duration(Duration::from_nanos(u64::try_from(at.saturating_sub(opened)).unwrap_or(0)));
        }
        draft
    }
}
