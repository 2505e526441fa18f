//! Events of ours whose fields are only known at run time.
//!
//! `tracing` wants callsites that live as long as the process, so each is made once and never freed.

use std::sync::OnceLock;

use tracing_core::{
    Callsite, Dispatch, Event, Kind, Level, LevelFilter, Metadata,
    callsite::{self, Identifier},
    field::{FieldSet, Value},
    subscriber::Interest,
};

/// A callsite made at run time.
pub(crate) struct LineCallsite {
    /// Set before the callsite is registered.
    metadata: OnceLock<Metadata<'static>>,
}

impl LineCallsite {
    /// Makes one, for the life of the process.
    pub(crate) fn leak(
        name: &'static str,
        target: &'static str,
        level: Level,
        fields: &'static [&'static str],
        kind: Kind,
    ) -> &'static Self {
        let site: &'static Self = Box::leak(Box::new(Self { metadata: OnceLock::new() }));
        let fields = FieldSet::new(fields, Identifier(site));
        let module = Some(module_path!());
        site.metadata.get_or_init(|| Metadata::new(name, target, level, None, None, module, fields, kind));
        callsite::register(site);
        site
    }

    /// Whether a subscriber takes this callsite now.
    ///
    /// Only for threads of ours that always ask before they send an event: where per-layer filters are used, an answer of
    /// "no" stays with the thread and would hide the next event of a caller who does not ask.
    pub(crate) fn is_enabled(&'static self, dispatch: &Dispatch) -> bool {
        let Some(metadata) = self.metadata.get() else { return false };
        *metadata.level() <= LevelFilter::current() && dispatch.enabled(metadata)
    }

    /// Tells a subscriber of this callsite, for layers that know theirs by heart.
    ///
    /// `tracing` does so itself, but while there is one subscriber in the process it asks the default one of the thread,
    /// which on a thread of ours need not be it.
    pub(crate) fn introduce(&'static self, dispatch: &Dispatch) {
        if let Some(metadata) = self.metadata.get() {
            dispatch.register_callsite(metadata);
        }
    }

    /// Sends an event straight to a subscriber that takes it: a scoped default, however short, would slow every span of the
    /// process meanwhile. `values` has one place for each field.
    pub(crate) fn send(&'static self, dispatch: &Dispatch, values: &[Option<&dyn Value>]) {
        if let Some(metadata) = self.metadata.get() {
            dispatch.event(&Event::new(metadata, &metadata.fields().value_set_all(values)));
        }
    }
}

impl Callsite for LineCallsite {
    // Not kept: `is_enabled` asks the one subscriber that matters, see `introduce`.
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        // `leak` sets it before anybody else can see the callsite.
        self.metadata.get().unwrap_or_else(|| unreachable!("a callsite is registered with its metadata"))
    }
}
