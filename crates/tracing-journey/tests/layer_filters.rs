//! The per-layer filter, while no other subscriber is alive in the process: what `tracing` caches for a callsite is the
//! sum over all of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use support::{builder, settle};
use tracing::{Level, debug, enabled, info, info_span, level_filters::LevelFilter};
use tracing_journey::JourneyHandle;
use tracing_subscriber::{fmt, prelude::*};

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recorded(journey: &JourneyHandle) -> u64 {
    settle(journey);
    journey.live().self_view().accounting.recorded
}

/// The level is the sum over all subscribers, and a self-check may hold that of the test before for a moment longer.
fn level_becomes(level: LevelFilter) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while LevelFilter::current() != level {
        assert!(Instant::now() < deadline, "the level stays {}", LevelFilter::current());
        tracing_core::callsite::rebuild_interest_cache();
        std::thread::yield_now();
    }
}

#[test]
fn foreign_callsites_do_not_exist_where_nobody_else_wants_them() {
    static EVALUATED: AtomicUsize = AtomicUsize::new(0);
    let count = || EVALUATED.fetch_add(1, Relaxed);
    let _alone = alone();
    let (layer, journey) = builder().build_filtered().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        assert!(info_span!("foreign", n = count()).is_disabled());
        info!(n = count(), "an event");
        info_span!("request", correlation_id = "m").in_scope(|| {
            info_span!("foreign", n = count()).in_scope(|| info_span!("T4").in_scope(|| ()));
        });
        level_becomes(LevelFilter::INFO);
    });
    assert_eq!((recorded(&journey), EVALUATED.load(Relaxed)), (1, 0));
    assert_eq!(journey.get("m").unwrap().checkpoints[0].stage, "T4");
}

#[test]
fn stages_survive_enabled_checks_of_other_callsites() {
    // tracing issue 2519: what `enabled!` was told stays behind, and a stage cached as `always` would go by it.
    let _alone = alone();
    let (layer, journey) = builder().build_filtered().unwrap();
    let everything = fmt::layer().with_writer(std::io::sink).with_filter(LevelFilter::TRACE);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer).with(everything), || {
        for number in 0..100 {
            let _wanted_by_the_other_layer_alone = enabled!(target: "sqlx::query", Level::DEBUG);
            let stage = info_span!("T4", correlation_id = number).entered();
            let _again = enabled!(target: "sqlx::query", Level::DEBUG);
            info_span!("T5", correlation_id = number).in_scope(|| debug!("a message"));
            drop(stage);
        }
    });
    assert_eq!(recorded(&journey), 200);
}
