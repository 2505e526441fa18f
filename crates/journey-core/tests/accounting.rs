//! Nothing disappears: whatever is offered is recorded or dropped for a reason, and every journey ends exactly once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use journey_core::{
    Checkpoint, CorrelationId, DropReason, Limits, ListQuery, Outcome, Route, RouteIndex, Routes, StageIndex, Status,
    Tracker, Window,
};
use proptest::prelude::*;

use self::support::{MILLI, SECOND, START, legs, reached, routes, tracker};

const MAX_ACTIVE: usize = 3;
const MAX_FINISHED: usize = 3;
const OPEN: u8 = 2;

fn limits() -> Limits {
    Limits {
        max_active: MAX_ACTIVE,
        max_finished: MAX_FINISHED,
        retention: Duration::from_secs(10),
        grace: Duration::from_secs(1),
        stuck_after: Duration::from_secs(2),
    }
}

/// Two declared routes of three and two stages, and an open one.
fn small_routes() -> Arc<Routes> {
    let three = Route::builder("three").stage("A", "a", |s| s).stage("B", "b", |s| s).stage("C", "c", |s| s);
    let three = three.segment("whole", "a", "c").terminal("c").ttl(Duration::from_secs(5)).build().unwrap();
    let two = Route::builder("two").stage("D", "d", |s| s).stage("E", "e", |s| s).terminal("e");
    let two = two.ttl(Duration::from_secs(60)).build().unwrap();
    let routes = routes(vec![three, two, Route::open("flow")]);
    for name in ["x", "y", "z"] {
        routes.stage(RouteIndex(OPEN), name).unwrap();
    }
    routes
}

#[derive(Clone, Debug)]
enum Step {
    Record { id: u8, route: u8, stage: u16, shift: i64, outcome: Outcome, carried: bool },
    Finish { id: u8, route: u8, status: Status },
    Lost(DropReason, u64),
    Operation(u8),
    Wait(i64),
    Tick,
    Read,
    Take,
    SettleAll,
}

fn id(number: u8) -> CorrelationId {
    CorrelationId::new(&format!("m{number}")).unwrap()
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![6 => Just(Outcome::Reached), 2 => Just(Outcome::Failed), 1 => Just(Outcome::Cancelled)];
    let record = (0_u8..7, 0_u8..3, 0_u16..4, -2_000_i64..2_000, outcome, prop::bool::weighted(0.1)).prop_map(
        |(id, route, stage, shift, outcome, carried)| Step::Record { id, route, stage, shift, outcome, carried },
    );
    let status = prop::sample::select(vec![Status::Active, Status::Completed, Status::Failed, Status::Expired]);
    let finish = (0_u8..7, 0_u8..3, status).prop_map(|(id, route, status)| Step::Finish { id, route, status });
    let wait = prop_oneof![8 => 0..2 * SECOND, 2 => 0..20 * SECOND, 1 => 0..7_200 * SECOND];
    prop_oneof![
        20 => record,
        3 => finish,
        1 => (prop::sample::select(DropReason::ALL.to_vec()), 0_u64..5).prop_map(|(reason, count)| Step::Lost(reason, count)),
        1 => (0_u8..3).prop_map(Step::Operation),
        6 => wait.prop_map(Step::Wait),
        4 => Just(Step::Tick),
        1 => Just(Step::Read),
        2 => Just(Step::Take),
        1 => Just(Step::SettleAll),
    ]
}

/// A tracker, and what it must not contradict.
struct Watched {
    tracker: Tracker,
    now: i64,
    offered: u64,
    refused: u64,
    /// How many finished journeys were handed out.
    taken: usize,
}

impl Watched {
    fn new() -> Self {
        Self { tracker: tracker(&small_routes(), limits()), now: START, offered: 0, refused: 0, taken: 0 }
    }

