//! Events that outlive the process: what the tracker sees, and what the application says, in a store.
//!
//! | module | question it answers |
//! |---|---|
//! | `plan` | which store, for how long, with which precautions? |
//! | `recorder` | how do checkpoints become events without the tracker waiting for it? |
//! | `convert` | how does a checkpoint, or the end of a journey, read as an event? |
//! | `said` | how does a `tracing` event with `event_type` read as one? |
//! | `undone` | how does a span with `compensates` read as two? |

mod convert;
mod plan;
mod recorder;
mod said;
mod undone;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use journey_core::{Clock, Live, ReportSource};
use journey_store::Emitter;
#[cfg(feature = "http")]
use journey_store::EventStore;
use serde_json::{Value, json};

pub(crate) use self::{
    plan::EventsPlan,
    recorder::Recorder,
    said::Said,
    undone::{Undone, UndoneEnd},
};
use crate::error::{Kind, SetupError};

/// The store with everything that leads into it.
pub(crate) struct Events {
    pub(crate) emitter: Emitter,
    #[cfg(feature = "http")]
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) recorder: Arc<Recorder>,
    #[cfg(feature = "live")]
    publisher: Option<Arc<journey_bus::LivePublisher>>,
}

impl Events {
    /// Opens the store, and puts every checkpoint into it from now on.
    pub(crate) fn start(plan: EventsPlan, live: &Arc<Live>, clock: Clock) -> Result<Arc<Self>, SetupError> {
        let store = plan.place.open(&plan.options).map_err(|error| Kind::Store(plan.place.to_string(), error))?;
        let mut builder = Emitter::builder(Arc::clone(&store))
            .service(live.sources().all().first().map(|own| own.service.clone()).unwrap_or_default())
            .trace_id_key(live.trace_id_key().clone())
            .redaction(plan.redaction)
            .clock(clock);
        if let Some((file, bytes)) = plan.spill {
            builder = builder.spill(file, bytes);
        }
        #[cfg(feature = "live")]
        let publisher = match plan.publish {
            Some(config) => {
                let place = config.place();
                let publisher = journey_bus::LivePublisher::start(config);
                let publisher = publisher.map_err(|error| Kind::Settings(format!("{place}: {error}")))?;
                let publisher = Arc::new(publisher);
                let tapped = Arc::clone(&publisher);
                builder = builder.also(Arc::new(move |event| tapped.publish(event)));
                Some(publisher)
            }
            None => None,
        };
        let emitter = builder.start().map_err(Kind::Emitter)?;
        let recorder = Recorder::start(live, emitter.clone()).map_err(Kind::Thread)?;
        live.set_checkpoint_sink(Arc::clone(&recorder) as _);
        live.add_sink(Arc::clone(&recorder) as _);
        let events = Arc::new(Self {
            emitter,
            #[cfg(feature = "http")]
            store,
            recorder,
            #[cfg(feature = "live")]
            publisher,
        });
        events.emitter.report_to(live);
        live.add_part("events", Arc::clone(&events) as _);
        Ok(events)
    }

    /// Waits until what was recorded and emitted before is stored; `false` where that takes longer.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        self.recorder.drain(until) && self.emitter.flush(until.saturating_duration_since(Instant::now())).wait()
    }

    /// Stores what is left; returns how many events were stored and how many were lost, since start.
    pub(crate) fn shut_down(&self, deadline: Duration) -> (u64, u64) {
        let until = Instant::now() + deadline;
        let left = || until.saturating_duration_since(Instant::now());
        // Half of the time for those that are no events yet: the writer needs the rest.
        self.recorder.stop(Instant::now() + deadline / 2);
        let stats = self.emitter.shutdown(left());
        #[cfg(feature = "live")]
        if let Some(publisher) = &self.publisher {
            publisher.shutdown(left());
        }
        (stats.stored, stats.dropped.values().sum())
    }
}

/// What is on its way to the emitter, and from it to those who watch; of the rest the emitter reports.
impl ReportSource for Events {
    fn report(&self) -> Value {
        #[cfg_attr(not(feature = "live"), expect(unused_mut))]
        let mut report = json!({ "waiting": self.recorder.waiting() });
        #[cfg(feature = "live")]
        if let Some(publisher) = &self.publisher {
            let account = publisher.account();
            report["live"] = json!({
                "place": publisher.place(),
                "offered": account.offered,
                "published": account.published,
                "lost": account.lost(),
            });
        }
        report
    }
}
