//! Which failure decided?

use journey_store::EventStatus;
use serde_json::json;

use crate::script::{WORKFLOW, decisive, labels, span, trace, workflow};

#[test]
fn nothing_decided_where_nothing_failed() {
    assert_eq!(decisive(&workflow().done(1, 2, 2, WORKFLOW, "pay").ends(3)), "");
    assert_eq!(decisive(&workflow().begins(1, 2, WORKFLOW, "pay")), "");
}

#[test]
fn the_innermost_failure_decides_and_the_path_leads_to_it() {
    let script = workflow()
        .begins(1, 2, WORKFLOW, "payment")
        .broke(2, 5, 3, 2, "capture", "Timeout")
        .fails(6, 2, WORKFLOW, "payment", "Failed")
        .ends_badly(7, "Failed");
    let query = script.query();
    assert_eq!(query.failure().unwrap().label, "capture");
    assert_eq!(labels(query.failure_path()), ["order", "payment", "capture"]);
}

#[test]
fn a_step_that_may_fail_does_not_decide() {
    let script = workflow()
        .broke(1, 3, 2, WORKFLOW, "recommend", "ModelDown")
        .done(4, 6, 3, WORKFLOW, "price")
        .broke(7, 9, 4, WORKFLOW, "pay", "Declined")
        .ends_badly(10, "OrderFailed");
    assert_eq!(decisive(&script), "pay");
    // Nested: what is around the tolerated failure failed too, and the work went on after that.
    let nested = workflow()
        .begins(1, 2, WORKFLOW, "recommend")
        .broke(1, 3, 5, 2, "call model", "ModelDown")
        .fails(3, 2, WORKFLOW, "recommend", "ModelDown")
        .broke(3, 9, 4, WORKFLOW, "pay", "Declined")
        .ends_badly(10, "OrderFailed");
    assert_eq!(decisive(&nested), "pay");
}

#[test]
fn of_parallel_failures_the_first_decides_and_not_what_it_cancelled() {
    let script = workflow()
        .begins(1, 2, WORKFLOW, "stock")
        .begins(1, 3, WORKFLOW, "credit")
        .fails(5, 3, WORKFLOW, "credit", "Declined")
        .fails(6, 2, WORKFLOW, "stock", "Cancelled")
        .ends_badly(7, "OrderFailed");
    assert_eq!(decisive(&script), "credit");
}

#[test]
fn the_workflow_may_say_by_its_error_which_one_it_was() {
    let script = workflow()
        .begins(1, 2, WORKFLOW, "stock")
        .begins(1, 3, WORKFLOW, "credit")
        .fails(5, 3, WORKFLOW, "credit", "Declined")
        .fails(6, 2, WORKFLOW, "stock", "OutOfStock")
        .ends_badly(7, "OutOfStock");
    assert_eq!(decisive(&script), "stock");
}

#[test]
fn an_attempt_that_was_overcome_does_not_decide() {
    let retried = workflow()
        .broke(1, 2, 2, WORKFLOW, "pay", "Timeout")
        .done(3, 4, 3, WORKFLOW, "pay")
        .broke(5, 6, 4, WORKFLOW, "ship", "NoCarrier")
        .ends_badly(7, "NoCarrier");
    assert_eq!(decisive(&retried), "ship");
    let query = retried.query();
    assert_eq!(query.overcome_by(query.node(span(2)).unwrap()).unwrap().span_id, span(3));

    let success = workflow().broke(1, 2, 2, WORKFLOW, "pay", "Timeout").done(3, 4, 3, WORKFLOW, "pay").ends(7);
    assert_eq!(decisive(&success), "");

    let under_way = workflow().broke(1, 2, 2, WORKFLOW, "pay", "Timeout").begins(3, 3, WORKFLOW, "pay");
    assert_eq!(decisive(&under_way), "");
}

#[test]
fn work_of_the_same_name_beside_it_is_no_second_attempt() {
    let script = workflow()
        .begins(1, 2, WORKFLOW, "fetch")
        .begins(1, 3, WORKFLOW, "fetch")
        .fails(4, 2, WORKFLOW, "fetch", "Gone")
        .succeeds(5, 3, WORKFLOW, "fetch")
        .ends_badly(6, "Gone");
    assert_eq!(script.query().failure().unwrap().span_id, span(2));
}

#[test]
fn the_last_of_failed_attempts_decides_and_is_counted() {
    let script = workflow()
        .broke(1, 2, 2, WORKFLOW, "pay", "Timeout")
        .broke(3, 4, 3, WORKFLOW, "pay", "Timeout")
        .broke(5, 6, 4, WORKFLOW, "pay", "Refused")
        .ends_badly(7, "OrderFailed");
    let why = journey_store::why(&script.query());
    let failure = why.failure.as_ref().unwrap();
    assert_eq!((failure.step.span_id, failure.attempt), (span(4), 3));
    assert!(why.paragraph().contains("failed at `pay` on attempt 3 with Refused"), "{}", why.paragraph());
}

#[test]
fn attempts_in_one_span_count_too() {
    let script = workflow()
        .broke(1, 2, 2, WORKFLOW, "pay", "Timeout")
        .broke(3, 4, 2, WORKFLOW, "pay", "Refused")
        .ends_badly(7, "OrderFailed");
    let failure = journey_store::why(&script.query()).failure.unwrap();
    assert_eq!((failure.attempt, failure.step.duration_ms), (2, Some(3.0)));
}

#[test]
fn a_failure_inside_of_what_succeeded_all_the_same_does_not_decide() {
    let script = workflow()
        .begins(1, 2, WORKFLOW, "load")
        .broke(2, 3, 3, 2, "cache", "Miss")
        .succeeds(4, 2, WORKFLOW, "load")
        .ends_badly(5, "Deadline");
    assert_eq!(decisive(&script), "order", "nothing inside the workflow explains it");
}

#[test]
fn a_failed_compensation_and_what_failed_in_it_never_decide() {
    let script = workflow()
        .done(1, 2, 2, WORKFLOW, "stock")
        .broke(3, 4, 3, WORKFLOW, "pay", "Declined")
        .undoing(5, 4, 2, "release")
        .broke(6, 7, 5, 4, "call warehouse", "Down")
        .not_undone(5, 8, 4, 2, "release")
        // Work after the undoing, such as saying sorry, is not the workflow going on.
        .done(9, 10, 6, WORKFLOW, "say sorry")
        .ends_badly(11, "OrderFailed");
    assert_eq!(decisive(&script), "pay");
}

#[test]
fn without_an_end_the_failure_that_stopped_it_decides() {
    let died = workflow().done(1, 2, 2, WORKFLOW, "stock").broke(3, 4, 3, WORKFLOW, "pay", "Declined");
    assert_eq!(decisive(&died), "pay");
    let goes_on = died.clone().begins(5, 4, WORKFLOW, "ship");
    assert_eq!(decisive(&goes_on), "", "the work went on after it");
    let went_on = died.done(5, 6, 4, WORKFLOW, "ship");
    assert_eq!(decisive(&went_on), "pay", "nothing is under way, and it is all there is");
}

#[test]
fn a_workflow_that_failed_by_itself_stands_for_itself() {
    let script = workflow().done(1, 2, 2, WORKFLOW, "stock").ends_badly(9, "Deadline");
    let query = script.query();
    assert_eq!(query.failure().unwrap().span_id, span(WORKFLOW));
    let only_an_end = trace().say(3, 1, 0, "workflow:failed", EventStatus::Failed, json!({}));
    assert_eq!(decisive(&only_an_end), "order");
}
