//! The metrics as Prometheus reads them: text 0.0.4, OpenMetrics 1.0 or protobuf with native histograms.

mod accept;
mod families;
mod proto;
mod text;

use http::{HeaderMap, StatusCode};
use journey_core::{Live, MetricsSnapshot, Series, Status};

use self::accept::Format;
use crate::{reply::Reply, router::App};

/// Outcomes of a finished journey.
const OUTCOMES: [Status; 3] = [Status::Completed, Status::Failed, Status::Expired];

/// `GET /metrics`.
pub(crate) fn metrics(app: &App, request: &HeaderMap) -> Reply {
    let snapshot = snapshot(&app.live);
    let health = app.health.view(snapshot.at);
    let parts = app.live.self_view().parts;
    let families = families::families(&snapshot, &app.process.read(), &health, &parts, app.live.part_metrics());
    let accepted = accept::negotiate(request);
    let body = match accepted.format {
        Format::Text => text::write(&families, text::Dialect::Text),
        Format::OpenMetrics => text::write(&families, text::Dialect::OpenMetrics),
        Format::Protobuf => proto::write(&families, snapshot.started_at),
    };
    Reply { status: StatusCode::OK, content_type: accepted.content_type(), body }
}

/// All figures, with a zero for everything declared that has not happened: a counter that first appears at 1 has no
/// rate, and a dashboard without series looks broken.
pub(crate) fn snapshot(live: &Live) -> MetricsSnapshot {
    let mut snapshot = live.metrics();
    let routes = live.routes();
    for (_, route) in routes.iter() {
        let name = route.name();
        add_missing(&mut snapshot.active, |(known, _)| known == name, || (name.to_owned(), 0));
        for leg in route.legs() {
            let same = |series: &Series| series.route == name && series.name == leg.name;
            add_missing(&mut snapshot.legs, same, || empty_series(name, &leg.name, None));
            let same = |(known, of, _): &(String, String, u64)| known == name && *of == leg.name;
            add_missing(&mut snapshot.skewed, same, || (name.to_owned(), leg.name.clone(), 0));
        }
        for outcome in OUTCOMES.map(Status::as_str) {
            let same = |(known, of, _): &(String, String, u64)| known == name && of == outcome;
            add_missing(&mut snapshot.completions, same, || (name.to_owned(), outcome.to_owned(), 0));
            for segment in route.segments() {
                let same = |series: &Series| {
                    series.route == name && series.name == segment.name && series.outcome.as_deref() == Some(outcome)
                };
                add_missing(&mut snapshot.segments, same, || empty_series(name, &segment.name, Some(outcome)));
            }
        }
        for stage in route.stages() {
            let same = |(known, of, error, _): &(String, String, String, u64)| {
                known == name && *of == stage.name && error.is_empty()
            };
            add_missing(&mut snapshot.checkpoints, same, || (name.to_owned(), stage.name.clone(), String::new(), 0));
            let same = |(known, of, _): &(String, String, u64)| known == name && *of == stage.name;
            add_missing(&mut snapshot.stuck, same, || (name.to_owned(), stage.name.clone(), 0));
        }
    }
    snapshot
}

fn add_missing<T>(list: &mut Vec<T>, same: impl FnMut(&T) -> bool, zero: impl FnOnce() -> T) {
    if !list.iter().any(same) {
        list.push(zero());
    }
}

fn empty_series(route: &str, name: &str, outcome: Option<&str>) -> Series {
    Series { route: route.to_owned(), name: name.to_owned(), outcome: outcome.map(str::to_owned), ..Series::default() }
}

#[cfg(test)]
mod tests;