    fn take(&mut self, step: &Step) {
        let (tracker, now) = (&mut self.tracker, self.now);
        match step {
            Step::Record { id: number, route, stage, shift, outcome, carried } => {
                let at = now - START + shift * MILLI;
                let checkpoint =
                    Checkpoint { outcome: *outcome, carried: *carried, ..reached("m", *route, *stage, at) };
                self.offered += 1;
                if tracker.record(Checkpoint { id: id(*number), ..checkpoint }, now).is_err() {
                    self.refused += 1;
                }
            }
            Step::Finish { id: number, route, status } => {
                let before = tracker.active();
                let ended = tracker.finish(&id(*number), RouteIndex(*route), *status, Some("asked"), now);
                assert_eq!(before - tracker.active(), usize::from(ended));
            }
            Step::Lost(reason, count) => {
                tracker.count_lost(*reason, *count);
                self.offered += count;
                self.refused += count;
            }
            Step::Operation(name) => tracker.operation(&format!("operation_{name}"), 5, now),
            Step::Wait(nanos) => self.now += nanos,
            Step::Tick => tracker.tick(now),
            Step::Read => {
                for window in Window::ALL {
                    tracker.summary(None, window, now);
                }
                for number in 0..7 {
                    tracker.journey(id(number).as_str(), None);
                }
                tracker.list(&ListQuery::default(), now).unwrap();
            }
            Step::Take => self.take_finished(),
            Step::SettleAll => tracker.settle_all(now),
        }
    }

    fn take_finished(&mut self) {
        self.taken += self.tracker.take_finished().len();
    }

    fn check(&self) {
        let account = self.tracker.accounting();
        assert_eq!(account.offered, self.offered);
        assert_eq!(account.offered, account.recorded + account.dropped_total());
        // An eviction takes recorded checkpoints back out; nothing else does.
        assert!(account.dropped_total() >= self.refused);

        let own = self.tracker.self_view(self.now);
        let counts = &own.journeys;
        let ended = counts.completed + counts.failed + counts.expired + counts.evicted;
        assert_eq!(counts.started, counts.active + ended, "{counts:?}");
        assert_eq!(counts.active, self.tracker.active() as u64);
        assert!(counts.active <= MAX_ACTIVE as u64 && own.retained <= MAX_FINISHED as u64, "{own:?}");

        let summary = self.tracker.summary(None, Window::Start, self.now);
        for route in &summary.routes {
            let placed: u64 = route.active_by_stage.iter().map(|stage| stage.active).sum();
            assert!(placed <= route.journeys.active, "{route:?}");
            assert_eq!(route.journeys.stuck, route.stuck.len() as u64);
        }
    }

    /// Lets everything expire and go, and checks what is left.
    fn run_out(&mut self) {
        self.now += 400 * SECOND;
        self.tracker.tick(self.now);
        self.check();
        assert_eq!(self.tracker.active(), 0);
        self.now += 400 * SECOND;
        self.tracker.tick(self.now);
        self.take_finished();
        self.check();

        let own = self.tracker.self_view(self.now);
        assert_eq!(own.retained, 0);
        let ended = own.journeys.completed + own.journeys.failed + own.journeys.expired;
        assert_eq!(self.taken as u64, ended, "every finished journey is handed out once");
    }
}

