//! Which metrics there are: name, help, labels and values, without a format.

use std::collections::BTreeMap;

use journey_core::{Exemplar, Histogram, MetricFamily, MetricKind, MetricsSnapshot, Series};
use serde_json::Value as Json;

use crate::{document::ProcessView, health::HealthView};

/// Figures of one part that become series; a part that reports more is cut.
const MAX_FIGURES: usize = 64;

/// States of a circuit breaker, as parts write them.
const BREAKER_STATES: [&str; 3] = ["closed", "half_open", "open"];

/// Samples of one name.
#[derive(Debug)]
pub(super) struct Family<'a> {
    /// Without `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value<'a>,
}

#[derive(Debug)]
pub(super) enum Value<'a> {
    Number(f64),
    Histogram(&'a Histogram, &'a [Exemplar]),
}

impl Family<'_> {
    /// The unit, where the name ends with one.
    pub(super) fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(unit))
    }
}

/// All metrics, in a fixed order.
pub(super) fn families<'a>(
    snapshot: &'a MetricsSnapshot,
    process: &ProcessView,
    health: &HealthView,
    parts: &BTreeMap<String, Json>,
    of_parts: Vec<MetricFamily>,
) -> Vec<Family<'a>> {
    let mut all = journeys(snapshot);
    all.extend(accounting(snapshot));
    all.extend(dependencies(health));
    all.extend(figures_of_parts(parts));
    all.extend(process_figures(process));
    for family in of_parts {
        // A scraper refuses everything where one name stands twice.
        if all.iter().all(|known| known.name != family.name) {
            all.push(of_part(family));
        }
    }
    all.retain(|family| !family.samples.is_empty());
    all
}

fn journeys(snapshot: &MetricsSnapshot) -> Vec<Family<'_>> {
    let histograms = |name, help, labels: &dyn Fn(&Series) -> Vec<(&'static str, String)>, series| Family {
        name,
        help,
        kind: Kind::Histogram,
        samples: <[Series]>::iter(series)
            .map(|series| Sample {
                labels: labels(series),
                value: Value::Histogram(&series.histogram, &series.exemplars),
            })
            .collect(),
    };
    vec![
        histograms(
            "journey_leg_duration_seconds",
            "Latency between two neighbouring stages.",
            &|series| vec![("journey_name", series.route.clone()), ("journey_leg_name", series.name.clone())],
            &snapshot.legs,
        ),
        histograms(
            "journey_segment_duration_seconds",
            "Latency over several legs of finished journeys, by outcome.",
            &|series| {
                vec![
                    ("journey_name", series.route.clone()),
                    ("journey_segment_name", series.name.clone()),
                    ("journey_outcome", series.outcome.clone().unwrap_or_default()),
                ]
            },
            &snapshot.segments,
        ),
        histograms(
            "journey_operation_duration_seconds",
            "Duration of named operations.",
            &|series| vec![("journey_operation_name", series.name.clone())],
            &snapshot.operations,
        ),
        gauge(
            "journey_active",
            "Open journeys.",
            snapshot.active.iter().map(|(route, count)| (vec![("journey_name", route.clone())], *count as f64)),
        ),
        gauge(
            "journey_stuck",
            "Open journeys without progress, by the stage reached last.",
            snapshot.stuck.iter().map(|(route, stage, count)| {
                (vec![("journey_name", route.clone()), ("journey_stage_name", stage.clone())], *count as f64)
            }),
        ),
        counter(
            "journey_completions",
            "Finished journeys by outcome.",
            snapshot.completions.iter().map(|(route, outcome, count)| {
                (vec![("journey_name", route.clone()), ("journey_outcome", outcome.clone())], *count)
            }),
        ),
        counter(
            "journey_checkpoints",
            "Recorded checkpoints by stage; error_type is empty for a success.",
            snapshot.checkpoints.iter().map(|(route, stage, error, count)| {
                let labels = vec![
                    ("journey_name", route.clone()),
                    ("journey_stage_name", stage.clone()),
                    ("error_type", error.clone()),
                ];
                (labels, *count)
            }),
        ),
        counter(
            "journey_skewed",
            "Negative latencies, which clocks of several machines make; they are in no histogram.",
            snapshot.skewed.iter().map(|(route, leg, count)| {
                (vec![("journey_name", route.clone()), ("journey_leg_name", leg.clone())], *count)
            }),
        ),
    ]
}

fn accounting(snapshot: &MetricsSnapshot) -> Vec<Family<'_>> {
    let accounting = &snapshot.accounting;
    let dropped = accounting.view().dropped;
    vec![
        counter(
            "journey_checkpoints_offered",
            "Checkpoints that the application produced: recorded plus dropped.",
            [(vec![], accounting.offered)],
        ),
        // An eviction takes checkpoints back out, so this can fall.
        gauge(
            "journey_checkpoints_recorded",
            "Checkpoints that are or were part of a journey that was not evicted.",
            [(vec![], accounting.recorded as f64)],
        ),
        counter(
            "journey_drops",
            "Checkpoints lost, by reason.",
            dropped.into_iter().map(|(reason, count)| (vec![("journey_drop_reason", reason)], count)),
        ),
        counter(
            "journey_overflowed",
            "Values that went into an overflow series because a limit on names was reached.",
            [(vec![], snapshot.overflowed)],
        ),
        gauge(
            "journey_build_info",
            "Version of Journey.",
            [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
        ),
    ]
}

