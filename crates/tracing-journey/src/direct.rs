//! Checkpoints by hand: they work where tracing is filtered, compiled out or absent.

use std::time::{Duration, Instant, SystemTime};

use journey_core::{
    Checkpoint, ClockKind, CorrelationId, DropReason, InvalidId, Outcome, PlatformTime, Resolution, RouteIndex, Source,
    SourceIndex, StageError, StageRef, Status, Timings,
};

use crate::{
    handle::JourneyHandle,
    intake::{Finish, Message},
    sighting::{FullRecord, Passage},
};

/// How long [`JourneyHandle::timings`] waits for what was recorded just before.
const TIMINGS_WAIT: Duration = Duration::from_millis(10);

/// One checkpoint on its way: say what is known, then [`record`](CheckpointBuilder::record) it.
#[derive(Debug)]
#[must_use = "a checkpoint counts only once `record` is called"]
pub struct CheckpointBuilder<'a> {
    handle: &'a JourneyHandle,
    stage: &'a str,
    id: Result<CorrelationId, InvalidId>,
    route: Option<&'a str>,
    time: Option<CheckpointTime>,
    outcome: Outcome,
    error: Option<Box<StageError>>,
    service: Option<&'a str>,
}

/// When something happened, in any of the forms an application has.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum CheckpointTime {
    /// Unix nanoseconds by the clock of this host.
    Nanos(i64),
    /// The wall clock of this host.
    System(SystemTime),
    /// The monotonic clock of this process.
    Monotonic(Instant),
    /// The clock of a platform, with its own resolution.
    Platform(PlatformTime),
}

impl<'a> CheckpointBuilder<'a> {
    /// Sets the instant. Default: now.
    ///
    /// A number is unix nanoseconds; a time that a platform gave is a [`PlatformTime`], so that its clock and resolution
    /// are told apart from those of this host.
    pub fn at(mut self, time: impl Into<CheckpointTime>) -> Self {
        self.time = Some(time.into());
        self
    }

    /// Names the route, where several claim the stage, or where the route is an open one.
    pub fn route(mut self, route: &'a str) -> Self {
        self.route = Some(route);
        self
    }

    /// Marks the attempt as failed: a low-cardinality kind such as `timeout`, and what is known besides.
    ///
    /// Both are cut to 256 bytes. The stage does not count as reached.
    pub fn failed(mut self, kind: &str, message: &str) -> Self {
        self.outcome = Outcome::Failed;
        self.error = Some(Box::new(StageError::new(kind, message)));
        self
    }

    /// Marks the attempt as dropped before it finished.
    pub fn cancelled(mut self) -> Self {
        self.outcome = Outcome::Cancelled;
        self
    }

    /// Says that another service saw it, on this host. Default: the service of this process.
    ///
    /// Each name is kept for the life of the process, so it has to be one of few.
    pub fn service(mut self, service: &'a str) -> Self {
        self.service = Some(service);
        self
    }

    /// Offers the checkpoint; never waits and never fails.
    ///
    /// What cannot be taken is counted by its reason: an id that is empty, too long or has control characters, a stage
    /// that no route has (or that several have, when none is named), no instant where the stage wants an explicit one, a
    /// full queue, a handle that was shut down.
    pub fn record(self) {
        let intake = self.handle.intake();
        match self.message() {
            Ok(message) => intake.offer(message),
            Err(reason) => intake.count_lost(reason, 1),
        }
    }

    fn message(self) -> Result<Message, DropReason> {
        let id = self.id.map_err(|_| DropReason::InvalidId)?;
        let stage = self.handle.find_stage(self.route, self.stage).ok_or(DropReason::UnknownStage)?;
        let source = self.service.map_or(SourceIndex(0), |service| self.handle.source_of(service));
        let Some(time) = self.time else {
            let now = Passage::at(self.handle.clock().read());
            let (outcome, error) = (self.outcome, self.error);
            let record = FullRecord { source, outcome, error, ..FullRecord::reached(id, stage, now) };
            return Ok(record.into());
        };
        let mut checkpoint = Checkpoint::reached(id, stage, 0);
        (checkpoint.at, checkpoint.clock, checkpoint.resolution) = self.handle.instant(time);
        (checkpoint.outcome, checkpoint.error) = (self.outcome, self.error);
        checkpoint.source = source;
        Ok(Message::Checkpoint(Box::new(checkpoint)))
    }
}

