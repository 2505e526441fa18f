//! A real Jaeger receives journeys over both protocols and shows each as one whole trace.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeMap, path::Path, time::Duration};

use journey_core::view::JourneyView;
use journey_otlp::{OtlpConfig, OtlpExporter};
use journey_tests::{
    jaeger::Jaeger,
    service::{LEGS, Service, leg_names, now},
    suite, wait_for,
};
use serde_json::Value;

#[test]
fn a_complete_journey_is_one_whole_trace_over_grpc() {
    let Some(program) = suite::JAEGER.program() else { return };
    one_whole_trace(&program, "grpc", "msg_over_grpc");
}

#[test]
fn a_complete_journey_is_one_whole_trace_over_http() {
    let Some(program) = suite::JAEGER.program() else { return };
    one_whole_trace(&program, "http/protobuf", "msg_over_http");
}

#[test]
fn a_failed_journey_shows_its_error() {
    let Some(program) = suite::JAEGER.program() else { return };
    let jaeger = Jaeger::start(&program);
    let service = Service::start();
    let exporter = export(&service, &jaeger, "grpc");
    service.record("msg_failed", &[now() - 30_000_000, now() - 20_000_000, now() - 10_000_000]);
    let id = journey_core::CorrelationId::new("msg_failed").unwrap();
    let route = service.live.routes().find("message").unwrap();
    let finished = service
        .live
        .write(|tracker, now| tracker.finish(&id, route, journey_core::Status::Failed, Some("the store is gone"), now));
    assert!(finished);
    wait_for("the failed journey is finished and offered", || {
        service.live.tick();
        service.live.journey("msg_failed", None).filter(|journey| journey.status == "failed")
    });
    let trace = arrived(&jaeger, &service, &exporter, "msg_failed");
    let root = root(&trace);
    assert_eq!(tag(root, "journey.outcome"), "failed");
    assert_eq!(tag(root, "otel.status_code"), "ERROR");
}

fn one_whole_trace(program: &Path, protocol: &str, id: &str) {
    let jaeger = Jaeger::start(program);
    let service = Service::start();
    let exporter = export(&service, &jaeger, protocol);
    let start = now() - 3_000_000_000;
    // Leg number n takes 10 (n + 1) ms, so that none can be taken for another.
    let mut instants = vec![start];
    for leg in 0..LEGS as i64 {
        instants.push(instants[leg as usize] + (leg + 1) * 10_000_000);
    }
    service.record(id, &instants);
    let trace = arrived(&jaeger, &service, &exporter, id);

    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 1 + LEGS, "{trace:#}");
    for span in spans {
        assert!(span["warnings"].as_array().is_none_or(Vec::is_empty), "{span:#}");
    }
    // One root over everything; every other span is its child, and nothing refers to a span that is not there.
    let root = root(&trace);
    assert_eq!(root["operationName"], "journey message");
    let total: i64 = (1..=LEGS as i64).map(|leg| leg * 10_000).sum();
    assert_eq!(root["duration"].as_i64().unwrap(), total);
    assert_eq!(root["startTime"].as_i64().unwrap(), start / 1_000);
    assert_eq!(tag(root, "journey.id"), id);
    assert_eq!(tag(root, "journey.name"), "message");
    assert_eq!(tag(root, "journey.outcome"), "completed");
    let children: BTreeMap<&str, &Value> = spans
        .iter()
        .filter(|span| span["spanID"] != root["spanID"])
        .map(|span| (span["operationName"].as_str().unwrap(), span))
        .collect();
    for (leg, name) in leg_names().iter().enumerate() {
        let span = children.get(name.as_str()).unwrap_or_else(|| panic!("no span {name}: {trace:#}"));
        let parent = span["references"].as_array().unwrap().iter().find(|reference| reference["refType"] == "CHILD_OF");
        assert_eq!(parent.unwrap()["spanID"], root["spanID"], "{name}");
        assert_eq!(span["duration"].as_i64().unwrap(), (leg as i64 + 1) * 10_000, "{name}");
        assert_eq!(span["startTime"].as_i64().unwrap(), instants[leg] / 1_000, "{name}");
        assert_eq!(tag(span, "journey.leg.name"), name.as_str());
    }
    // Found by the id of the message alone, and once.
    let found = wait_for("the search finds it", || {
        let found = jaeger.find("gateway", "journey.id", id);
        (!found.is_empty()).then_some(found)
    });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["traceID"], trace["traceID"]);
    assert!(jaeger.find("gateway", "journey.id", "msg_never_sent").is_empty());
}

fn export(service: &Service, jaeger: &Jaeger, protocol: &str) -> std::sync::Arc<OtlpExporter> {
    let endpoint = if protocol == "grpc" { jaeger.grpc_endpoint() } else { jaeger.http_endpoint() };
    let env = move |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
        // Jaeger takes no metrics.
        "OTEL_METRICS_EXPORTER" => Some("none".to_owned()),
        _ => None,
    };
    let config = OtlpConfig::from_env(&env).unwrap().unwrap();
    OtlpExporter::start(&service.live, config).unwrap()
}

fn arrived(jaeger: &Jaeger, service: &Service, exporter: &OtlpExporter, id: &str) -> Value {
    let journey: JourneyView = service.live.journey(id, None).unwrap();
    assert!(exporter.flush(Duration::from_secs(30)), "the exporter cannot be flushed: {}", jaeger.log_tail());
    wait_for("Jaeger has the trace", || {
        // A journey with a gap waits for late checkpoints before it is exported; nobody else lets time pass here.
        service.live.tick();
        jaeger.trace(&journey.trace_id)
    })
}

fn root(trace: &Value) -> &Value {
    let spans = trace["spans"].as_array().unwrap();
    let is_child = |span: &&Value| {
        span["references"].as_array().is_some_and(|all| all.iter().any(|reference| reference["refType"] == "CHILD_OF"))
    };
    let roots: Vec<_> = spans.iter().filter(|span| !is_child(span)).collect();
    assert_eq!(roots.len(), 1, "{trace:#}");
    roots[0]
}

fn tag<'a>(span: &'a Value, name: &str) -> &'a Value {
    let tags = span["tags"].as_array().unwrap();
    let found = tags.iter().find(|tag| tag["key"] == name);
    &found.unwrap_or_else(|| panic!("no tag {name}: {span:#}"))["value"]
}
