//! The table of cases in the model, each as data through the tracker alone: time is a number here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{sync::Arc, time::Duration};

use journey_core::{
    Checkpoint, ClockKind, CorrelationId, DropReason, Journey, Limits, ListQuery, Outcome, Presence, Resolution, Route,
    RouteIndex, Routes, Source, Sources, StageError, StageIndex, StageRef, Status, TraceIdKey, Tracker, Window,
    view::JourneyView,
};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;
/// 2026-11-20T10:00:00Z.
const T: i64 = 1_795_168_800 * SECOND;

/// A tracker and its time, in milliseconds after [`T`].
struct Bench {
    tracker: Tracker,
    now: i64,
    finished: Vec<Journey>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        Self::with(Routes::default(), limits)
    }

    fn with(routes: Routes, limits: Limits) -> Self {
        let own = Source {
            service: "gateway".to_owned(),
            instance: "gateway-1".to_owned(),
            clock_domain: "host-a".to_owned(),
            ..Source::default()
        };
        let tracker = Tracker::new(Arc::new(routes), Sources::new(own), limits, TraceIdKey::default(), T);
        Self { tracker, now: T, finished: Vec::new() }
    }

    /// Lets the time be `ms` after the start.
    fn at(&mut self, ms: i64) -> &mut Self {
        self.now = T + ms * MS;
        self.tracker.tick(self.now);
        self.finished.extend(self.tracker.take_finished());
        self
    }

    fn offer(&mut self, checkpoint: Checkpoint) -> Result<(), DropReason> {
        let result = self.tracker.record(checkpoint, self.now);
        self.finished.extend(self.tracker.take_finished());
        result
    }

    /// Reaches stages of journey `id`, each at its milliseconds.
    fn reach(&mut self, id: &str, stages: &[(u16, i64)]) -> &mut Self {
        for (stage, ms) in stages {
            self.offer(reached(id, *stage, *ms)).unwrap();
        }
        self
    }

    fn view(&self, id: &str) -> JourneyView {
        self.tracker.journey(id, None).unwrap()
    }

    fn leg_count(&self, leg: &str) -> u64 {
        let summary = self.tracker.summary(None, Window::Start, self.now);
        summary.routes[0].legs.iter().find(|l| l.name == leg).unwrap().stats.count
    }

    /// The identities that always hold.
    fn check(&self) {
        let accounting = self.tracker.accounting();
        assert_eq!(accounting.offered, accounting.recorded + accounting.dropped_total());
        let view = self.tracker.self_view(self.now).journeys;
        assert_eq!(view.started, view.active + view.completed + view.failed + view.expired + view.evicted);
    }
}

fn at_stage(stage: u16) -> StageRef {
    StageRef { route: RouteIndex(0), stage: StageIndex(stage) }
}

fn reached(id: &str, stage: u16, ms: i64) -> Checkpoint {
    Checkpoint::reached(CorrelationId::new(id).unwrap(), at_stage(stage), T + ms * MS)
}

fn failed(id: &str, stage: u16, ms: i64, message: &str) -> Checkpoint {
    let error = Some(Box::new(StageError::new("timeout", message)));
    Checkpoint { outcome: Outcome::Failed, error, ..reached(id, stage, ms) }
}

/// Every stage of the message route, with the instants of the example in the model.
const WHOLE: [(u16, i64); 12] = [
    (0, 0),
    (1, 52),
    (2, 75),
    (3, 90),
    (4, 217),
    (5, 240),
    (6, 263),
    (7, 2105),
    (8, 2120),
    (9, 2150),
    (10, 2200),
    (11, 2255),
];

