//! What a collector receives over HTTP, and what its answers bring about.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use journey_core::ReportSource;
use journey_otlp::{ExportPolicy, ExportReport, OtlpConfig, OtlpExporter, Protocol};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::metric::Data,
    trace::v1::Span,
};
use prost::Message;
use serde_json::Value as Json;

use crate::support::{Collector, PATIENCE, Reply, START, complete, eventually, fail, live};

/// Journeys to the collector at once, no metrics.
fn config(url: &str) -> OtlpConfig {
    OtlpConfig::to(url, Protocol::HttpProtobuf).unwrap().metrics(false).schedule_delay(Duration::ZERO)
}

fn spans(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    assert_eq!((request.resource_spans.len(), request.resource_spans[0].scope_spans.len()), (1, 1));
    request.resource_spans[0].scope_spans[0].spans.clone()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key).and_then(|a| a.value.clone()?.value);
    match found {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    }
}

fn report(exported: u64, dropped: u64, failed: u64) -> ExportReport {
    let mut report = ExportReport::default();
    (report.exported, report.dropped, report.failed) = (exported, dropped, failed);
    report
}

fn journeys(exporter: &OtlpExporter) -> Json {
    exporter.report()["journeys"][0].clone()
}

#[test]
fn a_journey_arrives_whole_in_one_request() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let config = config(&collector.url()).header("api-key", "s3cret").unwrap().resource_attribute("team", "chat");
    let exporter = OtlpExporter::start(&live, config).unwrap();
    complete(&live, "msg_1");
    assert!(exporter.flush(PATIENCE));
    assert_eq!(exporter.shutdown(PATIENCE), report(1, 0, 0));

    let received = collector.received();
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].path.as_str(), received[0].header("api-key")), ("/v1/traces", "s3cret"));
    assert_eq!(received[0].header("content-type"), "application/x-protobuf");
    assert!(received[0].header("user-agent").starts_with("Journey/"));
    let spans = spans(&received[0].body);
    let root = &spans[0];
    assert_eq!((root.name.as_str(), root.parent_span_id.len(), root.links.len()), ("journey message", 0, 0));
    assert_eq!((root.start_time_unix_nano, root.end_time_unix_nano), (START as u64, START as u64 + 110_000_000));
    assert_eq!(text(&root.attributes, "journey.id"), "msg_1");
    assert_eq!(text(&root.attributes, "journey.outcome"), "completed");
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names[1..],
        [
            "channel_processing",
            "event_publish",
            "bus_delivery",
            "db_write",
            "agent_notification",
            "agent_queue",
            "agent_processing",
            "api_request",
            "outbound_publish",
            "outbound_delivery",
            "platform_send"
        ]
    );
    for span in &spans[1..] {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert_eq!((&span.trace_id, &span.parent_span_id), (&root.trace_id, &root.span_id));
        assert!(span.start_time_unix_nano >= root.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano);
    }
    let linked: Vec<_> = spans.iter().filter(|span| !span.links.is_empty()).collect();
    assert_eq!((linked.len(), linked[0].name.as_str()), (1, "db_write"));
    assert_eq!(linked[0].links[0].trace_id, 0x5b8a_u128.to_be_bytes());
    assert_eq!(linked[0].links[0].span_id, 0x77_u64.to_be_bytes());
    let request = ExportTraceServiceRequest::decode(received[0].body.as_slice()).unwrap();
    let resource = request.resource_spans[0].resource.clone().unwrap().attributes;
    for (key, value) in [("service.name", "gateway"), ("host.id", "boot-id"), ("team", "chat")] {
        assert_eq!(text(&resource, key), value);
    }
}

