//! What do days and many traces say together?

use std::time::Duration;

use axum::response::Response;
use http::{StatusCode, request::Parts};
use journey_core::{parse_duration, rfc3339};
use journey_store::{AnalyticsKind, AnalyticsQuestion, MAX_PAGE, TraceReader};

use super::{
    desk::{Desk, Length, Refusal},
    parameters,
    traces::DEFAULT_TIME,
    view::DailyView,
};
use crate::{
    problem::Problem,
    query::{Params, wrong},
    reply::Reply,
};

/// Nanoseconds.
const DAY: i64 = 86_400_000_000_000;

/// The most days of one answer.
const MAX_DAYS: i64 = 366;

/// Events that one question over many traces looks at: seconds of reading, in bounded memory.
const MAX_ANALYTICS_EVENTS: u64 = 1_000_000;

/// `GET /api/v2/stats/daily`.
pub(super) async fn daily(desk: &Desk, parts: &Parts, params: &Params, now: i64) -> Result<Response, Problem> {
    let days = params.number("days", 1, MAX_DAYS, "7")?.unwrap_or(7);
    let route = parameters::route(params)?;
    let leg = parameters::name(params, "leg", "db_write")?;
    let limit = parameters::limit(params, MAX_PAGE)?;
    let (first, last) = (day_of(now.saturating_sub((days - 1) * DAY)), day_of(now));
    let headers = parts.headers.clone();
    let question = move |reader: TraceReader| async move {
        // Before the statistics: what is computed in between is called due, and is not wrong.
        let due = reader.store().due(first.clone(), last.clone()).await?;
        let mut statistics = reader.store().daily(first.clone(), last.clone()).await?;
        statistics.retain(|line| route.as_ref().is_none_or(|route| line.route == *route));
        statistics.retain(|line| leg.as_ref().is_none_or(|leg| line.leg == *leg));
        statistics.sort_by(|one, other| {
            other.day.cmp(&one.day).then_with(|| (&one.route, &one.leg).cmp(&(&other.route, &other.leg)))
        });
        let truncated = statistics.len() > limit;
        statistics.truncate(limit);
        let view = DailyView { first, last, statistics, due, truncated };
        Ok::<_, Refusal>(Reply::json(&view).into_response(&headers))
    };
    desk.ask(Length::Long, question).await
}

/// `GET /api/v2/analytics/{kind}`.
pub(super) async fn analytics(
    desk: &Desk,
    parts: &Parts,
    params: &Params,
    kind: &str,
    now: i64,
) -> Result<Response, Problem> {
    let kind: AnalyticsKind = kind
        .parse()
        .map_err(|error: journey_store::InvalidAnalyticsKind| Problem::new(StatusCode::NOT_FOUND, error.to_string()))?;
    let span = parameters::span(params, now, Some(DEFAULT_TIME))?;
    let mut question = AnalyticsQuestion::new(kind);
    (question.since, question.until) = (span.since, span.until);
    question.route = parameters::route(params)?;
    question.most_events = MAX_ANALYTICS_EVENTS;
    if let Some(period) = params.text("period") {
        question.period = nanos(period).ok_or_else(|| wrong("period", period, "is no time from `1s` on (try `1h`)"))?;
    }
    let headers = parts.headers.clone();
    let question = move |reader: TraceReader| async move {
        let view = reader.analytics(question).await?;
        Ok::<_, Refusal>(Reply::json(&view).into_response(&headers))
    };
    desk.ask(Length::Long, question).await
}

/// The UTC day of an instant, as `2026-11-20`.
fn day_of(instant: i64) -> String {
    rfc3339(instant).split('T').next().unwrap_or_default().to_owned()
}

fn nanos(period: &str) -> Option<i64> {
    let period = parse_duration(period).ok().filter(|period| *period >= Duration::from_secs(1))?;
    i64::try_from(period.as_nanos()).ok()
}
