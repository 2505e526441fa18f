//! Questions over many traces.

use journey_store::{
    Analytics, AnalyticsKind, AnalyticsView, Event, EventStatus, MAX_ROWS, OTHER, SpanId, TraceId, fixture::Saga,
};
use serde_json::json;

use crate::script::{BEGIN, MILLI};

const HOUR: i64 = 3_600_000 * MILLI;

fn ask<'e>(kind: AnalyticsKind, events: impl IntoIterator<Item = &'e Event>) -> AnalyticsView {
    let mut analytics = Analytics::new(kind, HOUR);
    events.into_iter().for_each(|event| analytics.add(event));
    analytics.report()
}

/// Eight orders, an hour apart: the second, fourth, ... fails at step 9, the eighth at step 6.
fn orders() -> Vec<Event> {
    let order = |number: i64| {
        let fails_at = match number {
            8 => Some(6),
            even if even % 2 == 0 => Some(9),
            _ => None,
        };
        Saga { trace: number as u128, fails_at, begin: BEGIN + number * HOUR, ..Saga::default() }.events()
    };
    (1..=8).flat_map(order).collect()
}

#[test]
fn failure_rates_are_told_by_route_and_period_and_failures_by_stage_with_their_errors() {
    let view = ask(AnalyticsKind::Failures, &orders());
    let rate = &view.failure_rates[0];
    assert_eq!((rate.route.as_str(), rate.ended, rate.failed, rate.rate), ("order", 8, 4, Some(0.5)));
    assert_eq!((rate.period_ms, rate.periods.len()), (3_600_000.0, 8));
    let second = &rate.periods[1];
    assert_eq!((second.start.as_str(), second.ended, second.failed), ("2026-11-20T12:00:00.000Z", 1, 1));
    let stages: Vec<_> = view.failures_by_stage.iter().map(|one| (one.stage.as_str(), one.ended, one.failed)).collect();
    assert_eq!(stages, [("capture_payment", 7, 3), ("authorise_payment", 8, 1)], "only what failed, the worst first");
    let error = serde_json::to_value(&view.failures_by_stage[0].errors).unwrap();
    let example = "no answer from the bank within 180 ms";
    assert_eq!(error, json!([{"type": "PaymentTimeout", "count": 3, "example": example}]));
    assert!(view.notes.is_empty() && view.slowest_stages.is_empty());
}

#[test]
fn too_many_periods_become_longer_ones_and_nothing_is_lost() {
    let ends = (0..3_000).map(|hour| {
        let mut event =
            Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "workflow:failed", BEGIN + hour * HOUR);
        event.status = if hour % 3 == 0 { EventStatus::Failed } else { EventStatus::Success };
        event
    });
    let events: Vec<Event> = ends.collect();
    let rate = &ask(AnalyticsKind::Failures, &events).failure_rates[0];
    assert_eq!((rate.ended, rate.failed, rate.period_ms), (3_000, 1_000, 8.0 * 3_600_000.0));
    assert!(rate.periods.len() <= 500 && rate.periods.iter().map(|period| period.ended).sum::<u64>() == 3_000);
    let backwards = ask(AnalyticsKind::Failures, events.iter().rev());
    assert_eq!(&backwards.failure_rates[0], rate, "the order makes no difference");
}

#[test]
fn the_slowest_stage_comes_first_with_its_percentiles() {
    let view = ask(AnalyticsKind::Stages, &orders());
    let names: Vec<&str> = view.slowest_stages.iter().map(|one| one.stage.as_str()).collect();
    assert_eq!(names[..3], ["check_fraud", "choose_shipping_route", "book_carrier"]);
    let slowest = &view.slowest_stages[0];
    assert_eq!((slowest.count, slowest.failed, slowest.mean_ms, slowest.p95_ms), (8, 0, 520.005, 520.005));
    let capture = view.slowest_stages.iter().find(|one| one.stage == "capture_payment").unwrap();
    assert_eq!((capture.count, capture.failed, capture.max_ms), (7, 3, 180.005));
    assert!(names.iter().all(|name| !name.contains("release") && *name != "order"), "{names:?}");
}