#[test]
fn a_failed_journey_is_an_error_span() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let exporter = OtlpExporter::start(&live, config(&collector.url()).policy(ExportPolicy::SlowFailed)).unwrap();
    complete(&live, "fine");
    fail(&live, "broken");
    assert!(exporter.flush(PATIENCE));
    let spans = spans(&collector.wait_for(1)[0].body);
    let status = spans[0].status.clone().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "failed after stage `platform_received`: no answer"));
    assert_eq!(exporter.shutdown(PATIENCE), report(1, 0, 0), "the other journey was neither slow nor failed");
}

#[test]
fn a_compressed_request_holds_the_same() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let exporter = OtlpExporter::start(&live, config(&collector.url()).gzip(true)).unwrap();
    complete(&live, "msg_1");
    let received = &collector.wait_for(1)[0];
    assert_eq!(received.header("content-encoding"), "gzip");
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(received.body.as_slice()).read_to_end(&mut body).unwrap();
    assert_eq!(spans(&body).len(), 12);
    exporter.shutdown(PATIENCE);
}

#[test]
fn json_has_hex_ids_and_numbers_as_texts() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let url = collector.url();
    let config = OtlpConfig::to(&url, Protocol::HttpJson).unwrap().metrics(false).schedule_delay(Duration::ZERO);
    let exporter = OtlpExporter::start(&live, config).unwrap();
    complete(&live, "msg_1");
    let received = &collector.wait_for(1)[0];
    assert_eq!(received.header("content-type"), "application/json");
    check_json(&received.body);
    exporter.shutdown(PATIENCE);
}

fn check_json(body: &[u8]) {
    let json: Json = serde_json::from_slice(body).unwrap();
    let scope = &json["resourceSpans"][0]["scopeSpans"][0];
    assert_eq!(scope["scope"]["name"], "journey");
    let root = &scope["spans"][0];
    assert!(root["traceId"].as_str().unwrap().len() == 32 && root["spanId"].as_str().unwrap().len() == 16);
    assert!(root.get("parentSpanId").is_none());
    assert_eq!((&root["kind"], &root["startTimeUnixNano"]), (&1.into(), &START.to_string().into()));
    assert_eq!(root["attributes"][0]["value"]["stringValue"], "msg_1");
    let leg = &scope["spans"][4];
    assert_eq!((&leg["name"], &leg["parentSpanId"]), (&"db_write".into(), &root["spanId"]));
    assert_eq!(leg["links"][0]["spanId"], "0000000000000077");
    let index = leg["attributes"].as_array().unwrap().iter().find(|a| a["key"] == "journey.stage.index").unwrap();
    assert_eq!(index["value"]["intValue"], "4");
}

#[test]
fn a_file_has_one_journey_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journeys.jsonl");
    let live = live();
    let exporter = OtlpExporter::start(&live, OtlpConfig::to_file(&path)).unwrap();
    complete(&live, "msg_1");
    complete(&live, "msg_2");
    assert!(exporter.flush(PATIENCE));
    assert_eq!(exporter.shutdown(PATIENCE), report(2, 0, 0));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    check_json(lines[0].as_bytes());
    assert!(lines[1].contains("msg_2") && !lines[1].contains("msg_1"));
}

#[test]
fn statistics_arrive_with_exemplars_of_exported_journeys() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let config = OtlpConfig::to(&collector.url(), Protocol::HttpProtobuf).unwrap().schedule_delay(Duration::ZERO);
    let exporter = OtlpExporter::start(&live, config).unwrap();
    complete(&live, "msg_1");
    assert!(exporter.flush(PATIENCE));
    let received = collector.received();
    let of = |path: &str| received.iter().find(|one| one.path == path).unwrap().body.clone();
    let trace = spans(&of("/v1/traces"));
    let request = ExportMetricsServiceRequest::decode(of("/v1/metrics").as_slice()).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let legs = metrics.iter().find(|metric| metric.name == "journey.leg.duration").unwrap();
    let Some(Data::ExponentialHistogram(legs)) = &legs.data else { panic!("{legs:?}") };
    assert_eq!(legs.data_points.len(), 11);
    for point in &legs.data_points {
        let leg = text(&point.attributes, "journey.leg.name");
        let span = trace.iter().find(|span| span.name == leg).unwrap();
        assert_eq!((point.count, point.sum), (1, Some(0.01)), "{leg}");
        assert_eq!((&point.exemplars[0].trace_id, &point.exemplars[0].span_id), (&span.trace_id, &span.span_id));
    }
    assert_eq!(text(&request.resource_metrics[0].resource.clone().unwrap().attributes, "service.name"), "gateway");
    exporter.shutdown(PATIENCE);
    let last = collector.received().len();
    assert_eq!(last, 3, "statistics go out once more at the end, journeys do not");
}

