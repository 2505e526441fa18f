//! When did an attempt fail?

use tracing::{Span, field::Empty, info_span, instrument};

use super::{Seen, record};

fn errors(seen: &Seen) -> Vec<(String, String, String)> {
    let checkpoints = seen.checkpoints();
    let texts = checkpoints.into_iter().map(|checkpoint| {
        let error = checkpoint.error.unwrap_or_else(|| Box::new(journey_core::StageError::new("-", "-")));
        (checkpoint.outcome.as_str().to_owned(), error.kind, error.message)
    });
    texts.collect()
}

fn expected<const N: usize>(texts: [(&str, &str, &str); N]) -> Vec<(String, String, String)> {
    texts.map(|(outcome, kind, message)| (outcome.into(), kind.into(), message.into())).to_vec()
}

#[instrument(name = "db_stored", skip_all, fields(correlation_id = %id), err)]
fn store(id: &str, works: bool) -> Result<(), std::fmt::Error> {
    if works { Ok(()) } else { Err(std::fmt::Error) }
}

#[instrument(name = "db_stored", skip_all, fields(correlation_id = %id), err(Debug))]
async fn store_later(id: &str) -> Result<(), String> {
    Err("no \"connection\"".to_owned())
}

#[instrument(err)]
fn helper() -> Result<(), &'static str> {
    Err("the first try")
}

#[test]
fn an_error_field_marks_the_attempt_failed() {
    let error = std::io::Error::other("disk full");
    let seen = record(|| {
        info_span!("T4", correlation_id = "m", error = %error).in_scope(|| ());
        info_span!("T4", correlation_id = "m", error = &error as &(dyn std::error::Error + 'static)).in_scope(|| ());
        info_span!("T4", correlation_id = "m", "journey.error" = "timed out", "error.type" = "timeout").in_scope(|| ());
        let late = info_span!("T4", correlation_id = "m", error = Empty, "error.type" = Empty);
        late.record("error", "late");
        late.record("error.type", "io");
        drop(late);
        info_span!("T4", correlation_id = "m", "otel.status_code" = "ERROR", "otel.status_description" = "down")
            .in_scope(|| ());
        info_span!("T4", correlation_id = "m", error = true).in_scope(|| ());
    });
    let failed = |kind, message| ("failed", kind, message);
    assert_eq!(
        errors(&seen),
        expected([
            failed("error", "disk full"),
            failed("error", "disk full"),
            failed("timeout", "timed out"),
            failed("io", "late"),
            failed("error", "down"),
            failed("error", ""),
        ])
    );
}

#[test]
fn fields_that_say_there_is_no_error_do_not_fail_the_attempt() {
    let none: Option<String> = None;
    let seen = record(|| {
        info_span!("T4", correlation_id = "m", error = Empty).in_scope(|| ());
        info_span!("T4", correlation_id = "m", error = false).in_scope(|| ());
        info_span!("T4", correlation_id = "m", error = "").in_scope(|| ());
        info_span!("T4", correlation_id = "m", error = ?none).in_scope(|| ());
        info_span!("T4", correlation_id = "m", "otel.status_code" = "OK").in_scope(|| ());
        info_span!("T4", correlation_id = "m", "error.type" = "timeout").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 m reached"; 6]);
}

#[test]
fn a_function_instrumented_with_err_fails_its_own_stage_and_no_other() {
    let seen = record(|| {
        store("m", true).unwrap();
        store("m", false).unwrap_err();
        // The stage outlived the failure of something it called.
        info_span!("T5", correlation_id = "m").in_scope(|| helper().unwrap_err());
    });
    let text = std::fmt::Error.to_string();
    assert_eq!(errors(&seen), expected([("reached", "-", "-"), ("failed", "error", &text), ("reached", "-", "-")]));
}

#[test]
fn an_instrumented_future_that_fails_fails_its_stage() {
    let seen = record(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store_later("m")).unwrap_err();
    });
    // A quoted text with quotes inside is left as `Debug` wrote it.
    assert_eq!(errors(&seen), expected([("failed", "error", r#""no \"connection\"""#)]));
}

#[test]
fn an_error_that_the_application_logs_with_a_message_is_its_own_affair() {
    let seen = record(|| {
        info_span!("T4", correlation_id = "m").in_scope(|| tracing::error!(error = "refused", "trying again"));
    });
    assert_eq!(seen.lines(), ["T4 m reached"]);
}

#[test]
fn a_failed_attempt_and_a_later_success_are_two_sightings() {
    let seen = record(|| {
        store("m", false).unwrap_err();
        store("m", true).unwrap();
        assert!(Span::current().is_none());
    });
    assert_eq!(seen.lines(), ["T4 m failed", "T4 m reached"]);
}
