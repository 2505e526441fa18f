//! What collectors, event streams, an idle time, a start and an end cost the process.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use journey_core::{
    Checkpoint, CorrelationId, FinishedSink, Journey, Limits, Live, RouteIndex, Routes, Source, StageIndex, StageRef,
    TraceIdKey,
};
use opentelemetry::trace::TracerProvider;
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use prost::Message;
use tracing_journey::{
    Builder, JourneyHandle,
    journey_otlp::{OtlpConfig, TraceEncoder},
};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    Heap, Result,
    child::{self, Figures, Spread, figures, number, option, quantile},
    collector::{Behaviour, Collector},
    page, peer, processor_time,
    work::{self, Cursor, Form, STAGES, one_step, work_journeys},
};

/// Where there is no collector.
const NONE: &str = "-";
const STREAMS: usize = 100;
const STOPPED: usize = 10;
const DEADLINE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(20);

/// The command.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let rounds = option(arguments, "--rounds").unwrap_or("7").parse::<usize>()?;
    let only = option(arguments, "--only").unwrap_or_default();
    let all: [(&str, &dyn Fn() -> Result<Figures>); 6] = [
        ("idle", &measure_idle),
        ("shutdown", &measure_shutdown),
        ("export", &|| measure_export(rounds.min(3))),
        ("collectors", &|| measure_collectors(rounds)),
        ("streams", &|| measure_streams(rounds)),
        ("start", &measure_start),
    ];
    for (name, measure) in all.iter().filter(|(name, _)| name.contains(only)) {
        eprintln!("{name}");
        page::keep("process", &measure()?)?;
    }
    Ok(())
}

/// Our builder with an exporter to a collector, or none.
pub(crate) fn exporting(endpoint: &str) -> Builder {
    exporting_from(endpoint, "2048")
}

/// The same with room for so many finished journeys.
pub(crate) fn exporting_from(endpoint: &str, queue: &str) -> Builder {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", queue),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    if endpoint == NONE { peer::journey() } else { peer::journey().environment(variables) }
}

pub(crate) fn install(builder: Builder) -> Result<JourneyHandle> {
    let (layer, handle) = builder.build()?;
    tracing_subscriber::registry().with(layer).try_init()?;
    Ok(handle)
}

/// Child: single stages of journeys at an even pace, each timed. Words: collector or `-`, 1 for an endpoint, journeys a
/// second, milliseconds. With an endpoint it says where and starts at a line on stdin.
pub(crate) fn paced(arguments: &[&str]) -> Result<Figures> {
    let endpoint = arguments.first().ok_or("needs a collector or `-`")?;
    let (http, rate, millis) = (number(arguments, 1)? == 1, number(arguments, 2)?, number(arguments, 3)?);
    let builder = exporting(endpoint);
    let builder = if http { builder.http(SocketAddr::from(([127, 0, 0, 1], 0))) } else { builder };
    let journey = install(builder)?;
    if let Some(addr) = journey.http_addr() {
        println!("http {addr}");
        std::io::stdin().read_line(&mut String::new())?;
    }
    let journeys = rate * millis / 1_000;
    let warm_up = rate / 2;
    let ids = work::ids(warm_up + journeys);
    let mut cursor = Cursor::new(0, 1, 0, 1);
    let mut taken = Vec::with_capacity(journeys * STAGES);
    let (start, step) = (Instant::now(), Duration::from_secs(1) / rate as u32);
    for number in 0..warm_up + journeys {
        std::thread::sleep((start + step * number as u32).saturating_duration_since(Instant::now()));
        for _ in 0..STAGES {
            let before = Instant::now();
            one_step(&ids, &mut cursor);
            let took = before.elapsed();
            if number >= warm_up {
                taken.push(took.as_nanos() as u64);
            }
        }
    }
    let made = (warm_up + journeys) * STAGES;
    let flushed = journey.flush(SOON);
    let lost = made as u64 - journey.live().self_view().accounting.recorded;
    if !flushed {
        return Err("the tracker did not follow in time".into());
    }
    let at = |q, taken: &mut Vec<u64>| quantile(taken, q) as f64;
    Ok(figures([
        ("p50", at(0.5, &mut taken)),
        ("p99", at(0.99, &mut taken)),
        ("p999", at(0.999, &mut taken)),
        ("max", at(1.0, &mut taken)),
        ("lost", lost as f64),
    ]))
}

