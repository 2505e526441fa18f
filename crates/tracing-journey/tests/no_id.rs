//! Stages without a correlation id are named by their callsite.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use support::{builder, settle};
use tracing_subscriber::prelude::*;

#[test]
fn a_stage_without_an_id_is_counted_and_its_callsite_named() {
    let (layer, journey) = builder().build().unwrap();
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    tracing::info_span!("db_stored").in_scope(|| {});
    settle(&journey);
    let view = journey.live().self_view();
    assert_eq!(view.accounting.dropped["no_id"], 1);
    let sentence =
        view.warnings.iter().find(|warning| warning.contains("without a correlation id")).expect("a sentence");
    assert!(sentence.contains("db_stored") && sentence.contains("no_id.rs"), "{sentence}");
    assert_eq!(view.parts["layer"]["noIdByCallsite"].as_object().unwrap().len(), 1);
}
