//! A real Prometheus scrapes the endpoint and computes the same percentiles as the summary.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    path::Path,
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use journey_core::{Window, view::StatsView};
use journey_http::StoredEvents;
use journey_store::{Emitter, Event, MemoryStore};
use journey_tests::{
    http::{Answer, try_get},
    process::run_with_input,
    prometheus::{Prometheus, Sample, Scrape, promtool_check},
    service::{LEGS, Service, exact_quantile, leg_names, now},
    suite, wait_for,
};

const JOURNEYS: usize = 4_000;
/// Events beside the journeys.
const EVENTS: u64 = 40;
/// Of those, the ones that no store takes.
const LOST: u64 = 2;
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// The error our histograms allow themselves, 0.54 %, and what the two definitions of a rank differ by in 4 000 values.
const SKETCH: f64 = 0.0075;

struct Recorded {
    service: Service,
    /// Per leg: what was recorded, nanoseconds.
    legs: Vec<Vec<i64>>,
}

/// One service for all tests here: nothing changes after the journeys are recorded.
fn recorded() -> &'static Recorded {
    static RECORDED: OnceLock<Recorded> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let service = Service::with_store(Arc::new(now), Some(emitted_events()));
        let journeys = service.record_journeys(JOURNEYS);
        let legs = (0..LEGS).map(|leg| journeys.iter().map(|journey| journey[leg]).collect()).collect();
        Recorded { service, legs }
    })
}

/// A store with an emitter, of whose events two are lost.
fn emitted_events() -> StoredEvents {
    let store = Arc::new(MemoryStore::new());
    let emitter = Emitter::builder(Arc::clone(&store) as _).without_upkeep().start().unwrap();
    for _ in 0..EVENTS - LOST {
        emitter.record(Event::completed("stage:process"));
    }
    for _ in 0..LOST {
        emitter.record(Event::completed("process").event_type("no type at all"));
    }
    assert!(emitter.flush(Duration::from_secs(20)).wait());
    StoredEvents::new(store).with_emitter(emitter)
}

#[test]
fn the_summary_gives_the_percentiles_of_what_was_recorded() {
    let recorded = recorded();
    let summary = recorded.service.live.summary(None, Window::Start);
    for (leg, stats) in summary.routes[0].legs.iter().enumerate() {
        assert_eq!(stats.stats.count, JOURNEYS as u64, "{}", stats.name);
        for quantile in QUANTILES {
            let exact = exact_quantile(&mut recorded.legs[leg].clone(), quantile) as f64 / 1e6;
            assert_near(summary_quantile(&stats.stats, quantile), exact, SKETCH, &format!("{} {quantile}", stats.name));
        }
    }
}

#[test]
fn native_histograms_give_the_percentiles_of_the_summary_within_one_percent() {
    let Some(program) = suite::PROMETHEUS.program() else { return };
    let prometheus = scraped(&program, Scrape::NativeHistograms, "histogram_count(journey_leg_duration_seconds)");
    let summary = recorded().service.live.summary(None, Window::Start);
    let route = &summary.routes[0];

    for quantile in QUANTILES {
        let legs = prometheus.query(&format!("histogram_quantile({quantile}, journey_leg_duration_seconds)"));
        assert_eq!(legs.len(), LEGS, "{legs:?}");
        for leg in &route.legs {
            let seen = labelled(&legs, "journey_leg_name", &leg.name) * 1e3;
            assert_near(seen, summary_quantile(&leg.stats, quantile), 0.01, &format!("{} {quantile}", leg.name));
        }
        let segments = prometheus.query(&format!(
            "histogram_quantile({quantile}, journey_segment_duration_seconds{{journey_outcome='completed'}})"
        ));
        for segment in &route.segments {
            let seen = labelled(&segments, "journey_segment_name", &segment.name) * 1e3;
            assert_near(
                seen,
                summary_quantile(&segment.stats, quantile),
                0.01,
                &format!("{} {quantile}", segment.name),
            );
        }
    }
    // The sum goes over losslessly too.
    let sums = prometheus.query("histogram_sum(journey_leg_duration_seconds)");
    for (leg, name) in leg_names().iter().enumerate() {
        let exact = recorded().legs[leg].iter().sum::<i64>() as f64 / 1e9;
        assert_near(labelled(&sums, "journey_leg_name", name), exact, 1e-6, name);
    }
}

