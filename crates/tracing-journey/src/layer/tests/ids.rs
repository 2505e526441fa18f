//! Which journey does a stage belong to?

use std::fmt;

use journey_core::{Correlation, CorrelationId, Route, Routes};
use tracing::{Span, field::Empty, info_span};
use tracing_subscriber::layer::SubscriberExt;

use super::{Seen, record, routes};
use crate::layer::current_correlation_id;

struct Shown(&'static str);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In pieces, as most `Display`s write.
        self.0.chars().try_for_each(|c| write!(f, "{c}"))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({})", self.0)
    }
}

#[test]
fn an_id_may_be_a_value_of_any_type() {
    let owned = "m1".to_owned();
    let some = Some("m1".to_owned());
    let seen = record(|| {
        info_span!("T4", correlation_id = "m1").in_scope(|| ());
        info_span!("T4", correlation_id = owned).in_scope(|| ());
        info_span!("T4", correlation_id = %Shown("m1")).in_scope(|| ());
        info_span!("T4", correlation_id = ?owned).in_scope(|| ());
        info_span!("T4", correlation_id = ?some).in_scope(|| ());
        info_span!("T4", correlation_id = some).in_scope(|| ());
        info_span!("T4", correlation_id = ?Shown("m1")).in_scope(|| ());
        info_span!("T4", correlation_id = 7_u64).in_scope(|| ());
        info_span!("T4", correlation_id = -7_i32).in_scope(|| ());
        info_span!("T4", correlation_id = u128::MAX).in_scope(|| ());
        info_span!("T4", correlation_id = i128::MIN).in_scope(|| ());
        info_span!("T4", correlation_id = 1.5).in_scope(|| ());
        info_span!("T4", correlation_id = true).in_scope(|| ());
    });
    let ids: Vec<String> = seen.checkpoints().iter().map(|checkpoint| checkpoint.id.to_string()).collect();
    let numbers = ["7", "-7", "340282366920938463463374607431768211455", "-170141183460469231731687303715884105728"];
    let expected: Vec<&str> =
        ["m1"; 6].into_iter().chain(["Shown(m1)"]).chain(numbers).chain(["1.5", "true"]).collect();
    assert_eq!((ids, seen.lost()), (expected.into_iter().map(str::to_owned).collect(), vec![]));
}

