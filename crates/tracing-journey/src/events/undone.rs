//! How does a span with `compensates` read as events of a store?
//!
//! `saga:compensating` when it is opened, `saga:compensated` or `saga:compensation_failed` when it is closed.

use std::{sync::Weak, time::Duration};

use journey_core::{CorrelationId, Live, RouteIndex, StageError};
use journey_store::{Event, EventDraft, EventStatus};
use serde_json::json;

use super::convert::{Converter, span_of};

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
    /// Why it failed, where it did.
    pub(crate) error: Option<Box<StageError>>,
}

impl Undone {
    /// The event to emit. Its journey's generation is looked up here, where nobody waits for it.
    pub(super) fn draft(self, live: &Weak<Live>, converter: &Converter) -> EventDraft {
        let Self { journey, name, original, opened, end } = self;
        let (event_type, status, at) = match &end {
            None => ("saga:compensating", EventStatus::Pending, opened),
            Some(UndoneEnd { at, error: None }) => ("saga:compensated", EventStatus::Success, *at),
            Some(UndoneEnd { at, error: Some(_) }) => ("saga:compensation_failed", EventStatus::Failed, *at),
        };
        let mut draft = Event::draft(event_type).at(at).status(status);
        if let Some(journey) = &journey {
            let place;
            (draft, place) = converter.placed(draft, live, journey);
            // Its start and its end share a span.
            if let Some(span) = place.and_then(|(trace, _)| span_of(trace, name, opened)) {
                draft = draft.span_id(span);
            }
        }
        draft = draft.data("name", name).data("compensates", original);
        if let Some(UndoneEnd { error, .. }) = end {
            draft = draft.duration(Duration::from_nanos(u64::try_from(at.saturating_sub(opened)).unwrap_or(0)));
            if let Some(error) = error {
                draft = draft.data("error", json!({ "type": error.kind, "message": error.message }));
            }
        }
        draft
    }
}
