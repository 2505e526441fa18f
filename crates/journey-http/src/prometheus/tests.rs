use std::collections::BTreeMap;

use journey_core::{Exemplar, Histogram, MetricFamily, MetricsSnapshot, ReportSource, Series};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::{families, proto, text};
use crate::{
    document::ProcessView,
    health::{ComponentView, HealthView, ResourceView},
    testing::{Endpoint, MILLI, START, WHOLE, live, record},
};

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

fn scrape(endpoint: &Endpoint, accept: &str) -> crate::testing::Answer {
    endpoint.ask("GET", "/metrics", &[("accept", accept)])
}

/// Values by series of a text.
fn series(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let line = line.split(" # ").next().unwrap();
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

fn decode(mut bytes: &[u8]) -> Vec<proto::MetricFamily> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(proto::MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

#[test]
fn everything_declared_is_there_with_zero_before_anything_happened() {
    let text = scrape(&Endpoint::new(&live()), "").text().to_owned();
    let series = series(&text);
    for name in [
        "journey_leg_duration_seconds_count{journey_name=\"message\",journey_leg_name=\"db_write\"}",
        "journey_leg_duration_seconds_bucket{journey_name=\"message\",journey_leg_name=\"platform_send\",le=\"4096.0\"}",
        "journey_segment_duration_seconds_count{journey_name=\"message\",journey_segment_name=\"round_trip\",journey_outcome=\"failed\"}",
        "journey_active{journey_name=\"message\"}",
        "journey_stuck{journey_name=\"message\",journey_stage_name=\"db_stored\"}",
        "journey_completions_total{journey_name=\"message\",journey_outcome=\"expired\"}",
        "journey_checkpoints_total{journey_name=\"message\",journey_stage_name=\"platform_delivered\",error_type=\"\"}",
        "journey_skewed_total{journey_name=\"message\",journey_leg_name=\"bus_delivery\"}",
        "journey_drops_total{journey_drop_reason=\"queue_full\"}",
        "journey_checkpoints_offered_total",
        "journey_overflowed_total",
    ] {
        assert_eq!(series.get(name), Some(&0.0), "{name}");
    }
    assert!(series["process_resident_memory_bytes"] > 1e6);
    assert!(series.contains_key("process_cpu_seconds_total") && series["process_start_time_seconds"] > 1.6e9);
}

#[test]
fn buckets_are_cumulative_exact_and_end_in_the_count() {
    let live = live();
    // 500 ms is an edge itself and belongs to its own bucket.
    for (number, ms) in [1_i64, 125, 126, 500, 501, 8_192_000].into_iter().enumerate() {
        record(&live, &format!("msg_{number}"), &[("T3", 0), ("T4", ms)]);
    }
    let answer = scrape(&Endpoint::new(&live), "");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let series = series(answer.text());
    let at = |le: &str| {
        series[&format!(
            "journey_leg_duration_seconds_bucket{{journey_name=\"message\",journey_leg_name=\"db_write\",le=\"{le}\"}}"
        )]
    };
    let edges = [
        ("7.62939453125e-06", 0.0),
        ("0.0009765625", 0.0),
        ("0.001953125", 1.0),
        ("0.125", 2.0),
        ("0.25", 3.0),
        ("0.5", 4.0),
        ("1.0", 5.0),
        ("4096.0", 5.0),
        ("+Inf", 6.0),
    ];
    for (le, count) in edges {
        assert_eq!(at(le), count, "{le}");
    }
    let labels = "{journey_name=\"message\",journey_leg_name=\"db_write\"}";
    assert_eq!(series[&format!("journey_leg_duration_seconds_count{labels}")], 6.0);
    assert_eq!(series[&format!("journey_leg_duration_seconds_sum{labels}")], 8_193.253);
    assert_eq!(series["journey_checkpoints_offered_total"], 12.0);
}

#[test]
fn every_family_stands_once_typed_before_its_samples() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    for accept in ["", OPEN_METRICS] {
        let answer = scrape(&Endpoint::new(&live), accept);
        let text = answer.text();
        assert!(text.ends_with('\n') && text.ends_with("# EOF\n") == (accept == OPEN_METRICS));
        let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let mut names: Vec<_> = types.iter().map(|line| line.split(' ').next().unwrap()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        let mut current = "";
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                current = typed.split(' ').next().unwrap();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(current), "{line} stands under {current}");
            }
        }
        assert!(!text.contains("msg_1"), "a correlation id is never a label");
    }
}

fn snapshot_with(nanos: &[u64], exemplars: Vec<Exemplar>) -> MetricsSnapshot {
    let mut histogram = Histogram::default();
    for nanos in nanos {
        histogram.record(*nanos);
    }
    let legs = vec![Series { route: "message".into(), name: "db_write".into(), outcome: None, histogram, exemplars }];
    MetricsSnapshot { started_at: START, at: START, legs, ..MetricsSnapshot::default() }
}

fn written(snapshot: &MetricsSnapshot, dialect: text::Dialect) -> String {
    let (process, health) = (ProcessView::default(), HealthView::default());
    String::from_utf8(text::write(&families::families(snapshot, &process, &health, &BTreeMap::new(), vec![]), dialect))
        .unwrap()
}

