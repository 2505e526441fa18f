//! How long did a stage wait for databases and other services? Calls inside are summed into the stage around them.

use journey_core::WithinKind;
use tracing_core::{Subscriber, span};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use super::open_spans::OpenSpans;

/// Adds a call that ended to the nearest stage around it, and says whether there was one: elsewhere it is not counted.
pub(crate) fn add_to_stage<S>(
    spans: &OpenSpans,
    ctx: &Context<'_, S>,
    call: &span::Id,
    kind: WithinKind,
    nanos: u64,
) -> bool
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(call) = ctx.span(call) else { return false };
    for around in call.scope().skip(1) {
        let Some(slot) = spans.find(around.id().into_u64()) else { continue };
        let state = slot.state();
        if state.is_stage() {
            slot.add_call(around.id().into_u64(), kind, nanos);
            return true;
        }
        // A call inside a call is part of it: counting both would count the time twice.
        if state.call().is_some() {
            return false;
        }
    }
    false
}
