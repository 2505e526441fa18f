//! One journey, and lists of them.

use http::StatusCode;
use journey_core::{CorrelationId, ListQuery, Live, Status};

use crate::{
    problem::{Problem, shown},
    query::Params,
    reply::Reply,
    summary::known_route,
};

/// The most journeys of one page.
const MAX_LIMIT: usize = 1_000;

/// A duration that no journey reaches (30 years); keeps arithmetic on it finite.
const MAX_MS: f64 = 1e12;

/// `GET /api/v2/metrics/journey/{correlationId}`.
pub(crate) fn one(live: &Live, id: &str, params: &Params) -> Result<Reply, Problem> {
    let id = CorrelationId::new(id).map_err(|invalid| Problem::bad_request(invalid.to_string()))?;
    let generation = params.number("generation", 1, u32::MAX, "2")?;
    let Some(view) = live.journey(id.as_str(), generation) else {
        let retention = live.limits().retention.as_secs_f64();
        let which = generation.map_or_else(String::new, |number| format!(" of generation {number}"));
        let detail = format!(
            "no journey{which} with the id `{}` is known; finished journeys stay readable for {retention} s",
            shown(id.as_str())
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, detail)
            .with("correlationId", id.as_str())
            .with("retentionSeconds", retention));
    };
    Ok(Reply::json(&view))
}

/// `GET /api/v2/journeys`.
pub(crate) fn list(live: &Live, params: &Params) -> Result<Reply, Problem> {
    let statuses = [
        ("active", Status::Active),
        ("completed", Status::Completed),
        ("failed", Status::Failed),
        ("expired", Status::Expired),
    ];
    let query = ListQuery {
        route: known_route(live, params)?.map(|(_, name)| name),
        status: params.one_of("status", &statuses)?,
        stuck: params.flag("stuck")?,
        min_ms: params.number("minMs", 0.0, MAX_MS, "2000")?,
        stage: params.text("stage").map(str::to_owned),
        slowest: params.one_of("sort", &[("newest", false), ("slowest", true)])?.unwrap_or(false),
        limit: params.number("limit", 1, MAX_LIMIT, "50")?.unwrap_or(0),
        cursor: params.cursor()?,
    };
    Ok(Reply::json(&live.list(&query).map_err(Problem::bad_request)?))
}