fn legs(view: &JourneyView) -> String {
    let one = |l: &journey_core::view::LegView| format!("{} {} {}", l.name, l.ms, l.quality);
    view.legs.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_whole_journey_has_every_leg_and_segment_and_names_its_bottleneck() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("msg_abc123", &WHOLE);
    let view = bench.view("msg_abc123");
    assert_eq!((view.status.as_str(), view.partial, view.late), ("completed", false, false));
    assert_eq!(
        legs(&view),
        "channel_processing 52 exact, event_publish 23 exact, bus_delivery 15 exact, db_write 127 exact, \
         agent_notification 23 exact, agent_queue 23 exact, agent_processing 1842 exact, api_request 15 exact, \
         outbound_publish 30 exact, outbound_delivery 50 exact, platform_send 55 exact"
    );
    let segments: Vec<String> = view.segments.iter().map(|s| format!("{} {}", s.name, s.ms)).collect();
    assert_eq!(segments, ["inbound 263", "agent 1842", "outbound 150", "round_trip 2255"]);
    let bottleneck = view.bottleneck.unwrap();
    assert_eq!(
        (bottleneck.segment.as_str(), bottleneck.leg.as_str(), bottleneck.stage.as_str()),
        ("inbound", "db_write", "T4")
    );
    assert_eq!(format!("{:.2}", bottleneck.share_of_segment), "0.48");
    assert_eq!(view.timings["dbStoredAt"], (T + 217 * MS) / MS);
    assert_eq!(
        (view.started_at.as_deref(), view.finished_at.as_deref()),
        (Some("2026-11-20T10:00:00.000Z"), Some("2026-11-20T10:00:02.255Z"))
    );
    assert_eq!((view.missing.len(), view.deviations.len()), (0, 0));
    // Nothing is missing, so nothing is waited for.
    assert_eq!(bench.finished.len(), 1);
    bench.check();
}

#[test]
fn the_order_of_arrival_never_matters() {
    let mut forward = Bench::new(Limits::default());
    forward.reach("m", &WHOLE);
    let mut backward = Bench::new(Limits::default());
    let mut stages = WHOLE;
    stages.reverse();
    backward.reach("m", &stages);
    assert_eq!(forward.view("m"), backward.view("m"));
    assert_eq!(forward.leg_count("db_write"), 1);
    assert_eq!(backward.leg_count("db_write"), 1);
    // The terminal stage came first and the rest within the grace: nothing is late, and it is exported once, whole.
    assert_eq!(backward.finished.len(), 1);
    assert_eq!(backward.finished[0].stages(&Routes::default()).len(), 12);
}

#[test]
fn of_several_sightings_the_first_success_stands_and_each_is_an_attempt() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(3, 0), (4, 300), (4, 100), (4, 200)]);
    let view = bench.view("m");
    let stored = &view.checkpoints[1];
    assert_eq!((stored.attempts, stored.offset_ms, stored.retry_ms), (3, 100.0, None));
    assert_eq!(view.deviations, ["too_often: T4 (3, at most 1)"]);
    assert_eq!(bench.offer(reached("m", 4, 100)), Err(DropReason::Duplicate));
    bench.check();
}

#[test]
fn a_failed_stage_is_an_attempt_and_counts_as_reached_only_by_a_success() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(3, 0)]);
    bench.offer(failed("m", 4, 50, "disk is slow")).unwrap();
    let view = bench.view("m");
    assert_eq!((view.legs.len(), view.checkpoints[1].outcome.as_str()), (0, "failed"));
    assert_eq!(view.checkpoints[1].error.as_ref().unwrap().message, "disk is slow");
    bench.reach("m", &[(4, 170)]);
    let view = bench.view("m");
    let stored = &view.checkpoints[1];
    // First-attempt wait 50 ms, then 120 ms of retrying: told apart.
    assert_eq!((stored.outcome.as_str(), stored.attempts, stored.retry_ms), ("reached", 2, Some(120.0)));
    assert_eq!(stored.error.as_ref().unwrap().kind, "timeout");
    assert_eq!(legs(&view), "db_write 170 exact");
}

#[test]
fn a_stage_that_failed_for_good_fails_the_journey_when_its_time_is_over() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(3, 0)]);
    bench.offer(failed("m", 4, 50, "disk is gone")).unwrap();
    bench.at(299_000);
    assert_eq!(bench.view("m").status, "active");
    bench.at(300_000);
    let view = bench.view("m");
    assert_eq!((view.status.as_str(), view.reason.as_deref()), ("failed", Some("db_stored failed: disk is gone")));
    bench.check();
}

#[test]
fn without_checkpoints_for_the_ttl_a_journey_expires() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(0, 0), (1, 10)]);
    bench.at(200_000).reach("m", &[(2, 200_000)]);
    bench.at(499_999);
    assert_eq!(bench.view("m").status, "active");
    bench.at(500_000);
    assert_eq!(bench.view("m").status, "expired");
    assert_eq!(bench.finished.len(), 1);
    bench.check();
}

#[test]
fn a_gap_is_named_and_never_guessed() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(0, 0), (1, 10), (2, 20), (4, 50), (5, 60), (6, 70)]);
    let view = bench.view("m");
    assert_eq!(view.missing, ["T3"]);
    assert_eq!(
        legs(&view),
        "channel_processing 10 exact, event_publish 10 exact, agent_notification 10 exact, agent_queue 10 exact"
    );
    assert_eq!(view.segments[0].ms, 70.0);
}

