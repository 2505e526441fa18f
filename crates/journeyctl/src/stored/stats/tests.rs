//! Days, as they are drawn.

use journey_store::fixture::Saga;

use super::*;
use crate::{cli::StatsArgs, local, stored};

const LOOK: Look = Look { width: 100, color: false, unicode: true };
/// 2026-11-20T10:00:00Z
const BEGIN: i64 = 1_795_168_800_000_000_000;
const DAY: i64 = 86_400_000_000_000;

/// Orders of two days, the slower ones on the second.
fn drawn(leg: Option<&str>, look: &Look) -> String {
    let of_a_day = |day: u128, orders: u128| {
        let saga = move |order: u128| Saga {
            trace: (day << 64) + order + 1,
            begin: BEGIN + DAY * day as i64,
            emitter: 1 + (day as u64) * 1_000 + order as u64,
            ..Saga::default()
        };
        (0..orders).flat_map(move |order| saga(order).events())
    };
    let events: Vec<_> = of_a_day(0, 400).chain(of_a_day(1, 3)).collect();
    let source = local::with(&events, BEGIN + DAY + 1_000_000_000_000);
    let args = StatsArgs { days: 7, route: None, leg: leg.map(str::to_owned), from: crate::cli::From::default() };
    let mut out = Vec::new();
    stored::stats(&source, &args, false, look, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn days_stand_under_one_another_with_their_legs() {
    insta::assert_snapshot!(drawn(None, &LOOK));
}

#[test]
fn one_leg_is_a_table_of_days() {
    insta::assert_snapshot!(drawn(Some("capture_payment"), &LOOK));
    insta::assert_snapshot!(drawn(Some("capture_payment"), &Look { width: 40, color: false, unicode: false }));
}

#[test]
fn no_statistics_are_said_with_the_days_that_were_asked_for() {
    assert_eq!(
        drawn(Some("nothing"), &LOOK),
        "No statistics of 2026-11-15 → 2026-11-21 (UTC).\n\
         A service that stores events works statistics out when it starts and ends, and once a minute while\n\
         events come.\n"
    );
}

#[test]
fn days_that_are_not_told_to_their_end_are_named() {
    let said = |due: &[&str]| {
        let due = due.iter().map(|day| (*day).to_owned()).collect();
        let (first, last) = ("2026-11-15".to_owned(), "2026-11-21".to_owned());
        let look = Look { width: 200, ..LOOK };
        stats(&DailyView { first, last, due, ..DailyView::default() }, false, &look).to_text(&look)
    };
    assert!(said(&["2026-11-20"]).contains("\nEvents of 2026-11-20 came later and are not counted here. A service"));
    let several = said(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    assert!(several.contains("\nEvents of 3 days (2026-11-18 to 2026-11-20) came later"), "{several}");
}
