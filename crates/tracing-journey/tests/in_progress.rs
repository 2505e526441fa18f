//! A stage whose span is still open is no checkpoint yet, and readers see it all the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::time::Duration;

use support::{builder, eventually, settle};
use tracing::info_span;
use tracing_subscriber::prelude::*;

#[test]
fn a_message_inside_a_stage_is_shown_inside_it() {
    let (layer, journey) = builder().stuck_after(Duration::from_millis(1)).build().unwrap();
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    info_span!("agent_notified", correlation_id = "m").in_scope(|| ());
    settle(&journey);
    assert_eq!(journey.get("m").unwrap().in_progress.len(), 0);

    // The id is that of the span around, as with a request span and stages inside.
    let request = info_span!("request", correlation_id = "m").entered();
    let agent = info_span!("agent_started").entered();
    let others = info_span!("agent_started", correlation_id = "other").entered();
    eventually("stuck", || journey.get("m").unwrap().stuck);
    let view = journey.get("m").unwrap();
    let inside: Vec<&str> = view.in_progress.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!((inside, view.checkpoints.len()), (vec!["T6"], 1));
    assert!(view.in_progress[0].open_ms > 0.0);
    let stuck = &journey.summary().routes[0].stuck[0];
    assert_eq!((stuck.stage.as_str(), stuck.in_progress.as_deref()), ("T5", Some("T6")));

    drop((others, agent, request));
    settle(&journey);
    let view = journey.get("m").unwrap();
    assert_eq!((view.in_progress.len(), view.checkpoints.len()), (0, 2));
}
