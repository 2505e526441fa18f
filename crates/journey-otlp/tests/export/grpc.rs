//! The same over gRPC, against a server of tonic.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use journey_core::ReportSource;
use journey_otlp::{OtlpConfig, OtlpExporter, Protocol};
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use parking_lot::Mutex;
use tonic::{Code, Request, Response, Status, codec::CompressionEncoding, transport::server::TcpIncoming};
use tonic_types::{ErrorDetails, StatusExt};

use crate::support::{PATIENCE, complete, live};

/// A collector that answers as it is told, then always with success.
#[derive(Clone, Default)]
struct Collector(Arc<State>);

#[derive(Default)]
struct State {
    traces: Mutex<Vec<(Instant, Request<ExportTraceServiceRequest>)>>,
    metrics: Mutex<Vec<ExportMetricsServiceRequest>>,
    answers: Mutex<VecDeque<Result<ExportTraceServiceResponse, Status>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.traces.lock().push((Instant::now(), request));
        let answer = self.0.answers.lock().pop_front().unwrap_or_else(|| Ok(ExportTraceServiceResponse::default()));
        answer.map(Response::new)
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.metrics.lock().push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

struct Server {
    collector: Collector,
    url: String,
    _runtime: tokio::runtime::Runtime,
}

fn serve(answers: impl Into<VecDeque<Result<ExportTraceServiceResponse, Status>>>) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let collector = Collector::default();
    *collector.0.answers.lock() = answers.into();
    let _inside = runtime.enter();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let traces = TraceServiceServer::new(collector.clone()).accept_compressed(CompressionEncoding::Gzip);
    let metrics = MetricsServiceServer::new(collector.clone()).accept_compressed(CompressionEncoding::Gzip);
    let router = tonic::transport::Server::builder().add_service(traces).add_service(metrics);
    runtime.spawn(router.serve_with_incoming(incoming));
    drop(_inside);
    Server { collector, url, _runtime: runtime }
}

fn config(server: &Server) -> OtlpConfig {
    OtlpConfig::to(&server.url, Protocol::Grpc).unwrap().schedule_delay(Duration::ZERO)
}

/// Exports one journey and says how often it was sent, and what became of it.
fn export_one(server: &Server, config: OtlpConfig) -> (usize, u64, u64, String) {
    let live = live();
    let exporter = OtlpExporter::start(&live, config.metrics(false)).unwrap();
    complete(&live, "msg_1");
    exporter.flush(PATIENCE);
    let last_error = exporter.report()["journeys"][0]["lastError"].to_string();
    let report = exporter.shutdown(PATIENCE);
    (server.collector.0.traces.lock().len(), report.exported, report.failed, last_error)
}

#[test]
fn journeys_and_statistics_arrive_compressed_and_with_headers() {
    for gzip in [false, true] {
        let server = serve([]);
        let live = live();
        let config = config(&server).gzip(gzip).header("x-tenant", "one").unwrap();
        let exporter = OtlpExporter::start(&live, config).unwrap();
        complete(&live, "msg_1");
        complete(&live, "msg_2");
        assert!(exporter.flush(PATIENCE), "{}", exporter.report());
        assert_eq!(exporter.shutdown(PATIENCE).exported, 2);
        let traces = server.collector.0.traces.lock();
        let spans: usize = traces.iter().map(|(_, r)| r.get_ref().resource_spans[0].scope_spans[0].spans.len()).sum();
        assert_eq!(spans, 24);
        assert_eq!(traces[0].1.metadata().get("x-tenant").unwrap(), "one");
        assert!(traces[0].1.metadata().get("grpc-timeout").is_some());
        let metrics = server.collector.0.metrics.lock();
        assert!(
            metrics[0].resource_metrics[0].scope_metrics[0].metrics.iter().any(|m| m.name == "journey.leg.duration")
        );
    }
}

#[test]
fn codes_decide_whether_there_is_another_attempt() {
    for code in (1..=16).map(Code::from_i32) {
        let server = serve([Err(Status::new(code, "as told: ä"))]);
        let (sent, exported, failed, last_error) = export_one(&server, config(&server));
        let again = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        let expected = if again.contains(&code) { (2, 1, 0) } else { (1, 0, 1) };
        assert_eq!((sent, exported, failed), expected, "{code:?} {last_error}");
        if expected.2 == 1 {
            assert!(last_error.contains("as told: ä"), "{last_error}");
        }
    }
}

#[test]
fn exhaustion_with_retry_info_waits_as_long_as_it_says() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(700)));
    let server = serve([Err(Status::with_error_details(Code::ResourceExhausted, "later", details))]);
    let (sent, exported, ..) = export_one(&server, config(&server));
    assert_eq!((sent, exported), (2, 1));
    let traces = server.collector.0.traces.lock();
    assert!(traces[1].0 - traces[0].0 >= Duration::from_millis(700));
    assert_eq!(traces[0].1.get_ref(), traces[1].1.get_ref());
}

#[test]
fn a_partial_success_is_counted() {
    let partial = ExportTracePartialSuccess { rejected_spans: 2, error_message: "too old".into() };
    let server = serve([Ok(ExportTraceServiceResponse { partial_success: Some(partial) })]);
    let live = live();
    let exporter = OtlpExporter::start(&live, config(&server).metrics(false)).unwrap();
    complete(&live, "msg_1");
    assert!(exporter.flush(PATIENCE));
    assert_eq!(exporter.report()["journeys"][0]["rejectedSpans"], 2);
    assert_eq!(exporter.shutdown(PATIENCE).exported, 1);
    assert_eq!(server.collector.0.traces.lock().len(), 1);
}

/// Counts spans and events by where they happen.
#[derive(Default)]
struct Counting {
    ours: AtomicU64,
    others: AtomicU64,
}

static COUNTING: std::sync::LazyLock<Arc<Counting>> = std::sync::LazyLock::new(Arc::default);

struct Subscriber(Arc<Counting>);

impl Subscriber {
    fn count(&self) {
        let ours = std::thread::current().name().is_some_and(|name| name.starts_with("journey-export"));
        if ours { &self.0.ours } else { &self.0.others }.fetch_add(1, Ordering::SeqCst);
    }
}

impl tracing_core::Subscriber for Subscriber {
    fn enabled(&self, _: &tracing_core::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing_core::span::Attributes<'_>) -> tracing_core::span::Id {
        self.count();
        tracing_core::span::Id::from_u64(1)
    }

    fn event(&self, _: &tracing_core::Event<'_>) {
        self.count();
    }

    fn record(&self, _: &tracing_core::span::Id, _: &tracing_core::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing_core::span::Id, _: &tracing_core::span::Id) {}
    fn enter(&self, _: &tracing_core::span::Id) {}
    fn exit(&self, _: &tracing_core::span::Id) {}
}

#[test]
fn our_own_requests_are_not_observed() {
    let dispatch = tracing_core::Dispatch::new(Subscriber(Arc::clone(&COUNTING)));
    tracing_core::dispatcher::set_global_default(dispatch).unwrap();
    let server = serve([]);
    let (_, exported, ..) = export_one(&server, config(&server));
    assert_eq!(exported, 1);
    // The server is seen: its h2 emits as ours does.
    assert!(COUNTING.others.load(Ordering::SeqCst) > 0);
    assert_eq!(COUNTING.ours.load(Ordering::SeqCst), 0);
}