#[test]
fn compensation_rates_count_traces_and_work_counts_compensations() {
    let view = ask(AnalyticsKind::Compensations, &orders());
    let rate = serde_json::to_value(&view.compensation_rates).unwrap();
    let expected = json!([{"route": "order", "traces": 8, "failed": 4, "compensated": 4, "rate": 0.5,
        "withFailedCompensation": 4, "failureRate": 1.0}]);
    assert_eq!(rate, expected);
    let work: Vec<_> =
        view.compensated_work.iter().map(|one| (one.compensation.as_str(), one.ended, one.failed)).collect();
    let expected =
        [("release_stock", 4, 4), ("cancel_carrier", 3, 0), ("cancel_shipment", 3, 0), ("void_authorisation", 3, 0)];
    assert_eq!(work, expected);
    assert_eq!(view.compensated_work[0].mean_ms, Some(40.0));
    assert_eq!(view.compensated_work[0].example.as_deref(), Some("warehouse-2 did not answer"));
}

#[test]
fn decisions_are_told_with_how_their_workflows_ended() {
    let mut events = orders();
    // Of the first order, no end is known, and one asks for a review.
    events.retain(|event| !(event.trace_id == TraceId::new(1).unwrap() && event.event_type == "workflow:completed"));
    for event in events.iter_mut().filter(|event| event.trace_id == TraceId::new(2).unwrap()) {
        if event.data.get("chosen") == Some(&json!("pass")) {
            event.data.insert("chosen".to_owned(), json!("review"));
            event.data.remove("confidence");
        }
    }
    let view = ask(AnalyticsKind::Decisions, &events);
    let rows: Vec<_> = view
        .decision_outcomes
        .iter()
        .map(|one| (one.decision.as_str(), one.chosen.as_str(), one.count, one.succeeded, one.failed, one.pending))
        .collect();
    let expected = [
        ("shipping_route", "air", 8, 3, 4, 1),
        ("fraud_check", "pass", 7, 3, 3, 1),
        ("fraud_check", "review", 1, 0, 1, 0),
    ];
    assert_eq!(rows, expected);
    let [air, pass, review] = view.decision_outcomes.try_into().unwrap();
    assert!((air.mean_confidence.unwrap() - 0.82).abs() < 1e-9 && air.failure_rate == Some(4.0 / 7.0));
    assert_eq!((pass.failure_rate, review.mean_confidence), (Some(0.5), None));
}

#[test]
fn every_question_is_answered_the_same_in_any_order() {
    let events = orders();
    for kind in AnalyticsKind::ALL {
        let (forwards, backwards) = (ask(kind, &events), ask(kind, events.iter().rev()));
        assert_eq!(without_rounding(forwards), without_rounding(backwards), "{kind}");
    }
}

/// Sums of fractions depend on the order in their last digit.
fn without_rounding(mut view: AnalyticsView) -> AnalyticsView {
    for row in &mut view.decision_outcomes {
        row.mean_confidence = row.mean_confidence.map(|mean| (mean * 1e9).round() / 1e9);
    }
    view
}

#[test]
fn names_without_end_are_folded_and_said_aloud() {
    let stage = |number: u64| {
        let mut event = Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "stage:failed", BEGIN);
        event.status = EventStatus::Failed;
        event.duration = Some(MILLI);
        event.seq = number;
        // One stage comes back again and again.
        let name = if number.is_multiple_of(2) { "often".to_owned() } else { format!("s{number}") };
        event.data.insert("name".to_owned(), json!(name));
        event.data.insert("error".to_owned(), json!({"type": format!("E{number}")}));
        event
    };
    let events: Vec<Event> = (0..10_000).map(stage).collect();
    let failures = ask(AnalyticsKind::Failures, &events);
    let rows = &failures.failures_by_stage;
    assert_eq!((rows.len(), rows[0].stage.as_str(), rows[0].failed), (MAX_ROWS + 1, "often", 5_000));
    assert_eq!((rows[MAX_ROWS].stage.as_str(), rows.iter().map(|row| row.failed).sum::<u64>()), (OTHER, 10_000));
    assert_eq!((rows[0].errors.len(), rows[0].errors[20].error_type.as_str()), (21, OTHER));
    assert!(failures.notes[0].starts_with("stages: more than 1000 rows"), "{:?}", failures.notes);
    let stages = ask(AnalyticsKind::Stages, &events);
    assert_eq!(stages.slowest_stages.iter().map(|row| row.count).sum::<u64>(), 10_000);
    assert_eq!(stages.slowest_stages.len(), MAX_ROWS + 1);
}

#[test]
fn kinds_are_named() {
    for kind in AnalyticsKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    let error = "failure\u{1b}".parse::<AnalyticsKind>().unwrap_err().to_string();
    let expected =
        "`failure\\u{1b}` is no kind of analytics (try `failures`, `stages`, `compensations` or `decisions`)";
    assert_eq!(error, expected);
}