#[test]
fn exemplars_go_out_in_openmetrics_only() {
    let exemplar = Exemplar { nanos: 127_000_000, at: START + 217 * MILLI, trace_id: 0xabc, span_id: 0xdef };
    let snapshot = snapshot_with(&[127_000_000], vec![exemplar]);
    let open = written(&snapshot, text::Dialect::OpenMetrics);
    let expected = "le=\"0.25\"} 1 # {trace_id=\"00000000000000000000000000000abc\",span_id=\"0000000000000def\"} 0.127 1700000000.217\n";
    assert!(open.contains(expected), "{open}");
    assert!(!written(&snapshot, text::Dialect::Text).contains("trace_id"));
}

#[test]
fn native_histograms_hold_the_same_values() {
    let values = [0, 1, 1_000, 1_000_000, 1_000_001, 127_000_000, 127_000_000, 1_000_000_000, 3_600_000_000_000];
    let snapshot = snapshot_with(&values, vec![]);
    let families =
        families::families(&snapshot, &ProcessView::default(), &HealthView::default(), &BTreeMap::new(), vec![]);
    let decoded = decode(&proto::write(&families, START));
    assert_eq!(decoded[0].name.as_deref(), Some("journey_leg_duration_seconds"));
    let histogram = decoded[0].metric[0].histogram.clone().unwrap();
    assert_eq!((histogram.sample_count, histogram.zero_count, histogram.schema), (Some(9), Some(1), Some(6)));
    assert_eq!(histogram.bucket.len(), 31);
    assert_eq!(histogram.bucket[30].cumulative_count, Some(9));

    // What a Prometheus does with spans and deltas: absolute counts by index, where index i ends at 2^(i / 2^schema).
    let (mut index, mut count, mut deltas) = (0, 0, histogram.positive_delta.iter());
    let mut buckets = BTreeMap::new();
    for span in &histogram.positive_span {
        index += span.offset.unwrap();
        for _ in 0..span.length.unwrap() {
            count += deltas.next().unwrap();
            buckets.insert(index, count);
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    assert_eq!(buckets.values().sum::<i64>(), 8);
    for nanos in values.iter().filter(|nanos| **nanos > 0) {
        let seconds = *nanos as f64 / 1e9;
        let index = (seconds.log2() * 64.0).ceil() as i32;
        // An exact power of two lies at the upper end of its bucket; elsewhere rounding may move it by one.
        let found = [index, index + 1, index - 1].into_iter().find(|index| buckets.contains_key(index));
        let upper = (f64::from(found.unwrap_or_else(|| panic!("{nanos}"))) / 64.0).exp2();
        assert!(seconds <= upper * (1.0 + 1e-12) && upper / seconds < 1.0110, "{nanos}: {upper}");
    }
    assert_eq!(buckets.get(&0), Some(&1), "1 s is the upper edge of bucket 0");
}

#[test]
fn an_empty_native_histogram_is_still_a_native_one() {
    let answer = scrape(&Endpoint::new(&live()), PROTOBUF);
    assert_eq!(answer.header("content-type"), PROTOBUF.replace(';', "; "));
    let families = decode(&answer.body);
    let legs = families.iter().find(|family| family.name.as_deref() == Some("journey_leg_duration_seconds")).unwrap();
    assert_eq!(legs.metric.len(), 11);
    let span = legs.metric[0].histogram.as_ref().unwrap().positive_span[0];
    assert_eq!((span.offset, span.length), (Some(0), Some(0)));
    assert!(families.iter().any(|family| family.name.as_deref() == Some("journey_completions_total")));
}

struct Part(serde_json::Value);

impl ReportSource for Part {
    fn report(&self) -> serde_json::Value {
        self.0.clone()
    }
}

/// Says how many goods lie in one place, under a name of its own and under one that the page has.
struct Store(&'static str);

impl ReportSource for Store {
    fn report(&self) -> serde_json::Value {
        json!({})
    }

    fn metrics(&self) -> Vec<MetricFamily> {
        let here = |count| [(vec![("place", self.0.to_owned())], count)];
        vec![
            MetricFamily::counter("journey_goods_taken", "Goods that were taken.", here(7)),
            MetricFamily::gauge("journey_goods", "Goods that are there.", here(3)),
            MetricFamily::gauge("journey_active", "Something else.", here(4)),
            MetricFamily::gauge("journey_goods_nowhere", "Nothing.", []),
        ]
    }
}

#[test]
fn parts_add_metrics_in_every_form_and_a_name_that_stands_already_is_left_out() {
    let live = live();
    // The second says the same names again.
    live.add_part("cellar", std::sync::Arc::new(Store("ce\"llar")));
    live.add_part("loft", std::sync::Arc::new(Store("loft")));
    let endpoint = Endpoint::new(&live);
    let text = scrape(&endpoint, "").text().to_owned();
    let goods: Vec<_> = text.lines().filter(|line| line.contains("goods") || line.contains("journey_active")).collect();
    insta::assert_snapshot!(goods.join("\n"), @r#"
    # HELP journey_active Open journeys.
    # TYPE journey_active gauge
    journey_active{journey_name="message"} 0
    # HELP journey_goods_taken_total Goods that were taken.
    # TYPE journey_goods_taken_total counter
    journey_goods_taken_total{place="ce\"llar"} 7
    # HELP journey_goods Goods that are there.
    # TYPE journey_goods gauge
    journey_goods{place="ce\"llar"} 3
    "#);
    let open_metrics = scrape(&endpoint, "application/openmetrics-text").text().to_owned();
    assert!(
        open_metrics.contains("# TYPE journey_goods_taken counter\njourney_goods_taken_total{place="),
        "{open_metrics}"
    );
    let protobuf = decode(&scrape(&endpoint, PROTOBUF).body);
    let names = protobuf.iter().filter_map(|family| family.name.as_deref()).filter(|name| name.contains("goods"));
    assert_eq!(names.collect::<Vec<_>>(), ["journey_goods_taken_total", "journey_goods"]);
}

#[test]
fn parts_become_series_by_numbers_and_breaker_states_and_never_by_other_texts() {
    let live = live();
    let report = json!({ "queue": { "len": 3, "full": false }, "breaker": "half-open", "endpoint": "http://secret.host:4317", "sent": [{ "requests": 7 }], "noId": { "src/secret.host.rs:7": 1 } });
    live.add_part("exporter", std::sync::Arc::new(Part(report)));
    let text = scrape(&Endpoint::new(&live), "").text().to_owned();
    let series = series(&text);
    let figure = |name: &str| {
        series[&format!("journey_part_figure{{journey_part_name=\"exporter\",journey_figure_name=\"{name}\"}}")]
    };
    assert_eq!((figure("queue.len"), figure("queue.full"), figure("sent.0.requests")), (3.0, 0.0, 7.0));
    for (state, value) in [("closed", 0.0), ("half_open", 1.0), ("open", 0.0)] {
        let name = format!(
            "journey_breaker_state{{journey_part_name=\"exporter\",journey_figure_name=\"breaker\",journey_breaker_state=\"{state}\"}}"
        );
        assert_eq!(series[&name], value, "{state}");
    }
    assert!(!text.contains("secret.host"));
}

#[test]
fn components_and_resources_become_series() {
    let health = HealthView {
        components: vec![
            ComponentView { name: "database".into(), status: "up".into(), latency_ms: Some(1.5), ..Default::default() },
            ComponentView { name: "a\"b\\c\n".into(), status: "down".into(), ..Default::default() },
            ComponentView { name: "new".into(), status: "unknown".into(), ..Default::default() },
        ],
        resources: vec![ResourceView { name: "cache".into(), hit_ratio: Some(0.75), ..Default::default() }],
        ..HealthView::default()
    };
    let snapshot = MetricsSnapshot::default();
    let all = families::families(&snapshot, &ProcessView::default(), &health, &BTreeMap::new(), vec![]);
    let text = String::from_utf8(text::write(&all, text::Dialect::Text)).unwrap();
    let of_dependencies: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("journey_component") || line.starts_with("journey_resource"))
        .collect();
    insta::assert_snapshot!(of_dependencies.join("\n"), @r#"
    journey_component_up{journey_component_name="database"} 1
    journey_component_up{journey_component_name="a\"b\\c\n"} 0
    journey_component_check_duration_seconds{journey_component_name="database"} 0.0015
    journey_resource_hit_ratio{journey_resource_name="cache"} 0.75
    "#);
}

proptest! {
    #[test]
    fn classic_and_native_buckets_count_every_value_once(nanos in proptest::collection::vec(any::<u64>(), 0..200)) {
        let snapshot = snapshot_with(&nanos, vec![]);
        let families = families::families(&snapshot, &ProcessView::default(), &HealthView::default(), &BTreeMap::new(), vec![]);
        let decoded = decode(&proto::write(&families, START));
        let histogram = decoded[0].metric[0].histogram.clone().unwrap();
        let mut absolute = 0;
        let native: i64 = histogram.positive_delta.iter().map(|delta| { absolute += delta; absolute }).sum();
        prop_assert_eq!(native as u64 + histogram.zero_count.unwrap(), nanos.len() as u64);
        let slots: u32 = histogram.positive_span.iter().map(|span| span.length.unwrap()).sum();
        prop_assert_eq!(slots as usize, histogram.positive_delta.len());
        let classic: Vec<u64> = histogram.bucket.iter().map(|bucket| bucket.cumulative_count.unwrap()).collect();
        prop_assert!(classic.is_sorted());
        for (exponent, count) in text::EXPONENTS.zip(&classic) {
            let expected = nanos.iter().filter(|nanos| **nanos as f64 / 1e9 <= text::edge(exponent)).count();
            prop_assert_eq!(*count, expected as u64, "2^{}", exponent);
        }
    }

    #[test]
    fn any_accept_header_gets_a_form(accept in "[ -~]{0,200}") {
        let headers = http::HeaderMap::from_iter([(http::header::ACCEPT, http::HeaderValue::from_str(&accept).unwrap())]);
        prop_assert!(!super::accept::negotiate(&headers).content_type().is_empty());
    }
}