#[test]
fn every_field_of_the_route_gives_an_id_and_the_first_of_its_list_wins() {
    let seen = record(|| {
        info_span!("T4", correlationId = "a").in_scope(|| ());
        info_span!("T4", "journey.id" = "b").in_scope(|| ());
        info_span!("T4", "messaging.message.conversation_id" = "c").in_scope(|| ());
        info_span!("T4", correlationId = "second", correlation_id = "first").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 a reached", "T4 b reached", "T4 c reached", "T4 first reached"]);
}

#[test]
fn an_id_may_come_late() {
    let seen = record(|| {
        let stage = info_span!("T4", correlation_id = Empty);
        stage.in_scope(|| stage.record("correlation_id", "late"));
    });
    assert_eq!(seen.lines(), ["T4 late reached"]);
}

#[test]
fn a_newer_id_replaces_an_older_one() {
    let seen = record(|| {
        let stage = info_span!("T4", correlation_id = "older");
        stage.record("correlation_id", "newer");
    });
    assert_eq!(seen.lines(), ["T4 newer reached"]);
}

#[test]
fn a_stage_inherits_the_nearest_id_around_also_one_that_came_late() {
    let seen = record(|| {
        let request = info_span!("request", correlation_id = Empty).entered();
        let middle = info_span!("middle").entered();
        let stage = info_span!("T1").entered();
        info_span!("inner", correlation_id = "inner").in_scope(|| info_span!("T2").in_scope(|| ()));
        request.record("correlation_id", "outer");
        drop(stage);
        drop(middle);
    });
    assert_eq!(seen.lines(), ["T2 inner reached", "T1 outer reached"]);
}

#[test]
fn an_explicit_parent_is_the_one_that_counts() {
    let seen = record(|| {
        let theirs = info_span!("request", correlation_id = "theirs");
        let _ours = info_span!("request", correlation_id = "ours").entered();
        info_span!(parent: &theirs, "T4").in_scope(|| ());
        info_span!(parent: None, "T5").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 theirs reached"]);
    assert_eq!(seen.lost(), [("no_id", 1)]);
}

#[test]
fn a_stage_without_any_id_is_counted_by_its_callsite() {
    let seen = record(|| {
        for _ in 0..3 {
            info_span!("T4").in_scope(|| ());
        }
        info_span!("T5").in_scope(|| ());
    });
    assert_eq!((seen.lines(), seen.lost()), (vec![], vec![("no_id", 4)]));
    let no_id = seen.no_id();
    assert_eq!(no_id.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 1]);
    assert!(no_id[0].0.starts_with("T4 (") && no_id[0].0.contains("ids.rs:"), "{no_id:?}");
}

#[test]
fn an_absent_optional_id_is_no_id() {
    let absent: Option<String> = None;
    let seen = record(|| {
        let _around = info_span!("request", correlation_id = "outer").entered();
        info_span!("T4", correlation_id = ?absent).in_scope(|| ());
        info_span!("T5", correlation_id = absent).in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 outer reached", "T5 outer reached"]);
}

#[test]
fn routes_with_fields_of_their_own_do_not_share_ids() {
    let run = |name: &str, stage: &str, field: &str| {
        Route::builder(name)
            .stage(stage, stage, |s| s)
            .terminal(stage)
            .correlation(Correlation::Fields(vec![field.to_owned()]))
            .build()
            .unwrap()
    };
    let two = routes([run("orders", "paid", "order_id"), run("visits", "left", "visit_id")]);
    let seen = Seen::of_routes(two, || {
        let _request = info_span!("request", order_id = "o1", visit_id = "v1").entered();
        info_span!("paid").in_scope(|| ());
        info_span!("left").in_scope(|| ());
        info_span!("left", order_id = "o2").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["paid o1 reached", "left v1 reached", "left v1 reached"]);
}

#[test]
fn an_id_that_came_with_the_task_is_the_last_resort() {
    let carried = || Some(CorrelationId::new("carried").unwrap());
    let (layer, seen) = Seen::layer(Routes::default(), false, Some(carried));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("T4").in_scope(|| ());
        info_span!("T4", correlation_id = "own").in_scope(|| ());
        let _around = info_span!("request", correlation_id = "around").entered();
        info_span!("T4").in_scope(|| tracing::info!(journey.stage = "T5"));
    });
    assert_eq!(seen.lines(), ["T4 carried reached", "T4 own reached", "T5 around reached", "T4 around reached"]);
}

#[test]
fn the_current_id_is_that_of_the_nearest_span_around() {
    record(|| {
        assert_eq!(current_correlation_id(), None);
        let request = info_span!("request", correlation_id = Empty).entered();
        assert_eq!(current_correlation_id(), None);
        let _inner = info_span!("inner").entered();
        request.record("correlation_id", "m1");
        assert_eq!(current_correlation_id().unwrap().as_str(), "m1");
        info_span!("T4", correlation_id = "m2").in_scope(|| {
            assert_eq!(current_correlation_id().unwrap().as_str(), "m2");
        });
        assert!(Span::current().metadata().is_some());
    });
    assert_eq!(current_correlation_id(), None, "without a subscriber");
}

#[test]
fn quotes_at_both_ends_of_an_id_are_taken_off_only_where_debug_put_them() {
    let hostile = r#""}],"x":[{""#;
    let seen = record(|| {
        info_span!("T3", correlation_id = hostile).in_scope(|| ());
        info_span!("T4", correlation_id = %hostile).in_scope(|| ());
    });
    // Once two messages: what `%` writes looked like what `?` writes.
    assert_eq!(seen.lines(), [format!("T3 {hostile} reached"), format!("T4 {hostile} reached")]);
}
