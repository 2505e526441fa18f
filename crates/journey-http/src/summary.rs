//! Statistics over a window.

use journey_core::{Live, RouteIndex, Window};

use crate::{
    problem::Problem,
    query::{Params, listed, wrong},
    reply::Reply,
};

/// `GET /api/v2/metrics/summary`.
pub(crate) fn summary(live: &Live, params: &Params) -> Result<Reply, Problem> {
    let windows = Window::ALL.map(|window| (window.as_str(), window));
    let window = params.one_of("window", &windows)?.unwrap_or_default();
    let route = known_route(live, params)?.map(|(index, _)| index);
    Ok(Reply::json(&live.summary(route, window)))
}

/// The route that the parameter `route` names.
pub(crate) fn known_route(live: &Live, params: &Params) -> Result<Option<(RouteIndex, String)>, Problem> {
    let Some(name) = params.text("route") else { return Ok(None) };
    match live.routes().find(name) {
        Some(index) => Ok(Some((index, name.to_owned()))),
        None => {
            let known = listed(live.routes().iter().map(|(_, route)| route.name()));
            Err(wrong("route", name, &format!("is no active route (there is {known})")))
        }
    }
}
