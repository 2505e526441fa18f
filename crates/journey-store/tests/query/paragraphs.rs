//! The answer in plain words. Read these aloud.

use journey_store::{EventStatus, TraceQuery, Verdict, fixture::Saga, why, why_at};
use serde_json::json;

use crate::script::{BEGIN, MILLI, Script, WORKFLOW, trace, workflow};

fn saga(fails_at: usize, not_undone: &[usize]) -> String {
    let saga = Saga { fails_at: Some(fails_at), not_undone: not_undone.to_vec(), ..Saga::default() };
    wrapped(&why(&TraceQuery::new(saga.events())).paragraph())
}

fn said(script: &Script) -> String {
    wrapped(&why(&script.query()).paragraph())
}

/// In lines of at most 110 characters, for whoever reads it here.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::new()];
    for word in paragraph.split(' ') {
        let last = lines.len() - 1;
        if lines[last].chars().count() + word.chars().count() >= 110 {
            lines.push(word.to_owned());
        } else {
            let space = if lines[last].is_empty() { "" } else { " " };
            lines[last] += &format!("{space}{word}");
        }
    }
    lines.join("\n")
}

#[test]
fn a_failure_at_the_first_step() {
    insta::assert_snapshot!(saga(1, &[]), @r#"
    Workflow `order` failed at `validate_order` with InvalidOrder: "line 3 has a quantity of 0", on 2026-11-20 at
    10:00:00.005 UTC, 5 ms after it began; the step itself ran for 4 ms. It was about `order-1042` (customer_id
    `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736). No step had succeeded before that.
    "#);
}

#[test]
fn a_failure_with_nothing_to_undo() {
    insta::assert_snapshot!(saga(2, &[]), @r#"
    Workflow `order` failed at `reserve_stock` with OutOfStock: "2 of 5 left of SKU 8841", on 2026-11-20 at
    10:00:00.044 UTC, 44 ms after it began; the step itself ran for 38 ms. It was about `order-1042` (customer_id
    `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736). One step had succeeded before that:
    `validate_order`. Nothing had been done that needs undoing.
    "#);
}

#[test]
fn a_failure_whose_only_compensation_failed() {
    insta::assert_snapshot!(saga(6, &[]), @r#"
    Workflow `order` failed at `authorise_payment` with CardDeclined: "insufficient funds", on 2026-11-20 at
    10:00:01.220 UTC, 1.22 s after it began; the step itself ran for 230 ms. It was about `order-1042`
    (customer_id `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736). 5 steps had succeeded before
    that: `validate_order`, `reserve_stock`, `choose_shipping_route`, `price_order` and `check_fraud`. 2 decisions
    led there: `shipping_route` chose "air" over "road" and "sea" with confidence 0.82, because "promised within
    two days and the road takes three"; then `fraud_check` chose "pass" over "review" and "reject" with confidence
    0.61, because "score 0.38, known customer, new address". Compensation undid nothing: undoing `reserve_stock`
    (`release_stock`) failed after 40 ms with WarehouseTimeout: "warehouse-2 did not answer". A person has to
    look: `reserve_stock` is still in effect because undoing it failed.
    "#);
}

#[test]
fn a_failure_with_a_compensation_that_failed_and_one_that_nobody_made() {
    insta::assert_snapshot!(saga(9, &[8]), @r#"
    Workflow `order` failed at `capture_payment` with PaymentTimeout: "no answer from the bank within 180 ms", on
    2026-11-20 at 10:00:01.804 UTC, 1.8 s after it began; the step itself ran for 180 ms. It was about
    `order-1042` (customer_id `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736). 8 steps had
    succeeded before that, the last of them `book_carrier`. 2 decisions led there: `shipping_route` chose "air"
    over "road" and "sea" with confidence 0.82, because "promised within two days and the road takes three"; then
    `fraud_check` chose "pass" over "review" and "reject" with confidence 0.61, because "score 0.38, known
    customer, new address". Compensation undid `create_shipment` and `authorise_payment`, but undoing
    `reserve_stock` (`release_stock`) failed after 40 ms with WarehouseTimeout: "warehouse-2 did not answer". A
    person has to look: `reserve_stock` is still in effect because undoing it failed, and `book_carrier` was done
    and never undone.
    "#);
}

#[test]
fn a_failure_after_which_everything_was_undone() {
    let all = Saga { fails_at: Some(12), cannot_undo: vec![], ..Saga::default() };
    insta::assert_snapshot!(wrapped(&why(&TraceQuery::new(all.events())).paragraph()), @r#"
    Workflow `order` failed at `notify_customer` with MailboxFull: "552 mailbox is full", on 2026-11-20 at
    10:00:01.937 UTC, 1.94 s after it began; the step itself ran for 15 ms. It was about `order-1042` (customer_id
    `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736). 11 steps had succeeded before that, the
    last of them `dispatch_order`. 2 decisions led there: `shipping_route` chose "air" over "road" and "sea" with
    confidence 0.82, because "promised within two days and the road takes three"; then `fraud_check` chose "pass"
    over "review" and "reject" with confidence 0.61, because "score 0.38, known customer, new address".
    Compensation undid `dispatch_order`, `issue_invoice`, `capture_payment`, `book_carrier`, `create_shipment`,
    `authorise_payment` and `reserve_stock`. Everything that needed undoing was undone, as far as is recorded.
    "#);
}

#[test]
fn a_failure_without_any_compensation() {
    let none = Saga { fails_at: Some(9), not_undone: (1..=12).collect(), ..Saga::default() };
    insta::assert_snapshot!(wrapped(&why(&TraceQuery::new(none.events())).paragraph()), @r#"
    Workflow `order` failed at `capture_payment` with PaymentTimeout: "no answer from the bank within 180 ms", on
    2026-11-20 at 10:00:01.804 UTC, 1.8 s after it began; the step itself ran for 180 ms. It was about
    `order-1042` (customer_id `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736). 8 steps had
    succeeded before that, the last of them `book_carrier`. 2 decisions led there: `shipping_route` chose "air"
    over "road" and "sea" with confidence 0.82, because "promised within two days and the road takes three"; then
    `fraud_check` chose "pass" over "review" and "reject" with confidence 0.61, because "score 0.38, known
    customer, new address". No compensation is recorded: what the steps before it did is still in effect, as far
    as is known.
    "#);
}

#[test]
fn a_process_that_died_while_undoing() {
    let mut events = Saga { fails_at: Some(9), ..Saga::default() }.events();
    events.truncate(24);
    insta::assert_snapshot!(wrapped(&why(&TraceQuery::new(events)).paragraph()), @r#"
    Workflow `order` failed at `capture_payment` with PaymentTimeout: "no answer from the bank within 180 ms", on
    2026-11-20 at 10:00:01.804 UTC, 1.8 s after it began; the step itself ran for 180 ms. It was about
    `order-1042` (customer_id `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736). 8 steps had
    succeeded before that, the last of them `book_carrier`. 2 decisions led there: `shipping_route` chose "air"
    over "road" and "sea" with confidence 0.82, because "promised within two days and the road takes three"; then
    `fraud_check` chose "pass" over "review" and "reject" with confidence 0.61, because "score 0.38, known
    customer, new address". Compensation undid `book_carrier`, and no end is recorded of undoing
    `create_shipment`. A person has to look: `reserve_stock` and `authorise_payment` were done and are not undone
    so far. No end of the workflow is recorded: it may still be running, or its process may have died.
    "#);
}

#[test]
fn nothing_failed() {
    insta::assert_snapshot!(wrapped(&why(&TraceQuery::new(Saga::default().events())).paragraph()), @r#"
    Nothing failed: workflow `order` succeeded on 2026-11-20 at 10:00:01.938 UTC after 1.94 s, with 12 steps. It
    was about `order-1042` (customer_id `c-77`, tag `tenant=acme`, trace 4bf92f3577b34da6a3ce929d0e0e4736).
    `shipping_route` chose "air" over "road" and "sea" with confidence 0.82, because "promised within two days and
    the road takes three"; then `fraud_check` chose "pass" over "review" and "reject" with confidence 0.61,
    because "score 0.38, known customer, new address".
    "#);
}

#[test]
fn nothing_is_known() {
    assert_eq!(
        why(&TraceQuery::new(Vec::new())).paragraph(),
        "Nothing is known of this trace: no event of it was found."
    );
}

#[test]
fn a_deep_failure_of_a_stage_on_its_third_attempt() {
    let mut script = workflow()
        .begins(1, 2, WORKFLOW, "payment")
        .begins(2, 3, 2, "bank")
        .broke(3, 10, 4, 3, "capture", "Timeout")
        .broke(20, 30, 5, 3, "capture", "Timeout")
        .broke(40, 52, 6, 3, "capture", "Refused")
        .fails(53, 3, 2, "bank", "Refused")
        .fails(54, 2, WORKFLOW, "payment", "Refused")
        .ends_badly(55, "Refused");
    for event in &mut script.events {
        if event.data.get("name") == Some(&json!("capture")) {
            event.data.insert("stage".to_owned(), json!("T4"));
            event.data.insert("input".to_owned(), json!({"payment_id": 99, "userId": "u1", "secret": "x"}));
        }
    }
    insta::assert_snapshot!(said(&script), @r#"
    Workflow `order` failed at `capture` (T4) on attempt 3 with Refused: "Refused happened", on 2026-11-20 at
    10:00:00.052 UTC, 52 ms after it began; the step itself ran for 12 ms. To find it elsewhere: payment_id `99`,
    userId `u1`, trace 00000000000000000000000000000009. The path: `order` > `payment` > `bank` > `capture`. No
    step had succeeded before that.
    "#);
}

#[test]
fn a_failure_overcome_by_a_retry() {
    let script = workflow()
        .broke(1, 20, 2, WORKFLOW, "pay", "Timeout")
        .broke(3, 5, 4, WORKFLOW, "recommend", "ModelDown")
        .done(330, 350, 3, WORKFLOW, "pay")
        .ends(360);
    assert_eq!(why(&script.query()).verdict, Verdict::Recovered);
    insta::assert_snapshot!(said(&script), @r#"
    Workflow `order` succeeded on 2026-11-20 at 10:00:00.360 UTC after 360 ms, with 1 step. `pay` had failed
    (Timeout: "Timeout happened"); tried again, it succeeded 330 ms later. `recommend` failed (ModelDown:
    "ModelDown happened"), and the work went on without it. To find it elsewhere: trace
    00000000000000000000000000000009.
    "#);
}

#[test]
fn still_running_and_being_tried_again() {
    let script = workflow()
        .done(1, 300, 2, WORKFLOW, "stock")
        .broke(310, 320, 3, WORKFLOW, "pay", "Timeout")
        .decides(330, 9, WORKFLOW, "retry", "yes")
        .begins(400, 4, WORKFLOW, "pay");
    let query = script.query();
    insta::assert_snapshot!(wrapped(&why_at(&query, BEGIN + 7_264_400 * MILLI).paragraph()), @r#"
    Workflow `order` has not ended. It began on 2026-11-20 at 10:00:00.000 UTC. Pending: `pay` since 2026-11-20 at
    10:00:00.400 UTC (2 h 1 min). Its last event was on 2026-11-20 at 10:00:00.400 UTC, 2 h 1 min ago. The longest
    silence between two events was 299 ms, inside `stock`. `pay` failed (Timeout: "Timeout happened") and is being
    tried again. To find it elsewhere: trace 00000000000000000000000000000009. So far, `retry` chose "yes" with
    confidence 0.5.
    "#);
    insta::assert_snapshot!(wrapped(&why(&query).paragraph()), @r#"
    Workflow `order` has not ended. It began on 2026-11-20 at 10:00:00.000 UTC. Pending: `pay` since 2026-11-20 at
    10:00:00.400 UTC. Its last event was on 2026-11-20 at 10:00:00.400 UTC. The longest silence between two events
    was 299 ms, inside `stock`. `pay` failed (Timeout: "Timeout happened") and is being tried again. To find it
    elsewhere: trace 00000000000000000000000000000009. So far, `retry` chose "yes" with confidence 0.5.
    "#);
}

#[test]
fn only_single_stages_with_parents_that_are_not_recorded() {
    let script = trace().done(1, 2, 5, 50, "received").broke(3, 4, 6, 60, "stored", "Locked");
    insta::assert_snapshot!(said(&script), @r#"
    Workflow `order` failed at `stored` with Locked: "Locked happened", on 2026-11-20 at 10:00:00.004 UTC, 3 ms
    after it began; the step itself ran for 1 ms. To find it elsewhere: trace 00000000000000000000000000000009.
    One step had succeeded before that: `received`. No compensation is recorded: what the steps before it did is
    still in effect, as far as is known. No start and no end of a workflow is recorded, only single steps. 2 steps
    name parents of which nothing is recorded (`received` and `stored`), so the path may lack its beginning.
    "#);
}

#[test]
fn clocks_that_differ_and_steps_without_an_end() {
    let script = workflow()
        .done(-4_000, -3_900, 2, WORKFLOW, "received elsewhere")
        .begins(5, 3, WORKFLOW, "left open")
        .say(6, 4, WORKFLOW, "stage:failed", EventStatus::Failed, json!({"name": "pay"}))
        .ends_badly(9, "Gone");
    insta::assert_snapshot!(said(&script), @r#"
    Workflow `order` failed at `pay` on 2026-11-20 at 10:00:00.006 UTC, 4.01 s after it began. To find it
    elsewhere: trace 00000000000000000000000000000009. One step had succeeded before that: `received elsewhere`.
    No compensation is recorded: what the steps before it did is still in effect, as far as is known. `received
    elsewhere` is stamped 4 s before the start of the workflow: clocks differ, so times are only roughly right. No
    error is recorded with the failure of `pay`. Begun, with no end recorded: `left open`.
    "#);
}

#[test]
fn texts_from_outside_are_cut_and_can_neither_move_the_cursor_nor_end_a_quotation() {
    let mut script = workflow()
        .say(1, 3, WORKFLOW, "ai:decision", EventStatus::Success, json!({"chosen": "a\"b", "reasoning": "because\u{202e}\n".repeat(100)}))
        .say(
            2,
            2,
            WORKFLOW,
            "stage:failed",
            EventStatus::Failed,
            json!({"name": "a`b\u{1b}[31m", "error": {"type": "T\u{7}", "message": format!("\u{1b}]0;gone\u{7}{}", "m".repeat(1 << 20))}}),
        );
    for event in &mut script.events {
        event.correlation_id = Some("x\r\nsecond line".to_owned());
        event.route = Some("r".repeat(5_000));
        event.tags.insert("k\u{200b}".to_owned(), "v".repeat(5_000));
    }
    let text = why(&script.query()).paragraph();
    assert!(text.chars().all(|c| !c.is_control() && !matches!(c, '\u{200b}' | '\u{202e}')), "{text:?}");
    assert!(text.chars().count() < 2_500, "{}", text.len());
    assert!(text.contains(r"failed at `a'b\u{1b}[31m` with T\u{7}: "), "{text}");
    assert!(text.contains(r#"chose "a'b", because "because\u{202e}\n"#), "{text}");
}

#[test]
fn all_that_can_be_said_at_once() {
    let mut script = workflow()
        .done(1, 2, 2, WORKFLOW, "stock")
        .done(1, 2, 3, WORKFLOW, "credit")
        .begins(5, 4, WORKFLOW, "label")
        .begins(5, 5, WORKFLOW, "pay")
        .fails(8, 5, WORKFLOW, "pay", "Declined")
        .fails(9, 4, WORKFLOW, "label", "Cancelled")
        .decides(10, 9, WORKFLOW, "recovery", "undo")
        .not_undone(11, 12, 12, 2, "release")
        .undone(13, 14, 22, 2, "release")
        .not_undone(15, 18, 13, 3, "return credit")
        .ends_badly(20, "Declined");
    for event in &mut script.events {
        event.parent_trace_id = journey_store::TraceId::new(77);
    }
    insta::assert_snapshot!(said(&script), @r#"
    Workflow `order` failed at `pay` with Declined: "Declined happened", on 2026-11-20 at 10:00:00.008 UTC, 8 ms
    after it began; the step itself ran for 3 ms. To find it elsewhere: trace 00000000000000000000000000000009. It
    was started by trace 0000000000000000000000000000004d. 2 steps had succeeded before that: `stock` and
    `credit`. Also failed: `label` (Cancelled: "Cancelled happened"). After the failure, `recovery` chose "undo"
    with confidence 0.5. Compensation undid `stock`, but undoing `stock` (`release`) failed at first after 1 ms
    with "warehouse is down" and undoing `credit` (`return credit`) failed after 3 ms with "warehouse is down". A
    person has to look: `credit` is still in effect because undoing it failed.
    "#);
}
