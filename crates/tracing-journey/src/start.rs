//! Starting everything that a plan says.

use std::sync::{Arc, OnceLock};

use journey_core::{Clock, Live};
use tracing_core::LevelFilter;

use crate::{
    clock::ProcessClock,
    error::{Kind, SetupError},
    handle::JourneyHandle,
    intake::Intake,
    layer::{JourneyFilter, JourneyLayer, LayerParts},
    parts::Parts,
    plan::Plan,
    self_check::{FindDispatch, SelfCheck},
    summary_line::SummaryLine,
    worker::Worker,
};

/// The handle of the process: of its first `init`, `install` or `build`.
static HANDLE: OnceLock<JourneyHandle> = OnceLock::new();

/// Everything runs; the layer waits for its subscriber.
pub(crate) struct Started {
    pub(crate) layer: JourneyLayer,
    pub(crate) filter: JourneyFilter,
    pub(crate) handle: JourneyHandle,
    pub(crate) check: Arc<SelfCheck>,
}

/// The process-wide handle, without counting a reference.
pub(crate) fn global() -> Option<&'static JourneyHandle> {
    HANDLE.get()
}

/// Makes a handle the process-wide one, unless there is one.
pub(crate) fn publish(handle: &JourneyHandle) {
    // The first one stays: what was recorded through it must not end up in two trackers.
    let _ = HANDLE.set(handle.clone());
}

/// Starts everything, or nothing. `hint` is the level that the layer asks the subscriber for.
pub(crate) fn start(
    #[cfg_attr(not(feature = "store"), expect(unused_mut))] mut plan: Plan,
    hint: LevelFilter,
) -> Result<Started, SetupError> {
    let clock = ProcessClock::new();
    let now: Clock = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    let live = Live::new(
        Arc::clone(&plan.routes),
        plan.source.clone(),
        plan.limits.clone(),
        plan.key.clone(),
        Arc::clone(&now),
    );
    let intake = Intake::new(plan.queue);
    let mut parts = Parts::default();
    #[cfg(feature = "store")]
    if let Some(events) = plan.events.take() {
        parts.events = Some(crate::events::Events::start(events, &live, now)?);
    }
    let layer = JourneyLayer::new(LayerParts {
        routes: Arc::clone(&plan.routes),
        intake: Arc::clone(&intake),
        clock: clock.clone(),
        level: hint,
        within: plan.within,
        #[cfg(feature = "store")]
        recorder: parts.events.as_ref().map(|events| Arc::clone(&events.recorder)),
    });
    // The layer is watched through functions: `Watched` is the seam between the hooks and this side.
    let (filter, watched) = (layer.filter(), layer.watched());
    let dispatch: FindDispatch = {
        let watched = watched.clone();
        Arc::new(move || watched.dispatch())
    };
    live.set_open_stages(Arc::new(watched.clone()));
    if plan.log_summary {
        let line = SummaryLine::new(Arc::clone(&plan.routes), live.sources().clone(), Arc::clone(&dispatch));
        live.add_sink(Arc::new(line));
    }
    let (level, warnings) = (plan.level, plan.warnings.clone());
    let worker = parts.start(plan, &live).and_then(|()| {
        Worker::spawn(Arc::clone(&intake), Arc::clone(&live), clock.clone()).map_err(|error| Kind::Thread(error).into())
    });
    let worker = match worker {
        Ok(worker) => Arc::new(worker),
        Err(error) => {
            parts.undo();
            return Err(error);
        }
    };
    let facts = Arc::new(move || watched.facts());
    let check = SelfCheck::new(level, warnings, dispatch, facts, Arc::clone(&intake), Arc::clone(&worker), &live);
    live.add_part("layer", Arc::clone(&check) as _);
    Ok(Started { layer, filter, handle: JourneyHandle::new(live, intake, clock, worker, parts), check })
}
