//! The one table of paths and parameters: the router, the index page, the parameter checks and the OpenAPI document
//! all come from it.

use http::Method;

/// One path of the endpoint.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    /// In the form of both axum and OpenAPI: `{name}` is a parameter.
    pub(crate) path: &'static str,
    /// One line for people.
    pub(crate) help: &'static str,
    pub(crate) endpoint: Endpoint,
    pub(crate) access: Access,
    /// Query parameters; any other is refused.
    pub(crate) params: &'static [Param],
}

/// Which answer belongs to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Index,
    Journey,
    Journeys,
    Summary,
    Stream,
    SelfView,
    Prometheus,
    Document,
    Livez,
    Readyz,
    Health,
    OpenApi,
    #[cfg(feature = "store")]
    Stored(Stored),
}

/// Which answer about stored events belongs to a path.
#[cfg(feature = "store")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Traces,
    Trace,
    TraceEvents,
    TraceStream,
    Events,
    EventStream,
    Daily,
    Analytics,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// With the token, where there is one.
    Token,
    /// Everybody: the answer holds no data.
    Open,
    /// Everybody, at any rate: probes of an orchestrator.
    Probe,
}

/// One query parameter.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) example: &'static str,
    /// It may be there several times; all must hold.
    pub(crate) repeats: bool,
}

const fn param(name: &'static str, example: &'static str, help: &'static str) -> Param {
    Param { name, help, example, repeats: false }
}

const fn get(
    path: &'static str,
    endpoint: Endpoint,
    access: Access,
    params: &'static [Param],
    help: &'static str,
) -> Route {
    Route { method: Method::GET, path, help, endpoint, access, params }
}

const ROUTE: Param = param("route", "message", "Only this route.");
#[cfg(feature = "store")]
const SINCE: Param = param("since", "24h", "From this instant on: RFC 3339, unix time, or so long before now.");
#[cfg(feature = "store")]
const UNTIL: Param = param("until", "5m", "Before this instant; as `since`.");
#[cfg(feature = "store")]
const TAG: Param =
    Param { repeats: true, ..param("tag", "order=1042", "Only with this tag; several must all be there.") };
#[cfg(feature = "store")]
const EVENT_STATUS: Param = param("status", "failed", "Only `success`, `failed` or `pending` ones.");
#[cfg(feature = "store")]
const EVENT_TYPE: Param = param("type", "saga:", "Only this type; one that ends in `:` means all that begin so.");
#[cfg(feature = "store")]
const LIMIT: Param = param("limit", "50", "How many, 1 to 1000; 100 without it.");
#[cfg(feature = "store")]
const CURSOR: Param = param("cursor", "", "`nextCursor` of the page before.");
const VERBOSE: Param = param("verbose", "1", "Lists every check.");

#[cfg(feature = "store")]
const STORED: usize = 8;
#[cfg(not(feature = "store"))]
const STORED: usize = 0;