#[test]
fn without_the_first_stage_legs_count_and_segments_that_need_it_do_not() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &WHOLE[1..]);
    let view = bench.view("m");
    assert!(view.partial);
    assert_eq!(view.missing, ["T0"]);
    let segments: Vec<&str> = view.segments.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(segments, ["agent", "outbound"]);
    assert_eq!((bench.leg_count("channel_processing"), bench.leg_count("event_publish")), (0, 1));
}

#[test]
fn a_late_checkpoint_amends_while_the_journey_is_retained_and_is_dropped_afterwards() {
    let mut bench = Bench::new(Limits::default());
    let without_t4: Vec<_> = WHOLE.into_iter().filter(|(stage, _)| *stage != 4).collect();
    bench.reach("m", &without_t4).at(2_000);
    assert_eq!(bench.finished.len(), 1);
    assert!(!bench.view("m").late);
    bench.reach("m", &[(4, 217)]);
    let view = bench.view("m");
    assert!(view.late && view.checkpoints[4].late && !view.checkpoints[3].late);
    assert_eq!((view.missing.len(), bench.leg_count("db_write"), bench.leg_count("bus_delivery")), (0, 1, 1));
    // Exported once; what came later is not sent again under the same ids.
    bench.at(300_000);
    assert_eq!(bench.finished.len(), 1);
    bench.at(302_500);
    assert_eq!(bench.offer(reached("m", 9, 2151)), Err(DropReason::Late));
    assert_eq!(bench.tracker.accounting().dropped(DropReason::Late), 1);
    bench.check();
}

#[test]
fn an_id_used_again_after_its_end_is_a_new_generation() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &WHOLE);
    bench.at(10_000).reach("m", &[(0, 9_000), (1, 9_010)]);
    let newest = bench.view("m");
    assert_eq!((newest.generation, newest.status.as_str(), newest.other_generations.clone()), (2, "active", vec![1]));
    let first = bench.tracker.journey("m", Some(1)).unwrap();
    assert_eq!((first.status.as_str(), first.other_generations), ("completed", vec![2]));
    assert_ne!(first.trace_id, newest.trace_id);
    assert_eq!(bench.tracker.journey("m", Some(3)), None);
    // The first stage of the first generation once more is only a duplicate of what was seen.
    let mut again = Bench::new(Limits::default());
    again.reach("m", &WHOLE);
    assert_eq!(again.at(5_000).offer(reached("m", 0, 0)), Err(DropReason::Duplicate));
    bench.check();
}

#[test]
fn a_generation_is_remembered_when_the_journey_before_is_gone() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &WHOLE).at(310_000);
    assert_eq!(bench.tracker.journey("m", None), None);
    bench.reach("m", &[(0, 310_000)]);
    assert_eq!(bench.view("m").generation, 2);
}

#[test]
fn equal_instants_are_a_leg_of_zero() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(3, 5), (4, 5)]);
    assert_eq!(legs(&bench.view("m")), "db_write 0 exact");
    assert_eq!(bench.leg_count("db_write"), 1);
}

#[test]
fn a_negative_leg_is_shown_as_measured_counted_as_skew_and_in_no_histogram() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(2, 20), (3, 17)]);
    let view = bench.view("m");
    assert_eq!(legs(&view), "bus_delivery -3 skewed");
    assert_eq!(view.deviations, ["out_of_sequence: T3 before T2"]);
    let summary = bench.tracker.summary(None, Window::Start, bench.now);
    let leg = summary.routes[0].legs.iter().find(|l| l.name == "bus_delivery").unwrap();
    assert_eq!((leg.stats.count, leg.skewed), (0, 1));
}