#[test]
fn a_generation_that_was_evicted_is_not_used_again() {
    let mut tracker = tracker(&small_routes(), Limits { max_active: 1, ..limits() });
    let mut now = START;
    let mut record = |tracker: &mut Tracker, id: &str, stage: u16, later: i64| {
        now += later;
        tracker.tick(now);
        let result = tracker.record(reached(id, 1, stage, now - START), now);
        (result, tracker.journey(id, None).map(|view| view.generation))
    };
    assert_eq!(record(&mut tracker, "m", 0, 0), (Ok(()), Some(1)));
    assert_eq!(record(&mut tracker, "m", 1, SECOND), (Ok(()), Some(1)));
    assert_eq!(record(&mut tracker, "m", 0, SECOND), (Ok(()), Some(2)));
    // Another journey takes the only place; the first generation is finished and still kept.
    assert_eq!(record(&mut tracker, "n", 0, SECOND), (Ok(()), Some(1)));
    assert_eq!(record(&mut tracker, "m", 1, SECOND), (Err(DropReason::Evicted), Some(1)));
    assert_eq!(record(&mut tracker, "m", 0, SECOND), (Ok(()), Some(3)));
    assert_eq!(record(&mut tracker, "n", 0, SECOND), (Ok(()), Some(2)));
    // Now the first generation is let go, after the third.
    assert_eq!(record(&mut tracker, "m", 1, 20 * SECOND), (Err(DropReason::Evicted), None));
    assert_eq!(record(&mut tracker, "m", 0, SECOND), (Ok(()), Some(4)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_the_accounts_balance(steps in prop::collection::vec(step(), 1..120)) {
        let mut watched = Watched::new();
        for step in &steps {
            watched.take(step);
            watched.check();
        }
        watched.run_out();
    }
}

/// Checkpoints of a few journeys, each stage of each at most once, in any order; instants may run backwards.
fn journeys_once() -> impl Strategy<Value = Vec<Checkpoint>> {
    let stage = (0_u8..12, 0_u16..12).prop_flat_map(|at| (Just(at), -80_i64..80));
    prop::collection::vec(stage, 1..150).prop_map(|all| {
        let stages: BTreeMap<(u8, u16), i64> = all.into_iter().collect();
        let checkpoint = |((journey, stage), shift)| {
            // T0 lies before everything: after the end it would begin a new journey of the same id.
            let after = if stage == 0 { -1_000 } else { i64::from(stage) * 50 + shift };
            reached(&format!("m{journey}"), 0, stage, after * MILLI)
        };
        stages.into_iter().map(checkpoint).collect::<Vec<_>>()
    })
}

proptest! {
    #[test]
    fn every_leg_is_counted_once(checkpoints in journeys_once().prop_flat_map(|all| Just(all).prop_shuffle())) {
        let message = routes(vec![Route::message()]);
        let mut tracker = tracker(&message, Limits::default());
        let mut at = BTreeMap::new();
        let mut now = START + 10 * SECOND;
        for checkpoint in checkpoints {
            at.insert((checkpoint.id.clone(), checkpoint.stage.stage), checkpoint.at);
            prop_assert_eq!(tracker.record(checkpoint.clone(), now), Ok(()));
            // The same once more must not count again.
            prop_assert_eq!(tracker.record(checkpoint, now), Err(DropReason::Duplicate));
            now += 300 * MILLI;
            tracker.tick(now);
        }
        tracker.tick(now + 400 * SECOND);

        let counted = legs(&tracker, now);
        for leg in message.get(RouteIndex(0)).legs() {
            let of_leg = |(id, stage): &(CorrelationId, _)| {
                (*stage == leg.to).then(|| Some(at[&(id.clone(), leg.to)] - at.get(&(id.clone(), leg.from))?)).flatten()
            };
            let known: Vec<i64> = at.keys().filter_map(of_leg).collect();
            let (histogram, skewed) = &counted[&("message".to_owned(), leg.name.clone())];
            let latencies: Vec<u64> = known.iter().filter_map(|nanos| u64::try_from(*nanos).ok()).collect();
            prop_assert_eq!(histogram.count(), latencies.len() as u64, "{}", leg.name);
            prop_assert_eq!(histogram.sum_nanos(), latencies.iter().map(|nanos| u128::from(*nanos)).sum::<u128>());
            prop_assert_eq!(*skewed, (known.len() - latencies.len()) as u64, "{}", leg.name);
        }
    }

    #[test]
    fn retries_never_count_a_leg_twice(
        sightings in prop::collection::vec((0_u8..8, 0_u16..12, -80_i64..80, prop::bool::weighted(0.3)), 1..150),
    ) {
        let message = routes(vec![Route::message()]);
        let mut tracker = tracker(&message, Limits::default());
        let mut now = START + 10 * SECOND;
        let mut seen = BTreeSet::new();
        for (journey, stage, shift, failed) in sightings {
            let after = if stage == 0 { -1_000 } else { i64::from(stage) * 50 + shift };
            let checkpoint = reached(&format!("m{journey}"), 0, stage, after * MILLI);
            let outcome = if failed { Outcome::Failed } else { Outcome::Reached };
            let _ = tracker.record(Checkpoint { outcome, ..checkpoint }, now);
            if !failed {
                seen.insert((journey, StageIndex(stage)));
            }
            now += 100 * MILLI;
            tracker.tick(now);
        }

        let counted = legs(&tracker, now);
        for leg in message.get(RouteIndex(0)).legs() {
            let both = |journey: &u8| seen.contains(&(*journey, leg.from)) && seen.contains(&(*journey, leg.to));
            let (histogram, skewed) = &counted[&("message".to_owned(), leg.name.clone())];
            prop_assert_eq!(histogram.count() + skewed, (0..8).filter(both).count() as u64, "{}", leg.name);
        }
    }
}
