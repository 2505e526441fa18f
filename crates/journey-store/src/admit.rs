//! Which events a store keeps: one answer for every store.

use serde_json::{Map, Value};

use crate::{
    day::DAY_NANOS,
    event::Event,
    store::{Batch, RejectReason, StoreError, StoreErrorKind},
};

/// The most events that one batch has.
pub const MAX_BATCH: usize = 10_000;

/// How deep lists and objects in `data` may stand in each other. A JSON reader stops at 128.
pub const MAX_DATA_DEPTH: usize = 64;

/// The longest correlation id or route, in bytes: stores keep both in an index.
pub const MAX_KEY_BYTES: usize = 1_024;

/// The most days that one expiry drops.
pub const MAX_EXPIRED_DAYS: usize = 10;

/// The retention where nothing else was said: 90 days, nanoseconds.
pub const DEFAULT_RETENTION: i64 = 90 * DAY_NANOS;

/// Whether a batch is one.
///
/// # Errors
///
/// `BadRequest`: it has more than [`MAX_BATCH`] events, or its account is none that a store can keep.
pub(crate) fn check_batch(batch: &Batch) -> Result<(), StoreError> {
    let bad = |message| Err(StoreError::new(StoreErrorKind::BadRequest, message));
    let count = batch.events.len();
    if count > MAX_BATCH {
        return bad(format!("a batch of {count} events is too large (put at most {MAX_BATCH} at once)"));
    }
    let Some(account) = &batch.account else { return Ok(()) };
    for (name, number) in [("emitter", account.emitter), ("emitted", account.emitted)] {
        if i64::try_from(number).is_err() {
            return bad(format!("`{name}` of an account is {number} (it must be below 2^63)"));
        }
    }
    if account.service.len() > MAX_KEY_BYTES || account.service.contains('\0') {
        return bad(format!("`service` of an account is too long or contains U+0000 (at most {MAX_KEY_BYTES} bytes)"));
    }
    Ok(())
}

/// Why an event is not kept; `None` where it is. `now` and `retention` in nanoseconds.
pub(crate) fn refusal(event: &Event, now: i64, retention: i64) -> Option<RejectReason> {
    if let Err(error) = event.check() {
        return Some(RejectReason::Invalid(error.to_string()));
    }
    if let Some(reason) = invalid_text(event) {
        return Some(RejectReason::Invalid(reason));
    }
    if !is_at_most_deep(&event.data, MAX_DATA_DEPTH) {
        let reason = format!("`data` is nested more than {MAX_DATA_DEPTH} deep (keep it flatter, or give it as text)");
        return Some(RejectReason::Invalid(reason));
    }
    if event.timestamp < now.saturating_sub(retention) {
        return Some(RejectReason::TooOld);
    }
    (event.timestamp > now.saturating_add(DAY_NANOS)).then_some(RejectReason::TooFarAhead)
}

/// Databases keep no NUL in a text, and no long text in an index.
fn invalid_text(event: &Event) -> Option<String> {
    let keys = [("correlationId", &event.correlation_id), ("route", &event.route)];
    for (name, text) in keys.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))) {
        if text.len() > MAX_KEY_BYTES {
            return Some(format!("`{name}` has {} bytes (at most {MAX_KEY_BYTES})", text.len()));
        }
        if text.contains('\0') {
            return Some(format!("`{name}` contains the character U+0000 (leave it out)"));
        }
    }
    let nul_in_tags = event.tags.iter().any(|(key, value)| key.contains('\0') || value.contains('\0'));
    nul_in_tags.then(|| "`tags` contain the character U+0000 (leave it out)".to_owned())
}

fn is_at_most_deep(data: &Map<String, Value>, depth: usize) -> bool {
    depth > 0 && data.values().all(|value| value_is_at_most_deep(value, depth - 1))
}

/// Ends at the permitted depth, so hostile nesting cannot exhaust the stack here.
fn value_is_at_most_deep(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(values) => depth > 0 && values.iter().all(|value| value_is_at_most_deep(value, depth - 1)),
        Value::Object(map) => is_at_most_deep(map, depth),
        _ => true,
    }
}
