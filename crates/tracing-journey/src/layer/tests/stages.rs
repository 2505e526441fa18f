//! Which stage is a span, and which instant counts?

use journey_core::{ClockKind, InstantRule, Resolution, Route};
use tracing::{field::Empty, info_span};

use super::{Seen, record, routes};

fn two_routes_with_one_name() -> journey_core::Routes {
    let run =
        |name: &str, id: &str| Route::builder(name).stage(id, "listed", |s| s).terminal("listed").build().unwrap();
    routes([run("first", "F0"), run("second", "S0")])
}

#[test]
fn a_field_names_the_stage_by_any_of_its_names_or_by_its_index() {
    let seen = record(|| {
        info_span!("handle", "journey.stage" = "T4", correlation_id = "m").in_scope(|| ());
        info_span!("handle", "journey.stage" = "db_stored", correlation_id = "m").in_scope(|| ());
        info_span!("handle", "journey.stage" = %"dbStoredAt", correlation_id = "m").in_scope(|| ());
        info_span!("handle", "journey.stage" = 4, correlation_id = "m").in_scope(|| ());
        let late = info_span!("handle", "journey.stage" = Empty, correlation_id = "m");
        late.record("journey.stage", "T4");
        drop(late);
        info_span!("handle", "journey.stage" = Empty, correlation_id = "m").in_scope(|| ());
        // The field says more than the name.
        info_span!("T5", "journey.stage" = "T4", correlation_id = "m").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 m reached"; 6]);
    assert_eq!(seen.lost(), []);
}

#[test]
fn a_stage_that_no_route_has_is_counted() {
    let seen = record(|| {
        for name in ["T12", "", "db stored"] {
            info_span!("handle", "journey.stage" = name, correlation_id = "m").in_scope(|| ());
        }
        info_span!("handle", "journey.stage" = 12, correlation_id = "m").in_scope(|| ());
        info_span!("handle", "journey.stage" = -1, correlation_id = "m").in_scope(|| ());
        info_span!("handle", "journey.stage" = "T4", "journey.name" = "nothing", correlation_id = "m").in_scope(|| ());
    });
    assert_eq!((seen.lines(), seen.lost()), (vec![], vec![("unknown_stage", 6)]));
}

#[test]
fn a_name_that_two_routes_claim_is_told_apart_by_journey_name() {
    let seen = Seen::of_routes(two_routes_with_one_name(), || {
        info_span!("listed", "journey.name" = "second", correlation_id = "m").in_scope(|| ());
        info_span!("listed", "journey.name" = "first", correlation_id = "m").in_scope(|| ());
        info_span!("x", "journey.stage" = "listed", "journey.name" = "second", correlation_id = "m").in_scope(|| ());
        info_span!("S0", correlation_id = "m").in_scope(|| ());
        let late = info_span!("listed", "journey.name" = Empty, correlation_id = "m");
        late.record("journey.name", "first");
        drop(late);
        info_span!("listed", correlation_id = "m").in_scope(|| ());
        info_span!("listed", "journey.name" = "third", correlation_id = "m").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["S0 m reached", "F0 m reached", "S0 m reached", "S0 m reached", "F0 m reached"]);
    assert_eq!(seen.lost(), [("unknown_stage", 2)]);
}

#[test]
fn an_open_route_learns_a_stage_from_a_span_that_names_it() {
    let seen = Seen::of_routes(routes([Route::message(), Route::open("flow")]), || {
        info_span!("step", "journey.stage" = "parsed", "journey.name" = "flow", correlation_id = "m").in_scope(|| ());
        // Not told which route: a typing mistake must not become a stage.
        info_span!("step", "journey.stage" = "parsd", correlation_id = "m").in_scope(|| ());
    });
    assert_eq!((seen.lines(), seen.lost()), (vec!["parsed m reached".to_owned()], vec![("unknown_stage", 1)]));
}

#[test]
fn an_explicit_instant_overrides_the_span_and_keeps_its_resolution() {
    let seen = record(|| {
        info_span!("T0", correlation_id = "m", "journey.at" = 1_700_000_000_i64).in_scope(|| ());
        info_span!("T0", correlation_id = "m", "journey.at" = 1_700_000_000_052_u64).in_scope(|| ());
        info_span!("T0", correlation_id = "m", "journey.at" = "1700000000052000").in_scope(|| ());
        info_span!("T0", correlation_id = "m", "journey.at" = %"2023-11-14T22:13:20Z").in_scope(|| ());
        info_span!("T0", correlation_id = "m", "journey.at" = ?"2023-11-14T22:13:20.052Z").in_scope(|| ());
        info_span!("T0", correlation_id = "m", "journey.at" = 1_700_000_000.25).in_scope(|| ());
        let late = info_span!("T0", correlation_id = "m", "journey.at" = Empty);
        late.record("journey.at", 1_700_000_000_i64);
    });
    let second = 1_700_000_000_000_000_000;
    let given = |at, resolution| (at, ClockKind::Platform, resolution);
    let expected = [
        given(second, Resolution::Second),
        given(second + 52_000_000, Resolution::Millisecond),
        given(second + 52_000_000, Resolution::Fine),
        given(second, Resolution::Second),
        given(second + 52_000_000, Resolution::Millisecond),
        given(second + 250_000_000, Resolution::Millisecond),
        given(second, Resolution::Second),
    ];
    let found: Vec<_> = seen.checkpoints().iter().map(|c| (c.at, c.clock, c.resolution)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_stage_that_wants_an_explicit_instant_gets_no_other() {
    let stage = |s: journey_core::StageBuilder| s.instant(InstantRule::Explicit);
    let route = Route::builder("given").stage("G0", "given", stage).terminal("G0").build().unwrap();
    let seen = Seen::of_routes(routes([route]), || {
        info_span!("given", correlation_id = "m").in_scope(|| ());
        info_span!("given", correlation_id = "m", "journey.at" = "soon").in_scope(|| ());
        info_span!("given", correlation_id = "m", "journey.at" = 1_700_000_000).in_scope(|| ());
    });
    assert_eq!((seen.lines(), seen.lost()), (vec!["G0 m reached".to_owned()], vec![("no_instant", 2)]));
}

#[test]
fn an_instant_that_cannot_be_read_is_never_replaced_by_a_guess() {
    let seen = record(|| {
        info_span!("T4", correlation_id = "m", "journey.at" = "yesterday").in_scope(|| ());
        info_span!("T4", correlation_id = "m", "journey.at" = -5).in_scope(|| ());
    });
    assert_eq!((seen.lines(), seen.lost()), (vec![], vec![("no_instant", 2)]));
}
