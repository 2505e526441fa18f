//! Calls inside stages, as readers see them: per stage, and per operation over all journeys.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use support::{builder, settle};
use tracing::info_span;
use tracing_subscriber::prelude::*;

#[test]
fn calls_inside_stages_are_counted_per_stage_and_per_operation() {
    let (layer, journey) = builder().within(true).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("query", db.system.name = "sqlite").in_scope(|| ());
        for id in ["m1", "m2"] {
            let _stage = info_span!("db_stored", correlation_id = id).entered();
            info_span!("query", db.system.name = "sqlite").in_scope(|| ());
            info_span!("POST", http.request.method = "POST").in_scope(|| {
                info_span!("inside", db.system.name = "sqlite").in_scope(|| ());
            });
        }
    });
    settle(&journey);
    let within = &journey.get("m1").unwrap().checkpoints[0].within;
    assert_eq!((within["db"].count, within["http"].count), (1, 1));
    let operations = journey.summary().operations;
    let counted: Vec<_> = operations.iter().map(|o| (o.name.as_str(), o.stats.count)).collect();
    // Neither the query outside of a stage nor the one that is a part of another call.
    assert_eq!(counted, [("db query", 2), ("http POST", 2)]);
}