fn dependencies(health: &HealthView) -> Vec<Family<'static>> {
    let component = |name: &str| vec![("journey_component_name", name.to_owned())];
    let resource = |name: &str| vec![("journey_resource_name", name.to_owned())];
    let of_resources = |figure: &dyn Fn(&crate::ResourceView) -> Option<f64>| {
        let samples = health.resources.iter().filter_map(|view| Some((resource(&view.name), figure(view)?)));
        samples.collect::<Vec<_>>()
    };
    vec![
        gauge(
            "journey_component_up",
            "Whether the last check of a component succeeded in time.",
            health
                .components
                .iter()
                .filter(|view| view.status != "unknown")
                .map(|view| (component(&view.name), f64::from(view.status == "up"))),
        ),
        gauge(
            "journey_component_check_duration_seconds",
            "How long the last check of a component took.",
            health.components.iter().filter_map(|view| Some((component(&view.name), view.latency_ms? / 1e3))),
        ),
        gauge(
            "journey_resource_hit_ratio",
            "Share of lookups that a cache answered.",
            of_resources(&|view| view.hit_ratio),
        ),
        gauge(
            "journey_resource_pool_in_use",
            "Connections or permits in use.",
            of_resources(&|view| view.pool_in_use.map(|count| count as f64)),
        ),
        gauge(
            "journey_resource_pool_size",
            "Connections or permits there are.",
            of_resources(&|view| view.pool_size.map(|count| count as f64)),
        ),
    ]
}

/// What parts such as the hand-off and the exporter report: numbers, and the state of breakers. Other texts (addresses,
/// names) never become labels.
fn figures_of_parts(parts: &BTreeMap<String, Json>) -> Vec<Family<'static>> {
    let (mut figures, mut breakers) = (Vec::new(), Vec::new());
    for (part, report) in parts {
        let mut found = Vec::new();
        collect("", report, &mut found);
        for (figure, value) in found.into_iter().take(MAX_FIGURES) {
            let labels = vec![("journey_part_name", part.clone()), ("journey_figure_name", figure)];
            match value {
                Figure::Number(number) => figures.push((labels, number)),
                Figure::Breaker(state) => breakers.extend(BREAKER_STATES.map(|known| {
                    let mut labels = labels.clone();
                    labels.push(("journey_breaker_state", known.to_owned()));
                    (labels, f64::from(known == state))
                })),
            }
        }
    }
    vec![
        gauge("journey_part_figure", "What a part of Journey says of itself: queues, counts, flags (0 or 1).", figures),
        gauge("journey_breaker_state", "1 for the state that a circuit breaker is in, 0 for the others.", breakers),
    ]
}

enum Figure {
    Number(f64),
    Breaker(&'static str),
}

/// Names of figures come from code of ours; keys that are data, such as places in sources, are left out.
fn is_figure_name(name: &str) -> bool {
    name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn collect(path: &str, value: &Json, found: &mut Vec<(String, Figure)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Json::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| is_figure_name(name)) {
                collect(&below(name), value, found);
            }
        }
        Json::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(&below(&index.to_string()), value, found);
            }
        }
        Json::Number(number) => {
            found.extend(number.as_f64().map(|number| (path.to_owned(), Figure::Number(number))));
        }
        Json::Bool(flag) => found.push((path.to_owned(), Figure::Number(f64::from(*flag)))),
        Json::String(text) => {
            let state = BREAKER_STATES.into_iter().find(|state| state.replace('_', "-") == text.replace('_', "-"));
            found.extend(state.map(|state| (path.to_owned(), Figure::Breaker(state))));
        }
        Json::Null => {}
    }
}

/// What a part counts under a name of its own.
fn of_part(family: MetricFamily) -> Family<'static> {
    match family.kind {
        MetricKind::Counter => counter(family.name, family.help, family.values),
        MetricKind::Gauge => {
            let values = family.values.into_iter().map(|(labels, count)| (labels, count as f64));
            gauge(family.name, family.help, values)
        }
    }
}

fn process_figures(process: &ProcessView) -> Vec<Family<'static>> {
    let one = |value: f64| [(vec![], value)];
    let maybe = |value: Option<u64>| value.map(|value| (vec![], value as f64));
    vec![
        Family {
            samples: vec![Sample { labels: vec![], value: Value::Number(process.cpu_seconds) }],
            ..counter("process_cpu_seconds", "Processor time of the process.", [])
        },
        gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            one(process.resident_memory_bytes as f64),
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Address space of the process.",
            one(process.virtual_memory_bytes as f64),
        ),
        gauge("process_start_time_seconds", "When the process started, unix time.", one(process.start_time_seconds)),
        gauge("process_open_fds", "Open files and sockets.", maybe(process.open_fds)),
        gauge("process_max_fds", "How many files and sockets may be open.", maybe(process.max_fds)),
    ]
}

type Labels = Vec<(&'static str, String)>;

fn gauge(name: &'static str, help: &'static str, values: impl IntoIterator<Item = (Labels, f64)>) -> Family<'static> {
    let sample = |(labels, value)| Sample { labels, value: Value::Number(value) };
    Family { name, help, kind: Kind::Gauge, samples: values.into_iter().map(sample).collect() }
}

fn counter(name: &'static str, help: &'static str, values: impl IntoIterator<Item = (Labels, u64)>) -> Family<'static> {
    let sample = |(labels, value)| Sample { labels, value: Value::Number(value as f64) };
    Family { name, help, kind: Kind::Counter, samples: values.into_iter().map(sample).collect() }
}
