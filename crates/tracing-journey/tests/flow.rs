//! Flows that nobody declared, and named operations.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::{sync::OnceLock, time::Duration};

use support::{builder, settle};
use tracing_journey::{Flow, JourneyHandle, Status, measure, measure_async, view::JourneyView};

/// The process-wide handle of these tests.
fn journey() -> &'static JourneyHandle {
    static JOURNEY: OnceLock<JourneyHandle> = OnceLock::new();
    JOURNEY.get_or_init(|| builder().flow_route("queue_command").build().unwrap().1)
}

fn view(id: &str) -> JourneyView {
    settle(journey());
    journey().get(id).unwrap()
}

fn steps(view: &JourneyView) -> Vec<&str> {
    view.checkpoints.iter().map(|checkpoint| checkpoint.name.as_str()).collect()
}

#[test]
fn a_completed_flow_is_a_journey_from_started_to_completed() {
    journey();
    let flow = Flow::start("queue_command", "user\n7");
    flow.checkpoint("parsed");
    flow.checkpoint("queued");
    let id = flow.id().to_owned();
    flow.complete(Status::Completed);
    assert!(id.starts_with("queue_command:user7:"), "{id}");
    let view = view(&id);
    assert_eq!((view.route.as_str(), view.status.as_str()), ("queue_command", "completed"));
    assert_eq!(steps(&view), ["started", "parsed", "queued", "completed"]);
}

#[test]
fn a_flow_that_is_dropped_is_cancelled() {
    journey();
    let flow = Flow::start("skip_command", 7);
    let id = flow.id().to_owned();
    drop(flow);
    let view = view(&id);
    assert_eq!((view.route.as_str(), view.status.as_str()), ("flow", "failed"));
    assert_eq!(view.reason.as_deref(), Some("cancelled"));
    assert_eq!(steps(&view), ["started", "cancelled"]);
}

#[test]
fn a_flow_can_fail_with_a_reason_and_have_an_id_of_its_own() {
    journey();
    let flow = Flow::with_id("play_command", "play:1");
    flow.fail("no voice channel");
    let view = view("play:1");
    assert_eq!((view.status.as_str(), view.reason.as_deref()), ("failed", Some("no voice channel")));
}

#[test]
fn a_flow_with_an_impossible_id_is_counted_and_does_nothing() {
    let before = journey().summary().accounting.dropped["invalid_id"];
    let flow = Flow::with_id("x", "");
    flow.checkpoint("parsed");
    flow.complete(Status::Completed);
    settle(journey());
    assert_eq!(journey().summary().accounting.dropped["invalid_id"], before + 1);
}

#[test]
fn two_runs_never_share_an_id_even_for_names_too_long_for_one() {
    let (name, user) = ("n".repeat(500), "ü".repeat(500));
    let ids = [Flow::start(&name, &user), Flow::start(&name, &user)].map(|flow| flow.id().to_owned());
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].len() <= 128, "{}", ids[0].len());
}

#[test]
fn operations_are_counted_also_when_they_panic_or_wait() {
    journey();
    assert_eq!(measure("parse", || 42), 42);
    let panicked = std::panic::catch_unwind(|| measure("parse", || panic!("in the application")));
    assert!(panicked.is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(measure_async("wait", async { tokio::time::sleep(Duration::from_millis(20)).await }));
    // Never polled: nothing was measured.
    drop(measure_async("never", std::future::ready(())));
    settle(journey());
    let summary = journey().summary();
    let operation = |name: &str| summary.operations.iter().find(|operation| operation.name == name);
    assert_eq!(operation("parse").unwrap().stats.count, 2);
    assert!(operation("wait").unwrap().stats.min_ms.unwrap() >= 20.0);
    assert!(operation("never").is_none());
}
