//! The optional parts beside the tracker: the self-check, the debug endpoint, the exporter.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use journey_core::Live;

#[cfg(any(feature = "http", feature = "otlp"))]
use crate::error::Kind;
use crate::{error::SetupError, plan::Plan, watch::Watch};

/// What runs beside the tracker.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) watch: OnceLock<Watch>,
    #[cfg(feature = "http")]
    pub(crate) http: Option<journey_http::HttpServer>,
    #[cfg(feature = "http")]
    pub(crate) health: Arc<journey_http::Health>,
    #[cfg(feature = "otlp")]
    pub(crate) export: Option<Arc<journey_otlp::OtlpExporter>>,
    #[cfg(feature = "store")]
    pub(crate) events: Option<Arc<crate::events::Events>>,
}

/// How long a part that has nothing to do may take to end.
const UNDO: Duration = Duration::from_millis(500);

impl Parts {
    /// Starts what the plan says; what was started before an error runs until [`undo`](Self::undo).
    #[cfg_attr(not(any(feature = "http", feature = "otlp")), expect(unused_variables, clippy::unnecessary_wraps))]
    pub(crate) fn start(&mut self, plan: Plan, live: &Arc<Live>) -> Result<(), SetupError> {
        #[cfg(feature = "http")]
        if let Some(config) = plan.http {
            #[cfg(feature = "store")]
            let config = match &self.events {
                Some(events) => {
                    let stored = journey_http::StoredEvents::new(Arc::clone(&events.store));
                    journey_http::HttpConfig { store: Some(stored.with_emitter(events.emitter.clone())), ..config }
                }
                None => config,
            };
            self.start_http(live, config)?;
        }
        #[cfg(feature = "otlp")]
        if let Some(config) = plan.export {
            self.start_export(live, config)?;
        }
        Ok(())
    }

    /// Ends what was started in vain.
    pub(crate) fn undo(&self) {
        self.shut_down_events(UNDO);
        self.shut_down_export(UNDO);
        self.shut_down_http(UNDO);
    }

    #[cfg(feature = "http")]
    fn start_http(&mut self, live: &Arc<Live>, config: journey_http::HttpConfig) -> Result<(), SetupError> {
        let server = journey_http::HttpServer::start(Arc::clone(live), Arc::clone(&self.health), config);
        self.http = Some(server.map_err(Kind::Http)?);
        Ok(())
    }

    #[cfg(feature = "otlp")]
    fn start_export(&mut self, live: &Arc<Live>, config: journey_otlp::OtlpConfig) -> Result<(), SetupError> {
        let exporter = journey_otlp::OtlpExporter::start(live, config);
        self.export = Some(exporter.map_err(Kind::Export)?);
        Ok(())
    }

    pub(crate) fn http_addr(&self) -> Option<SocketAddr> {
        #[cfg(feature = "http")]
        return self.http.as_ref().map(journey_http::HttpServer::local_addr);
        #[cfg(not(feature = "http"))]
        None
    }

    #[cfg(feature = "http")]
    pub(crate) fn health(&self) -> &Arc<journey_http::Health> {
        &self.health
    }

    pub(crate) fn stop_check(&self) {
        if let Some(watch) = self.watch.get() {
            watch.stop();
        }
    }

    /// Sends what is left; returns how many journeys were sent and how many were lost, since start.
    pub(crate) fn shut_down_export(&self, deadline: Duration) -> (u64, u64) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.export {
            let report = exporter.shutdown(deadline);
            return (report.exported, report.dropped + report.failed);
        }
        let _ = deadline;
        (0, 0)
    }

    /// Stores what is left; returns how many events were stored and how many were lost, since start.
    pub(crate) fn shut_down_events(&self, deadline: Duration) -> (u64, u64) {
        #[cfg(feature = "store")]
        if let Some(events) = &self.events {
            return events.shut_down(deadline);
        }
        let _ = deadline;
        (0, 0)
    }

    pub(crate) fn shut_down_http(&self, deadline: Duration) {
        #[cfg(feature = "http")]
        if let Some(server) = &self.http {
            server.shutdown(deadline);
        }
        let _ = deadline;
    }
}
