//! A journey is the merge of its checkpoints: any order, duplication or split of the same ones gives the same journey.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{sync::Arc, time::Duration};

use journey_core::{
    Checkpoint, ClockKind, CorrelationId, Limits, Outcome, Resolution, Route, RouteIndex, Routes, SourceIndex,
    StageError, Status, Tracker, Within, WithinKind, view::JourneyView,
};
use proptest::{prelude::*, sample::subsequence};

use self::support::{MILLI, SECOND, START, at_stage, legs, reached, routes, segments, tracker};

const STAGES: u16 = 12;
/// Long enough that everything of a test arrives within it.
const GRACE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits { grace: GRACE, ..Limits::default() }
}

fn message() -> Arc<Routes> {
    routes(vec![Route::message()])
}

/// One way in which checkpoints arrive: each with the time since the one before, and whether a tick comes between.
type Arrival = Vec<(Checkpoint, i64, bool)>;

/// Lets checkpoints arrive, then all waiting end.
fn arrive(tracker: &mut Tracker, arrival: &Arrival) -> i64 {
    let mut now = START + 2 * SECOND;
    for (checkpoint, later, tick) in arrival {
        now += later;
        let _ = tracker.record(checkpoint.clone(), now);
        if *tick {
            tracker.tick(now);
        }
    }
    now
}

fn view_of(routes: &Arc<Routes>, arrival: &Arrival, end: impl Fn(&mut Tracker, i64)) -> JourneyView {
    let mut tracker = tracker(routes, limits());
    let now = arrive(&mut tracker, arrival);
    end(&mut tracker, now);
    let now = now + GRACE.as_nanos() as i64;
    tracker.tick(now);
    let account = tracker.accounting();
    assert_eq!(account.offered, arrival.len() as u64);
    assert_eq!(account.offered, account.recorded + account.dropped_total());
    tracker.journey("m", None).unwrap()
}

/// A journey that has every stage is counted at once, and what comes afterwards is marked: that depends on the order.
fn without_late_marks(mut view: JourneyView) -> JourneyView {
    view.late = false;
    view.checkpoints.iter_mut().for_each(|checkpoint| checkpoint.late = false);
    view
}

/// A checkpoint of journey `m` with everything that a checkpoint can have.
fn checkpoint(stages: Vec<u16>) -> impl Strategy<Value = Checkpoint> {
    let outcome = prop_oneof![4 => Just(Outcome::Reached), 2 => Just(Outcome::Failed), 1 => Just(Outcome::Cancelled)];
    let error = prop::option::of((prop::sample::select(vec!["io", "timeout"]), prop::sample::select(vec!["", "no"])));
    let within = prop::option::of((0_u32..3, 0_u64..2));
    // Few different instants, spans and sources, so that some checkpoints are the same sighting with other details.
    let span = (prop::sample::select(vec![0_u128, 7, 8]), 0_u64..3, 0_u32..2, 0_u32..2);
    let clock = prop::sample::select(vec![ClockKind::Process, ClockKind::Platform, ClockKind::Carried]);
    let rest =
        (prop::bool::weighted(0.2), 0_u16..3, clock, prop::sample::select(vec![Resolution::Fine, Resolution::Second]));
    (prop::sample::select(stages), 0_i64..4, outcome, error, within, span, rest).prop_map(
        |(
            stage,
            step,
            outcome,
            error,
            within,
            (trace_id, span_id, busy_us, idle_us),
            (carried, source, clock, resolution),
        )| {
            let after = if stage == 0 { step } else { i64::from(stage) * 10 + step * 4 } * MILLI;
            Checkpoint {
                outcome,
                error: error.map(|(kind, message)| Box::new(StageError::new(kind, message))),
                within: within.map(|(count, nanos)| Box::new(vec![Within { kind: WithinKind::Db, count, nanos }])),
                trace_id,
                span_id,
                busy_us,
                idle_us,
                carried,
                source: SourceIndex(source),
                clock,
                resolution,
                ..reached("m", 0, stage, after)
            }
        },
    )
}

/// Two arrivals of the same checkpoints: in any order, with any duplicates, over any time within the grace.
fn two_arrivals(checkpoints: impl Strategy<Value = Vec<Checkpoint>>) -> impl Strategy<Value = (Arrival, Arrival)> {
    let arrival = |checkpoints: Vec<Checkpoint>| {
        let len = checkpoints.len();
        let again = subsequence(checkpoints.clone(), 0..=len);
        again
            .prop_flat_map(move |again| Just([checkpoints.clone(), again].concat()).prop_shuffle())
            .prop_flat_map(|all| {
                let times = prop::collection::vec((0..100 * MILLI, prop::bool::weighted(0.2)), all.len());
                (Just(all), times)
            })
            .prop_map(|(all, times)| all.into_iter().zip(times).map(|(it, (later, tick))| (it, later, tick)).collect())
    };
    checkpoints.prop_flat_map(move |checkpoints| (arrival(checkpoints.clone()), arrival(checkpoints)))
}

fn some_of(stages: Vec<u16>, most: usize) -> impl Strategy<Value = Vec<Checkpoint>> {
    prop::collection::vec(checkpoint(stages), 1..most)
}

