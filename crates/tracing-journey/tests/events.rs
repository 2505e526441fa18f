//! Events that outlive the process: what the Layer sees and the application says is in the store, and all is accounted for.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use support::{SOON, builder};
use tracing::{error_span, info, info_span};
use tracing_journey::{
    Builder, JourneyHandle,
    journey_store::{
        Compensation, Event, EventStatus, EventStore, ScanFilter, SqliteStore, TraceContext, TraceId, TraceQuery,
        TraceReader, daily_statistics, wait, why,
    },
};
use tracing_subscriber::prelude::*;

const STAGES: [&str; 12] = [
    "platform_received",
    "plugin_received",
    "event_published",
    "event_consumed",
    "db_stored",
    "agent_notified",
    "agent_started",
    "agent_completed",
    "api_received",
    "outbound_event_published",
    "plugin_sent",
    "platform_delivered",
];

fn storing(folder: &Path) -> Builder {
    builder().store(folder.to_str().unwrap()).grace(Duration::from_millis(1))
}

/// Runs under the layer of a journey that stores into the folder, and ends it.
fn run(folder: &Path, work: impl FnOnce(&JourneyHandle)) -> tracing_journey::Report {
    let (layer, journey) = storing(folder).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || work(&journey));
    journey.shutdown(SOON)
}

fn reader(folder: &Path) -> TraceReader {
    TraceReader::new(Arc::new(SqliteStore::open_read_only(folder).unwrap()))
}

fn events_of(reader: &TraceReader, id: &str) -> Vec<Event> {
    let traces = wait(reader.store().correlated(id.to_owned())).unwrap().items;
    assert_eq!(traces.len(), 1, "{id} has one trace: {traces:?}");
    wait(reader.store().trace(traces[0].trace_id, None, 1_000)).unwrap().items
}

fn types(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event_type.as_str()).collect()
}

/// `emitted = stored + dropped`, by the store alone.
fn assert_accounted(folder: &Path, report: tracing_journey::Report) {
    let store = SqliteStore::open_read_only(folder).unwrap();
    let accounts = wait(store.accounts()).unwrap();
    let emitted: u64 = accounts.iter().map(|account| account.emitted).sum();
    let dropped: u64 = accounts.iter().flat_map(|account| account.dropped.values()).sum();
    let stored: u64 = accounts.iter().map(|account| account.stored).sum();
    assert_eq!(emitted, stored + dropped, "{accounts:?}");
    assert_eq!((stored, dropped), (report.stored, report.unstored));
    assert_eq!(accounts[0].service, "test");
}

fn stage(name: &'static str, id: &str, now: i64) {
    // `tracing` wants names that are known when it is compiled; `journey.stage` may come late.
    let at = (name == "platform_received" || name == "platform_delivered").then_some(now / 1_000_000);
    let span = info_span!("work", journey.stage = name, correlation_id = id, journey.at = at);
    span.in_scope(|| std::hint::black_box(()));
}

#[test]
fn every_checkpoint_and_the_end_of_a_journey_are_stored_under_the_ids_of_its_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mut trace_id = String::new();
    let report = run(folder.path(), |journey| {
        for name in STAGES {
            stage(name, "msg_1", journey.live().now());
        }
        assert!(journey.flush_events(SOON));
        trace_id = journey.get("msg_1").unwrap().trace_id;
    });
    let reader = reader(folder.path());
    let events = events_of(&reader, "msg_1");
    assert!(events.iter().all(|event| event.trace_id == trace_id.parse().unwrap()), "the trace that is exported");
    let stages: Vec<&str> = events.iter().filter_map(|event| event.data.get("stage")?.as_str()).collect();
    assert_eq!(events.len(), 14, "{:?} {stages:?} {report:?}", types(&events));
    assert_eq!(types(&events).iter().filter(|kind| **kind == "stage:completed").count(), 12);
    assert_eq!((report.recorded, report.stored, report.unstored), (12, 14, 0));
    assert!(report.to_string().ends_with("; 14 events stored, 0 not"), "{report}");
    let end = events.iter().find(|event| event.event_type == "workflow:completed").unwrap();
    assert_eq!((end.status, end.route.as_deref()), (EventStatus::Success, Some("message")));
    assert!(end.data["legs"]["db_write"].as_i64().unwrap() >= 0, "{:?}", end.data);
    assert!(end.data["segments"]["agent"].is_i64());
    let query = TraceQuery::of(&events);
    let root = query.root().unwrap();
    assert_eq!(query.children(root).count(), 12, "every stage stands below the root");
    assert_accounted(folder.path(), report);
    // The statistics of the day come from the same events.
    let day = wait(reader.store().info()).unwrap().days[0].clone();
    let days = daily_statistics(&day, &events);
    assert!(days.iter().any(|row| row.leg == "db_write" && row.count == 1), "{days:?}");
}

