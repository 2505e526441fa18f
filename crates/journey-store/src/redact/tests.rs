use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{SpanId, TraceId};

fn clean(data: Value) -> (Value, Cleaned) {
    let Value::Object(data) = data else { panic!("not an object: {data}") };
    let (data, cleaned) = Redaction::default().clean(data);
    (Value::Object(data), cleaned)
}

/// So deep that recursion in a drop or a visit overflows the stack of a test's thread.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("4111111111111111"), |inner, level| match level % 2 {
        // Not with `json!`, which copies by recursion.
        0 => Value::Object([("inner".to_owned(), inner)].into_iter().collect()),
        _ => Value::Array(vec![inner]),
    })
}

#[test]
fn secrets_are_found_at_every_level_and_ids_stay() {
    let data = json!({
        "correlationId": "msg_1", "traceId": "4111111111111111", "orderId": 4_111_111_111_111_111_u64,
        "attempts": 3, "at": 1_790_000_000_123_456_789_i64, "ratio": 0.25, "ok": true, "password": null, "hasToken": true,
        "usage": { "promptTokens": 152, "token": "t-1", "tokens": ["a", "b"] },
        "cards": [4_111_111_111_111_111_u64, "5555 5555 5555 4444", 4.111_111_111_111_111e15, { "cvv": 123, "n": "378282246310005" }],
        "error": { "type": "Denied", "message": "card 4111-1111-1111-1111 declined, Authorization: Basic dXNlcjpwYXNz" },
        "4111111111111111": "a key",
    });
    let (data, cleaned) = clean(data);
    assert_eq!(
        data,
        json!({
            "correlationId": "msg_1", "traceId": "4111111111111111", "orderId": 4_111_111_111_111_111_u64,
            "attempts": 3, "at": 1_790_000_000_123_456_789_i64, "ratio": 0.25, "ok": true, "password": null, "hasToken": true,
            "usage": { "promptTokens": 152, "token": "[redacted]", "tokens": "[redacted]" },
            "cards": ["[redacted]", "[redacted]", "[redacted]", { "cvv": "[redacted]", "n": "[redacted]" }],
            "error": { "type": "Denied", "message": "card [redacted] declined, Authorization: [redacted]" },
            "[redacted]": "a key",
        })
    );
    assert_eq!(cleaned, Cleaned { redacted: 10, cut: 0 });
}

#[test]
fn the_span_that_is_undone_stays_where_its_digits_look_like_a_card() {
    let data = json!({ "name": "refund", "compensates": "4111111111111111" });
    assert_eq!(clean(data.clone()), (data, Cleaned::default()));
}

#[test]
fn what_is_too_large_is_cut_and_marked() {
    let limits = DataLimits { depth: 3, bytes: 4_000, text_bytes: 10, members: 3 };
    let rules = Redaction::default().limits(limits);
    let data = json!({
        "text": "äöüäöüäöü", "list": [1, 2, 3, 4, 5], "deep": { "a": { "b": { "c": 1 } } }, "x": 1, "y": 2,
    });
    let (data, cleaned) = rules.clean(data.as_object().unwrap().clone());
    let expected = json!({ "text": "äöü…", "list": [1, 2, 3, "…"], "deep": { "a": { "b": "…" } }, "_cut": 2 });
    assert_eq!(Value::Object(data), expected);
    assert_eq!(cleaned, Cleaned { redacted: 0, cut: 1 + 2 + 1 + 2 });

    let many: Map<String, Value> = (0..2_000).map(|n| (format!("key{n}"), "0123456789abcdef".into())).collect();
    let rules = Redaction::default().limits(DataLimits { bytes: 1_000, members: usize::MAX, ..DataLimits::default() });
    let (data, cleaned) = rules.clean(many);
    let text = serde_json::to_string(&data).unwrap();
    assert!(text.len() < 1_500 && text.contains("\"_cut\":"), "{} bytes", text.len());
    let left_out = data[CUT_KEY].as_u64().unwrap();
    assert_eq!(data.len() as u64 - 1 + left_out, 2_000);
    // The text that met the limit was cut too.
    assert!((left_out..=left_out + 1).contains(&cleaned.cut), "{cleaned:?}");
}

#[test]
fn hostile_data_neither_overflows_nor_passes() {
    for levels in [1, 15, 16, 17, 100, 10_000, 200_000] {
        let data = [("a".to_owned(), nested(levels)), ("secret".to_owned(), nested(levels))];
        let (data, cleaned) = clean(Value::Object(data.into_iter().collect()));
        assert_eq!(cleaned.redacted, if levels <= 15 { 2 } else { 1 }, "{levels}");
        assert_eq!(cleaned.cut, u64::from(levels > 15), "{levels}");
        assert!(!data.to_string().contains("4111"), "{levels}");
    }
    let wide: Vec<Value> = (0..100_000).map(|_| nested(3)).collect();
    let megabyte = "4111 1111 1111 1111 ".repeat(50_000);
    let (data, cleaned) =
        clean(json!({ "wide": wide, "long": megabyte, (&"k".repeat(1 << 20)): "\u{0}\u{202e}\u{feff}" }));
    assert!(data.to_string().len() < 200_000 && !data.to_string().contains("4111"), "{cleaned:?}");
    assert!(cleaned.cut >= 100_000 - 256, "{cleaned:?}");
}

