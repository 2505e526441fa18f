//! Beside tracing-opentelemetry.

use journey_core::{Correlation, Route, Routes};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry, filter::LevelFilter, layer::SubscriberExt};

use super::{Seen, routes};

struct Traces {
    provider: SdkTracerProvider,
    exporter: InMemorySpanExporter,
}

impl Traces {
    fn new() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        Self { provider, exporter }
    }

    fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        tracing_opentelemetry::layer().with_tracer(self.provider.tracer("test"))
    }

    fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }
}

fn attributes(span: &SpanData) -> Vec<(String, String)> {
    let of_journey = span.attributes.iter().filter(|attribute| attribute.key.as_str().starts_with("journey."));
    of_journey.map(|attribute| (attribute.key.to_string(), attribute.value.to_string())).collect()
}

fn watched(seen: &Seen) -> bool {
    crate::layer::Watched::new(std::sync::Arc::clone(&seen.inner)).facts().otel_out_of_order
}

#[test]
fn a_stage_has_the_ids_of_its_own_span_and_puts_the_journey_on_it() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let traces = Traces::new();
    tracing::subscriber::with_default(Registry::default().with(layer).with(traces.layer()), || {
        let _request = info_span!("request", correlation_id = "msg_1").entered();
        info_span!("db_stored").in_scope(|| ());
    });
    let checkpoint = seen.only();
    let spans = traces.spans();
    let [stage, request] = &spans[..] else { panic!("two spans") };
    assert_eq!(checkpoint.trace_id.to_be_bytes(), stage.span_context.trace_id().to_bytes());
    assert_eq!(checkpoint.span_id.to_be_bytes(), stage.span_context.span_id().to_bytes());
    let expected = [
        ("journey.id", "msg_1"),
        ("journey.name", "message"),
        ("journey.stage.name", "db_stored"),
        ("journey.stage.index", "4"),
    ];
    assert_eq!(attributes(stage), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(attributes(request), []);
    assert!(!watched(&seen));
}

#[test]
fn both_measure_the_same_end() {
    const MILLI: i64 = 1_000_000;
    let unix = |at: std::time::SystemTime| at.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let traces = Traces::new();
    let mut left = 0;
    tracing::subscriber::with_default(Registry::default().with(layer).with(traces.layer()), || {
        let stage = info_span!("db_stored", correlation_id = "m");
        let opened = unix(std::time::SystemTime::now());
        stage.in_scope(super::pass_time);
        left = unix(std::time::SystemTime::now());
        assert!(left - opened >= 2 * MILLI);
        super::pass_time();
    });
    // The last exit, not the close two milliseconds later; one is left for a wall clock that is being slewed.
    for end in [unix(traces.spans()[0].end_time), seen.only().at] {
        assert!(end <= left + MILLI, "{end} {left}");
    }
}

#[test]
fn a_parent_that_is_set_after_the_span_was_made_is_kept() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let traces = Traces::new();
    let trace = TraceId::from_bytes(7_u128.to_be_bytes());
    tracing::subscriber::with_default(Registry::default().with(layer).with(traces.layer()), || {
        for _ in 0..3 {
            let stage = info_span!("db_stored", correlation_id = "m");
            let remote =
                SpanContext::new(trace, SpanId::from_bytes([1; 8]), TraceFlags::SAMPLED, true, Default::default());
            stage.set_parent(opentelemetry::Context::new().with_remote_span_context(remote)).unwrap();
            stage.in_scope(|| ());
        }
    });
    assert!(seen.checkpoints().iter().all(|checkpoint| checkpoint.trace_id == 7));
    assert_eq!(traces.spans().len(), 3);
}

#[test]
fn the_wrong_order_loses_the_ids_only_and_is_noticed() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let traces = Traces::new();
    tracing::subscriber::with_default(Registry::default().with(traces.layer()).with(layer), || {
        for _ in 0..3 {
            info_span!("db_stored", correlation_id = "m").in_scope(|| ());
        }
    });
    assert_eq!(seen.checkpoints().iter().map(|checkpoint| checkpoint.trace_id).collect::<Vec<_>>(), [0; 3]);
    assert!(watched(&seen), "an OpenTelemetry layer inside of ours is reported");
    assert_eq!(traces.spans().len(), 3);
}

#[test]
fn no_opentelemetry_layer_and_one_that_does_not_want_the_span_are_no_wrong_order() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        (0..3).for_each(|_| info_span!("db_stored", correlation_id = "m").in_scope(|| ()));
    });
    assert!(!watched(&seen));

    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let traces = Traces::new();
    let errors_only = traces.layer().with_filter(LevelFilter::ERROR);
    tracing::subscriber::with_default(Registry::default().with(layer).with(errors_only), || {
        (0..3).for_each(|_| info_span!("db_stored", correlation_id = "m").in_scope(|| ()));
    });
    assert_eq!((seen.checkpoints().len(), watched(&seen), traces.spans().len()), (3, false, 0));
}

#[test]
fn a_layer_that_was_not_told_its_subscriber_finds_it() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let traces = Traces::new();
    tracing::subscriber::with_default(Registry::default().with(Some(layer)).with(traces.layer()), || {
        info_span!("db_stored", correlation_id = "m").in_scope(|| ());
    });
    assert_ne!(seen.only().trace_id, 0);
}

#[test]
fn a_stage_closed_under_another_subscriber_does_not_ask_that_one() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let traces = Traces::new();
    let ours = tracing::Dispatch::new(Registry::default().with(Some(layer)));
    let stage: Span = tracing::dispatcher::with_default(&ours, || info_span!("db_stored", correlation_id = "m"));
    tracing::subscriber::with_default(Registry::default().with(traces.layer()), || drop(stage));
    assert_eq!(seen.only().trace_id, 0);
}

#[test]
fn a_root_span_gives_its_trace_id_to_a_route_without_ids() {
    let stage = |s| s;
    let route =
        Route::builder("batch").stage("B0", "listed", stage).stage("B1", "archived", stage).terminal("archived");
    let by_root = routes([route.correlation(Correlation::RootSpan).build().unwrap()]);
    let (layer, seen) = Seen::layer(by_root, false, None);
    let traces = Traces::new();
    tracing::subscriber::with_default(Registry::default().with(layer).with(traces.layer()), || {
        let _run = info_span!("run").entered();
        info_span!("listed").in_scope(|| ());
        info_span!("archived").in_scope(|| ());
    });
    let trace = traces.spans()[0].span_context.trace_id().to_string();
    assert_eq!(
        seen.checkpoints().iter().map(|checkpoint| checkpoint.id.to_string()).collect::<Vec<_>>(),
        [trace.clone(), trace]
    );
}