#[test]
fn the_quality_of_a_leg_says_whose_clocks_it_is_from() {
    let mut bench = Bench::new(Limits::default());
    let sources = Sources::new(Source { clock_domain: "host-a".to_owned(), ..Source::default() });
    let far = sources.intern(Source { clock_domain: "host-b".to_owned(), ..Source::default() });
    let routes = Arc::new(Routes::default());
    bench.tracker = Tracker::new(routes, sources, Limits::default(), TraceIdKey::default(), T);
    let platform = |resolution| Checkpoint { clock: ClockKind::Platform, resolution, ..reached("m", 0, 0) };
    bench.offer(platform(Resolution::Second)).unwrap();
    bench.reach("m", &[(1, 52), (2, 60)]);
    bench.offer(Checkpoint { source: far, ..reached("m", 3, 70) }).unwrap();
    bench.offer(Checkpoint { clock: ClockKind::Carried, carried: true, ..reached("m", 4, 80) }).unwrap();
    let view = bench.view("m");
    assert_eq!(
        legs(&view),
        "channel_processing 52 coarse, event_publish 8 exact, bus_delivery 10 cross_clock, db_write 10 cross_clock"
    );
    let uncertainty: Vec<Option<f64>> = view.legs.iter().map(|l| l.uncertainty_ms).collect();
    assert_eq!(uncertainty, [Some(1000.0), None, None, None]);
    // A leg whose end was carried here is counted by the process that saw it.
    assert_eq!((bench.leg_count("bus_delivery"), bench.leg_count("db_write")), (1, 0));
}

#[test]
fn beyond_the_limit_the_journey_idle_longest_is_evicted_and_its_checkpoints_are_losses() {
    let mut bench = Bench::new(Limits { max_active: 2, ..Limits::default() });
    bench.reach("a", &[(0, 0), (1, 1)]).at(10).reach("b", &[(0, 10)]).at(20).reach("a", &[(2, 20)]);
    bench.at(30).reach("c", &[(0, 30)]);
    assert!(bench.tracker.journey("b", None).is_none());
    assert_eq!(bench.tracker.active(), 2);
    let accounting = bench.tracker.accounting();
    assert_eq!((accounting.offered, accounting.recorded, accounting.dropped(DropReason::Evicted)), (5, 4, 1));
    // What comes for it later would look like a journey with a gap.
    assert_eq!(bench.offer(reached("b", 1, 31)), Err(DropReason::Evicted));
    bench.check();
}

#[test]
fn a_flood_of_ids_that_never_finish_stays_at_the_bound() {
    let mut bench = Bench::new(Limits { max_active: 100, max_finished: 50, ..Limits::default() });
    for number in 0..10_000 {
        bench.at(number).reach(&format!("flood_{number}"), &[(1, number)]);
    }
    assert_eq!(bench.tracker.active(), 100);
    assert_eq!(bench.tracker.accounting().dropped(DropReason::Evicted), 9_900);
    bench.check();
}

#[test]
fn finished_journeys_are_bounded_by_count_and_by_time() {
    let mut bench = Bench::new(Limits { max_finished: 10, ..Limits::default() });
    for number in 0..25 {
        bench.reach(&format!("m{number}"), &WHOLE);
    }
    assert_eq!(bench.tracker.self_view(bench.now).retained, 10);
    assert!(bench.tracker.journey("m14", None).is_none());
    assert!(bench.tracker.journey("m15", None).is_some());
    assert_eq!(bench.finished.len(), 25);
    bench.at(300_001);
    assert_eq!(bench.tracker.self_view(bench.now).retained, 0);
    bench.check();
}

#[test]
fn a_journey_without_progress_is_stuck_until_it_moves() {
    let mut bench = Bench::new(Limits::default());
    bench.tracker.collect_events(true);
    bench.reach("m", &[(0, 0), (1, 10)]).at(29_999);
    assert!(!bench.view("m").stuck);
    bench.at(30_000);
    assert!(bench.view("m").stuck);
    let summary = bench.tracker.summary(None, Window::Start, bench.now);
    let stuck = &summary.routes[0].stuck[0];
    assert_eq!((stuck.correlation_id.as_str(), stuck.stage.as_str(), stuck.idle_ms), ("m", "T1", 30_000.0));
    let listed = bench.tracker.list(&ListQuery { stuck: true, ..ListQuery::default() }, bench.now).unwrap();
    assert_eq!(listed.journeys.len(), 1);
    assert_eq!(bench.tracker.metrics(bench.now).stuck[1].2, 1);
    let kinds: Vec<&str> = bench.tracker.take_events().iter().map(|event| event.kind()).collect();
    assert_eq!(kinds, ["checkpoint", "checkpoint", "stuck"]);
    bench.reach("m", &[(2, 30_000)]);
    assert!(!bench.view("m").stuck);
    assert_eq!(bench.tracker.metrics(bench.now).stuck.iter().map(|s| s.2).sum::<u64>(), 0);
    bench.check();
}