#[test]
fn a_secret_at_the_place_of_the_cut_does_not_pass() {
    let limits = DataLimits { text_bytes: 100, ..DataLimits::default() };
    let rules = Redaction::default().limits(limits);
    for before in 60..110 {
        let text = format!("{} 4111111111111111 and more", "x".repeat(before));
        let (data, _) = rules.clean([("note".to_owned(), text.into())].into_iter().collect());
        assert!(!data["note"].as_str().unwrap().contains("411"), "{before}: {data:?}");
    }
    for before in 0..30 {
        let text = "x".repeat(before) + &" 4111 1111 1111 1111".repeat(1_000);
        let (data, _) = rules.clean([("note".to_owned(), text.into())].into_iter().collect());
        assert!(!data["note"].as_str().unwrap().contains("411"), "{before}: {data:?}");
    }
}

#[test]
fn tags_are_cleaned_too() {
    let mut event = Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "stage:completed", 0);
    event.tags = (0..70).map(|n| (format!("t{n:02}"), "v".to_owned())).collect();
    event.tags.insert("api-key".to_owned(), "k".to_owned());
    event.tags.insert("card".to_owned(), "4111111111111111".to_owned());
    event.tags.insert("long".to_owned(), "x".repeat(300));
    let cleaned = Redaction::default().clean_event(&mut event);
    assert_eq!(cleaned, Cleaned { redacted: 2, cut: 9 + 1 });
    assert_eq!((event.tags["api-key"].as_str(), event.tags["card"].as_str()), (REDACTED, REDACTED));
    assert_eq!(event.tags.len(), 64);
}

#[test]
fn off_means_off_but_sizes_hold() {
    let data: [(String, Value); 3] =
        [("password".into(), "x".into()), ("card".into(), "4111111111111111".into()), ("deep".into(), nested(10_000))];
    let (data, cleaned) = Redaction::off().clean(data.into_iter().collect());
    assert_eq!((data["password"].as_str(), data["card"].as_str()), (Some("x"), Some("4111111111111111")));
    assert_eq!(cleaned, Cleaned { redacted: 0, cut: 1 });
}

/// The check digit that makes digits a card number.
fn with_check_digit(mut digits: Vec<u8>) -> Vec<u8> {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    digits.push(((10 - sum % 10) % 10) as u8);
    digits
}

/// A card number, written with any separators after any digits, and some text around it.
fn written_card() -> impl Strategy<Value = (String, String)> {
    let digits = (2_u8..=9, prop::collection::vec(0_u8..=9, 11..=17)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        with_check_digit(rest)
    });
    let separator = prop::sample::select(vec!["", "", "", " ", "-", " - ", "\u{a0}", "\u{2011}"]);
    let separators = prop::collection::vec(separator, 20);
    (digits, separators, "[a-z:,.#(]{0,6}", "[a-z:,.#)]{0,6}").prop_map(|(digits, separators, before, after)| {
        let plain: String = digits.iter().map(u8::to_string).collect();
        let mut written = plain[..1].to_owned();
        for (digit, separator) in plain[1..].chars().zip(separators) {
            written.push_str(separator);
            written.push(digit);
        }
        (format!("{before}{written}{after}"), written)
    })
}

/// Any nesting of a leaf, under keys that are neither secrets nor ids.
fn nested_anyhow(leaf: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Array),
            prop::collection::btree_map("[x-z]{1,4}", inner, 1..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_card_survives_however_it_is_written_and_wherever_it_stands(
        (card, data) in written_card().prop_flat_map(|(text, card)| {
            (Just(card), nested_anyhow(prop_oneof![Just(text.into()), Just(Value::Null)]))
        })
    ) {
        let (data, _) = clean(json!({ "data": data }));
        prop_assert!(!data.to_string().contains(&card), "{}", data);
    }

    #[test]
    fn any_text_is_cleaned_the_same_twice_and_never_grows_without_a_secret(text in "\\PC{0,200}") {
        let (once, cleaned) = clean(json!({ "note": text }));
        let (twice, _) = clean(once.clone());
        prop_assert_eq!(&once, &twice);
        if cleaned == Cleaned::default() {
            prop_assert_eq!(once["note"].as_str(), Some(text.as_str()));
        }
    }

    #[test]
    fn whatever_the_limits_the_data_keeps_them(
        data in nested_anyhow(prop_oneof!["\\PC{0,80}".prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null)]),
        depth in 1_usize..6, bytes in 50_usize..2_000, text_bytes in 4_usize..60, members in 1_usize..5,
    ) {
        let rules = Redaction::off().limits(DataLimits { depth, bytes, text_bytes, members });
        let (data, _) = rules.clean([("data".to_owned(), data)].into_iter().collect());
        let data = Value::Object(data);
        prop_assert!(depth_of(&data) <= depth, "{}", data);
        prop_assert!(texts(&data).iter().all(|text| text.len() <= text_bytes.max(CUT.len())), "{}", data);
        // A mark may follow what used up the last byte, one for each level.
        prop_assert!(texts(&data).iter().map(|text| text.len()).sum::<usize>() <= bytes + 8 * CUT.len() * members, "{}", data);
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
