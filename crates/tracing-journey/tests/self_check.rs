//! Silence is loud. One test in this file: the level of a process is one for all its threads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use support::{Events, builder, eventually};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;

#[test]
fn a_global_filter_that_hides_the_stages_gives_one_clear_sentence() {
    let (layer, journey) = builder().build().unwrap();
    let before = journey.live().self_view();
    assert!(before.warnings.iter().all(|warning| !warning.contains("stage spans")), "{:?}", before.warnings);

    let events = Events::default();
    let _guard = tracing_subscriber::registry().with(layer).with(events.clone()).with(LevelFilter::WARN).set_default();
    let span = tracing::info_span!("db_stored", correlation_id = "hidden");
    assert!(span.is_disabled());
    // The second check comes after five seconds and writes it into the log, once.
    eventually("the line in the log", || !events.with_message("stage spans are at INFO").is_empty());
    assert_eq!(events.with_message("stage spans are at INFO").len(), 1);
    let line = events.with_message("stage spans are at INFO").remove(0);
    assert_eq!((line.level, line.target.as_str()), (tracing::Level::WARN, "tracing_journey"));

    let view = journey.live().self_view();
    let sentence = view.warnings.iter().find(|warning| warning.contains("stage spans are at INFO")).expect("here too");
    assert!(sentence.contains("`RUST_LOG=warn`") && sentence.contains("install()"), "{sentence}");
    let part = &view.parts["layer"];
    assert_eq!((part["stageLevel"].as_str(), part["visibleLevel"].as_str()), (Some("info"), Some("warn")));
    assert_eq!((part["installed"].as_bool(), part["queueCapacity"].as_u64()), (Some(true), Some(16_384)));
}