fn measure_collectors(rounds: usize) -> Result<Figures> {
    let states = [("healthy", Behaviour::Healthy), ("hung", Behaviour::Hung), ("dead", Behaviour::Dead)];
    let mut seen: Vec<(&str, Vec<Figures>)> = states.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for _ in 0..rounds {
        for ((_, behaviour), (_, runs)) in states.iter().zip(&mut seen) {
            runs.push(child::run(&["paced", &Collector::start(*behaviour)?.address, "0", "2000", "3000"])?);
        }
    }
    let mut text = String::from(
        "### A stage while the collector is healthy, hung or dead\n\n24 000 stages a second, each timed by itself (which adds two clock reads), ns.\n\n| collector | p50 | p99 | p99.9 | greatest | lost |\n|---|---|---|---|---|---|\n",
    );
    for (name, runs) in &seen {
        text.push_str(&quantile_row(name, runs));
    }
    page::keep_table("process", "collectors", &text)?;
    let of = |index: usize| column(&seen[index].1, "p999");
    let over = |index: usize| {
        let ratios: Vec<f64> = of(index).iter().zip(of(0)).map(|(other, healthy)| other / healthy).collect();
        Spread::of(&ratios).median
    };
    Ok(figures([("hung_over_healthy", over(1)), ("dead_over_healthy", over(2))]))
}

fn quantile_row(name: &str, runs: &[Figures]) -> String {
    let of = |figure| Spread::of(&column(runs, figure)).text(0);
    let lost: f64 = column(runs, "lost").iter().sum();
    format!("| {name} | {} | {} | {} | {} | {lost} |\n", of("p50"), of("p99"), of("p999"), of("max"))
}

fn column(runs: &[Figures], figure: &str) -> Vec<f64> {
    runs.iter().map(|run| run.get(figure).copied().unwrap_or(f64::NAN)).collect()
}

fn measure_streams(rounds: usize) -> Result<Figures> {
    let mut seen = [Vec::new(), Vec::new()];
    let bytes = Arc::new(AtomicU64::new(0));
    for _ in 0..rounds {
        seen[0].push(paced_with_streams(0, &bytes)?);
        seen[1].push(paced_with_streams(STREAMS, &bytes)?);
    }
    let mut text = format!(
        "### A stage while event streams are read\n\n2 400 stages a second; of {STREAMS} readers {STOPPED} never read. ns.\n\n| readers | p50 | p99 | p99.9 | greatest | lost |\n|---|---|---|---|---|---|\n"
    );
    text.push_str(&quantile_row("0", &seen[0]));
    text.push_str(&quantile_row(&STREAMS.to_string(), &seen[1]));
    let _ = writeln!(text, "\nThe readers took {:.1} MB a run.", bytes.load(Relaxed) as f64 / 1e6 / rounds as f64);
    page::keep_table("process", "streams", &text)?;
    let over = |figure| {
        let ratios: Vec<f64> =
            column(&seen[1], figure).iter().zip(column(&seen[0], figure)).map(|(with, none)| with / none).collect();
        Spread::of(&ratios).median
    };
    let lost: f64 = column(&seen[1], "lost").iter().sum();
    Ok(figures([
        ("streams_over_none_p50", over("p50")),
        ("streams_over_none_p999", over("p999")),
        ("streams_lost", lost),
    ]))
}