#[test]
fn classic_histograms_give_the_percentiles_of_the_summary_within_their_bucket() {
    let Some(program) = suite::PROMETHEUS.program() else { return };
    let prometheus = scraped(&program, Scrape::OpenMetrics, "journey_leg_duration_seconds_count");
    let summary = recorded().service.live.summary(None, Window::Start);
    let legs = &summary.routes[0].legs;

    for quantile in QUANTILES {
        let seen = prometheus.query(&format!("histogram_quantile({quantile}, journey_leg_duration_seconds_bucket)"));
        assert_eq!(seen.len(), LEGS, "{seen:?}");
        for leg in legs {
            let seconds = labelled(&seen, "journey_leg_name", &leg.name);
            let upper = 2.0_f64.powi(seconds.log2().ceil() as i32);
            let ours = summary_quantile(&leg.stats, quantile) / 1e3;
            let around = upper / 2.0 * (1.0 - SKETCH)..=upper * (1.0 + SKETCH);
            assert!(around.contains(&ours), "{} {quantile}: {ours} is not in the bucket {around:?}", leg.name);
        }
    }
    // Bounds are edges of our own buckets, so the counts below them are exact.
    let buckets = prometheus.query("journey_leg_duration_seconds_bucket{le!='+Inf'}");
    assert!(buckets.len() > 10 * LEGS, "{}", buckets.len());
    for (labels, count) in buckets {
        let le: f64 = labels["le"].parse().unwrap();
        assert_eq!(le.log2().fract(), 0.0, "{le} is no power of two");
        let leg = leg_names().iter().position(|name| *name == labels["journey_leg_name"]).unwrap();
        let exact = recorded().legs[leg].iter().filter(|nanos| **nanos as f64 / 1e9 <= le).count();
        assert_eq!(count, exact as f64, "{labels:?}");
    }
}

#[test]
fn counters_add_up_and_exemplars_point_to_exported_journeys() {
    let Some(program) = suite::PROMETHEUS.program() else { return };
    let prometheus = scraped(&program, Scrape::OpenMetrics, "journey_leg_duration_seconds_count");
    let journeys = JOURNEYS as f64;
    assert_eq!(prometheus.value("sum(journey_completions_total)"), Some(journeys));
    assert_eq!(prometheus.value("journey_completions_total{journey_outcome='completed'}"), Some(journeys));
    assert_eq!(prometheus.value("sum(journey_checkpoints_total)"), Some(12.0 * journeys));
    assert_eq!(prometheus.value("sum(journey_active)"), Some(0.0));
    assert_eq!(prometheus.value("sum(journey_drops_total)"), Some(0.0));
    assert_eq!(prometheus.value("journey_events_emitted_total"), Some(EVENTS as f64));
    assert_eq!(prometheus.value("journey_events_stored_total"), Some((EVENTS - LOST) as f64));
    assert_eq!(prometheus.value("journey_events_dropped_total{journey_drop_reason='invalid'}"), Some(LOST as f64));
    assert_eq!(prometheus.value("sum(journey_events_dropped_total)"), Some(LOST as f64));
    assert_eq!(prometheus.value("sum(journey_events_waiting)"), Some(0.0));

    let exemplars = prometheus.exemplars("journey_segment_duration_seconds_bucket");
    assert!(!exemplars.is_empty(), "no exemplar arrived");
    let known: Vec<String> = (0..JOURNEYS)
        .filter_map(|n| recorded().service.live.journey(&format!("msg_{n}"), None))
        .map(|j| j.trace_id)
        .collect();
    assert_eq!(known.len(), JOURNEYS);
    for exemplar in exemplars {
        assert!(known.contains(&exemplar["trace_id"]), "{exemplar:?}");
    }
}