impl JourneyHandle {
    /// Starts a checkpoint of a stage, by its id, name, alias or timings key.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tracing_journey::PlatformTime;
    /// let journey = tracing_journey::init()?;
    /// journey.checkpoint("platform_received", "msg_1").at(PlatformTime::whatsapp("1700000000")?).record();
    /// journey.checkpoint("db_stored", "msg_1").failed("timeout", "no answer in 2 s").record();
    /// # Ok(())
    /// # }
    /// ```
    pub fn checkpoint<'a>(&'a self, stage: &'a str, id: impl AsRef<str>) -> CheckpointBuilder<'a> {
        CheckpointBuilder {
            handle: self,
            stage,
            id: CorrelationId::new(id.as_ref()),
            route: None,
            time: None,
            outcome: Outcome::Reached,
            error: None,
            service: None,
        }
    }

    /// Ends the journey of an id as failed, on whichever route it is open. An unknown id changes nothing.
    pub fn fail(&self, id: &str, reason: &str) {
        self.end(id, Status::Failed, Some(reason));
    }

    /// Ends the journey of an id, on whichever route it is open. An unknown id, or [`Status::Active`], changes nothing.
    pub fn finish(&self, id: &str, status: Status) {
        self.end(id, status, None);
    }

    fn end(&self, id: &str, status: Status, reason: Option<&str>) {
        let Ok(id) = CorrelationId::new(id) else { return };
        for (route, _) in self.live().routes().iter() {
            self.end_on(route, id.clone(), status, reason);
        }
    }

    pub(crate) fn end_on(&self, route: RouteIndex, id: CorrelationId, status: Status, reason: Option<&str>) {
        if status != Status::Active {
            let reason = reason.map(|reason| StageError::new("", reason).message.into_boxed_str());
            self.intake().offer(Message::Finish(Box::new(Finish { id, route, status, reason })));
        }
    }

    /// Takes over the stages that earlier processes noted in an event's `timings`.
    ///
    /// They complete the journey here, and are counted where they were seen, not again. A key that several routes have is
    /// left out; [`adopt_on`](Self::adopt_on) says which route is meant.
    pub fn adopt(&self, id: &str, timings: &Timings) {
        let routes = self.live().routes();
        for (index, route) in routes.iter() {
            for (stage, at) in timings.stages(route) {
                let unique = route.stage(stage).is_some_and(|stage| routes.stages_named(&stage.timings_key).len() == 1);
                if unique {
                    self.adopt_stage(id, StageRef { route: index, stage }, at);
                }
            }
        }
    }

    /// The same, for the keys of one route. A route that is not active changes nothing.
    pub fn adopt_on(&self, route: &str, id: &str, timings: &Timings) {
        let routes = self.live().routes();
        let Some(index) = routes.find(route) else { return };
        for (stage, at) in timings.stages(routes.get(index)) {
            self.adopt_stage(id, StageRef { route: index, stage }, at);
        }
    }

    fn adopt_stage(&self, id: &str, stage: StageRef, at: i64) {
        let Ok(id) = CorrelationId::new(id) else { return self.intake().count_lost(DropReason::InvalidId, 1) };
        let mut checkpoint = Checkpoint::reached(id, stage, at);
        checkpoint.carried = true;
        checkpoint.clock = ClockKind::Carried;
        checkpoint.resolution = Resolution::Millisecond;
        // The envelope does not say who saw it; it was not this process.
        checkpoint.source = self.live().sources().intern(Source::default());
        self.intake().offer(Message::Checkpoint(Box::new(checkpoint)));
    }

