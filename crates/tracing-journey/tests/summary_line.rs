//! One line per finished journey, with the legs as fields.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::time::Duration;

use support::{Events, builder, eventually};
use tracing::Level;
use tracing_journey::{JourneyHandle, Route, Status};
use tracing_subscriber::prelude::*;

const MS: i64 = 1_000_000;
const START: i64 = 1_700_000_000_000 * MS;

fn route() -> Route {
    Route::builder("pipeline")
        .stage("A", "asked", |stage| stage)
        .stage("B", "stored", |stage| stage)
        .stage("C", "answered", |stage| stage)
        .leg("db_write", "asked", "stored")
        .leg("reply", "stored", "answered")
        .terminal("answered")
        .slow(Duration::from_secs(1))
        .deadline(Duration::from_secs(5))
        .build()
        .unwrap()
}

fn run(journey: &JourneyHandle, id: &str, stored_after: i64, answered_after: i64) {
    journey.checkpoint("asked", id).at(START).record();
    journey.checkpoint("stored", id).at(START + stored_after).record();
    journey.checkpoint("answered", id).at(START + answered_after).record();
}

#[test]
fn a_finished_journey_is_one_event_whose_level_follows_its_total() {
    let (layer, journey) = builder().route(route()).level(Level::DEBUG).build().unwrap();
    let events = Events::default();
    let _guard = tracing_subscriber::registry().with(layer).with(events.clone()).set_default();
    run(&journey, "quick", 127 * MS, 150 * MS);
    run(&journey, "slow", 127 * MS, 1_500 * MS);
    run(&journey, "late", 127 * MS, 6_000 * MS);
    journey.checkpoint("asked", "broken").record();
    journey.fail("broken", "the agent is gone");
    eventually("four lines", || events.with_message("journey_timing").len() >= 4);

    let lines = events.with_message("journey_timing");
    let line = |id: &str| lines.iter().find(|line| line.field("correlation_id") == Some(id)).unwrap().clone();
    let quick = line("quick");
    let fields: Vec<_> = quick.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        fields.join(" "),
        "message=journey_timing correlation_id=quick route=pipeline status=completed total_ms=150 db_write_ms=127 reply_ms=23"
    );
    assert_eq!((quick.level, quick.target.as_str()), (Level::DEBUG, "journey_timing"));
    assert_eq!(
        (line("slow").level, line("late").level, line("broken").level),
        (Level::WARN, Level::ERROR, Level::WARN)
    );
    let broken = line("broken");
    assert_eq!((broken.field("status"), broken.field("reason")), (Some("failed"), Some("the agent is gone")));
    assert_eq!(broken.field("db_write_ms"), None);
}

#[test]
fn legs_of_an_open_route_share_one_field() {
    let (layer, journey) = builder().level(Level::DEBUG).build().unwrap();
    let events = Events::default();
    let _guard = tracing_subscriber::registry().with(layer).with(events.clone()).set_default();
    let flow = tracing_journey::Flow::with_handle(&journey, "flow", "f:1");
    flow.checkpoint("parsed");
    flow.complete(Status::Completed);
    eventually("the line", || !events.with_message("journey_timing").is_empty());
    let line = events.with_message("journey_timing").remove(0);
    assert!(line.field("total_ms").is_some());
    assert!(line.field("legs").is_none_or(|legs| legs.contains("_ms=")), "{line:?}");
}

#[test]
fn the_line_can_be_switched_off() {
    let (layer, journey) = builder().route(route()).log_summary(false).build().unwrap();
    let events = Events::default();
    let _guard = tracing_subscriber::registry().with(layer).with(events.clone()).set_default();
    run(&journey, "quick", MS, 2 * MS);
    journey.shutdown(support::SOON);
    assert_eq!(events.with_message("journey_timing"), []);
}