#[test]
fn a_failure_tells_why_with_its_error_and_the_decision_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(folder.path(), |journey| {
        for name in &STAGES[..7] {
            stage(name, "msg_2", journey.live().now());
        }
        info_span!("agent", correlation_id = "msg_2").in_scope(|| {
            info!(
                event_type = "ai:decision",
                decision = "model",
                chosen = "large",
                confidence = 0.7,
                api_key = "sk-12345",
                tag.tenant = "acme",
                "the question is long"
            );
            // An event with another meaning, and one without: neither is ours.
            info!(kind = "ai:decision", "not this one");
        });
        let span = error_span!("agent_completed", correlation_id = "msg_2", error = tracing::field::Empty);
        span.in_scope(|| {});
        span.record("error", "the model answered 529");
        drop(span);
        journey.fail("msg_2", "the model gave up");
        assert!(journey.flush_events(SOON));
    });
    let reader = reader(folder.path());
    let events = events_of(&reader, "msg_2");
    let decision = events.iter().find(|event| event.event_type == "ai:decision").unwrap();
    assert_eq!(decision.data["chosen"], "large");
    assert_eq!(decision.data["confidence"], 0.7);
    assert_eq!(decision.data["message"], "the question is long");
    assert_eq!(decision.data["api_key"], "[redacted]");
    assert_eq!(decision.tags["tenant"], "acme");
    assert_eq!(decision.route.as_deref(), Some("message"));
    assert_eq!(events.iter().filter(|event| event.data.get("message").is_some()).count(), 1);
    let failed = events.iter().find(|event| event.event_type == "stage:failed").unwrap();
    assert_eq!(failed.data["error"]["message"], "the model answered 529");
    assert_eq!((&failed.data["stage"], &failed.data["name"]), (&"T7".into(), &"agent_completed".into()));
    let end = events.last().unwrap();
    assert_eq!((end.event_type.as_str(), end.status), ("workflow:failed", EventStatus::Failed));
    assert_eq!(end.data["error"]["message"], "the model gave up");
    assert!(end.timestamp >= failed.timestamp, "a failed attempt is part of the journey's time");
    let answer = why(&TraceQuery::of(&events)).paragraph();
    assert!(answer.contains("the model answered 529") && answer.contains("large"), "{answer}");
    assert_accounted(folder.path(), report);
}

/// The compensations of a journey, as the store alone tells them: name, what it undoes, how it went.
fn undone(query: &TraceQuery<'_>) -> Vec<String> {
    let tell = |one: &Compensation<'_>| {
        let original = one.original.map_or("nothing known", |original| &original.label);
        let error = one.node.error.as_ref().and_then(|error| error.message.as_deref()).unwrap_or_default();
        format!("{} {original} {} {error}", one.node.label, one.node.status.as_str())
    };
    query.compensations().all.iter().map(tell).collect()
}