    /// The stages reached so far, to put into the metadata of the next event.
    ///
    /// Includes what this process recorded just before, for which it waits at most 10 ms (normally far below one).
    /// Empty for an id that nobody knows.
    pub fn timings(&self, id: &str) -> Timings {
        self.flush(TIMINGS_WAIT);
        let mut timings = Timings::new();
        for (key, millis) in self.get(id).map(|journey| journey.timings).unwrap_or_default() {
            timings.set(&key, millis.saturating_mul(1_000_000));
        }
        timings
    }

    /// A stage by any of its names: of the route named, else of the only route that has it.
    pub(crate) fn find_stage(&self, route: Option<&str>, stage: &str) -> Option<StageRef> {
        let routes = self.live().routes();
        match route {
            Some(route) => routes.stage(routes.find(route)?, stage),
            None => match routes.stages_named(stage) {
                [only] => Some(*only),
                _ => None,
            },
        }
    }

    fn instant(&self, time: CheckpointTime) -> (i64, ClockKind, Resolution) {
        let own = |at| (at, ClockKind::Process, Resolution::Fine);
        match time {
            CheckpointTime::Nanos(at) => own(at),
            CheckpointTime::System(time) => own(unix_nanos(time)),
            CheckpointTime::Monotonic(time) => own(self.clock().at(time)),
            CheckpointTime::Platform(PlatformTime { at, resolution }) => (at, ClockKind::Platform, resolution),
        }
    }

    fn source_of(&self, service: &str) -> SourceIndex {
        let sources = self.live().sources();
        let own = sources.get(SourceIndex(0));
        sources.intern(Source { service: service.chars().take(128).collect(), ..(*own).clone() })
    }
}

/// Records one checkpoint of the process-wide handle; the body of [`checkpoint!`](crate::checkpoint!).
#[doc(hidden)]
pub fn mark(stage: &str, id: impl AsRef<str>, time: Option<CheckpointTime>) {
    let Some(handle) = crate::start::global() else { return };
    let checkpoint = handle.checkpoint(stage, id);
    match time {
        Some(time) => checkpoint.at(time).record(),
        None => checkpoint.record(),
    }
}

/// Records a checkpoint: `checkpoint!(T11, id)`, `checkpoint!("db_stored", id)`, `checkpoint!(T0, id, at = time)`.
///
/// The id is anything that is `AsRef<str>`; the time is anything that [`CheckpointTime`] is made from. Goes to the
/// process-wide [`handle`](crate::handle) and does nothing before there is one.
#[macro_export]
macro_rules! checkpoint {
    ($stage:ident, $id:expr $(,)?) => {
        $crate::mark(::core::stringify!($stage), &$id, ::core::option::Option::None)
    };
    ($stage:literal, $id:expr $(,)?) => {
        $crate::mark($stage, &$id, ::core::option::Option::None)
    };
    ($stage:ident, $id:expr, at = $time:expr $(,)?) => {
        $crate::mark(
            ::core::stringify!($stage),
            &$id,
            ::core::option::Option::Some($crate::CheckpointTime::from($time)),
        )
    };
    ($stage:literal, $id:expr, at = $time:expr $(,)?) => {
        $crate::mark($stage, &$id, ::core::option::Option::Some($crate::CheckpointTime::from($time)))
    };
}

impl From<i64> for CheckpointTime {
    fn from(nanos: i64) -> Self {
        Self::Nanos(nanos)
    }
}

impl From<SystemTime> for CheckpointTime {
    fn from(time: SystemTime) -> Self {
        Self::System(time)
    }
}

impl From<Instant> for CheckpointTime {
    fn from(time: Instant) -> Self {
        Self::Monotonic(time)
    }
}

impl From<PlatformTime> for CheckpointTime {
    fn from(time: PlatformTime) -> Self {
        Self::Platform(time)
    }
}

/// Unix nanoseconds; times before 1970 are negative, those outside the years 1677 to 2262 are cut.
fn unix_nanos(time: SystemTime) -> i64 {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    }
}
