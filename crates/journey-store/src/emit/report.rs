//! What does the process say of what became of its events: figures, warnings, metrics?

use std::sync::Arc;

use journey_core::{Live, MetricFamily, MetricLabels, ReportSource};
use serde_json::Value;

use super::Emitter;
use crate::writer::{LossReason, WriterStats};

/// The name of the part.
const PART: &str = "writer";

impl Emitter {
    /// Shows what becomes of its events where the process shows what it knows of itself, as the part `writer`: the
    /// [`WriterStats`], their [warnings](WriterStats::warnings), and metrics. Once per emitter is enough, and a process shows
    /// one: the last.
    pub fn report_to(&self, live: &Live) {
        live.add_part(PART, Arc::new(self.clone()));
    }
}

impl ReportSource for Emitter {
    fn report(&self) -> Value {
        let stats = self.stats();
        let number = stats.emitter.to_string();
        let mut report = serde_json::to_value(stats).unwrap_or_default();
        // As text: it is a name and no figure.
        report["emitter"] = number.into();
        report
    }

    fn warnings(&self) -> Vec<String> {
        self.stats().warnings()
    }

    fn metrics(&self) -> Vec<MetricFamily> {
        metrics(&self.stats())
    }
}

/// The same account as metrics. Like it, `emitted = stored + sum(dropped) + sum(waiting)`.
fn metrics(stats: &WriterStats) -> Vec<MetricFamily> {
    let one = |count: u64| [(MetricLabels::new(), count)];
    let dropped = LossReason::ALL.map(|reason| {
        let count = stats.dropped.get(reason.as_str()).copied().unwrap_or_default();
        (vec![("journey_drop_reason", reason.as_str().to_owned())], count)
    });
    let waiting = [("memory", stats.queued), ("spill", stats.spilled)]
        .map(|(place, count)| (vec![("journey_event_place", place.to_owned())], count));
    vec![
        MetricFamily::counter(
            "journey_events_emitted",
            "Events that were emitted: stored, dropped or waiting.",
            one(stats.emitted),
        ),
        MetricFamily::counter("journey_events_stored", "Events that the store has.", one(stats.stored)),
        MetricFamily::counter(
            "journey_events_dropped",
            "Events that are not and will not be stored, by reason.",
            dropped,
        ),
        MetricFamily::gauge("journey_events_waiting", "Events that are not stored yet, by where they are.", waiting),
        MetricFamily::counter(
            "journey_events_replayed",
            "Events of earlier processes that the store got from the spill file.",
            one(stats.replayed),
        ),
        MetricFamily::counter(
            "journey_events_replay_lost",
            "Events of earlier processes that the store refused for good.",
            one(stats.replay_lost),
        ),
        MetricFamily::counter(
            "journey_events_expirations",
            "Days of events that were dropped because the retention was over.",
            one(stats.expired_days),
        ),
        MetricFamily::counter(
            "journey_events_upkeep_failed",
            "Times that the store did not recompute its statistics or drop old days.",
            one(stats.upkeep_failed),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use journey_core::{MetricKind, ReportSource};

    use super::*;
    use crate::{Event, MemoryStore};

    /// Name and labels, as Prometheus writes them, with the value.
    fn series(families: &[MetricFamily]) -> BTreeMap<String, u64> {
        let of_one = |family: &MetricFamily| {
            let name = family.name;
            let series = family.values.iter().map(move |(labels, count)| {
                let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
                (format!("{name}{{{}}}", labels.join(",")), *count)
            });
            series.collect::<Vec<_>>()
        };
        families.iter().flat_map(of_one).collect()
    }

    #[test]
    fn report_warnings_and_metrics_say_the_same_account() {
        let emitter = Emitter::builder(Arc::new(MemoryStore::new())).without_upkeep().start().unwrap();
        assert_eq!(ReportSource::warnings(&emitter), Vec::<String>::new());
        for _ in 0..5 {
            emitter.record(Event::completed("stage:process"));
        }
        emitter.record(Event::completed("process").event_type("no type at all"));
        let stats = emitter.shutdown(Duration::from_secs(5));
        emitter.record(Event::completed("stage:late"));
        assert_eq!((stats.emitted, stats.stored), (6, 5));

        let report = emitter.report();
        let dropped = serde_json::json!({ "invalid": 1, "shutdown": 1 });
        assert_eq!((&report["emitted"], &report["stored"], &report["dropped"]), (&7.into(), &5.into(), &dropped));
        assert_eq!(report["emitter"], emitter.number().to_string());
        let lost = "2 events were not stored: 1 invalid, 1 shutdown (see docs/events.md, \"What becomes of an event\")";
        assert_eq!(ReportSource::warnings(&emitter), [lost]);

        let all = series(&emitter.metrics());
        assert_eq!((all["journey_events_emitted{}"], all["journey_events_stored{}"]), (7, 5));
        for reason in LossReason::ALL.map(LossReason::as_str) {
            let lost = u64::from(["invalid", "shutdown"].contains(&reason));
            assert_eq!(all[&format!("journey_events_dropped{{journey_drop_reason={reason}}}")], lost, "{reason}");
        }
    }

    #[test]
    fn every_figure_has_its_own_series() {
        let stats = WriterStats {
            emitted: 100,
            stored: 40,
            dropped: BTreeMap::from([("queue_full".to_owned(), 30)]),
            queued: 20,
            spilled: 10,
            replayed: 7,
            replay_lost: 5,
            expired_days: 3,
            upkeep_failed: 2,
            ..WriterStats::default()
        };
        let families = metrics(&stats);
        let mut all = series(&families);
        all.retain(|_, count| *count > 0);
        let expected = [
            ("journey_events_dropped{journey_drop_reason=queue_full}", 30),
            ("journey_events_emitted{}", 100),
            ("journey_events_expirations{}", 3),
            ("journey_events_replay_lost{}", 5),
            ("journey_events_replayed{}", 7),
            ("journey_events_stored{}", 40),
            ("journey_events_upkeep_failed{}", 2),
            ("journey_events_waiting{journey_event_place=memory}", 20),
            ("journey_events_waiting{journey_event_place=spill}", 10),
        ];
        assert_eq!(all, expected.map(|(name, count)| (name.to_owned(), count)).into());
        let gauges = families.iter().filter(|family| family.kind == MetricKind::Gauge).map(|family| family.name);
        assert_eq!(gauges.collect::<Vec<_>>(), ["journey_events_waiting"]);
    }
}
