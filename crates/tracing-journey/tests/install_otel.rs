//! Beside tracing-opentelemetry, in the order that `install` makes: real ids on checkpoints, names on the service's spans.
#![cfg(feature = "opentelemetry")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use support::{builder, settle};
use tracing_journey::{
    opentelemetry::trace::TracerProvider,
    tracing_opentelemetry::{self},
};

#[test]
fn an_opentelemetry_layer_is_read_and_annotated_whatever_else_is_installed() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let otel = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let events = support::Events::default();
    let journey = builder().layer(otel).layer(events.clone()).install().unwrap();

    let span = tracing::info_span!("db_stored", correlation_id = "msg_1");
    span.in_scope(|| tracing::info!("stored"));
    drop(span);
    settle(&journey);

    let exported = exporter.get_finished_spans().unwrap();
    let span = exported.iter().find(|span| span.name == "db_stored").expect("the service's own span");
    let attribute =
        |key: &str| span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string());
    assert_eq!(attribute("journey.id").as_deref(), Some("msg_1"));
    assert_eq!(attribute("journey.stage.name").as_deref(), Some("db_stored"));

    let seen = journey.get("msg_1").unwrap().checkpoints.remove(0).span.unwrap();
    assert_eq!(seen.trace_id.unwrap(), span.span_context.trace_id().to_string());
    assert_eq!(seen.span_id.unwrap(), span.span_context.span_id().to_string());
    assert_eq!(events.with_message("stored").len(), 1);
    assert!(journey.live().self_view().warnings.is_empty(), "{:?}", journey.live().self_view().warnings);
}
