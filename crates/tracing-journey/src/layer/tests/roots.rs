//! Routes for programs that have no id: each root span is a journey.

use journey_core::{Correlation, Route, Routes};
use tracing::{info, info_span};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use super::{Seen, routes};

fn by_root() -> Routes {
    let route = Route::builder("batch")
        .stage("B0", "listed", |s| s)
        .stage("B1", "archived", |s| s)
        .terminal("archived")
        .correlation(Correlation::RootSpan)
        .build()
        .unwrap();
    routes([route])
}

fn two_runs() {
    for _ in 0..2 {
        let _run = info_span!("run").entered();
        let _inner = info_span!("inner").entered();
        info_span!("listed").in_scope(|| ());
        info!(journey.stage = "archived");
        info_span!("archived", correlation_id = "is not looked at").in_scope(|| ());
    }
}

#[track_caller]
fn are_two_journeys(seen: &Seen) {
    let ids: Vec<String> = seen.checkpoints().iter().map(|checkpoint| checkpoint.id.to_string()).collect();
    let [first, second] = [&ids[..3], &ids[3..]];
    assert!(first.iter().all(|id| *id == first[0]) && second.iter().all(|id| *id == second[0]), "{ids:?}");
    assert_ne!(first[0], second[0]);
    assert_eq!((ids.len(), seen.open_spans()), (6, 0));
}

#[test]
fn stages_under_one_root_are_one_journey() {
    are_two_journeys(&Seen::of_routes(by_root(), two_runs));
}

#[test]
fn the_filter_lets_roots_through() {
    let (layer, seen) = Seen::layer(by_root(), false, None);
    let filter = layer.filter();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.with_filter(filter)), two_runs);
    are_two_journeys(&seen);
}

#[test]
fn a_stage_that_is_a_root_itself_is_a_journey_with_those_inside() {
    let seen = Seen::of_routes(by_root(), || {
        let _stage = info_span!("listed").entered();
        info_span!("archived").in_scope(|| ());
    });
    let ids: Vec<_> = seen.checkpoints().into_iter().map(|checkpoint| checkpoint.id).collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn threads_under_one_root_agree_on_its_id() {
    let seen = Seen::of_routes(by_root(), || {
        let run = info_span!("run");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let dispatch = tracing::dispatcher::get_default(Clone::clone);
                let run = &run;
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&dispatch, || {
                        info_span!(parent: run, "listed").in_scope(|| ());
                    });
                });
            }
        });
    });
    let ids: Vec<_> = seen.checkpoints().into_iter().map(|checkpoint| checkpoint.id).collect();
    assert!(ids.len() == 4 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}
