//! Who watches the application: ours, the zero line, and others.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrace::{
    collector::{Config, Reporter, SpanRecord},
    prelude::{LocalSpan, Span, SpanContext},
};
use opentelemetry::{
    KeyValue,
    metrics::{Histogram, MeterProvider},
    trace::TracerProvider,
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tracing_journey::{Builder, JourneyHandle};
use tracing_subscriber::{Layer, fmt::format::FmtSpan, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    Result, process,
    work::{Cursor, Form, STAGES, next_id},
};

/// How long a flush may take.
const SOON: Duration = Duration::from_secs(20);
/// What peers without a background thread wait for between two bursts, so that all start as cold.
const REST: Duration = Duration::from_micros(50);

/// Names the address of the driver's collector, for peers that send.
pub(crate) const COLLECTOR: &str = "JOURNEY_BENCH_COLLECTOR";

/// The zero line: a layer that does nothing, so that the registry closes spans and reuses their slots.
struct Nothing;

impl<S: tracing::Subscriber> Layer<S> for Nothing {}

/// A subscriber in place.
#[derive(Default)]
pub(crate) struct Installed {
    journey: Option<JourneyHandle>,
    tracer: Option<SdkTracerProvider>,
    exported: Arc<AtomicU64>,
    fastrace: bool,
    /// Spans go to the driver's collector, which counts them.
    remote: bool,
    _meter: Option<SdkMeterProvider>,
}

/// Counts spans and drops them.
#[derive(Clone, Debug, Default)]
struct Discard(Arc<AtomicU64>);

/// One histogram and the attributes of each stage, made once.
static STAGE_HISTOGRAM: OnceLock<(Histogram<f64>, Vec<[KeyValue; 1]>)> = OnceLock::new();

/// Our builder, deaf to the environment, with nothing but the layer and the tracker.
pub(crate) fn journey() -> Builder {
    tracing_journey::builder().service("bench").environment([]).no_http().with_fmt(false)
}

/// The receiver that the driver started for this process.
fn collector() -> Result<String> {
    Ok(std::env::var(COLLECTOR).map_err(|_| format!("{COLLECTOR} is not set: the driver names its collector there"))?)
}

/// Makes a peer the subscriber of this process.
pub(crate) fn install(name: &str) -> Result<Installed> {
    // Room for whole bursts and for every journey of the largest window: a refusal would be cheap and prove nothing.
    let roomy = || journey().queue(262_144).max_active(1_000_000);
    let registry = tracing_subscriber::registry;
    let mut installed = Installed::default();
    match name {
        "none" => {}
        "registry" => registry().try_init()?,
        "zero" => registry().with(Nothing).try_init()?,
        "zero-zero" => registry().with(Nothing).with(Nothing).try_init()?,
        "journey" => {
            let (layer, handle) = roomy().build()?;
            registry().with(layer).try_init()?;
            installed.journey = Some(handle);
        }
        "journey-bounded" => {
            // Bounds that a short run reaches.
            let (layer, handle) = journey().queue(262_144).max_active(20_000).build()?;
            registry().with(layer).try_init()?;
            installed.journey = Some(handle);
        }
        "journey-zero" => {
            let (layer, handle) = roomy().build()?;
            registry().with(layer).with(Nothing).try_init()?;
            installed.journey = Some(handle);
        }
        "journey-filtered" => {
            let (layer, handle) = roomy().build_filtered()?;
            registry().with(layer).try_init()?;
            installed.journey = Some(handle);
        }
        "fmt" | "fmt-close" => {
            let events = if name == "fmt" { FmtSpan::NONE } else { FmtSpan::CLOSE };
            let layer = tracing_subscriber::fmt::layer().json().with_span_events(events).with_writer(std::io::sink);
            registry().with(layer).try_init()?;
        }
        "timing" => {
            let histogram = || match tracing_timing::Histogram::new(2) {
                Ok(histogram) => histogram,
                Err(error) => unreachable!("two digits are allowed: {error:?}"),
            };
            registry().with(tracing_timing::Builder::default().span_close_events().layer(histogram)).try_init()?;
        }
        "otel" => registry().with(installed.otel()).try_init()?,
        #[cfg(feature = "otlp-peer")]
        "otel-otlp" => {
            use opentelemetry_otlp::{SpanExporter, WithExportConfig};
            let endpoint = format!("{}/v1/traces", collector()?);
            let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
            let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
            // What the exporter's own HTTP client has to say would be traced and exported again.
            let ours = tracing_subscriber::filter::filter_fn(|metadata| metadata.target().starts_with("journey_bench"));
            registry().with(Nothing).with(layer).with(ours).try_init()?;
            installed.tracer = Some(provider);
            installed.remote = true;
        }
        "journey-otlp" => {
            // It exports while the next burst runs: the bursts are not paced, so there is room for all their journeys.
            let builder = process::exporting_from(&collector()?, "65536");
            let (layer, handle) = builder.queue(262_144).max_active(1_000_000).build()?;
            registry().with(layer).try_init()?;
            installed.journey = Some(handle);
            installed.remote = true;
        }
        "otel-journey" => {
            let (layer, handle) = roomy().build()?;
            registry().with(layer).with(installed.otel()).try_init()?;
            installed.journey = Some(handle);
        }
        "histogram" => {
            let reader = PeriodicReader::builder(Discard::default()).with_interval(Duration::from_secs(3_600)).build();
            let provider = SdkMeterProvider::builder().with_reader(reader).build();
            let histogram = provider.meter("bench").f64_histogram("stage").build();
            let stages = (0..STAGES).map(|stage| [KeyValue::new("stage", format!("T{stage}"))]).collect();
            let _ = STAGE_HISTOGRAM.set((histogram, stages));
            installed._meter = Some(provider);
        }
        "fastrace" => {
            fastrace::set_reporter(Discard(Arc::clone(&installed.exported)), Config::default());
            installed.fastrace = true;
        }
        _ => return Err(format!("`{name}` is no peer (try `journey`)").into()),
    }
    Ok(installed)
}

impl Installed {
    fn otel<S>(&mut self) -> tracing_opentelemetry::OpenTelemetryLayer<S, opentelemetry_sdk::trace::SdkTracer>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        let exporter = Discard(Arc::clone(&self.exported));
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
        self.tracer = Some(provider);
        layer
    }

    /// Waits until whoever works in the background has taken everything.
    pub(crate) fn flush(&self) {
        if let Some(journey) = &self.journey {
            journey.flush(SOON);
        }
        if let Some(tracer) = &self.tracer {
            // What did not arrive is seen in the count of lost spans.
            let _ = tracer.force_flush();
        }
        if self.fastrace {
            fastrace::flush();
        }
        std::thread::sleep(REST);
    }

    /// Stages that did not arrive, after `made` of them and so many spans besides; 0 where nobody counts.
    pub(crate) fn lost(&self, form: Form, made: u64, besides: u64) -> u64 {
        self.flush();
        let watches = matches!(form, Form::Display | Form::Text | Form::Busy);
        let ours = self.journey.as_ref().filter(|_| watches).map(|journey| {
            journey.summary();
            let accounting = journey.live().self_view().accounting;
            let lost = made.abs_diff(accounting.recorded);
            if lost > 0 {
                eprintln!("lost by reason: {:?}", accounting.dropped);
            }
            lost
        });
        if self.remote {
            // The collector knows what arrived, once everything was sent.
            if let Some(journey) = &self.journey {
                journey.shutdown(SOON);
            }
            return ours.unwrap_or(0);
        }
        let arrived = self.exported.load(Relaxed);
        let theirs = self.tracer.as_ref().map(|_| (made * form.spans() as u64 + besides).abs_diff(arrived));
        // A root per journey comes on top.
        let roots = made / STAGES as u64;
        let fastrace = self.fastrace.then(|| (made + roots).abs_diff(arrived));
        [ours, theirs, fastrace].into_iter().flatten().sum()
    }
}

/// One record per stage, as a service with OpenTelemetry metrics would do at the end of each.
pub(crate) fn record_stages(steps: usize) {
    let Some((histogram, stages)) = STAGE_HISTOGRAM.get() else { return };
    for step in 0..steps {
        histogram.record(0.001 + (step % 97) as f64 * 1e-4, &stages[step % STAGES]);
    }
}

/// A root and twelve local spans per journey.
pub(crate) fn fastrace_journeys(ids: &[String], cursor: &mut Cursor, steps: usize) {
    const NAMES: [&str; STAGES] = ["T0", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11"];
    for _ in 0..steps / STAGES {
        let root = Span::root("message", SpanContext::random());
        let _parent = root.set_local_parent();
        for name in NAMES {
            let id = next_id(ids, cursor);
            let _span = LocalSpan::enter_with_local_parent(name).with_property(|| ("correlation_id", id.to_owned()));
        }
    }
}

impl SpanExporter for Discard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len() as u64, Relaxed);
        Ok(())
    }
}

impl PushMetricExporter for Discard {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl Reporter for Discard {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        self.0.fetch_add(spans.len() as u64, Relaxed);
    }
}
