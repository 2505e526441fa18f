//! Everything that reads a text from outside ends with a value or an error, whatever the text.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use journey_core::{
    CorrelationId, Limits, ListQuery, PlatformTime, Route, Routes, Source, Sources, Timings, TraceIdKey, Tracker,
    Window, parse_duration, parse_instant, rfc3339,
};
use proptest::prelude::*;

const ROUTE: &str = include_str!("../src/message.toml");

/// Any text: printable, control characters, digits near the edges of numbers.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9.eE+-]{0,40}",
        "[0-9]{1,20}(us|ms|s|m|h|d)?",
        "[0-9T:Z.+-]{0,40}",
        any::<i64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(rfc3339),
    ]
}

/// The built-in route with a piece cut out, doubled, or replaced.
fn damaged_route() -> impl Strategy<Value = String> {
    (0..ROUTE.len(), 0..200_usize, prop_oneof![Just(String::new()), text(), "[\\[\\]{}=\"'#a-z0-9\n]{0,30}"]).prop_map(
        |(start, length, instead)| {
            let end = (start + length).min(ROUTE.len());
            format!("{}{instead}{}", &ROUTE[..start], &ROUTE[end..])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_text_is_a_value_or_an_error(text in text()) {
        if let Ok(id) = CorrelationId::new(&text) {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert!(!text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control));
        }
        if let Ok(at) = parse_instant(&text) {
            // What was read can be written and read again, but for digits below a millisecond.
            prop_assert_eq!(parse_instant(&rfc3339(at)).unwrap(), at.div_euclid(1_000_000) * 1_000_000);
        }
        let _ = parse_duration(&text);
        let _ = PlatformTime::whatsapp(&text);
        let _ = PlatformTime::discord(&text);
        let _ = PlatformTime::discord_snowflake(&text);
        let _ = text.parse::<Window>();
        let _ = serde_json::from_str::<Timings>(&text);
        let _ = serde_json::from_str::<CorrelationId>(&text);
    }

    #[test]
    fn every_damaged_route_is_a_route_or_an_error_that_names_the_file(route in damaged_route()) {
        if let Err(error) = Route::from_toml("damaged.toml", &route) {
            let error = error.to_string();
            prop_assert!(error.starts_with("damaged.toml: ") && error.len() < 4_096, "{}", error);
        }
    }

    #[test]
    fn every_query_is_answered_or_refused(route in text(), stage in text(), cursor in text()) {
        let sources = Sources::new(Source::default());
        let tracker = Tracker::new(Arc::new(Routes::default()), sources, Limits::default(), TraceIdKey::default(), 0);
        for query in [
            ListQuery { route: Some(route), ..ListQuery::default() },
            ListQuery { stage: Some(stage), ..ListQuery::default() },
            ListQuery { cursor: Some(cursor), ..ListQuery::default() },
        ] {
            if let Err(error) = tracker.list(&query, 0) {
                prop_assert!(!error.chars().any(char::is_control), "{}", error);
            }
        }
    }
}