#[test]
fn promtool_has_nothing_to_say_about_the_text() {
    let Some(program) = suite::PROMTOOL.program() else { return };
    let text = metrics("text/plain;version=0.0.4");
    assert_eq!(text.content_type, "text/plain; version=0.0.4; charset=utf-8");
    let (satisfied, said) = promtool_check(&program, &text.text());
    assert!(satisfied && said.trim().is_empty(), "{said}");
    // It does complain where there is something: the check itself works.
    let (satisfied, said) = promtool_check(&program, "# TYPE wrong counter\nwrong 1\n");
    assert!(!satisfied && said.contains("wrong"), "{said}");
}

#[test]
fn open_metrics_text_says_the_same_as_the_older_text() {
    let (old, new) = (metrics("text/plain;version=0.0.4"), metrics("application/openmetrics-text;version=1.0.0"));
    assert_eq!(new.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let (old, new) = (old.text(), new.text());
    assert!(new.ends_with("# EOF\n"), "{}", &new[new.len().saturating_sub(80)..]);
    assert!(!old.contains(" # {") && new.contains(" # {trace_id=\""), "exemplars are for OpenMetrics alone");
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("journey_leg_duration_seconds"));
        let mut samples: Vec<_> = lines.map(|line| line.split(" # {").next().unwrap().trim().to_owned()).collect();
        samples.sort();
        samples
    };
    let old_samples = samples(&old);
    assert!(old_samples.len() > LEGS * 10);
    let bare = |sample: &String| (sample.split_once("le=").is_none()).then(|| sample.clone());
    // `le="1"` is written `le="1.0"` in OpenMetrics; everything else is the same text.
    assert_eq!(
        old_samples.iter().filter_map(bare).collect::<Vec<_>>(),
        samples(&new).iter().filter_map(bare).collect::<Vec<_>>()
    );
    assert_eq!(old_samples.len(), samples(&new).len());
}

#[test]
fn the_reference_parser_takes_the_open_metrics_text() {
    let Some(parser) = suite::openmetrics_parser() else { return };
    let text = metrics("application/openmetrics-text;version=1.0.0").text();
    let (satisfied, said) = parse_open_metrics(&parser, &text);
    assert!(satisfied, "{said}");
    assert!(said.contains("journey_leg_duration_seconds histogram seconds"), "{said}");
    assert!(said.contains("journey_completions counter"), "{said}");
    assert!(said.contains("journey_events_dropped counter"), "{said}");
    let (satisfied, said) = parse_open_metrics(&parser, "# TYPE wrong counter\nwrong 1\n# EOF\n");
    assert!(!satisfied && said.contains("wrong"), "{said}");
}

#[test]
fn every_query_on_the_page_finds_something() {
    let Some(program) = suite::PROMETHEUS.program() else { return };
    let page = page();
    let forms = [
        ("promql", Scrape::NativeHistograms, "histogram_count(journey_leg_duration_seconds)"),
        ("promql classic", Scrape::OpenMetrics, "journey_leg_duration_seconds_count"),
    ];
    for (name, scrape, count) in forms {
        let queries = blocks(&page, name);
        assert!(!queries.is_empty(), "{name}");
        let prometheus = scraped(&program, scrape, count);
        for query in queries {
            wait_for(&format!("an answer to {query}"), || (!prometheus.query(&query).is_empty()).then_some(()));
        }
        // Nothing is stuck, so nothing is found; but the query is one.
        for query in blocks(&page, "promql stuck") {
            assert!(prometheus.query(&query).is_empty());
        }
    }
}