#[test]
fn a_span_that_compensates_tells_its_start_and_how_it_ended() {
    #[tracing::instrument(fields(correlation_id = "msg_4", compensates = "db_stored"), err)]
    fn delete_row(works: bool) -> Result<(), String> {
        if works { Ok(()) } else { Err("the row is locked".to_owned()) }
    }
    let folder = tempfile::tempdir().unwrap();
    let report = run(folder.path(), |journey| {
        for name in &STAGES[..6] {
            stage(name, "msg_4", journey.live().now());
        }
        assert!(delete_row(false).is_err() && delete_row(true).is_ok());
        // The id of the span around it; what it undoes is known late, so that only its end tells of it.
        info_span!("agent", correlation_id = "msg_4").in_scope(|| {
            let span = info_span!("recall_agent", compensates = tracing::field::Empty);
            span.in_scope(|| span.record("compensates", "T5"));
        });
        info_span!("unpublish", correlation_id = "msg_4", compensates = "event_published", error = "broker is away")
            .in_scope(|| {});
        let panics = || info_span!("refund", correlation_id = "msg_4", compensates = "T99").in_scope(|| panic!("no"));
        assert!(std::panic::catch_unwind(panics).is_err());
        // Said to be a compensation, and then not: it undoes nothing.
        info_span!("nothing", correlation_id = "msg_4", compensates = tracing::field::Empty).in_scope(|| {});
        // A stage may be one too.
        let span = info_span!("plugin_sent", correlation_id = "msg_4", compensates = "platform_received");
        span.in_scope(|| {});
        drop(span);
        journey.fail("msg_4", "the agent never answered");
        assert!(journey.flush_events(SOON));
    });
    let reader = reader(folder.path());
    let events = events_of(&reader, "msg_4");
    let query = TraceQuery::of(&events);
    let expected = [
        "delete_row db_stored failed the row is locked",
        "delete_row db_stored success ",
        "recall_agent agent_notified success ",
        "unpublish event_published failed broker is away",
        "refund nothing known failed the work panicked",
        "plugin_sent platform_received success ",
    ];
    assert_eq!(undone(&query), expected);
    let of_type = |name: &str| types(&events).iter().filter(|kind| **kind == name).count();
    assert_eq!((of_type("saga:compensating"), of_type("saga:compensated")), (5, 3), "{:?}", types(&events));
    assert_eq!((of_type("saga:compensation_failed"), of_type("stage:completed")), (3, 7));
    assert!(query.compensations().all.iter().all(|one| one.node.duration.is_some()));
    assert!(query.compensations().all[0].made_good && !query.compensations().all[3].made_good);
    let answer = why(&query).paragraph();
    assert!(answer.contains("`event_published` is still in effect"), "{answer}");
    assert_accounted(folder.path(), report);
}

#[test]
fn a_compensation_that_hangs_is_seen_and_one_without_a_journey_is_a_trace_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut hangs = tracing::Span::none();
    let report = run(folder.path(), |journey| {
        stage("db_stored", "msg_5", journey.live().now());
        hangs = info_span!("delete_row", correlation_id = "msg_5", compensates = "T4");
        info_span!("alone", compensates = "4bf92f3577b34da6").in_scope(|| {});
        assert!(journey.flush_events(SOON));
    });
    let reader = reader(folder.path());
    let events = events_of(&reader, "msg_5");
    assert_eq!(undone(&TraceQuery::of(&events)), ["delete_row db_stored pending "]);
    let filter = ScanFilter { event_type: Some("saga:compensated".to_owned()), ..ScanFilter::default() };
    let alone = wait(reader.store().scan(filter, None, 10)).unwrap().items;
    assert_eq!(alone.len(), 1, "{alone:?}");
    assert_eq!((&alone[0].data["compensates"], &alone[0].correlation_id), (&"4bf92f3577b34da6".into(), &None));
    assert_accounted(folder.path(), report);
    drop(hangs);
}

#[test]
fn a_decision_without_a_journey_is_a_trace_of_its_own_and_ids_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let report = run(folder.path(), |_| {
        info!(event_type = "cache:flushed", entries = 17_u64);
        info!(event_type = "cache:flushed", trace_id = trace, duration_ms = 12.5);
        info!(event_type = "no type at all");
    });
    // The last one is none that a store could keep, and that is said.
    assert_eq!((report.stored, report.unstored), (2, 1));
    let reader = reader(folder.path());
    let id: TraceId = trace.parse().unwrap();
    let events = wait(reader.store().trace(id, None, 10)).unwrap().items;
    assert_eq!((events.len(), events[0].duration), (1, Some(12_500_000)));
    assert_accounted(folder.path(), report);
}

