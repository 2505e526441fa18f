//! What a stage costs the application's memory: nothing, in steady state.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use allocation_counter::measure;
use support::{builder, settle};
use tracing::{field::Empty, info, info_span};
use tracing_subscriber::prelude::*;

/// As long as a UUID in text form.
const ID: &str = "0b5ff25e-8ca1-4d4b-9a3f-0b1cf5d0f0a1";

/// Allocations of this thread by a thousand runs, after a thousand to warm up.
fn allocations(mut work: impl FnMut()) -> u64 {
    (0..1_000).for_each(|_| work());
    measure(|| (0..1_000).for_each(|_| work())).count_total
}

#[test]
fn a_stage_allocates_nothing_on_the_applications_thread() {
    // Room for all of it: a refused checkpoint would cost nothing either, but prove nothing.
    let (layer, journey) = builder().queue(65_536).build().unwrap();
    let _default = tracing_subscriber::registry().with(layer).set_default();

    let as_text = allocations(|| info_span!("db_stored", correlation_id = ID).in_scope(|| ()));
    let displayed = allocations(|| info_span!("db_stored", correlation_id = %ID).in_scope(|| ()));
    let number = allocations(|| info_span!("db_stored", correlation_id = 1_234_567_890_u64).in_scope(|| ()));
    let late = allocations(|| {
        let stage = info_span!("db_stored", correlation_id = Empty);
        stage.record("correlation_id", ID);
        stage.in_scope(|| ());
    });
    let inherited = allocations(|| {
        let _request = info_span!("request", correlation_id = %ID).entered();
        info_span!("helper").in_scope(|| info_span!("db_stored").in_scope(|| ()));
    });
    let named = allocations(|| info_span!("handle", journey.stage = "T4", correlation_id = %ID).in_scope(|| ()));
    let event = allocations(|| info!(journey.stage = "T4", correlation_id = %ID));
    let foreign = allocations(|| info_span!("query", table = "users").in_scope(|| info!("a message")));
    assert_eq!([as_text, displayed, number, late, inherited, named, event, foreign], [0; 8]);

    settle(&journey);
    let accounting = journey.live().self_view().accounting;
    let dropped: Vec<_> = accounting.dropped.iter().filter(|(_, count)| **count > 0).collect();
    assert_eq!(accounting.offered, 14_000, "every stage was measured: {dropped:?}");
    assert!(!accounting.dropped.iter().any(|(reason, count)| reason == "queue_full" && *count > 0), "{dropped:?}");
}

#[test]
fn a_failed_attempt_allocates_its_error_and_no_more() {
    let (layer, _journey) = builder().queue(65_536).build().unwrap();
    let _default = tracing_subscriber::registry().with(layer).set_default();
    let failed = allocations(|| info_span!("db_stored", correlation_id = %ID, error = "refused").in_scope(|| ()));
    // The note of the failure with its text, the cold part of the open span that keeps it, and the full record with its
    // error of two texts: what few stages have is not carried by all.
    assert!((1..=7_000).contains(&failed), "{failed}");
}