/// At most one success of every stage, some far from where they should be.
fn single_successes() -> impl Strategy<Value = Vec<Checkpoint>> {
    let stage = |stage: u16| {
        prop::option::weighted(0.9, -30_i64..30).prop_map(move |shift| {
            let after = if stage == 0 { -100 } else { i64::from(stage) * 10 + shift.unwrap_or(0) };
            shift.map(|_| reached("m", 0, stage, after * MILLI))
        })
    };
    (0..STAGES)
        .map(stage)
        .collect::<Vec<_>>()
        .prop_map(|stages| stages.into_iter().flatten().collect::<Vec<_>>())
        .prop_filter("at least one checkpoint", |checkpoints| !checkpoints.is_empty())
}

proptest! {
    #[test]
    fn a_journey_with_a_gap_is_the_same_whatever_the_arrival(
        (one, other) in two_arrivals(some_of((0..STAGES).filter(|stage| *stage != 5).collect(), 40)),
    ) {
        let routes = message();
        let one = view_of(&routes, &one, |_, _| ());
        prop_assert!(!one.late);
        prop_assert_eq!(one, view_of(&routes, &other, |_, _| ()));
    }

    #[test]
    fn a_whole_journey_is_the_same_whatever_the_arrival(
        (one, other) in two_arrivals(some_of((0..STAGES).collect(), 20).prop_map(|more| {
            let whole = (0..STAGES).map(|stage| reached("m", 0, stage, i64::from(stage) * 10 * MILLI));
            whole.chain(more).collect()
        })),
    ) {
        let routes = message();
        let one = without_late_marks(view_of(&routes, &one, |_, _| ()));
        prop_assert_eq!(one.status.as_str(), "completed");
        prop_assert!(one.missing.is_empty());
        prop_assert_eq!(one, without_late_marks(view_of(&routes, &other, |_, _| ())));
    }

    #[test]
    fn more_sightings_than_are_kept_leave_the_same_ones_whatever_the_arrival(
        (one, other) in two_arrivals(prop::collection::vec((0_i64..100, 0_u64..3, prop::bool::weighted(0.1)), 20..80).prop_map(|all| {
            let sighting = |(after, span_id, success)| Checkpoint {
                span_id,
                outcome: if success { Outcome::Reached } else { Outcome::Failed },
                ..reached("m", 0, 4, after * MILLI)
            };
            all.into_iter().map(sighting).collect()
        })),
    ) {
        let routes = message();
        prop_assert_eq!(view_of(&routes, &one, |_, _| ()), view_of(&routes, &other, |_, _| ()));
    }

    #[test]
    fn an_open_journey_is_the_same_whatever_the_arrival((one, other) in two_arrivals(some_of((0..6).collect(), 30))) {
        let routes = routes(vec![Route::open("flow")]);
        for stage in 0..6 {
            prop_assert_eq!(routes.stage(RouteIndex(0), &format!("step_{stage}")), Some(at_stage(0, stage)));
        }
        let id = CorrelationId::new("m").unwrap();
        let end = |tracker: &mut Tracker, now| {
            assert!(tracker.finish(&id, RouteIndex(0), Status::Completed, None, now));
        };
        prop_assert_eq!(view_of(&routes, &one, end), view_of(&routes, &other, end));
    }

    #[test]
    fn a_failed_journey_is_the_same_whatever_the_arrival(
        (one, other) in two_arrivals(some_of((0..STAGES - 1).collect(), 30)),
    ) {
        let routes = message();
        let ttl = routes.get(RouteIndex(0)).ttl().as_nanos() as i64;
        let end = |tracker: &mut Tracker, now| tracker.tick(now + ttl);
        let one = view_of(&routes, &one, end);
        prop_assert!(["failed", "expired"].contains(&one.status.as_str()));
        prop_assert_eq!(one, view_of(&routes, &other, end));
    }

    #[test]
    fn the_statistics_are_the_same_whatever_the_arrival((one, other) in two_arrivals(single_successes())) {
        let counted = |arrival| {
            let mut tracker = tracker(&message(), limits());
            let now = arrive(&mut tracker, arrival) + GRACE.as_nanos() as i64;
            tracker.tick(now);
            (legs(&tracker, now), segments(&tracker, now))
        };
        prop_assert_eq!(counted(&one), counted(&other));
    }
}

#[test]
fn a_coarse_first_stage_that_comes_last_is_no_new_journey() {
    // The platform gives whole seconds; its checkpoint is the last to arrive of a journey of 400 ms.
    let first = Checkpoint { resolution: Resolution::Second, clock: ClockKind::Platform, ..reached("m", 0, 0, 0) };
    let rest = (1..STAGES).map(|stage| reached("m", 0, stage, i64::from(stage) * 40 * MILLI));
    let arrival: Arrival = rest.chain([first]).map(|checkpoint| (checkpoint, MILLI, false)).collect();
    let view = view_of(&message(), &arrival, |_, _| ());
    assert_eq!((view.generation, view.partial, view.status.as_str()), (1, false, "completed"));
}
