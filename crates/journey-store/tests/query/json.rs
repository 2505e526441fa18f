//! The JSON that readers get.

use journey_store::{TraceQuery, TraceView, fixture::Saga, why};
use serde_json::{Value, json};

use crate::script::tree;

#[test]
fn the_tree_of_a_failed_order_reads_like_its_story() {
    let saga = Saga { fails_at: Some(9), not_undone: vec![8], ..Saga::default() };
    insta::assert_snapshot!(tree(&TraceQuery::new(saga.events())), @r"
    order failed 2018.04 ms [Failed]
    · validate_order success 4.005 ms
    · reserve_stock success 38.005 ms [StillInEffect]
    · choose_shipping_route success 410.005 ms
    · · shipping_route success [Decision]
    · price_order success 12.005 ms
    · check_fraud success 520.005 ms
    · · fraud_check success [Decision]
    · authorise_payment success 230.005 ms [Compensated]
    · create_shipment success 61.005 ms [Compensated]
    · book_carrier success 340.005 ms [NeverUndone]
    · capture_payment failed 180 ms [Failed, Decisive]
    · cancel_shipment success 90 ms
    · void_authorisation success 80 ms
    · release_stock failed 40 ms [Failed, CompensationFailed]
    ");
}

#[test]
fn nodes_say_what_they_are_in_camel_case_with_milliseconds() {
    let saga = Saga { fails_at: Some(7), ..Saga::default() };
    let view = TraceView::of(&TraceQuery::new(saga.events()), None, false);
    let json = serde_json::to_value(&view).unwrap();
    let node = |label: &str| {
        let nodes = json["tree"]["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["label"] == label).unwrap().clone()
    };
    let void_authorisation = json!({"spanId": "0000000000001206", "label": "void_authorisation", "status": "success"});
    assert_eq!(
        node("authorise_payment"),
        json!({
            "depth": 1, "parent": 0, "spanId": "0000000000001006", "label": "authorise_payment", "kind": "work",
            "type": "stage:completed", "status": "success", "startedAt": "2026-11-20T10:00:00.990Z", "offsetMs": 990.025,
            "durationMs": 230.005, "attempts": 1, "marks": ["compensated"], "compensatedBy": [void_authorisation]
        })
    );
    assert_eq!(node("shipping_route")["chosen"], "air");
    assert_eq!(
        node("release_stock")["compensates"],
        json!({"spanId": "0000000000001002", "label": "reserve_stock", "status": "success"})
    );
    assert_eq!(
        json["failure"],
        json!({
            "step": {
                "spanId": "0000000000001007", "label": "create_shipment", "kind": "work", "type": "stage:failed",
                "status": "failed", "startedAt": "2026-11-20T10:00:01.221Z", "offsetMs": 1221.03, "durationMs": 61.0,
                "attempts": 1, "error": {"type": "AddressRejected", "message": "no such house number"}
            },
            "at": "2026-11-20T10:00:01.282Z", "afterMs": 1282.03, "attempt": 1,
            "path": [
                {"spanId": "0000000000001000", "label": "order", "status": "failed"},
                {"spanId": "0000000000001007", "label": "create_shipment", "status": "failed"}
            ]
        })
    );
    assert_eq!(
        json["decisions"][1],
        json!({
            "spanId": "0000000000001105", "at": "2026-11-20T10:00:00.989Z", "offsetMs": 989.02, "decision": "fraud_check",
            "chosen": "pass", "reasoning": "score 0.38, known customer, new address", "confidence": 0.61,
            "alternatives": ["pass", "review", "reject"],
            "followed": [
                {"spanId": "0000000000001006", "label": "authorise_payment", "status": "success"},
                {"spanId": "0000000000001007", "label": "create_shipment", "status": "failed"}
            ],
            "branch": [], "outcome": "failed"
        })
    );
    let top: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "traceId correlationId route parentTraceId status startedAt endedAt durationMs events tree failure \
                    compensations decisions why truncated";
    assert_eq!(top.join(" "), expected);
    assert_eq!(json["events"].as_array().unwrap().len(), 22);
    assert_eq!(serde_json::from_value::<TraceView>(json).unwrap(), view);
}

#[test]
fn why_comes_back_from_json() {
    for fails_at in (1..=Saga::STEPS).map(Some).chain([None]) {
        let why = why(&TraceQuery::new(Saga { fails_at, ..Saga::default() }.events()));
        let json: Value = serde_json::to_value(&why).unwrap();
        let read: journey_store::Why = serde_json::from_value(json).unwrap();
        assert_eq!((read.paragraph(), &read), (why.paragraph(), &why));
    }
}