/// Every path.
pub(crate) static ROUTES: [Route; 12 + STORED] = [
    get("/", Endpoint::Index, Access::Open, &[], "This list."),
    get(
        "/api/v2/metrics/journey/{correlationId}",
        Endpoint::Journey,
        Access::Token,
        &[param("generation", "2", "An earlier journey of the same id; without it the newest.")],
        "One journey: its stages, legs, segments and bottleneck.",
    ),
    get(
        "/api/v2/journeys",
        Endpoint::Journeys,
        Access::Token,
        &[
            param("status", "failed", "Only `active`, `completed`, `failed` or `expired` ones."),
            param("stuck", "true", "Only active journeys without progress."),
            param("minMs", "2000", "Only those that took at least this many milliseconds."),
            param("stage", "T4", "Only those that reached this stage last: its id, name or alias."),
            ROUTE,
            param("sort", "slowest", "`newest` first (the default) or `slowest` first."),
            param("limit", "50", "How many, 1 to 1000; 100 without it."),
            param("cursor", "", "`nextCursor` of the page before."),
        ],
        "Journeys, newest or slowest first.",
    ),
    get(
        "/api/v2/metrics/summary",
        Endpoint::Summary,
        Access::Token,
        &[param("window", "5m", "`1m`, `5m` (the default), `15m`, `1h` or `start`."), ROUTE],
        "Counts, throughput, leg and segment statistics, bottlenecks and stuck journeys.",
    ),
    get(
        "/api/v2/metrics/stream",
        Endpoint::Stream,
        Access::Token,
        &[
            ROUTE,
            param("stage", "T4", "Only what concerns this stage: its id, name or alias."),
            param("correlationId", "msg_abc123", "Only this journey."),
        ],
        "Server-sent events: `checkpoint`, `journey` (finished), `stuck`; also `lagged`, `reset` and `heartbeat`.",
    ),
    get(
        "/api/v2/metrics/self",
        Endpoint::SelfView,
        Access::Token,
        &[],
        "What the process knows about its own observing: losses, queues, exporter, unseen stages.",
    ),
    get("/metrics", Endpoint::Prometheus, Access::Token, &[], "Metrics for Prometheus: text, OpenMetrics or protobuf."),
    get("/api/metrics", Endpoint::Document, Access::Token, &[], "The same figures as one JSON document."),
    get("/livez", Endpoint::Livez, Access::Probe, &[VERBOSE], "Whether the process is alive."),
    get(
        "/readyz",
        Endpoint::Readyz,
        Access::Probe,
        &[VERBOSE],
        "Whether the endpoint takes requests, or is shutting down.",
    ),
    get(
        "/health",
        Endpoint::Health,
        Access::Token,
        &[],
        "Every registered component with status, latency and age of its last check.",
    ),
    get("/openapi.json", Endpoint::OpenApi, Access::Token, &[], "This list for machines: OpenAPI 3.1."),
    #[cfg(feature = "store")]
    get(
        "/api/v2/traces",
        Endpoint::Stored(Stored::Traces),
        Access::Token,
        &[
            SINCE,
            UNTIL,
            EVENT_STATUS,
            param("type", "saga:compensated", "Only those with an event of exactly this type."),
            TAG,
            ROUTE,
            param("minMs", "2000", "Only those of at least this many milliseconds from first to last event."),
            LIMIT,
            CURSOR,
        ],
        "Stored traces, the one with the newest event first.",
    ),
    #[cfg(feature = "store")]
    get(
        "/api/v2/traces/{id}",
        Endpoint::Stored(Stored::Trace),
        Access::Token,
        &[param(
            "limit",
            "50",
            "How many events, and lines of the tree, to show: 1 to 1000, which is also the default.",
        )],
        "One stored trace, by trace id or correlation id: events, tree, failure, compensations, decisions, and why.",
    ),
    #[cfg(feature = "store")]
    get(
        "/api/v2/traces/{id}/events",
        Endpoint::Stored(Stored::TraceEvents),
        Access::Token,
        &[LIMIT, CURSOR],
        "All events of one stored trace, page by page, in the order of time.",
    ),
    #[cfg(feature = "store")]
    get(
        "/api/v2/traces/{id}/stream",
        Endpoint::Stored(Stored::TraceStream),
        Access::Token,
        &[],
        "Server-sent events of one trace: those stored, then live ones; also `lagged`, `reset`, `incomplete`, `heartbeat`.",
    ),
    #[cfg(feature = "store")]
    get(
        "/api/v2/events",
        Endpoint::Stored(Stored::Events),
        Access::Token,
        &[SINCE, UNTIL, EVENT_STATUS, EVENT_TYPE, TAG, ROUTE, LIMIT, CURSOR],
        "Stored events of all traces in the order of time; of the last 24 hours without `since`.",
    ),
    #[cfg(feature = "store")]
    get(
        "/api/v2/events/stream",
        Endpoint::Stored(Stored::EventStream),
        Access::Token,
        &[EVENT_STATUS, EVENT_TYPE, TAG, ROUTE],
        "Server-sent events of all traces as this process emits them; also `lagged`, `reset`, `heartbeat`.",
    ),
    #[cfg(feature = "store")]
    get(
        "/api/v2/stats/daily",
        Endpoint::Stored(Stored::Daily),
        Access::Token,
        &[
            param("days", "7", "How many days up to today (UTC), 1 to 366; 7 without it."),
            ROUTE,
            param("leg", "db_write", "Only this leg, segment or work."),
            param("limit", "50", "How many lines, 1 to 1000, which is also the default."),
        ],
        "How long each leg took on each day, the newest day first.",
    ),
    #[cfg(feature = "store")]
    get(
        "/api/v2/analytics/{kind}",
        Endpoint::Stored(Stored::Analytics),
        Access::Token,
        &[SINCE, UNTIL, ROUTE, param("period", "1h", "`failures` by periods so long, at least `1s`; `1h` without it.")],
        "Over many traces: `failures`, `stages`, `compensations` or `decisions`; of the last 24 hours without `since`.",
    ),
];

impl Route {
    /// The route of a path without parameters.
    pub(crate) fn of_path(path: &str) -> Option<&'static Self> {
        ROUTES.iter().find(|route| route.path == path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_path_and_parameter_stands_once_and_has_a_sentence() {
        let paths: HashSet<_> = ROUTES.iter().map(|route| (&route.method, route.path)).collect();
        assert_eq!(paths.len(), ROUTES.len());
        for route in &ROUTES {
            let names: HashSet<_> = route.params.iter().map(|param| param.name).collect();
            assert_eq!(names.len(), route.params.len(), "{}", route.path);
            assert!(route.help.ends_with('.'), "{}", route.path);
            assert!(route.params.iter().all(|param| param.help.ends_with('.')), "{}", route.path);
        }
    }

    #[test]
    fn only_answers_without_data_are_open() {
        let open: Vec<_> =
            ROUTES.iter().filter(|route| route.access != Access::Token).map(|route| route.path).collect();
        assert_eq!(open, ["/", "/livez", "/readyz"]);
    }
}
