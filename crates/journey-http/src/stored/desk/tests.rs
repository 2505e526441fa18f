use std::{sync::Arc, time::Duration};

use axum::body::Body;
use futures_util::future::join_all;
use http::Request;
use journey_store::{Emitter, Event, LossReason, StoreErrorKind};
use serde_json::{Value, json};

use super::QUICK_PLACES;
use crate::{
    Health, HttpConfig, StoredEvents,
    stored::{
        faulty::{Door, Faulty},
        tests::{assert_problem, endpoint, put, saga},
    },
    testing::{Endpoint, live, run, until},
};

#[test]
fn errors_of_the_store_say_whether_to_come_again() {
    let store = Arc::new(Faulty::default());
    put(&*store, saga().events());
    let live = live();
    let health = Arc::new(Health::new());
    let stored = StoredEvents::new(Arc::clone(&store) as _);
    let config = HttpConfig { store: Some(stored), ..HttpConfig::default() };
    let endpoint = Endpoint::with_health(&live, health, config);
    let path = "/api/v2/traces/order-1042";
    for (door, retry, detail) in [
        (Door::Fails(StoreErrorKind::Unavailable), "5", "the disk is full (come again in 5 s)"),
        (Door::Fails(StoreErrorKind::Unusable), "", "the store of events cannot answer: the disk is full"),
        (Door::Panics, "", "it failed inside"),
    ] {
        store.set(door);
        for path in [path, "/api/v2/traces", "/api/v2/analytics/failures", "/api/v2/stats/daily", "/api/v2/events"] {
            let answer = endpoint.get(path);
            assert_problem(&answer, 503, detail);
            assert_eq!(answer.header("retry-after"), retry);
        }
    }
    let part = &endpoint.get("/api/v2/metrics/self").json()["parts"]["store"];
    assert_eq!((&part["asked"], &part["failed"]), (&json!(15), &json!(15)));
    assert_eq!(part["lastError"]["message"], "it failed inside");
    store.set(Door::Open);
    assert_eq!(endpoint.get(path).status, 200);
}

#[test]
fn a_store_that_hangs_or_blocks_costs_a_timeout_and_delays_nobody_else() {
    for door in [Door::Hangs, Door::Blocks] {
        let store = Arc::new(Faulty::default());
        put(&*store, saga().events());
        let timeout = Duration::from_secs(1);
        let stored = StoredEvents::new(Arc::clone(&store) as _).with_timeouts(timeout, timeout);
        let live = live();
        let endpoint = endpoint(&live, stored);
        store.set(door.clone());
        run(async {
            let ask = |path: &str| {
                let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
                let endpoint = &endpoint;
                async move { endpoint.send(request).await }
            };
            // More than there are places.
            let asked = (0..QUICK_PLACES + 3).map(|_| ask("/api/v2/traces/order-1042"));
            let asked = async { join_all(asked).await };
            let others = async {
                for path in ["/livez", "/api/v2/metrics/summary", "/api/v2/metrics/self", "/metrics", "/health"] {
                    assert_eq!(ask(path).await.status(), 200, "{door:?} {path}");
                }
            };
            tokio::pin!(asked);
            tokio::select! {
                _ = asked.as_mut() => panic!("{door:?}: others waited for the store"),
                () = others => {}
            }
            for answer in asked.await {
                assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"5".parse().unwrap()));
            }
            let part = live.self_view().parts["store"].clone();
            assert_eq!(part["timedOut"].as_u64().unwrap() + part["turnedAway"].as_u64().unwrap(), 7, "{part}");
            assert!(part["timedOut"].as_u64().unwrap() >= 4, "{part}");
            store.set(Door::Open);
            // Threads that were blocked give their places back.
            let mut status = 0;
            for _ in 0..100 {
                status = ask("/api/v2/traces/order-1042").await.status().as_u16();
                if status == 200 {
                    break;
                }
            }
            assert_eq!(status, 200, "{door:?}");
        });
    }
}

