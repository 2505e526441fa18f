//! Which instants, types and tags does a request name?

use std::time::Duration;

use journey_core::{parse_duration, parse_instant, rfc3339};
use journey_store::{Event, EventStatus, MAX_SUMMARY_TAG_BYTES, SpanId, TraceId, TraceStatus};

use crate::{
    problem::Problem,
    query::{Params, wrong},
};

/// The longest route that is looked for, in bytes.
const MAX_ROUTE_BYTES: usize = 256;

/// The most tags of one question.
const MAX_TAGS: usize = 16;

/// From when, and until when: unix nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) since: Option<i64>,
    pub(super) until: Option<i64>,
}

/// Reads `since` and `until`; without `since`, it is so long ago.
pub(super) fn span(params: &Params, now: i64, ago: Option<Duration>) -> Result<Span, Problem> {
    let since = instant(params, "since", now)?;
    let until = instant(params, "until", now)?;
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        let detail = format!(
            "`since` ({}) is not before `until` ({}), so nothing lies between them (try `since=24h` alone)",
            rfc3339(since),
            rfc3339(until)
        );
        return Err(Problem::bad_request(detail).with("parameter", "since"));
    }
    // Of a time that ended before, the time before its end.
    let default = ago.map(|ago| before(until.unwrap_or(now).min(now), ago));
    Ok(Span { since: since.or(default), until })
}

/// A duration names the instant so long ago.
fn instant(params: &Params, name: &str, now: i64) -> Result<Option<i64>, Problem> {
    let Some(text) = params.text(name) else { return Ok(None) };
    let at = match parse_duration(text) {
        Ok(ago) => Some(before(now, ago)),
        Err(_) => parse_instant(text).ok(),
    };
    let problem = "is no instant (try `24h`, `2026-11-20T10:00:00Z` or a unix time)";
    at.map(Some).ok_or_else(|| wrong(name, text, problem))
}

fn before(instant: i64, ago: Duration) -> i64 {
    instant.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX))
}

/// How many entries a page has.
pub(super) fn limit(params: &Params, default: usize) -> Result<usize, Problem> {
    Ok(params.number("limit", 1, journey_store::MAX_PAGE, "50")?.unwrap_or(default))
}

/// A whole type.
pub(super) fn event_type(params: &Params) -> Result<Option<String>, Problem> {
    let Some(text) = params.text("type") else { return Ok(None) };
    if text.ends_with(':') {
        return Err(wrong("type", text, "is the beginning of a type, not a whole one (try `saga:compensated`)"));
    }
    event_type_or_beginning(params)
}

/// A whole type, or the beginning of one that ends in `:`.
pub(super) fn event_type_or_beginning(params: &Params) -> Result<Option<String>, Problem> {
    let Some(text) = params.text("type") else { return Ok(None) };
    let (Some(trace), Some(span)) = (TraceId::new(1), SpanId::new(1)) else { return Ok(None) };
    match Event::new(trace, span, text, 0).check() {
        Ok(()) => Ok(Some(text.to_owned())),
        Err(_) => {
            let problem = "is no event type: 1 to 64 of `a-z A-Z 0-9 _ . : -` (try `stage:failed`)";
            Err(wrong("type", text, problem))
        }
    }
}

/// Tags, each `key=value`.
pub(super) fn tags(params: &Params) -> Result<Vec<String>, Problem> {
    let tags: Vec<_> = params.texts("tag").map(str::to_owned).collect();
    if tags.len() > MAX_TAGS {
        let detail = format!("the parameter `tag` is there {} times, at most {MAX_TAGS} are taken", tags.len());
        return Err(Problem::bad_request(detail).with("parameter", "tag"));
    }
    let is_tag =
        |tag: &str| tag.len() <= MAX_SUMMARY_TAG_BYTES && tag.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    match tags.iter().find(|tag| !is_tag(tag)) {
        Some(tag) => {
            let problem = format!("is no tag: `key=value` of at most {MAX_SUMMARY_TAG_BYTES} bytes (try `order=1042`)");
            Err(wrong("tag", tag, &problem))
        }
        None => Ok(tags),
    }
}

/// A route: not only active ones, for the store knows those of the past.
pub(super) fn route(params: &Params) -> Result<Option<String>, Problem> {
    name(params, "route", "message")
}

/// A name that is looked for as it is.
pub(super) fn name(params: &Params, parameter: &str, example: &str) -> Result<Option<String>, Problem> {
    match params.text(parameter) {
        Some(text) if text.is_empty() || text.len() > MAX_ROUTE_BYTES => {
            let problem = format!("has {} bytes, 1 to {MAX_ROUTE_BYTES} are taken (try `{example}`)", text.len());
            Err(wrong(parameter, text, &problem))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// How an event stands.
pub(super) fn event_status(params: &Params) -> Result<Option<EventStatus>, Problem> {
    let all = [EventStatus::Success, EventStatus::Failed, EventStatus::Pending];
    params.one_of("status", &all.map(|status| (status.as_str(), status)))
}

/// How a trace stands.
pub(super) fn trace_status(params: &Params) -> Result<Option<TraceStatus>, Problem> {
    let all = [TraceStatus::Success, TraceStatus::Failed, TraceStatus::Pending];
    params.one_of("status", &all.map(|status| (status.as_str(), status)))
}
