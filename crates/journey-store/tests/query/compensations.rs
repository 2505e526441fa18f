//! What was undone, what could not be, and what nobody undid?

use journey_store::{EventStatus, Mark};
use serde_json::json;

use crate::script::{Script, WORKFLOW, labels, span, tree, workflow};

/// Three steps, and the fourth fails.
fn failed_order() -> Script {
    workflow()
        .done(1, 2, 2, WORKFLOW, "stock")
        .done(3, 4, 3, WORKFLOW, "credit")
        .done(5, 6, 4, WORKFLOW, "label")
        .broke(7, 8, 5, WORKFLOW, "pay", "Declined")
}

#[test]
fn each_compensation_knows_what_it_undoes_how_long_it_took_and_how_it_went() {
    let script = failed_order()
        .undone(10, 12, 14, 4, "void label")
        .not_undone(13, 17, 13, 3, "return credit")
        .undoing(18, 12, 2, "release");
    let query = script.query();
    let compensations = query.compensations();
    let seen: Vec<_> = compensations
        .all
        .iter()
        .map(|one| (one.node.label.as_str(), one.original.unwrap().label.as_str(), one.node.status, one.node.duration))
        .collect();
    let expected = [
        ("void label", "label", EventStatus::Success, Some(2_000_000)),
        ("return credit", "credit", EventStatus::Failed, Some(4_000_000)),
        ("release", "stock", EventStatus::Pending, None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(labels(compensations.failed), ["credit"]);
    assert!(compensations.never_undone.is_empty());
}

#[test]
fn work_can_be_undone_by_its_name_the_last_that_did_not_fail() {
    let undoes = |script: Script, at: i64, number: u64, name: &str| {
        let data = json!({"name": format!("undo {name}"), "compensates": name});
        script.say(at, number, WORKFLOW, "saga:compensated", EventStatus::Success, data)
    };
    let script = workflow()
        .done(1, 2, 2, WORKFLOW, "stock")
        .done(3, 4, 3, WORKFLOW, "stock")
        .broke(5, 6, 4, WORKFLOW, "stock", "Busy")
        .say(7, 5, WORKFLOW, "stage:completed", EventStatus::Success, json!({"name": "db_stored", "stage": "T4"}))
        .broke(8, 9, 6, WORKFLOW, "pay", "Declined");
    let script = undoes(undoes(undoes(undoes(script, 10, 12, "stock"), 11, 13, "T4"), 12, 14, "pay"), 13, 15, "later");
    // Neither what began after it, nor itself, nor another compensation.
    let script = undoes(script, 14, 16, "undo stock").done(15, 16, 7, WORKFLOW, "later").ends_badly(20, "Declined");
    let query = script.query();
    let seen: Vec<_> =
        query.compensations().all.iter().map(|one| one.original.map(|original| original.span_id)).collect();
    assert_eq!(seen, [Some(span(3)), Some(span(5)), Some(span(6)), None, None]);
    assert_eq!(labels(query.compensations().never_undone), ["stock"], "the first of the three");
}

#[test]
fn a_failed_compensation_can_be_made_good() {
    let script = failed_order()
        .not_undone(10, 11, 13, 3, "return credit")
        .undone(12, 13, 23, 3, "return credit")
        .undone(14, 15, 12, 2, "release")
        .undone(16, 17, 14, 4, "void label")
        .ends_badly(20, "Declined");
    let query = script.query();
    let compensations = query.compensations();
    assert!(compensations.all[0].made_good && !compensations.all[1].made_good);
    assert!(compensations.failed.is_empty() && compensations.never_undone.is_empty());
}

#[test]
fn work_that_nobody_undid_is_named_unless_it_needs_none() {
    let mut script = failed_order()
        .done(1, 2, 6, WORKFLOW, "validate")
        .undone(10, 11, 12, 2, "release")
        .done(12, 13, 7, WORKFLOW, "say sorry")
        .ends_badly(20, "Declined");
    script.events.iter_mut().filter(|event| event.span_id == span(6)).for_each(|event| {
        event.data.insert("compensable".to_owned(), json!(false));
    });
    assert_eq!(labels(script.query().compensations().never_undone), ["credit", "label"]);
    let marks = script.query().tree().nodes.into_iter().find(|node| node.step.label == "label").unwrap().marks;
    assert_eq!(marks, [Mark::NeverUndone]);
}

#[test]
fn work_inside_other_work_counts_with_what_is_undone() {
    let script = workflow()
        .begins(1, 2, WORKFLOW, "fulfil")
        .done(1, 2, 3, 2, "pick")
        .done(1, 2, 4, 2, "pack")
        .succeeds(3, 2, WORKFLOW, "fulfil")
        .begins(1, 5, WORKFLOW, "bill")
        .done(1, 2, 6, 5, "number")
        .succeeds(3, 5, WORKFLOW, "bill")
        .begins(1, 7, WORKFLOW, "book")
        .done(1, 2, 8, 7, "slot")
        .succeeds(3, 7, WORKFLOW, "book")
        .broke(4, 5, 9, WORKFLOW, "pay", "Declined")
        // One part of fulfil, and bill as a whole.
        .undone(6, 7, 13, 3, "unpick")
        .undone(6, 7, 15, 5, "cancel bill")
        .ends_badly(9, "Declined");
    assert_eq!(labels(script.query().compensations().never_undone), ["pack", "book"]);
}

#[test]
fn nothing_is_left_over_where_nothing_was_compensated_or_nothing_failed() {
    assert!(failed_order().ends_badly(9, "Declined").query().compensations().never_undone.is_empty());
    let cancelled = workflow().done(1, 2, 2, WORKFLOW, "stock").done(1, 2, 3, WORKFLOW, "credit");
    let cancelled = cancelled.undone(5, 6, 12, 2, "release").ends(9);
    assert!(cancelled.query().compensations().never_undone.is_empty());
}

#[test]
fn compensations_of_nothing_known_are_said_aloud() {
    let script = failed_order()
        .undone(10, 11, 12, 99, "undo ghost")
        .say(
            12,
            22,
            WORKFLOW,
            "saga:compensated",
            EventStatus::Success,
            json!({"name": "undo text", "compensates": "x\u{1b}"}),
        )
        .say(13, 23, WORKFLOW, "saga:compensated", EventStatus::Success, json!({"name": "undo nothing"}))
        .say(
            14,
            24,
            WORKFLOW,
            "saga:compensated",
            EventStatus::Success,
            json!({"name": "undo itself", "compensates": format!("{:016x}", 24)}),
        )
        .ends_badly(20, "Declined");
    assert!(script.query().compensations().all.iter().all(|one| one.original.is_none()));
    let said = journey_store::why(&script.query()).missing;
    let expected = "What these compensations undo is not recorded: `undo ghost` (span `0000000000000063`), `undo text` \
                    (of `x\\u{1b}`), `undo nothing` and `undo itself` (span `0000000000000018`).";
    assert_eq!(said, [expected]);
}

#[test]
fn one_span_may_undo_several() {
    let script = failed_order()
        .say(
            10,
            12,
            WORKFLOW,
            "saga:compensated",
            EventStatus::Success,
            json!({"name": "undo", "compensates": format!("{:016x}", 2)}),
        )
        .say(
            11,
            12,
            WORKFLOW,
            "saga:compensated",
            EventStatus::Success,
            json!({"name": "undo", "compensates": format!("{:016x}", 3)}),
        )
        .ends_badly(20, "Declined");
    assert_eq!(labels(script.query().compensations().never_undone), ["label"]);
    let expected = "order failed 20 ms [Failed]\n· stock success 1 ms [Compensated]\n· credit success 1 ms [Compensated]\n\
                    · label success 1 ms [NeverUndone]\n· pay failed 1 ms [Failed, Decisive]\n· undo success\n· undo success";
    assert_eq!(tree(&script.query()), expected);
}
