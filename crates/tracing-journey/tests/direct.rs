//! Checkpoints by hand, without any subscriber.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::time::{Duration, SystemTime};

use support::{SOON, builder, settle};
use tracing_journey::{InstantRule, PlatformTime, Route, Status, Timings};

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_700_000_000 * SECOND;

#[test]
fn checkpoints_by_hand_make_a_whole_journey_without_any_subscriber() {
    let (_layer, journey) = builder().build().unwrap();
    journey.checkpoint("platform_received", "m").at(PlatformTime::whatsapp("1700000000").unwrap()).record();
    journey.checkpoint("T1", "m").at(START + SECOND / 2).record();
    journey.checkpoint("event_published", "m").at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_001)).record();
    journey.checkpoint("eventConsumedAt", "m").at(START + 2 * SECOND).record();
    journey.checkpoint("dbStored", "m").at(START + 3 * SECOND).failed("timeout", "no answer").record();
    journey.checkpoint("T4", "m").at(START + 4 * SECOND).service("storage").record();
    settle(&journey);

    let view = journey.get("m").unwrap();
    let seen: Vec<_> = view.checkpoints.iter().map(|c| (c.stage.as_str(), c.offset_ms, c.attempts)).collect();
    assert_eq!(seen, [("T0", 0.0, 1), ("T1", 500.0, 1), ("T2", 1000.0, 1), ("T3", 2000.0, 1), ("T4", 4000.0, 2)]);
    assert_eq!(view.checkpoints[0].resolution_ms, Some(1000.0));
    assert_eq!(view.checkpoints[4].error.as_ref().unwrap().kind, "timeout");
    assert_eq!((view.checkpoints[3].service.as_str(), view.checkpoints[4].service.as_str()), ("test", "storage"));
    assert_eq!(view.status, "active");

    journey.finish("m", Status::Completed);
    settle(&journey);
    assert_eq!(journey.get("m").unwrap().status, "completed");
}

#[test]
fn what_cannot_be_taken_is_counted_by_its_reason_and_nothing_else_happens() {
    let route = Route::builder("own")
        .stage("A", "asked", |stage| stage.instant(InstantRule::Explicit))
        .stage("B", "answered", |stage| stage)
        .terminal("answered");
    let (_layer, journey) = builder().route(route.build().unwrap()).queue(64).build().unwrap();
    journey.checkpoint("answered", "").record();
    journey.checkpoint("answered", "a\u{1b}[31m").record();
    journey.checkpoint("nowhere", "m").record();
    journey.checkpoint("answered", "m").route("elsewhere").record();
    journey.checkpoint("asked", "m").record();
    journey.checkpoint("answered", "m").record();
    settle(&journey);

    let accounting = journey.summary().accounting;
    let dropped = |reason: &str| accounting.dropped[reason];
    assert_eq!((dropped("invalid_id"), dropped("unknown_stage"), dropped("no_instant")), (2, 2, 1));
    assert_eq!((accounting.offered, accounting.recorded), (6, 1));
}

#[test]
fn a_journey_can_be_failed_with_a_reason() {
    let (_layer, journey) = builder().build().unwrap();
    journey.checkpoint("T1", "m").record();
    journey.fail("m", "the agent is gone");
    journey.fail("unknown", "nothing happens");
    settle(&journey);
    let view = journey.get("m").unwrap();
    assert_eq!((view.status.as_str(), view.reason.as_deref()), ("failed", Some("the agent is gone")));
    assert!(journey.get("unknown").is_none());
}

#[test]
fn timings_carry_stages_to_the_next_process_which_does_not_count_them_again() {
    let (_layer, gateway) = builder().build().unwrap();
    gateway.checkpoint("T0", "m").at(START).record();
    gateway.checkpoint("T1", "m").at(START + 52_000_000).record();
    let timings = gateway.timings("m");
    let text = serde_json::to_string(&timings).unwrap();
    assert_eq!(text, r#"{"platformReceivedAt":1700000000000,"pluginReceivedAt":1700000000052}"#);
    assert_eq!(gateway.timings("unknown"), Timings::new());

    let (_layer, storage) = builder().build().unwrap();
    storage.adopt("m", &serde_json::from_str(&text).unwrap());
    storage.checkpoint("T2", "m").at(START + 75_000_000).record();
    settle(&storage);
    let view = storage.get("m").unwrap();
    assert_eq!(view.timings["pluginReceivedAt"], 1_700_000_000_052);
    let legs: Vec<_> = view.legs.iter().map(|leg| (leg.name.as_str(), leg.ms)).collect();
    assert_eq!(legs, [("channel_processing", 52.0), ("event_publish", 23.0)]);
    // A leg belongs to the process that records its end.
    let counted: Vec<_> = storage.summary().routes[0].legs.iter().map(|leg| leg.stats.count).take(2).collect();
    assert_eq!(counted[0], 0);
}

#[test]
fn subscribers_see_checkpoints_and_the_finished_journey() {
    let (_layer, journey) = builder().build().unwrap();
    let mut events = journey.subscribe();
    for stage in ["T0", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11"] {
        journey.checkpoint(stage, "m").record();
    }
    let mut checkpoints = 0;
    let finished = loop {
        match &events.next_timeout(SOON).expect("events come").event {
            tracing_journey::FeedEvent::Checkpoint(_) => checkpoints += 1,
            tracing_journey::FeedEvent::Journey(view) => break view.clone(),
            _ => {}
        }
    };
    assert_eq!((checkpoints, finished.status.as_str()), (12, "completed"));
    assert!(events.next_timeout(Duration::ZERO).is_none());
    journey.shutdown(SOON);
    assert!(events.next().is_none(), "the iterator ends with the handle");
}