#[test]
fn statuses_decide_whether_there_is_another_attempt() {
    // Only the flush sends, so that it sees what becomes of it.
    let patient = |url: &str| config(url).schedule_delay(Duration::from_secs(600));
    for status in [400, 401, 404, 413, 500, 501, 301] {
        let collector = Collector::start([Reply::status(status), Reply::ok()]);
        let live = live();
        let exporter = OtlpExporter::start(&live, patient(&collector.url())).unwrap();
        complete(&live, "msg_1");
        assert!(!exporter.flush(PATIENCE), "{status}");
        assert_eq!(exporter.shutdown(PATIENCE), report(0, 0, 1), "{status}");
        assert_eq!(collector.received().len(), 1, "{status}");
    }
    for reply in [429, 502, 503, 504].map(Reply::status).into_iter().chain([Reply::Close]) {
        let collector = Collector::start([reply.clone(), Reply::ok()]);
        let live = live();
        let exporter = OtlpExporter::start(&live, config(&collector.url())).unwrap();
        complete(&live, "msg_1");
        assert!(exporter.flush(PATIENCE), "{reply:?}");
        assert_eq!(exporter.shutdown(PATIENCE), report(1, 0, 0), "{reply:?}");
        let received = collector.received();
        assert_eq!((received.len(), &received[0].body), (2, &received[1].body), "the same bytes again: {reply:?}");
    }
}

#[test]
fn absurd_limits_and_pauses_break_nothing() {
    for pause in ["retry-after: 18446744073709551615\r\n", "retry-after: 0\r\n"] {
        let collector = Collector::start([Reply::Status(503, pause, Vec::new()), Reply::ok()]);
        let live = live();
        let absurd = config(&collector.url()).timeout(Duration::MAX).schedule_delay(Duration::MAX).batch_size(1);
        let exporter = OtlpExporter::start(&live, absurd.metric_interval(Duration::MAX)).unwrap();
        complete(&live, "msg_1");
        collector.wait_for(1);
        // Who asks for ever opens the breaker, who asks for nothing gets our own pause.
        eventually(pause, || journeys(&exporter)["breaker"] == "open" || collector.received().len() == 2);
        assert_eq!(exporter.shutdown(Duration::MAX), report(1, 0, 0), "the end asks once more");
    }
}

#[test]
fn a_batch_that_breaks_the_collector_every_time_is_given_up() {
    let collector = Collector::start([Reply::Close, Reply::Close, Reply::Close, Reply::ok()]);
    let live = live();
    // No time for a second attempt, so that every request is a round.
    let short = config(&collector.url()).timeout(Duration::from_millis(100)).batch_size(1);
    let exporter = OtlpExporter::start(&live, short).unwrap();
    complete(&live, "poison");
    complete(&live, "fine");
    exporter.flush(PATIENCE);
    assert_eq!(exporter.shutdown(PATIENCE), report(1, 0, 1));
}

#[test]
fn the_collector_is_left_alone_for_as_long_as_it_asks() {
    let collector = Collector::start([Reply::Status(503, "retry-after: 1\r\n", Vec::new()), Reply::ok()]);
    let live = live();
    let exporter = OtlpExporter::start(&live, config(&collector.url())).unwrap();
    complete(&live, "msg_1");
    let received = collector.wait_for(2);
    assert!(received[1].at - received[0].at >= Duration::from_secs(1));
    exporter.shutdown(PATIENCE);
}

