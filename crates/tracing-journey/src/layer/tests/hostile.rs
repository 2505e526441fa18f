//! What the application gives us may be hostile or broken; it must notice nothing.

use std::{fmt, panic::catch_unwind};

use tracing::{info, info_span};

use super::record;

struct Panics;

impl fmt::Debug for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a panic in the application's Debug")
    }
}

/// Its `Debug` opens a stage, logs a checkpoint, and has an id of its own.
struct Logs;

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = info_span!("T5", correlation_id = "from within").entered();
        info!(journey.stage = "T6", correlation_id = ?Self);
        drop(stage);
        f.write_str("logs")
    }
}

/// Unwraps what the formatter says, as `to_string` and many others do.
struct Unwraps(usize);

impl fmt::Display for Unwraps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.0).for_each(|_| f.write_str("x").unwrap());
        Ok(())
    }
}

struct Fails;

impl fmt::Display for Fails {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

#[test]
fn ids_that_cannot_be_taken_are_counted_and_never_replaced_by_others() {
    let long = "x".repeat(1 << 20);
    let seen = record(|| {
        let _request = info_span!("request", correlation_id = "another message").entered();
        info_span!("T4", correlation_id = long).in_scope(|| ());
        info_span!("T4", correlation_id = %long).in_scope(|| ());
        info_span!("T4", correlation_id = ?long).in_scope(|| ());
        info_span!("T4", correlation_id = "").in_scope(|| ());
        info_span!("T4", correlation_id = "a\nb").in_scope(|| ());
        info_span!("T4", correlation_id = %"a\u{1b}[2J").in_scope(|| ());
        info_span!("T4", correlation_id = "a\0").in_scope(|| ());
        info_span!("T4", correlation_id = %Unwraps(129)).in_scope(|| ());
        info_span!("T4", correlation_id = %Fails).in_scope(|| ());
        info_span!("hostile", correlation_id = "\u{7f}").in_scope(|| info_span!("T4").in_scope(|| ()));
    });
    assert_eq!((seen.lines(), seen.lost()), (vec![], vec![("invalid_id", 10)]));
}

#[test]
fn ids_that_only_look_hostile_are_taken_as_they_are() {
    let longest = "ä".repeat(64);
    let ids = ["<script>alert(1)</script>", "'; DROP TABLE journeys; --", "../../etc/passwd", "%s%n", "🙂", &longest];
    let seen = record(|| {
        for id in ids {
            info_span!("T4", correlation_id = id).in_scope(|| ());
            info_span!("T4", correlation_id = %id).in_scope(|| ());
        }
    });
    let found: Vec<String> = seen.checkpoints().iter().map(|checkpoint| checkpoint.id.to_string()).collect();
    let expected: Vec<&str> = ids.iter().flat_map(|id| [*id, *id]).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_panic_in_the_applications_debug_reaches_the_application_alone() {
    let seen = record(|| {
        catch_unwind(|| info_span!("T4", correlation_id = ?Panics)).unwrap_err();
        catch_unwind(|| info!(journey.stage = "T4", correlation_id = ?Panics)).unwrap_err();
        let stage = info_span!("T4", correlation_id = "m", error = tracing::field::Empty).entered();
        catch_unwind(std::panic::AssertUnwindSafe(|| stage.record("error", tracing::field::debug(Panics))))
            .unwrap_err();
        drop(stage);
        // Nothing is hushed for good, no lock is held, no slot is lost.
        info_span!("T5", correlation_id = "m").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 m reached", "T5 m reached"]);
}

#[test]
fn a_panic_inside_a_stage_leaves_the_stage_sent_and_released() {
    let seen = record(|| {
        catch_unwind(|| info_span!("T4", correlation_id = "m").in_scope(|| panic!("the handler fails"))).unwrap_err();
    });
    assert_eq!(seen.lines(), ["T4 m reached"]);
}

#[test]
fn spans_and_events_from_inside_a_debug_are_not_looked_at() {
    let seen = record(|| {
        info_span!("T4", correlation_id = ?Logs).in_scope(|| ());
        info_span!("T7", correlation_id = "m").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 logs reached", "T7 m reached"]);
}

#[test]
fn long_errors_are_cut_at_a_character() {
    let seen = record(|| info_span!("T4", correlation_id = "m", error = %"€".repeat(10_000)).in_scope(|| ()));
    assert_eq!(seen.only().error.unwrap().message, "€".repeat(85));
}