#[test]
fn health_and_metrics_show_the_store_and_what_became_of_events() {
    let store = Arc::new(Faulty::default());
    put(&*store, saga().events());
    // The saga is far beyond the retention: it is to be seen all the same.
    let builder = Emitter::builder(Arc::clone(&store) as _).batch(1, Duration::ZERO).without_upkeep();
    let emitter = builder.start().unwrap();
    emitter.emit(Event::completed("stage:process")).wait().unwrap();
    let health = Arc::new(Health::new());
    let stored = StoredEvents::new(Arc::clone(&store) as _).with_emitter(emitter.clone());
    let config = HttpConfig { store: Some(stored), ..HttpConfig::default() };
    let endpoint = Endpoint::with_health(&live(), Arc::clone(&health), config);
    until(|| health.view(0).components.iter().all(|view| view.checks > 0));
    let component = |endpoint: &Endpoint| {
        let components = endpoint.get("/health").json()["components"].clone();
        components.as_array().unwrap().iter().find(|one| one["name"] == "event-store").cloned().unwrap()
    };
    let shown = component(&endpoint);
    let detail = shown["detail"].as_str().unwrap();
    assert!(shown["status"] == "up" && detail.starts_with("memory at this process: 2 days (2023-11-14 to "), "{shown}");
    let part = &endpoint.get("/api/v2/metrics/self").json()["parts"]["store"];
    assert_eq!((&part["kind"], &part["days"], &part["firstDay"]), (&json!("memory"), &json!(2), &json!("2023-11-14")));
    let writer = &endpoint.get("/api/v2/metrics/self").json()["parts"]["writer"];
    assert_eq!((&writer["stored"], &writer["emitter"]), (&json!(1), &json!(emitter.number().to_string())));
    let figure = |name: &str, value: u64| {
        let metrics = endpoint.get("/metrics");
        let line =
            format!("journey_part_figure{{journey_part_name=\"writer\",journey_figure_name=\"{name}\"}} {value}");
        assert!(metrics.text().lines().any(|one| one == line), "no {line} in {}", metrics.text());
    };
    figure("stored", 1);
    figure("duplicate", 0);
    figure("queued", 0);
    figure("spilled", 0);
    assert!(!endpoint.get("/metrics").text().contains(&emitter.number().to_string()));
    assert!(!endpoint.get("/metrics").text().contains("this process"));
    // What is lost is counted by reason, and said aloud.
    emitter.shutdown(Duration::from_secs(5));
    emitter.record(Event::completed("stage:late"));
    figure("dropped.shutdown", 1);
    let view = endpoint.get("/api/v2/metrics/self").json();
    let warnings = view["warnings"].as_array().unwrap();
    let said = |text: &&Value| text.as_str().unwrap().starts_with("1 events were not stored: 1 shutdown");
    assert_eq!(warnings.iter().filter(said).count(), 1, "{warnings:?}");
}

/// The lines of `/metrics` about events, without what stands at zero.
fn events(endpoint: &Endpoint) -> String {
    let metrics = endpoint.get("/metrics");
    let lines = metrics.text().lines().filter(|line| line.starts_with("journey_events_") && !line.ends_with(" 0"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_became_of_events_are_metrics_that_add_up_at_every_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Faulty::default());
    let emitter = Emitter::builder(Arc::clone(&store) as _)
        .batch(1, Duration::ZERO)
        .queue(20, 1 << 20)
        .spill(folder.path().join("spill"), 1 << 20)
        .without_upkeep()
        .start()
        .unwrap();
    emitter.emit(Event::completed("stage:process")).wait().unwrap();
    let stored = StoredEvents::new(Arc::clone(&store) as _).with_emitter(emitter.clone());
    let endpoint = endpoint(&live(), stored);
    insta::assert_snapshot!(events(&endpoint), @r#"
    journey_events_emitted_total 1
    journey_events_stored_total 1
    "#);
    // The store is away: events wait in memory and in the file. One had no room anywhere, and one is none that a store keeps.
    store.set(Door::Fails(StoreErrorKind::Unavailable));
    for _ in 0..15 {
        emitter.record(Event::completed("stage:process"));
    }
    emitter.record(Event::completed("process").event_type("no type at all"));
    emitter.count_lost(1, LossReason::QueueFull);
    until(|| emitter.stats().spilled > 0 && emitter.stats().error.is_some());
    let metrics = endpoint.get("/metrics").text().to_owned();
    let sum = |name: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("journey_events_{name}")));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    assert_eq!((sum("emitted_total"), sum("stored_total"), sum("dropped_total{")), (18.0, 1.0, 2.0), "{metrics}");
    assert_eq!(sum("waiting{"), 15.0, "{metrics}");
    assert!(sum("waiting{journey_event_place=\"spill\"}") > 0.0, "{metrics}");
    let warnings = endpoint.get("/api/v2/metrics/self").json()["warnings"].to_string();
    assert!(warnings.contains("the store does not take events ("), "{warnings}");
    // It is back.
    store.set(Door::Open);
    assert!(emitter.flush(Duration::from_secs(20)).wait());
    insta::assert_snapshot!(events(&endpoint), @r#"
    journey_events_emitted_total 18
    journey_events_stored_total 16
    journey_events_dropped_total{journey_drop_reason="invalid"} 1
    journey_events_dropped_total{journey_drop_reason="queue_full"} 1
    "#);
    for accept in ["text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"] {
        let text = endpoint.ask("GET", "/metrics", &[("accept", accept)]).text().to_owned();
        assert_eq!(text.matches("# TYPE journey_events_").count(), 8, "{text}");
        assert!(text.contains("\njourney_events_dropped_total{journey_drop_reason=\"too_old\"} 0\n"), "{text}");
    }
}

#[test]
fn an_endpoint_without_an_emitter_has_no_metrics_of_events() {
    let endpoint = endpoint(&live(), StoredEvents::new(Arc::new(Faulty::default())));
    assert!(!endpoint.get("/metrics").text().contains("journey_events"));
    assert_eq!(endpoint.get("/api/v2/metrics/self").json()["parts"]["writer"], Value::Null);
}