#[test]
fn a_partial_success_is_counted_and_not_sent_again() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".into() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let reply = Reply::Status(200, "content-type: application/x-protobuf\r\n", answer);
    let collector = Collector::start([reply]);
    let live = live();
    let exporter = OtlpExporter::start(&live, config(&collector.url())).unwrap();
    complete(&live, "msg_1");
    assert!(exporter.flush(PATIENCE));
    assert_eq!((&journeys(&exporter)["rejectedSpans"], collector.received().len()), (&3.into(), 1));
    assert!(exporter.warnings().iter().any(|warning| warning.contains("too old")), "{:?}", exporter.warnings());
    exporter.shutdown(PATIENCE);
}

#[test]
fn a_hung_collector_delays_neither_a_flush_nor_the_end_nor_the_application() {
    // Without a limit of its own an export would wait for ever.
    let collector = Collector::start([Reply::Hang]);
    let live = live();
    let limits = config(&collector.url()).timeout(Duration::ZERO).queue_capacity(3).batch_size(1);
    let exporter = OtlpExporter::start(&live, limits).unwrap();
    complete(&live, "held");
    collector.wait_for(1);
    for number in 0..10 {
        complete(&live, &format!("msg_{number}"));
    }
    assert_eq!(journeys(&exporter)["lost"]["queue_full"], 7);
    let started = Instant::now();
    assert!(!exporter.flush(Duration::from_millis(50)));
    assert_eq!(exporter.shutdown(Duration::from_millis(100)), report(0, 11, 0));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    complete(&live, "later");
    assert_eq!(exporter.shutdown(PATIENCE), report(0, 12, 0), "what comes later is counted too");
}

#[test]
fn a_connection_that_is_never_made_is_given_up_at_the_end() {
    // Nobody accepts, and the backlog is full: a further attempt gets no answer at all.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = |_| TcpStream::connect_timeout(&listener.local_addr().unwrap(), Duration::from_millis(200)).ok();
    let _full: Vec<TcpStream> = (0..10_000).map_while(connect).collect();
    let live = live();
    let config = config(&format!("http://{}", listener.local_addr().unwrap())).timeout(Duration::ZERO).gzip(true);
    let exporter = OtlpExporter::start(&live, config).unwrap();
    complete(&live, "msg_1");
    eventually("the journey is taken", || journeys(&exporter)["beingSent"] == 1);
    let started = Instant::now();
    assert_eq!(exporter.shutdown(Duration::from_millis(50)), report(0, 1, 0));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn a_dead_collector_opens_the_breaker_and_the_queue_takes_what_it_can() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let live = live();
    let config = config(&format!("http://{free}")).timeout(Duration::from_millis(20)).queue_capacity(4);
    let exporter = OtlpExporter::start(&live, config).unwrap();
    complete(&live, "msg_1");
    eventually("the breaker opens", || journeys(&exporter)["breaker"] == "open");
    assert!(exporter.warnings()[0].contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{:?}", exporter.warnings());
    for number in 0..6 {
        complete(&live, &format!("later_{number}"));
    }
    let figures = journeys(&exporter);
    assert_eq!((&figures["queued"], &figures["lost"]["queue_full"]), (&4.into(), &2.into()));
    assert_eq!(exporter.shutdown(PATIENCE), report(0, 7, 0));
}

#[test]
fn a_collector_that_comes_back_gets_what_waited() {
    let busy = Reply::status(503);
    let collector = Collector::start([busy.clone(), busy.clone(), busy, Reply::ok()]);
    let live = live();
    // No time for a second attempt, so that each failure counts.
    let config = config(&collector.url()).timeout(Duration::from_millis(5_000)).batch_size(1);
    let exporter = OtlpExporter::start(&live, config).unwrap();
    complete(&live, "msg_1");
    complete(&live, "msg_2");
    assert!(exporter.flush(PATIENCE));
    assert_eq!(journeys(&exporter)["breaker"], "closed");
    assert_eq!(exporter.shutdown(PATIENCE), report(2, 0, 0));
}

#[test]
fn requests_of_one_signal_are_never_under_way_together() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let exporter = Arc::new(OtlpExporter::start(&live, config(&collector.url()).batch_size(1)).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (live, exporter) = (&live, &exporter);
            scope.spawn(move || {
                for number in 0..10 {
                    complete(live, &format!("msg_{thread}_{number}"));
                    exporter.flush(Duration::from_millis(1));
                }
            });
        }
    });
    assert!(exporter.flush(PATIENCE));
    assert_eq!((collector.received().len(), collector.most_busy()), (40, 1));
    exporter.shutdown(PATIENCE);
}

