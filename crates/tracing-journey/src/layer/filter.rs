//! Which callsites should exist for our sake? Only those of interest.

use std::sync::Arc;

use tracing_core::{LevelFilter, Metadata, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

use super::callsites::Callsites;

/// A per-layer filter that lets stage spans through and nothing else.
///
/// With it, spans and events that no other layer wants cost what they cost without any subscriber. It has a price of
/// its own for every span as soon as another layer wants spans too: then the layer is better installed without it.
pub struct JourneyFilter {
    callsites: Arc<Callsites>,
    level: LevelFilter,
}

impl JourneyFilter {
    pub(crate) fn new(callsites: Arc<Callsites>, level: LevelFilter) -> Self {
        Self { callsites, level }
    }
}

impl<S> Filter<S> for JourneyFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.callsites.wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.callsites.find(metadata);
        if self.callsites.wants(metadata) {
            // Never `always`: `tracing` would then skip `enabled`, and the per-layer filter would go by what it was
            // asked last, which `log_enabled!` and `enabled!` of other callsites change.
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }
}

impl std::fmt::Debug for JourneyFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JourneyFilter").field("level", &self.level).finish_non_exhaustive()
    }
}
