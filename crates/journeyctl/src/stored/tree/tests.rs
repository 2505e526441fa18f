//! Whole traces, as they are drawn.

use journey_store::{Event, fixture::Saga};
use serde_json::json;

use super::*;
use crate::{local, source::Source, stored};

const WIDE: Look = Look { width: 120, color: false, unicode: true };
/// 2026-11-20T10:00:00Z, a minute after which these orders are looked at.
const BEGIN: i64 = 1_795_168_800_000_000_000;
const NOW: i64 = BEGIN + 60_000_000_000;

/// An order of twelve steps that failed at one of them.
fn order(fails_at: usize) -> Saga {
    Saga { fails_at: Some(fails_at), ..Saga::default() }
}

fn drawn(source: &Source, id: &str, look: &Look) -> String {
    let mut out = Vec::new();
    stored::trace(source, id, false, look, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shown(events: Vec<Event>, look: &Look) -> String {
    drawn(&local::with(&events, NOW), "order-1042", look)
}

#[test]
fn an_order_that_failed_and_could_not_be_undone_in_one_place() {
    insta::assert_snapshot!(shown(order(9).events(), &WIDE));
}

#[test]
fn on_a_usual_terminal_explanations_go_on_beneath() {
    insta::assert_snapshot!(shown(order(9).events(), &Look { width: 80, ..WIDE }));
}

#[test]
fn on_a_narrow_terminal_without_unicode_everything_is_still_said() {
    let shown = shown(order(9).events(), &Look { width: 46, color: false, unicode: false });
    assert!(shown.is_ascii() && shown.lines().all(|line| line.len() <= 46), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn in_a_pipe_nothing_is_cut_or_wrapped() {
    let lines = shown(order(9).events(), &Look { width: Look::UNLIMITED, ..WIDE });
    let decisive = lines.lines().find(|line| line.contains("FAILED HERE")).unwrap();
    assert!(decisive.ends_with("FAILED HERE: PaymentTimeout: no answer from the bank within 180 ms"), "{lines}");
}

#[test]
fn an_order_that_succeeded() {
    insta::assert_snapshot!(shown(Saga::default().events(), &WIDE));
}

#[test]
fn work_that_nobody_undid_is_loud() {
    let saga = Saga { not_undone: vec![6], ..order(9) };
    insta::assert_snapshot!(shown(saga.events(), &WIDE));
}

#[test]
fn a_trace_that_has_not_ended_says_so() {
    let mut events = Saga::default().events();
    events.truncate(8);
    insta::assert_snapshot!(shown(events, &WIDE));
}

#[test]
fn other_traces_of_the_message_and_what_it_started_are_named() {
    let first = order(9);
    let parent = first.events()[0].trace_id;
    let again = Saga { trace: 0xa, begin: BEGIN + 10_000_000_000, ..Saga::default() };
    let child = Saga { trace: 0xb, order: 77, begin: BEGIN + 11_000_000_000, ..Saga::default() };
    let child = child.events().into_iter().map(|mut event| {
        event.parent_trace_id = Some(parent);
        event
    });
    let events: Vec<Event> = first.events().into_iter().chain(again.events()).chain(child).collect();
    let source = local::with(&events, NOW);
    let shown = drawn(&source, &parent.to_string(), &WIDE);
    let relatives: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("other traces")).collect();
    insta::assert_snapshot!(relatives.join("\n"));
    // Of a correlation id, the newest trace is meant.
    assert!(drawn(&source, "order-1042", &WIDE).starts_with("Order trace order-1042 · success · "));
}

#[test]
fn colour_is_around_the_same_characters() {
    let coloured = shown(order(9).events(), &Look { color: true, ..WIDE });
    assert!(coloured.contains("\x1b[31mFAILED HERE: PaymentTimeout"), "{coloured}");
    let mut plain = String::new();
    for (index, part) in coloured.split('\x1b').enumerate() {
        plain.push_str(if index == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert_eq!(trimmed(&plain), trimmed(&shown(order(9).events(), &WIDE)));
}

#[test]
fn nothing_that_an_application_said_moves_the_cursor_or_breaks_the_tree() {
    let mut events = order(9).events();
    for event in &mut events {
        event.correlation_id = Some("order-1042".into());
        event.route = Some("or\u{1b}[2Jder\n".into());
        event.data.insert("name".into(), json!(format!("step\u{202e}\n{}", "x".repeat(5_000))));
        event.data.insert("error".into(), json!({"type": "\u{9b}31m", "message": "a\rb\u{feff}"}));
    }
    for width in [1, 20, 80, 200] {
        let shown = shown(events.clone(), &Look { width, ..WIDE });
        assert!(!shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}' || c == '\u{feff}')), "{shown}");
    }
}

#[test]
fn a_trace_of_any_shape_is_drawn() {
    let template = order(9).events();
    let mut deep = Vec::new();
    for depth in 1..3_000_u64 {
        let mut event = template[1].clone();
        (event.span_id, event.seq) = (SpanId::new(depth).unwrap(), depth);
        event.parent_span_id = SpanId::new(depth - 1);
        deep.push(event);
    }
    let shown = shown(deep, &WIDE);
    assert!(shown.contains("[998] ") && shown.contains("Not shown  1 999 lines of the tree"), "{shown}");
    assert!(shown.lines().skip(2).all(|line| width(line) <= 120), "{shown}");
}