/// A paced child with readers of its event stream in this process.
fn paced_with_streams(streams: usize, bytes: &Arc<AtomicU64>) -> Result<Figures> {
    let mut child = Command::new(child::own()?)
        .args(["paced", NONE, "1", "200", "4000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut answers = BufReader::new(child.stdout.take().ok_or("the child has no stdout")?);
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let addr = line.trim().strip_prefix("http ").ok_or_else(|| format!("`{}` is no address", line.trim()))?.to_owned();
    let mut stopped = Vec::new();
    for number in 0..streams {
        let mut stream = TcpStream::connect(&addr)?;
        write!(stream, "GET /api/v2/metrics/stream HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        if &status != b"HTTP/1.1 200" {
            return Err(format!("a stream was refused: {}", String::from_utf8_lossy(&status)).into());
        }
        if number < STOPPED {
            stopped.push(stream);
            continue;
        }
        let bytes = Arc::clone(bytes);
        std::thread::spawn(move || {
            let mut buffer = [0; 16_384];
            while let Ok(read) = stream.read(&mut buffer) {
                if read == 0 {
                    break;
                }
                bytes.fetch_add(read as u64, Relaxed);
            }
        });
    }
    child.stdin.take().ok_or("the child has no stdin")?.write_all(b"go\n")?;
    let mut rest = String::new();
    answers.read_to_string(&mut rest)?;
    if !child.wait()?.success() {
        return Err("the paced child failed".into());
    }
    Ok(child::parse(&rest))
}

/// Child: everything on and nothing to do for so many seconds.
pub(crate) fn idle(arguments: &[&str]) -> Result<Figures> {
    let endpoint = arguments.first().ok_or("needs a collector")?;
    let seconds = number(arguments, 1)?;
    let journey = install(exporting(endpoint).http(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    let ids = work::ids(100);
    work_journeys(Form::Display, &ids, &mut Cursor::new(0, 1, 0, 1), ids.len() * STAGES);
    journey.flush(SOON);
    std::thread::sleep(Duration::from_secs(2));
    let before = cpu_of_threads()?;
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let after = cpu_of_threads()?;
    let mut all = Figures::new();
    for (name, nanos) in &after {
        let spent = nanos - before.iter().find(|(known, _)| known == name).map_or(0, |(_, nanos)| *nanos);
        *all.entry(format!("idle_ms_{name}")).or_default() += spent as f64 / 1e6 / seconds as f64;
    }
    let sum = all.values().sum();
    all.insert("idle_ms".to_owned(), sum);
    Ok(all)
}

/// Processor time of every thread but this one by name, nanoseconds; threads of one name together.
fn cpu_of_threads() -> Result<Vec<(String, u64)>> {
    let main = std::process::id().to_string();
    let mut all: Vec<(String, u64)> = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_string_lossy() == main {
            continue;
        }
        let name = std::fs::read_to_string(task.path().join("comm"))?.trim().replace(' ', "_");
        let stat = std::fs::read_to_string(task.path().join("schedstat"))?;
        let nanos: u64 = stat.split_whitespace().next().ok_or("schedstat is empty")?.parse()?;
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += nanos,
            None => all.push((name, nanos)),
        }
    }
    Ok(all)
}

fn measure_idle() -> Result<Figures> {
    let figures = child::run(&["idle", &Collector::start(Behaviour::Healthy)?.address, "10"])?;
    let mut text = String::from(
        "### Idle for ten seconds, endpoint and exporter on\n\n| thread | ms of every second |\n|---|---|\n",
    );
    for (name, value) in figures.iter().filter(|(name, _)| name.starts_with("idle_ms_")) {
        let _ = writeln!(text, "| {} | {value:.3} |", &name["idle_ms_".len()..]);
    }
    page::keep_table("process", "idle", &text)?;
    Ok(figures)
}

/// Child: processor time of the export thread for each journey that a collector took.
pub(crate) fn export(arguments: &[&str]) -> Result<Figures> {
    const BURSTS: usize = 80;
    const BURST: usize = 256;
    let endpoint = arguments.first().ok_or("needs a collector")?;
    let journey = install(exporting(endpoint))?;
    let ids = work::ids((BURSTS + 4) * BURST);
    let mut cursor = Cursor::new(0, 1, 0, 1);
    let exporter = || -> Result<u64> {
        let threads = cpu_of_threads()?;
        Ok(threads.iter().find(|(name, _)| name == "journey-export").ok_or("there is no export thread")?.1)
    };
    let quiet = || -> Result<u64> {
        let mut last = exporter()?;
        loop {
            std::thread::sleep(Duration::from_millis(700));
            let now = exporter()?;
            if now.saturating_sub(last) < 200_000 {
                return Ok(now);
            }
            last = now;
        }
    };
    let mut before = 0;
    for burst in 0..BURSTS + 4 {
        if burst == 4 {
            before = quiet()?;
        }
        work_journeys(Form::Display, &ids, &mut cursor, BURST * STAGES);
        journey.flush(SOON);
        std::thread::sleep(Duration::from_millis(20));
    }
    let spent = quiet()? - before;
    let report = journey.shutdown(SOON);
    if report.exported != ids.len() as u64 {
        return Err(format!("{} of {} journeys were exported", report.exported, ids.len()).into());
    }
    Ok(figures([("ns", spent as f64 / (BURSTS * BURST) as f64)]))
}

/// Converts and writes spans as the OTLP exporter of the SDK does, and sends nothing.
#[derive(Clone, Debug, Default)]
struct Encode {
    nanos: Arc<AtomicU64>,
    spans: Arc<AtomicU64>,
}

impl SpanExporter for Encode {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (start, spans) = (processor_time(), batch.len() as u64);
        let resource = ResourceAttributesWithSchema::from(&Resource::builder_empty().build());
        let resource_spans = group_spans_by_resource_and_scope(batch, &resource);
        std::hint::black_box(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        self.nanos.fetch_add(processor_time().saturating_sub(start).as_nanos() as u64, Relaxed);
        self.spans.fetch_add(spans, Relaxed);
        Ok(())
    }
}

/// Child: twelve spans from SDK data to OTLP bytes.
pub(crate) fn sdk_export() -> Result<Figures> {
    let encode = Encode::default();
    let provider = SdkTracerProvider::builder().with_batch_exporter(encode.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    tracing_subscriber::registry().with(layer).try_init()?;
    let ids = work::ids(10_000);
    let mut cursor = Cursor::new(0, 1, 0, 1);
    for _ in 0..100 {
        work_journeys(Form::Display, &ids, &mut cursor, 100 * STAGES);
        provider.force_flush()?;
    }
    let spans = encode.spans.load(Relaxed);
    if spans != (ids.len() * STAGES) as u64 {
        return Err(format!("{spans} spans arrived").into());
    }
    Ok(figures([("ns", encode.nanos.load(Relaxed) as f64 / spans as f64 * STAGES as f64)]))
}

/// Keeps finished journeys.
#[derive(Default)]
struct Keep(Mutex<Vec<Journey>>);

impl FinishedSink for Keep {
    fn finished(&self, journey: &Journey) -> bool {
        // Nobody else holds it, and a poisoned list would fail the count below.
        self.0.lock().is_ok_and(|mut kept| {
            kept.push(journey.clone());
            true
        })
    }
}

/// Journeys that went through the tracker, and the encoder of the exporter.
fn finished_journeys() -> Result<(Vec<Journey>, TraceEncoder)> {
    const JOURNEYS: u64 = 10_000;
    let start = 1_800_000_000_000_000_000;
    let own = Source { service: "bench".to_owned(), ..Source::default() };
    let live =
        Live::new(Arc::new(Routes::default()), own, Limits::default(), TraceIdKey::default(), Arc::new(move || start));
    let keep = Arc::new(Keep::default());
    live.add_sink(Arc::clone(&keep) as _);
    for number in 0..JOURNEYS {
        let id = CorrelationId::new(&work::id(number))?;
        live.write(|tracker, now| {
            for stage in 0..STAGES {
                let at = start + number as i64 * 1_000_003 + stage as i64 * 180_000_017;
                let stage = StageRef { route: RouteIndex(0), stage: StageIndex(stage as u16) };
                let _ = tracker.record(Checkpoint { busy_us: 40, ..Checkpoint::reached(id.clone(), stage, at) }, now);
            }
        });
    }
    let journeys = keep.0.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default();
    if journeys.len() as u64 != JOURNEYS {
        return Err(format!("{} of {JOURNEYS} journeys were finished", journeys.len()).into());
    }
    Ok((journeys, TraceEncoder::new(&live, &OtlpConfig::to_file("unused"))))
}

/// Child: finished journeys to OTLP requests of as many as the exporter puts into one.
pub(crate) fn encode() -> Result<Figures> {
    const BATCH: usize = 512;
    let (journeys, mut encoder) = finished_journeys()?;
    let mut taken = Duration::ZERO;
    let (mut rounds, mut bytes) = (0, 0);
    // The first round is not timed.
    while rounds <= 10 {
        let start = processor_time();
        for batch in journeys.chunks(BATCH) {
            encoder.clear();
            let seen = batch.iter().filter(|journey| encoder.append(journey)).count();
            let request = std::hint::black_box(encoder.request());
            if rounds == 0 {
                bytes += request.len();
            }
            if seen != batch.len() {
                return Err(format!("{seen} of {} journeys were encoded", batch.len()).into());
            }
        }
        taken += if rounds > 0 { processor_time().saturating_sub(start) } else { Duration::ZERO };
        rounds += 1;
    }
    let per_journey = |value: f64| value / journeys.len() as f64;
    Ok(figures([("ns", per_journey(taken.as_nanos() as f64 / 10.0)), ("bytes", per_journey(bytes as f64))]))
}

/// Child: allocations for each journey that is encoded into room that is there.
pub(crate) fn encode_allocations(heap: fn() -> Heap) -> Result<Figures> {
    let (journeys, mut encoder) = finished_journeys()?;
    let mut round = || {
        encoder.clear();
        journeys.iter().filter(|journey| encoder.append(journey)).count()
    };
    round();
    let before = heap().allocations;
    let seen = round();
    let allocations = heap().allocations - before;
    Ok(figures([("allocations_per_export", allocations as f64 / seen as f64)]))
}

fn measure_export(rounds: usize) -> Result<Figures> {
    let (mut ours, mut thread, mut sdk) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = f64::NAN;
    for _ in 0..rounds {
        let of = |figures: &Figures, name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
        let encoded = child::run(&["encode"])?;
        ours.push(of(&encoded, "ns"));
        bytes = of(&encoded, "bytes");
        sdk.push(of(&child::run(&["sdk-export"])?, "ns"));
        thread.push(of(&child::run(&["export", &Collector::start(Behaviour::Healthy)?.address])?, "ns"));
    }
    let shares: Vec<f64> = ours.iter().zip(&sdk).map(|(ours, sdk)| ours / sdk).collect();
    let text = format!(
        "### A finished journey on its way to a collector\n\n| what | ns per journey |\n|---|---|\n| **Journey**: conversion and protobuf, twelve spans of {bytes:.0} bytes together | {} |\n| twelve SDK spans: conversion and protobuf | {} |\n| **Journey**: everything the export thread does, with HTTP and system calls | {} |\n",
        Spread::of(&ours).text(0),
        Spread::of(&sdk).text(0),
        Spread::of(&thread).text(0)
    );
    page::keep_table("process", "export", &text)?;
    Ok(figures([("share_otlp", Spread::of(&shares).median)]))
}

/// Child: how long a shutdown takes beyond its deadline.
pub(crate) fn shutdown(arguments: &[&str]) -> Result<Figures> {
    let endpoint = arguments.first().ok_or("needs a collector")?;
    let journey = install(exporting(endpoint).http(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    let ids = work::ids(1_000);
    work_journeys(Form::Display, &ids, &mut Cursor::new(0, 1, 0, 1), ids.len() * STAGES);
    journey.flush(SOON);
    // Requests are under way, and hang.
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    let report = journey.shutdown(DEADLINE);
    let took = start.elapsed();
    Ok(figures([
        ("shutdown_beyond_ms", (took.as_secs_f64() - DEADLINE.as_secs_f64()) * 1e3),
        ("shutdown_exported", report.exported as f64),
    ]))
}

fn measure_shutdown() -> Result<Figures> {
    let runs = (0..3)
        .map(|_| child::run(&["shutdown", &Collector::start(Behaviour::Hung)?.address]))
        .collect::<Result<Vec<_>>>()?;
    Ok(figures([("shutdown_beyond_ms", Spread::of(&column(&runs, "shutdown_beyond_ms")).max)]))
}

/// Sizes and starts of hello world, built with features of tracing-journey by scripts/bench.
fn measure_start() -> Result<Figures> {
    const RUNS: usize = 21;
    let builds = ["plain", "journey", "http", "otlp", "store", "http-otlp", "http-otlp-fmt"];
    let mut programs = Vec::new();
    for build in builds {
        if let Some(path) = child::beside(&format!("journey-hello-{build}"))? {
            programs.push((build, path, Vec::new()));
        }
    }
    if programs.first().is_none_or(|(build, ..)| *build != "plain") {
        eprintln!("skipped: start: journey-hello-* are not built (scripts/bench builds them)");
        return Ok(Figures::new());
    }
    for _ in 0..RUNS {
        for (_, path, times) in &mut programs {
            let start = Instant::now();
            let status = Command::new(&*path).env("JOURNEY_HTTP_ADDR", "127.0.0.1:0").stdout(Stdio::null()).status()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            if !status.success() {
                return Err(format!("`{}` failed: {status}", path.display()).into());
            }
        }
    }
    let size = |path: &std::path::Path| std::fs::metadata(path).map(|meta| meta.len() as f64 / (1 << 20) as f64);
    let (plain_size, plain_time) = (size(&programs[0].1)?, Spread::of(&programs[0].2).median);
    let mut all = Figures::new();
    let mut text = String::from(
        "### What it adds to hello world\n\nStripped, thin LTO; a run is start to end of the process.\n\n| features | size MiB | added MiB | run ms | added ms |\n|---|---|---|---|---|\n",
    );
    for (build, path, times) in &programs {
        let (size, time) = (size(path)?, Spread::of(times));
        let _ = writeln!(
            text,
            "| {build} | {size:.2} | {:.2} | {} | {:.2} |",
            size - plain_size,
            time.text(2),
            time.median - plain_time
        );
        all.insert(format!("size_{build}_mib"), size - plain_size);
        if *build == "http-otlp" {
            all.insert("start_added_ms".to_owned(), time.median - plain_time);
        }
    }
    page::keep_table("process", "start", &text)?;
    Ok(all)
}
