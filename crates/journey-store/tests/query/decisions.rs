//! What was decided, and what followed?

use journey_store::EventStatus;
use serde_json::json;

use crate::script::{WORKFLOW, labels, trace, workflow};

#[test]
fn what_follows_a_decision_lasts_until_the_next_one() {
    let script = workflow()
        .done(1, 2, 2, WORKFLOW, "before")
        .decides(3, 3, WORKFLOW, "route", "air")
        .done(4, 5, 4, WORKFLOW, "book")
        .decides(6, 5, WORKFLOW, "fraud", "pass")
        .broke(7, 8, 6, WORKFLOW, "pay", "Declined")
        .undone(9, 10, 7, 4, "cancel")
        .ends_badly(11, "Declined");
    let query = script.query();
    let seen: Vec<_> = query
        .decisions()
        .into_iter()
        .map(|one| (one.node.label.clone(), one.chosen.unwrap(), labels(one.followed), one.outcome))
        .collect();
    let expected = [
        ("route".to_owned(), "air".to_owned(), vec!["book"], Some(EventStatus::Success)),
        ("fraud".to_owned(), "pass".to_owned(), vec!["pay"], Some(EventStatus::Failed)),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_branch_under_a_decision_is_its_own() {
    let script =
        workflow().decides(1, 2, WORKFLOW, "route", "air").done(2, 3, 3, 2, "fly").begins(2, 4, 2, "track").ends(9);
    let query = script.query();
    let decision = &query.decisions()[0];
    assert_eq!(labels(decision.branch.clone()), ["fly", "track"]);
    assert_eq!(decision.outcome, Some(EventStatus::Pending));
}

#[test]
fn two_decisions_in_one_span_are_two_and_a_retry_that_worked_is_no_bad_outcome() {
    let script = workflow()
        .begins(1, 2, WORKFLOW, "plan")
        .decides(2, 2, WORKFLOW, "route", "air")
        .decides(3, 2, WORKFLOW, "carrier", "dhl")
        .succeeds(4, 2, WORKFLOW, "plan")
        .broke(5, 6, 3, WORKFLOW, "book", "Busy")
        .done(7, 8, 4, WORKFLOW, "book")
        .ends(9);
    let query = script.query();
    let outcomes: Vec<_> = query.decisions().iter().map(|one| (one.node.label.clone(), one.outcome)).collect();
    assert_eq!(outcomes, [("route".to_owned(), None), ("carrier".to_owned(), Some(EventStatus::Success))]);
    assert_eq!(
        labels(query.children(query.nodes().iter().find(|node| node.label == "plan").unwrap())),
        ["route", "carrier"]
    );
}

#[test]
fn choices_of_any_form_are_shown_and_bad_ones_break_nothing() {
    let script = trace()
        .say(
            1,
            2,
            0,
            "decision",
            EventStatus::Success,
            json!({"chosen": {"carrier": "dhl", "days": 2}, "alternatives": ["ups", 3, null]}),
        )
        .say(
            2,
            3,
            0,
            "ai:decision",
            EventStatus::Success,
            json!({"decision": 7, "confidence": "high", "alternatives": "none", "reasoning": ""}),
        );
    let query = script.query();
    let [first, second] = query.decisions().try_into().unwrap();
    assert_eq!(first.chosen.as_deref(), Some("{carrier: dhl, days: 2}"));
    assert_eq!(first.alternatives, ["ups", "3", "null"]);
    assert_eq!((first.node.label.as_str(), second.node.label.as_str()), ("decision", "7"));
    assert_eq!((second.chosen, second.confidence, second.reasoning, second.alternatives.len()), (None, None, None, 0));
}