#[test]
fn a_shutdown_sends_what_waits_and_counts_everything() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let config = config(&collector.url()).schedule_delay(Duration::from_secs(600));
    let exporter = OtlpExporter::start(&live, config).unwrap();
    for number in 0..20 {
        complete(&live, &format!("msg_{number}"));
    }
    assert_eq!(collector.received().len(), 0);
    assert_eq!(exporter.shutdown(PATIENCE), report(20, 0, 0));
    assert_eq!(spans(&collector.received()[0].body).len(), 20 * 12);
}

#[test]
fn it_starts_fails_and_ends_inside_somebody_elses_runtime() {
    let collector = Collector::start([Reply::ok()]);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let live = live();
        let exporter = OtlpExporter::start(&live, config(&collector.url())).unwrap();
        complete(&live, "msg_1");
        assert_eq!(exporter.shutdown(PATIENCE), report(1, 0, 0));
        let broken = OtlpConfig::to("https://localhost", Protocol::Grpc).unwrap().certificate("absent.pem");
        assert!(OtlpExporter::start(&live, broken).is_err());
    });
}

#[test]
fn nothing_is_exported_where_nothing_was_chosen() {
    let collector = Collector::start([Reply::ok()]);
    let live = live();
    let exporter = OtlpExporter::start(&live, config(&collector.url()).policy(ExportPolicy::None)).unwrap();
    complete(&live, "msg_1");
    assert!(exporter.flush(PATIENCE));
    assert_eq!((exporter.shutdown(PATIENCE), collector.received().len()), (report(0, 0, 0), 0));
}

#[test]
fn tls_trusts_the_given_certificate_and_shows_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let client = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(client.cert.der().clone()).unwrap();
    let builder = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider));
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(server.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(builder.build().unwrap())
        .with_single_cert(vec![server.cert.der().clone()], key.into())
        .unwrap();
    let tls = Arc::new(tls);
    let collector = Collector::start_with([Reply::ok()], move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
        Box::new(rustls::StreamOwned::new(connection, stream))
    });

    let url = format!("https://localhost:{}", collector.addr.port());
    let trusting = config(&url).certificate(write("server.pem", server.cert.pem()));
    let known = trusting.clone().client_certificate(
        write("client.pem", client.cert.pem()),
        write("client.key", client.signing_key.serialize_pem()),
    );
    let live = live();
    let exporter = OtlpExporter::start(&live, known).unwrap();
    complete(&live, "msg_1");
    assert!(exporter.flush(PATIENCE), "{}", exporter.report());
    assert_eq!((exporter.shutdown(PATIENCE), collector.received().len()), (report(1, 0, 0), 1));

    for stranger in [trusting, config(&url).certificate(folder.path().join("client.pem"))] {
        let live = crate::support::live();
        let exporter = OtlpExporter::start(&live, stranger.timeout(Duration::from_secs(2))).unwrap();
        complete(&live, "msg_2");
        eventually("the collector is not reached", || !journeys(&exporter)["lastError"].is_null());
        exporter.shutdown(Duration::ZERO);
    }
    assert_eq!(collector.received().len(), 1);
}
