//! Flows that nobody declared: steps learned by name, from a start to an end.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use journey_core::{CorrelationId, DropReason, MAX_ID_BYTES, Outcome, RouteIndex, Status};

use crate::{
    clock::process_number,
    handle::JourneyHandle,
    plan::FLOW_ROUTE,
    sighting::{FullRecord, Passage},
};

/// The first step of every flow.
const STARTED: &str = "started";
/// Why a flow failed that was dropped.
const CANCELLED: &str = "cancelled";

/// One run of a flow: a bot command, a job, anything with steps.
///
/// It is a journey on the open route of its name where [`Builder::flow_route`](crate::Builder::flow_route) declared one,
/// else on the open route `flow`. Its first step is `started`, its last one `completed`, `failed` or `cancelled`, so the
/// total covers the whole flow. Dropped without [`complete`](Flow::complete) it is cancelled: failed with that reason.
///
/// ```
/// use tracing_journey::{Flow, Status};
/// let flow = Flow::start("queue_command", "user_7");
/// flow.checkpoint("parsed");
/// flow.checkpoint("queued");
/// flow.complete(Status::Completed);
/// ```
///
/// Before there is a process-wide [`handle`](crate::handle()), a flow does nothing.
#[derive(Debug)]
#[must_use = "a flow that is dropped at once is cancelled"]
pub struct Flow {
    id: String,
    /// `None` where there is nobody to tell, and once the flow has ended.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    handle: JourneyHandle,
    id: CorrelationId,
    route: RouteIndex,
}

impl Flow {
    /// Starts a flow for somebody; its id is `<name>:<user>:<process>-<number>`.
    ///
    /// Control characters are left out of the id, and name and user are cut to 40 bytes each in it.
    pub fn start(name: &str, user: impl std::fmt::Display) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("{}:{}:{:08x}-{run}", plain(name), plain(&user.to_string()), process_tag());
        Self::begin(crate::handle(), name, id)
    }

    /// Starts a flow under an id of one's own. An id that is no correlation id is counted, and the flow does nothing.
    pub fn with_id(name: &str, id: impl Into<String>) -> Self {
        Self::begin(crate::handle(), name, id.into())
    }

    /// Starts a flow of a handle that is not the process-wide one.
    pub fn with_handle(handle: &JourneyHandle, name: &str, id: impl Into<String>) -> Self {
        Self::begin(Some(handle.clone()), name, id.into())
    }

    fn begin(handle: Option<JourneyHandle>, name: &str, id: String) -> Self {
        let open = handle.and_then(|handle| {
            let routes = handle.live().routes();
            let declared = routes.find(name).filter(|route| routes.get(*route).is_open());
            let route = declared.or_else(|| routes.find(FLOW_ROUTE))?;
            match CorrelationId::new(&id) {
                Ok(id) => Some(Open { handle, id, route }),
                Err(_) => {
                    handle.intake().count_lost(DropReason::InvalidId, 1);
                    None
                }
            }
        });
        let flow = Self { id, open };
        flow.checkpoint(STARTED);
        flow
    }

    /// Id of the journey.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Notes that a step was reached. An open route learns at most 256 step names, then one `other`.
    pub fn checkpoint(&self, step: &str) {
        if let Some(open) = &self.open {
            open.step(step, Outcome::Reached);
        }
    }

    /// Ends the flow. [`Status::Active`] means [`Status::Completed`]: a flow that ended is not active.
    pub fn complete(mut self, status: Status) {
        if let Some(open) = self.open.take() {
            let status = if status == Status::Active { Status::Completed } else { status };
            open.end(status.as_str(), status, None);
        }
    }

    /// Ends the flow as failed, with the reason.
    pub fn fail(mut self, reason: &str) {
        if let Some(open) = self.open.take() {
            open.end(Status::Failed.as_str(), Status::Failed, Some(reason));
        }
    }
}

impl Open {
    fn step(&self, step: &str, outcome: Outcome) {
        let intake = self.handle.intake();
        match self.handle.live().routes().stage(self.route, step) {
            Some(stage) => {
                let now = Passage::at(self.handle.clock().read());
                let record = FullRecord { outcome, ..FullRecord::reached(self.id.clone(), stage, now) };
                intake.offer(record.into());
            }
            None => intake.count_lost(DropReason::UnknownStage, 1),
        }
    }

    fn end(self, step: &str, status: Status, reason: Option<&str>) {
        self.step(step, Outcome::Reached);
        self.handle.end_on(self.route, self.id, status, reason);
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.end(CANCELLED, Status::Failed, Some(CANCELLED));
        }
    }
}

/// At most 40 bytes without control characters, so that three parts fit an id.
fn plain(text: &str) -> String {
    let mut plain: String = text.chars().filter(|c| !c.is_control()).collect();
    plain.truncate(plain.floor_char_boundary(MAX_ID_BYTES / 3 - 2));
    plain
}

/// Tells the flows of this process from those of another, and of a run before: trace ids are made from these ids.
fn process_tag() -> u32 {
    static TAG: OnceLock<u32> = OnceLock::new();
    *TAG.get_or_init(|| process_number() as u32)
}
