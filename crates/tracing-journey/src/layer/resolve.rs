//! Which journey does a span belong to, where it does not say so itself?

use std::{
    fmt::Write as _,
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use journey_core::{Correlation, CorrelationId, DropReason, RouteIndex};
use tracing_core::{dispatcher, span::Id};
use tracing_subscriber::{
    Registry,
    registry::{LookupSpan, SpanRef},
};

use super::{Inner, JourneyLayer, text::Text};
use crate::{clock::process_number, sighting::TraceIds};

/// The correlation id of the current span, or of the nearest span around it that has one.
///
/// For handing the id on, to a message's headers or a log line. `None` where the subscriber of this thread has no
/// [`JourneyLayer`], no span around has an id, or the nearest one is not taken as an id.
pub fn current_correlation_id() -> Option<CorrelationId> {
    dispatcher::get_default(|dispatch| {
        let layer = dispatch.downcast_ref::<JourneyLayer>()?;
        let current = dispatch.downcast_ref::<Registry>()?.span(dispatch.current_span().id()?)?;
        current.scope().find_map(|span| layer.0.any_id_on(span.id().into_u64()))?
    })
}

impl Inner {
    /// The id of the nearest span around, else the one that came with the task, else the root span's.
    ///
    /// Ancestors cannot close before the span, so that an id which one of them recorded late is still found.
    pub(super) fn around<R>(
        &self,
        span: Option<SpanRef<'_, R>>,
        route: RouteIndex,
        carried: Option<CorrelationId>,
        trace: TraceIds,
    ) -> Result<CorrelationId, DropReason>
    where
        R: for<'a> LookupSpan<'a>,
    {
        let Some(span) = span else { return carried.ok_or(DropReason::NoId) };
        let mut root = span.id();
        for around in span.scope().skip(1) {
            root = around.id();
            if let Some(found) = self.id_on(root.into_u64(), route) {
                return found;
            }
        }
        if let Some(carried) = carried {
            return Ok(carried);
        }
        if *self.parts.routes.get(route).correlation() != Correlation::RootSpan {
            return Err(DropReason::NoId);
        }
        match trace.trace_id() {
            Some(trace_id) => Ok(written(format_args!("{trace_id:032x}"))?),
            // The span itself may be the root: it is no longer in the table, and nobody asks for its id again.
            None if root == span.id() => generated(),
            None => self.id_of_root(root.into_u64(), route),
        }
    }

    /// The same for an event, whose own span counts as the nearest around.
    pub(super) fn around_event<R>(
        &self,
        span: Option<SpanRef<'_, R>>,
        route: RouteIndex,
        carried: Option<CorrelationId>,
    ) -> Result<CorrelationId, DropReason>
    where
        R: for<'a> LookupSpan<'a>,
    {
        let own = span.as_ref().and_then(|span| self.id_on(span.id().into_u64(), route));
        if let Some(own) = own {
            return own;
        }
        let rooted = *self.parts.routes.get(route).correlation() == Correlation::RootSpan;
        match span {
            Some(span) if rooted && carried.is_none() && span.parent().is_none() => {
                self.id_of_root(span.id().into_u64(), route)
            }
            span => self.around(span, route, carried, TraceIds::default()),
        }
    }

    /// The journey of the route that was named, else of the first one for which there is an id.
    #[cfg(feature = "store")]
    pub(super) fn first_journey(
        &self,
        named: Option<Option<RouteIndex>>,
        id_of: impl Fn(RouteIndex) -> Option<CorrelationId>,
    ) -> Option<(RouteIndex, CorrelationId)> {
        let of = |route| id_of(route).map(|id| (route, id));
        match named {
            Some(route) => of(route?),
            None => self.parts.routes.iter().find_map(|(route, _)| of(route)),
        }
    }

    /// The id of an open span for a route, its own or that of the nearest span around; for readers, so none is made.
    pub(super) fn known_id(&self, span: u64, route: RouteIndex, registry: Option<&Registry>) -> Option<CorrelationId> {
        if let Some(own) = self.id_on(span, route) {
            return own.ok();
        }
        let around = registry?.span(&Id::from_non_zero_u64(NonZeroU64::new(span)?))?;
        around.scope().skip(1).find_map(|span| self.id_on(span.id().into_u64(), route))?.ok()
    }

    /// The id that an open span has for any route: `Some(None)` where it is not taken as an id.
    fn any_id_on(&self, span: u64) -> Option<Option<CorrelationId>> {
        self.spans.find(span)?.any_id(span)
    }

    /// The id that an open span has for a route.
    fn id_on(&self, span: u64, route: RouteIndex) -> Option<Result<CorrelationId, DropReason>> {
        let id = self.spans.find(span)?.id_for(span, route, &self.callsites)?;
        // An id that cannot be taken is not replaced by one from further out, which would be another message's.
        Some(id.ok_or(DropReason::InvalidId))
    }

    /// The generated id of an open root span; the first that asks makes it.
    fn id_of_root(&self, root: u64, route: RouteIndex) -> Result<CorrelationId, DropReason> {
        // Two stages of one root may end on two threads at once.
        let _one = self.notes.roots.lock();
        if let Some(found) = self.id_on(root, route) {
            return found;
        }
        let id = generated()?;
        let routes = 1_u64 << route.0;
        match self.spans.find(root) {
            Some(slot) => slot.set_id(root, routes, Some(id.clone())),
            // A foreign span until now. It leaves the table when it closes, as all do.
            None => {
                self.spans.open_root(root, routes, id.clone());
            }
        }
        Ok(id)
    }
}

/// A new id: 16 hex digits of the process, 16 of a counter.
fn generated() -> Result<CorrelationId, DropReason> {
    static PROCESS: std::sync::LazyLock<u64> = std::sync::LazyLock::new(process_number);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    written(format_args!("{:016x}{:016x}", *PROCESS, COUNT.fetch_add(1, Relaxed)))
}

fn written(text: std::fmt::Arguments<'_>) -> Result<CorrelationId, DropReason> {
    let mut written = Text::<64>::EMPTY;
    let _ = written.write_fmt(text);
    CorrelationId::new(written.as_str()).map_err(|_| DropReason::Internal)
}
