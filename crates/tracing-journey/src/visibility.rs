//! Which spans does a subscriber let through to our layer?

use std::sync::OnceLock;

use tracing_core::{Dispatch, Kind, Level, LevelFilter};
use tracing_subscriber::{Layer, Registry, filter::Targets};

use crate::line::LineCallsite;

/// Spans that are stages by their field, one for each level, which are asked about and never opened.
struct Probes([&'static LineCallsite; 5]);

/// The most verbose level of stage spans that a subscriber lets through.
///
/// The level that `tracing` knows for the process does not tell: our own layer raises it, and a global filter still
/// hides the spans. Only for threads that [`LineCallsite::is_enabled`] allows.
pub(crate) fn visible_level(dispatch: &Dispatch) -> LevelFilter {
    static PROBES: OnceLock<Probes> = OnceLock::new();
    let Probes(probes) =
        PROBES.get_or_init(|| {
            let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
            Probes(levels.map(|level| {
                LineCallsite::leak("journey_probe", "tracing_journey", level, &["journey.stage"], Kind::SPAN)
            }))
        });
    let levels = [LevelFilter::TRACE, LevelFilter::DEBUG, LevelFilter::INFO, LevelFilter::WARN, LevelFilter::ERROR];
    for probe in probes {
        probe.introduce(dispatch);
    }
    let visible = probes.iter().zip(levels).find(|(probe, _)| probe.is_enabled(dispatch));
    visible.map_or(LevelFilter::OFF, |(_, level)| level)
}

/// Whether a filter of the subscriber says that nothing at `level` comes through, whatever its target.
///
/// A filter that lets some targets through does not: those may be the ones with stages.
pub(crate) fn is_hidden_everywhere(dispatch: &Dispatch, level: LevelFilter) -> bool {
    let all = dispatch.downcast_ref::<LevelFilter>().copied();
    let targets = dispatch.downcast_ref::<Targets>().and_then(Layer::<Registry>::max_level_hint);
    #[cfg(feature = "fmt")]
    let filter = dispatch.downcast_ref::<tracing_subscriber::EnvFilter>().and_then(|filter| filter.max_level_hint());
    #[cfg(not(feature = "fmt"))]
    let filter = None;
    LevelFilter::current() < level || [all, targets, filter].into_iter().flatten().any(|hint| hint < level)
}
