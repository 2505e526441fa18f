//! How is Journey installed here? As in any service, except that a taken port is no reason to stop.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use tracing_journey::{JourneyHandle, journey_http::Resource};

use super::{agent, pipeline::Pipeline};
use crate::error::{CliError, Exit};

/// Where the endpoint listens when nobody says otherwise.
pub(super) const DEFAULT_ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7117);
/// Soon enough to be seen: nothing here takes this long unless it is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// Everything is recorded in this process, so nothing is long on its way.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// How often the parts are asked how they are, and how long they may take to answer.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Journey in this process.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) journey: JourneyHandle,
    /// The default address was taken by somebody else, so a free port was taken.
    pub(super) moved: bool,
}

/// Installs Journey with what the environment says, and an endpoint where one can be.
pub(super) fn install(asked: Option<SocketAddr>, store: Option<&str>) -> Result<Observed, CliError> {
    // Who names an address means it: only the default gives way.
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let free_choice = asked.is_none() && !set("JOURNEY_HTTP_ADDR") && !set("JOURNEY_CONFIG");
    let moved = free_choice && TcpListener::bind(DEFAULT_ADDR).is_err();
    let addr = if moved { Some(SocketAddr::new(DEFAULT_ADDR.ip(), 0)) } else { asked };

    // The failures on purpose would fill the screen; who sets `RUST_LOG` wants to see them.
    let mut builder = tracing_journey::builder().with_fmt(set("RUST_LOG"));
    if !set("JOURNEY_SERVICE") && !set("OTEL_SERVICE_NAME") {
        builder = builder.service("journey-demo");
    }
    if !set("JOURNEY_STUCK_AFTER") {
        builder = builder.stuck_after(STUCK_AFTER);
    }
    if !set("JOURNEY_GRACE") {
        builder = builder.grace(GRACE);
    }
    if let Some(addr) = addr {
        builder = builder.http(addr);
    }
    if let Some(place) = store {
        builder = builder.store(place);
    }
    let journey = builder.install().map_err(|error| {
        let hint = match error.is_http() {
            true => "another address: journey demo --http-addr 127.0.0.1:0",
            false => "journey demo --help lists the options",
        };
        CliError::new(Exit::Usage, error.to_string()).hint(hint)
    })?;
    Ok(Observed { journey, moved })
}

/// Lets `/health` show the parts of the pipeline.
pub(super) fn watch_health(journey: &JourneyHandle, pipeline: &Pipeline) -> Result<(), String> {
    for (name, check) in pipeline.checks()? {
        journey.health().register(name, HEALTH_INTERVAL, HEALTH_TIMEOUT, check);
    }
    let busy = pipeline.busy_workers();
    journey.health().register_resource("agent_workers", move || Resource {
        pool_in_use: Some(busy() as u64),
        pool_size: Some(agent::WORKERS as u64),
        ..Resource::default()
    });
    Ok(())
}