#[test]
fn promtool_takes_the_configurations_and_rules_on_the_page() {
    let Some(program) = suite::PROMTOOL.program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (page, file) = (page(), folder.path().join("file.yml"));
    let (configs, rules) = (blocks(&page, "yaml"), blocks(&page, "yaml rules"));
    assert_eq!((configs.len(), rules.len()), (2, 1));
    let checks = configs.iter().map(|text| ("config", text)).chain(rules.iter().map(|text| ("rules", text)));
    for (kind, text) in checks {
        std::fs::write(&file, text).unwrap();
        // The files that a configuration names are on somebody else's machine.
        let syntax = if kind == "config" { &["--syntax-only"][..] } else { &[] };
        let mut command = Command::new(&program);
        let (satisfied, said) = run_with_input(command.args(["check", kind]).args(syntax).arg(&file), "");
        assert!(satisfied && said.contains("SUCCESS"), "{said}\n{text}");
    }
}

#[test]
fn the_page_names_every_metric_with_its_labels() {
    let (page, text) = (page(), metrics("text/plain;version=0.0.4").text());
    let mut metrics = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(page.contains(&format!("\n| `{name}` | {kind} |")), "`{name}` ({kind}) is not on the page");
        metrics += 1;
    }
    assert!(metrics >= 24, "{text}");
    for line in page.lines().filter(|line| line.starts_with("| `journey_")) {
        let cells: Vec<_> = line.split('|').collect();
        let name = cells[1].trim().trim_matches('`');
        let Some(sample) = text.lines().find(|line| line.starts_with(&format!("{name}{{"))) else { continue };
        for label in cells[3].split(',').map(|label| label.trim().trim_matches('`')) {
            assert!(sample.contains(&format!("{label}=\"")), "`{name}` has no label `{label}`: {sample}");
        }
    }
}

fn page() -> String {
    std::fs::read_to_string(journey_tests::repository().join("docs/prometheus.md")).unwrap()
}

/// The code blocks of one kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let opening = format!("```{kind}\n");
    page.split(&opening)
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}

/// Whether the strict parser takes a text: the families it found (name, type, unit), or its complaint.
fn parse_open_metrics(parser: &Path, text: &str) -> (bool, String) {
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        for family in parse(sys.stdin.buffer.read().decode()): print(family.name, family.type, family.unit)";
    let mut command = Command::new("python3");
    command.args(["-c", script]).env("PYTHONPATH", parser);
    run_with_input(&mut command, text)
}

/// A Prometheus that has scraped all journeys.
fn scraped(program: &Path, scrape: Scrape, count: &str) -> Prometheus {
    let prometheus = Prometheus::start(program, recorded().service.addr(), scrape);
    wait_for("Prometheus has scraped every leg", || {
        let error = prometheus.last_scrape_error();
        assert!(error.is_empty(), "the scrape failed: {error}\n{}", prometheus.log_tail());
        let counts = prometheus.query(count);
        (counts.len() == LEGS && counts.iter().all(|(_, value)| *value == JOURNEYS as f64)).then_some(())
    });
    prometheus
}

fn metrics(accept: &str) -> Answer {
    let url = format!("{}/metrics", recorded().service.url());
    let answer = try_get(&url, &[("Accept", accept)]).unwrap();
    assert_eq!(answer.status, 200);
    answer
}

fn summary_quantile(stats: &StatsView, quantile: f64) -> f64 {
    let value = if quantile == 0.5 {
        stats.p50_ms
    } else if quantile == 0.95 {
        stats.p95_ms
    } else {
        stats.p99_ms
    };
    value.unwrap()
}

fn labelled(samples: &[Sample], label: &str, value: &str) -> f64 {
    let found: Vec<_> = samples.iter().filter(|(labels, _)| labels.get(label).is_some_and(|v| v == value)).collect();
    assert_eq!(found.len(), 1, "{label}={value} in {samples:?}");
    found[0].1
}

fn assert_near(value: f64, expected: f64, relative: f64, what: &str) {
    assert!((value / expected - 1.0).abs() <= relative, "{what}: {value} is not within {relative} of {expected}");
}
