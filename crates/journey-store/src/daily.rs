//! How long things took on one day: a pure function of the day's events.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use journey_core::{Histogram, HistogramBuckets};
use serde_json::Value;

use crate::{
    event::{Event, EventStatus},
    store::DailyStatistic,
};

/// The most `(route, leg)` pairs of one day; of more, the least stay, whatever the order of the events.
pub const MAX_DAILY_LEGS: usize = 1_024;

/// The longest name of a leg, in bytes; what has a longer one is counted under its event type.
pub const MAX_LEG_NAME_BYTES: usize = 128;

/// The form of a sketch; its first byte.
const SKETCH_FORM: u8 = 1;

/// The statistics of one day (`2026-11-20`) over its events, by route and leg.
///
/// Of the end of a workflow, every leg in `data.legs` and `data.segments` (nanoseconds) counts; of any other event that
/// has a duration and is not pending, that duration, under `data.name`, `data.stage` or the event type. What is
/// negative is no duration. The same event twice or in any order gives the same statistics.
pub fn daily_statistics<'a>(day: &str, events: impl IntoIterator<Item = &'a Event>) -> Vec<DailyStatistic> {
    let mut seen = BTreeSet::new();
    let mut timings = DayTimings::default();
    for event in events {
        if seen.insert((event.trace_id, event.timestamp, event.emitter, event.seq)) {
            timings.add(event);
        }
    }
    timings.finish(day)
}

/// The zeros and the buckets of a [`DailyStatistic::sketch`]; `None` where the bytes are none.
///
/// Zeros are in no bucket. Sketches of several days merge by adding up counts of the same bucket.
pub fn read_sketch(bytes: &[u8]) -> Option<(u64, HistogramBuckets)> {
    let (form, mut rest) = bytes.split_first()?;
    if *form != SKETCH_FORM {
        return None;
    }
    let zeros = take_varint(&mut rest)?;
    let (scale, after) = rest.split_first_chunk()?;
    let (offset, after) = after.split_first_chunk()?;
    rest = after;
    let mut counts = Vec::new();
    while !rest.is_empty() {
        counts.push(take_varint(&mut rest)?);
    }
    let (scale, offset) = (i32::from_le_bytes(*scale), i32::from_le_bytes(*offset));
    Some((zeros, HistogramBuckets { scale, offset, counts }))
}

/// Durations of one day as they are read, each event once.
#[derive(Debug, Default)]
pub(crate) struct DayTimings {
    /// By route and leg.
    legs: BTreeMap<(String, String), Histogram>,
}

impl DayTimings {
    pub(crate) fn add(&mut self, event: &Event) {
        let route = event.route.as_deref().unwrap_or_default();
        if ends_workflow(event) {
            for part in ["legs", "segments"] {
                let Some(Value::Object(legs)) = event.data.get(part) else { continue };
                for (leg, nanos) in legs {
                    if let Some(nanos) = nanos.as_u64()
                        && leg.len() <= MAX_LEG_NAME_BYTES
                    {
                        self.record(route, leg, nanos);
                    }
                }
            }
        } else if let Some(nanos) = event.duration.and_then(|nanos| u64::try_from(nanos).ok())
            && event.status != EventStatus::Pending
        {
            let name = ["name", "stage"].into_iter().find_map(|key| event.data.get(key)?.as_str());
            let name = name.filter(|name| name.len() <= MAX_LEG_NAME_BYTES).unwrap_or(&event.event_type);
            self.record(route, name, nanos);
        }
    }

    pub(crate) fn finish(&mut self, day: &str) -> Vec<DailyStatistic> {
        mem::take(&mut self.legs)
            .into_iter()
            .map(|((route, leg), times)| {
                let quantile = |q| times.quantile_nanos(q).unwrap_or_default() / 1e6;
                DailyStatistic {
                    day: day.to_owned(),
                    route,
                    leg,
                    count: times.count(),
                    mean_ms: times.mean_nanos().unwrap_or_default() / 1e6,
                    min_ms: times.min_nanos().unwrap_or_default() as f64 / 1e6,
                    max_ms: times.max_nanos().unwrap_or_default() as f64 / 1e6,
                    p50_ms: quantile(0.5),
                    p95_ms: quantile(0.95),
                    p99_ms: quantile(0.99),
                    sketch: write_sketch(&times),
                }
            })
            .collect()
    }

    fn record(&mut self, route: &str, leg: &str, nanos: u64) {
        self.legs.entry((route.to_owned(), leg.to_owned())).or_default().record(nanos);
        // What left was greater than all that stay, and will be whenever it comes again: nothing comes back in part.
        while self.legs.len() > MAX_DAILY_LEGS {
            self.legs.pop_last();
        }
    }
}

fn ends_workflow(event: &Event) -> bool {
    matches!(event.event_type.as_str(), "workflow:completed" | "workflow:failed")
}

fn write_sketch(times: &Histogram) -> Vec<u8> {
    let buckets = times.buckets();
    let mut bytes = vec![SKETCH_FORM];
    put_varint(&mut bytes, times.zero_count());
    bytes.extend(buckets.scale.to_le_bytes());
    bytes.extend(buckets.offset.to_le_bytes());
    for count in buckets.counts {
        put_varint(&mut bytes, count);
    }
    bytes
}

/// Seven bits a byte, least first; the highest bit says that more follow (LEB128).
fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{SpanId, TraceId};

    fn event(kind: &str, status: EventStatus, duration: Option<i64>, data: Value) -> Event {
        let mut event = Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), kind, 5);
        event.status = status;
        event.duration = duration;
        event.data = data.as_object().cloned().unwrap_or_default();
        event
    }

    #[test]
    fn legs_count_at_the_end_and_durations_under_their_name() {
        let mut events = [
            event(
                "workflow:completed",
                EventStatus::Success,
                Some(9),
                json!({"legs": {"a": 1_000_000, "b": -1, "c": null}, "segments": {"total": 3_000_000}}),
            ),
            event("stage:completed", EventStatus::Success, Some(2_000_000), json!({"name": "x", "stage": "T1"})),
            event("stage:failed", EventStatus::Failed, Some(4_000_000), json!({"stage": "T1"})),
            event("saga:compensated", EventStatus::Success, Some(0), json!({})),
            event("stage:started", EventStatus::Pending, Some(1), json!({})),
            event("stage:completed", EventStatus::Success, Some(-1), json!({"name": "x"})),
        ];
        for (seq, event) in events.iter_mut().enumerate() {
            event.seq = seq as u64;
        }
        let once = daily_statistics("2026-11-20", &events);
        let shown: Vec<_> = once.iter().map(|row| (row.leg.as_str(), row.count, row.max_ms)).collect();
        let expected = [("T1", 1, 4.0), ("a", 1, 1.0), ("saga:compensated", 1, 0.0), ("total", 1, 3.0), ("x", 1, 2.0)];
        assert_eq!(shown, expected);
        assert_eq!(daily_statistics("2026-11-20", events.iter().rev().chain(&events)), once);
    }

    #[test]
    fn a_sketch_holds_the_whole_histogram() {
        let mut times = Histogram::default();
        for nanos in [0, 0, 1, 17, 1_000_000, 1_000_001, u64::MAX] {
            times.record(nanos);
        }
        let bytes = write_sketch(&times);
        assert_eq!(read_sketch(&bytes), Some((2, times.buckets())));
        assert_eq!(read_sketch(&bytes[..5]), None);
        assert_eq!(read_sketch(&[]), None);
        assert_eq!(read_sketch(&[1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), None);
    }
}