#[test]
fn a_workflow_of_the_application_and_the_journey_of_its_message_are_one_trace() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(folder.path(), |journey| {
        stage("plugin_received", "msg_3", journey.live().now());
        let context = TraceContext::start(journey.events().unwrap(), "message", "msg_3").unwrap();
        context.record(Event::decision("route").chosen("B"));
        assert!(journey.flush_events(SOON));
    });
    let events = events_of(&reader(folder.path()), "msg_3");
    assert_eq!(types(&events).iter().filter(|kind| **kind == "workflow:started").count(), 2);
    assert_eq!(TraceQuery::of(&events).roots().count(), 1);
    assert_accounted(folder.path(), report);
}

#[test]
fn what_became_of_events_is_told_once_with_and_without_an_endpoint() {
    let told = |builder: Builder| {
        let (layer, journey) = builder.build().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            info!(event_type = "cache:flushed");
            info!(event_type = "no type at all");
        });
        assert!(journey.flush_events(SOON));
        let view = journey.live().self_view();
        let writer = &view.parts["writer"];
        assert_eq!(
            (&writer["emitted"], &writer["stored"], &writer["dropped"]["invalid"]),
            (&2.into(), &1.into(), &1.into())
        );
        let with_figure = view.parts.values().filter(|part| part.to_string().contains("\"emitted\"")).count();
        let sentence = "1 events were not stored: 1 invalid (see docs/events.md, \"What becomes of an event\")";
        let said = view.warnings.iter().filter(|warning| *warning == sentence).count();
        assert_eq!((with_figure, said), (1, 1), "{view:?}");
        let names: Vec<_> = journey.live().part_metrics().iter().map(|family| family.name).collect();
        assert_eq!(names.iter().filter(|name| **name == "journey_events_stored").count(), 1, "{names:?}");
        journey.shutdown(SOON);
    };
    let folder = tempfile::tempdir().unwrap();
    told(storing(&folder.path().join("without")));
    #[cfg(feature = "http")]
    {
        let builder = tracing_journey::builder().environment([]).service("test");
        let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        told(builder.http(free).store(folder.path().join("with").to_str().unwrap()));
    }
}

#[test]
fn another_process_in_the_folder_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (_layer, journey) = storing(folder.path()).build().unwrap();
    let error = storing(folder.path()).build().unwrap_err();
    assert!(!error.is_configuration(), "{error:?}");
    assert!(error.to_string().starts_with("the store of events `"), "{error}");
    assert_eq!(journey.shutdown(SOON).unstored, 0);
}

#[test]
fn a_wrong_setting_is_named_without_a_password() {
    let build = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        tracing_journey::builder().environment(pairs).no_http().build().unwrap_err()
    };
    let error = build(&[("JOURNEY_STORE", "mysql://root:hunter2@db/journey")]);
    assert!(error.is_configuration() && error.to_string().contains("`JOURNEY_STORE`: "), "{error}");
    assert!(!error.to_string().contains("hunter2"));
    let error = build(&[("JOURNEY_STORE", "/tmp/x"), ("JOURNEY_STORE_DURABILITY", "always")]);
    assert_eq!(
        error.to_string(),
        "`JOURNEY_STORE_DURABILITY` is `always`, which is neither `normal` nor `power_loss` (try `power_loss`)"
    );
    let error = build(&[("JOURNEY_LIVE", "redis://:hunter2@localhost")]);
    assert!(error.to_string().contains("`JOURNEY_LIVE` is set") && !error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_flood_beyond_the_room_is_counted_and_the_tracker_keeps_every_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(folder.path(), |journey| {
        for number in 0..60_000_u32 {
            // By hand: the tracker takes them as quickly as they come, the store cannot.
            journey.checkpoint("T1", format!("m{number}")).record();
            if number % 8_000 == 0 {
                assert!(journey.flush(SOON));
            }
        }
        assert!(journey.flush(SOON));
    });
    assert_eq!(report.recorded + report.dropped, 60_000);
    assert_eq!(report.stored + report.unstored, 2 * report.recorded, "each began a journey: two events");
    assert_accounted(folder.path(), report);
}
