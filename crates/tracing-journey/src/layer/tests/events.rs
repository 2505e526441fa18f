//! Events that are checkpoints.

use journey_core::Resolution;
use tracing::{error, info, info_span, warn};

use super::record;

#[test]
fn an_event_that_names_a_stage_is_a_checkpoint_at_once() {
    let seen = record(|| {
        info!(journey.stage = "T4", correlation_id = "m");
        warn!(journey.stage = "db_stored", correlation_id = %"m", "stored");
        info!(journey.stage = "T11", correlation_id = "m", journey.at = 1_700_000_000_i64);
        error!(journey.stage = "T5", correlation_id = "m", error = "refused");
        info!(correlation_id = "m", "no stage");
    });
    let checkpoints = seen.checkpoints();
    let lines: Vec<String> = checkpoints.iter().map(|checkpoint| seen.line(checkpoint)).collect();
    assert_eq!(lines, ["T4 m reached", "T4 m reached", "T11 m reached", "T5 m failed"]);
    assert_eq!((checkpoints[2].at, checkpoints[2].resolution), (1_700_000_000_000_000_000, Resolution::Second));
    assert_eq!(seen.lost(), []);
}

#[test]
fn an_event_takes_its_id_from_the_spans_around() {
    let seen = record(|| {
        let other = info_span!("request", correlation_id = "other");
        let _request = info_span!("request", correlation_id = "m").entered();
        let _inner = info_span!("inner").entered();
        info!(journey.stage = "T4");
        info!(parent: &other, journey.stage = "T5");
        info!(parent: None, journey.stage = "T6");
    });
    assert_eq!(seen.lines(), ["T4 m reached", "T5 other reached"]);
    assert_eq!(seen.lost(), [("no_id", 1)]);
    assert!(seen.no_id()[0].0.starts_with("event "), "{:?}", seen.no_id());
}

#[test]
fn an_event_with_a_stage_that_no_route_has_is_counted() {
    let seen = record(|| info!(journey.stage = "T99", correlation_id = "m"));
    assert_eq!((seen.lines(), seen.lost()), (vec![], vec![("unknown_stage", 1)]));
}