#[test]
fn an_explicit_failure_ends_a_journey_with_its_reason() {
    let mut bench = Bench::new(Limits::default());
    bench.reach("m", &[(0, 0)]);
    let id = CorrelationId::new("m").unwrap();
    assert!(bench.tracker.finish(&id, RouteIndex(0), Status::Failed, Some("user blocked us"), bench.now));
    assert!(!bench.tracker.finish(&id, RouteIndex(0), Status::Completed, None, bench.now));
    bench.at(1_000);
    let view = bench.view("m");
    assert_eq!((view.status.as_str(), view.reason.as_deref()), ("failed", Some("user blocked us")));
    assert_eq!(bench.finished.len(), 1);
    bench.check();
}

#[test]
fn a_stage_or_route_that_does_not_exist_is_refused() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.offer(reached("m", 12, 0)), Err(DropReason::UnknownStage));
    let nowhere = StageRef { route: RouteIndex(9), stage: StageIndex(0) };
    let id = CorrelationId::new("m").unwrap();
    assert_eq!(bench.offer(Checkpoint::reached(id, nowhere, T)), Err(DropReason::UnknownStage));
    bench.check();
}

#[test]
fn sightings_of_one_stage_are_bounded_and_the_first_success_stays() {
    let mut bench = Bench::new(Limits::default());
    for ms in 0..100 {
        let _ = bench.offer(failed("m", 4, ms, "no"));
    }
    assert_eq!(bench.offer(reached("m", 4, 500)), Err(DropReason::AttemptsLimit));
    let view = bench.view("m");
    assert_eq!((view.checkpoints[0].outcome.as_str(), view.checkpoints[0].attempts), ("reached", 32));
    assert_eq!(bench.tracker.accounting().dropped(DropReason::AttemptsLimit), 69);
    bench.check();
}

#[test]
fn an_open_route_has_a_leg_from_each_stage_to_the_next_in_time() {
    let mut bench = Bench::with(Routes::new(vec![Route::open("flow")]).unwrap(), Limits::default());
    let routes = Routes::new(vec![Route::open("flow")]).unwrap();
    let mut tracker = {
        let routes = Arc::new(routes);
        let tracker = Tracker::new(
            Arc::clone(&routes),
            Sources::new(Source::default()),
            Limits::default(),
            TraceIdKey::default(),
            T,
        );
        for name in ["asked", "queued", "answered"] {
            routes.stage(RouteIndex(0), name).unwrap();
        }
        tracker
    };
    std::mem::swap(&mut bench.tracker, &mut tracker);
    bench.reach("m", &[(0, 0), (2, 50), (1, 20)]);
    let id = CorrelationId::new("m").unwrap();
    assert!(bench.tracker.finish(&id, RouteIndex(0), Status::Completed, None, bench.now));
    bench.at(1_000);
    let view = bench.view("m");
    assert_eq!(legs(&view), "queued 20 exact, answered 30 exact");
    assert_eq!((bench.leg_count("queued"), bench.leg_count("answered")), (1, 1));
    assert_eq!((view.total_ms, view.partial), (Some(50.0), false));
}

#[test]
fn a_repeatable_stage_may_repeat_and_an_optional_one_may_be_absent() {
    let route = Route::builder("r")
        .stage("A", "first", |s| s)
        .stage("B", "chunk", |s| s.presence(Presence::Repeatable(3)))
        .stage("C", "cache", |s| s.presence(Presence::Optional))
        .stage("D", "last", |s| s)
        .terminal("last")
        .build()
        .unwrap();
    let mut bench = Bench::with(Routes::new(vec![route]).unwrap(), Limits::default());
    bench.reach("m", &[(0, 0), (1, 1), (1, 2), (1, 3), (3, 9)]);
    let view = bench.view("m");
    assert_eq!((view.status.as_str(), view.missing.len(), view.deviations.len()), ("completed", 0, 0));
    bench.reach("m", &[(1, 4)]);
    assert_eq!(bench.view("m").deviations, ["too_often: B (4, at most 3)"]);
}

