//! Futures that are stages: what was ready, failed, dropped and never polled is told apart, without any subscriber.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::{
    future::{Future, pending, ready},
    pin::pin,
    sync::OnceLock,
    task::{Context, Poll, Waker},
};

use support::{builder, settle};
use tracing_journey::{JourneyHandle, StageFutureExt, checkpoint, view::CheckpointView};

fn journey() -> &'static JourneyHandle {
    static JOURNEY: OnceLock<JourneyHandle> = OnceLock::new();
    JOURNEY.get_or_init(|| builder().build().unwrap().1)
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn seen(id: &str) -> Vec<CheckpointView> {
    settle(journey());
    journey().get(id).map(|view| view.checkpoints).unwrap_or_default()
}

#[test]
fn a_future_that_becomes_ready_reaches_its_stage() {
    journey();
    assert_eq!(poll(ready(7).stage("db_stored", "ready")), Poll::Ready(7));
    let seen = seen("ready");
    assert_eq!((seen.len(), seen[0].stage.as_str(), seen[0].outcome.as_str()), (1, "T4", "reached"));
    assert!(seen[0].span.is_some() || seen[0].attempts == 1);
}

#[test]
fn a_future_dropped_half_way_is_a_cancelled_attempt() {
    journey();
    assert!(poll(pending::<()>().stage("db_stored", "dropped")).is_pending());
    let seen = seen("dropped");
    assert_eq!((seen.len(), seen[0].outcome.as_str()), (1, "cancelled"));
}

#[test]
fn a_future_that_was_never_polled_leaves_no_trace() {
    journey();
    drop(pending::<()>().stage("db_stored", "unpolled"));
    assert!(seen("unpolled").is_empty());
}

#[test]
fn an_error_is_a_failed_attempt_with_its_text() {
    journey();
    let failed: Poll<Result<(), String>> = poll(ready(Err("disk full".to_owned())).stage_result("db_stored", "failed"));
    assert!(failed.is_ready());
    let stored: Poll<Result<u8, String>> = poll(ready(Ok(1)).stage_result("db_stored", "failed"));
    assert!(stored.is_ready());
    let seen = seen("failed");
    assert_eq!((seen[0].outcome.as_str(), seen[0].attempts), ("reached", 2));
    assert_eq!(seen[0].error.as_ref().unwrap().message, "disk full");
}

#[test]
fn a_panic_inside_is_a_failed_attempt_and_goes_on_to_its_owner() {
    journey();
    let panicked = std::panic::catch_unwind(|| {
        poll(std::future::poll_fn(|_| -> Poll<()> { panic!("in the application") }).stage("db_stored", "panicked"))
    });
    assert!(panicked.is_err());
    let seen = seen("panicked");
    assert_eq!((seen[0].outcome.as_str(), seen[0].error.as_ref().unwrap().kind.as_str()), ("failed", "panic"));
}

#[test]
fn an_open_stage_counts_from_its_first_poll() {
    journey();
    let mut first = true;
    let twice = std::future::poll_fn(move |_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) });
    let mut future = pin!(twice.stage("agent_started", "open"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    checkpoint!(T7, "open");
    assert!(future.as_mut().poll(&mut cx).is_ready());
    let seen = seen("open");
    let order: Vec<_> =
        seen.iter().map(|checkpoint| (checkpoint.stage.as_str(), checkpoint.offset_ms >= 0.0)).collect();
    assert_eq!(order, [("T6", true), ("T7", true)]);
    assert_eq!(seen[0].offset_ms, 0.0);
}

#[test]
fn the_macro_takes_names_literals_and_times() {
    journey();
    let id = String::from("macro");
    checkpoint!(T0, id, at = 1_700_000_000_000_000_000);
    checkpoint!("db_stored", id, at = std::time::SystemTime::now());
    checkpoint!(T11, "macro");
    let stages: Vec<_> = seen("macro").into_iter().map(|checkpoint| checkpoint.stage).collect();
    assert_eq!(stages, ["T0", "T4", "T11"]);
}