#[test]
fn a_list_is_paged_without_gaps_or_repeats() {
    let mut bench = Bench::new(Limits::default());
    for number in 0..25 {
        bench.reach(&format!("m{number}"), &[(0, 0), (1, (number * 7) % 25)]);
    }
    for slowest in [false, true] {
        let mut query = ListQuery { slowest, limit: 10, ..ListQuery::default() };
        let mut seen = Vec::new();
        loop {
            let page = bench.tracker.list(&query, bench.now).unwrap();
            seen.extend(page.journeys.into_iter().map(|j| (j.total_ms.unwrap(), j.correlation_id)));
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!(seen.len(), 25);
        if slowest {
            assert!(seen.windows(2).all(|pair| pair[0].0 >= pair[1].0), "{seen:?}");
        } else {
            assert_eq!((seen[0].1.as_str(), seen[24].1.as_str()), ("m24", "m0"));
        }
    }
    for (query, expected) in [
        (ListQuery { cursor: Some("x".to_owned()), ..ListQuery::default() }, "`x` is not a cursor"),
        (
            ListQuery { route: Some("mesage".to_owned()), ..ListQuery::default() },
            "`mesage` is not an active route (there are: message)",
        ),
        (ListQuery { stage: Some("T99".to_owned()), ..ListQuery::default() }, "`T99` is not a stage"),
    ] {
        let error = bench.tracker.list(&query, bench.now).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_summary_names_the_bottlenecks_and_adds_up() {
    let mut bench = Bench::new(Limits::default());
    for number in 0..100 {
        bench.reach(&format!("m{number}"), &WHOLE);
    }
    bench.at(1_000);
    let summary = bench.tracker.summary(Some(RouteIndex(0)), Window::FiveMinutes, bench.now);
    let route = &summary.routes[0];
    assert_eq!((route.journeys.started, route.journeys.completed, route.journeys.active), (100, 100, 0));
    assert_eq!(route.throughput_per_second, 100.0);
    let rows: Vec<String> =
        route.bottlenecks.iter().map(|b| format!("{} {} {:.0}", b.segment, b.leg, b.at_p95_ms)).collect();
    assert_eq!(
        rows,
        [
            "inbound db_write 127",
            "outbound platform_send 55",
            "round_trip agent_processing 1842",
            "round_trip db_write 127",
            "round_trip platform_send 55"
        ]
    );
    let db = route.legs.iter().find(|l| l.name == "db_write").unwrap();
    for quantile in [db.stats.p50_ms, db.stats.p95_ms, db.stats.p99_ms] {
        assert!((quantile.unwrap() / 127.0 - 1.0).abs() < 0.0054, "{quantile:?}");
    }
    let trip = route.segments.iter().find(|s| s.name == "round_trip").unwrap();
    assert_eq!((trip.stats.count, trip.stats.max_ms), (100, Some(2255.0)));
    // Five minutes later the window is empty, and since start nothing is forgotten.
    bench.at(400_000);
    let later = bench.tracker.summary(None, Window::FiveMinutes, bench.now);
    assert_eq!(later.routes[0].legs[3].stats.count, 0);
    assert_eq!(bench.leg_count("db_write"), 100);
}

#[test]
fn an_end_in_whole_seconds_is_never_called_the_bottleneck_while_others_are_known_better() {
    let mut bench = Bench::new(Limits::default());
    let mut shifted = WHOLE;
    shifted.iter_mut().skip(1).for_each(|(_, ms)| *ms += 900);
    for number in 0..30 {
        let (id, fine) = (format!("m{number}"), number % 3 == 0);
        let (stages, resolution) = if fine { (WHOLE, Resolution::Fine) } else { (shifted, Resolution::Second) };
        bench.offer(Checkpoint { clock: ClockKind::Platform, resolution, ..reached(&id, 0, 0) }).unwrap();
        bench.reach(&id, &stages[1..]);
    }
    let coarse = bench.view("m1");
    assert_eq!((coarse.legs[0].ms, coarse.bottleneck.unwrap().leg.as_str()), (952.0, "db_write"));
    let summary = bench.tracker.summary(None, Window::Start, bench.now);
    let inbound = &summary.routes[0].bottlenecks[0];
    assert_eq!((inbound.leg.as_str(), inbound.journeys), ("db_write", 10));
    assert!(inbound.sentence.ends_with("(20 with an end in whole seconds are left out)"), "{}", inbound.sentence);
    assert_eq!((summary.routes[0].legs[0].coarse, summary.routes[0].segments[0].coarse), (20, 20));
}

#[test]
fn operations_are_bounded_by_name() {
    let mut bench = Bench::new(Limits { stuck_after: Duration::from_secs(1), ..Limits::default() });
    for number in 0..300 {
        bench.tracker.operation(&format!("op{number}"), 1_000_000, bench.now);
    }
    let summary = bench.tracker.summary(None, Window::Start, bench.now);
    assert_eq!(summary.operations.len(), 257);
    let other = summary.operations.iter().find(|o| o.name == "other").unwrap();
    assert_eq!(other.stats.count, 44);
    assert_eq!(bench.tracker.metrics(bench.now).overflowed, 44);
}
