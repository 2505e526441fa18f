//! What the application's thread hands over of a stage, and how that becomes a checkpoint on the tracker's thread.
//!
//! Nearly every stage is a [`StageRecord`], which is small and holds nothing that has to be freed. What says more, such
//! as why an attempt failed, is a [`FullRecord`] of its own on the heap.

use journey_core::{
    Checkpoint, ClockKind, CorrelationId, DropReason, IdWords, InstantRule, Outcome, Resolution, Routes, SourceIndex,
    StageError, StageRef, Within,
};

use crate::{
    clock::{Reading, Times},
    intake::Message,
    layer::Failure,
};

/// One stage that was reached, with a short id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StageRecord {
    pub(crate) id: IdWords,
    pub(crate) passage: Passage,
    pub(crate) trace: TraceIds,
    pub(crate) stage: StageRef,
}

/// One attempt at a stage, with everything that can be known of it.
#[derive(Debug)]
pub(crate) struct FullRecord {
    pub(crate) id: CorrelationId,
    pub(crate) passage: Passage,
    pub(crate) trace: TraceIds,
    pub(crate) stage: StageRef,
    pub(crate) at: At,
    pub(crate) source: SourceIndex,
    pub(crate) outcome: Outcome,
    pub(crate) error: Option<Box<StageError>>,
    #[expect(clippy::box_collection, reason = "it moves into a checkpoint, which keeps it small, as it is")]
    pub(crate) within: Option<Box<Vec<Within>>>,
}

/// When an attempt began and ended, as the clock was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) opened: Reading,
    /// When it was left last; when it was opened, where it never was.
    pub(crate) end: Reading,
    /// How much of it was work, in ticks of the clock.
    pub(crate) busy: u64,
}

/// What `journey.at` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum At {
    /// Nothing.
    #[default]
    Absent,
    /// An instant, unix nanoseconds, and how coarse it is.
    Given(i64, Resolution),
    /// Something that is no instant.
    Unreadable,
}

/// What OpenTelemetry calls the span; zeros where it has no name for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceIds {
    /// The trace id in two halves: a 128-bit number would be aligned to more than the rest of a record.
    #[cfg(feature = "opentelemetry")]
    pub(crate) trace: [u64; 2],
    #[cfg(feature = "opentelemetry")]
    pub(crate) span: u64,
}

impl StageRecord {
    /// The checkpoint, or why there is none.
    pub(crate) fn checkpoint(self, routes: &Routes, times: &Times<'_>) -> Result<Checkpoint, DropReason> {
        let id = self.id.id().ok_or(DropReason::Internal)?;
        let mut checkpoint = checkpoint(id, self.stage, self.passage, At::Absent, routes, times)?;
        self.trace.put_on(&mut checkpoint);
        Ok(checkpoint)
    }
}

impl FullRecord {
    /// A stage that was reached, with nothing else known.
    pub(crate) fn reached(id: CorrelationId, stage: StageRef, passage: Passage) -> Self {
        let (trace, at, source) = (TraceIds::default(), At::Absent, SourceIndex(0));
        Self { id, passage, trace, stage, at, source, outcome: Outcome::Reached, error: None, within: None }
    }

    /// Marks the attempt as failed, where a failure was noted.
    pub(crate) fn fail(&mut self, failure: Option<Failure>) {
        self.error = failure.and_then(Failure::into_error);
        if self.error.is_some() {
            self.outcome = Outcome::Failed;
        }
    }

    /// The small form, where nothing is lost by it.
    fn short(&self) -> Option<StageRecord> {
        let Self { passage, trace, stage, .. } = *self;
        let says_more = self.source != SourceIndex(0)
            || self.outcome != Outcome::Reached
            || self.error.is_some()
            || self.within.is_some()
            || self.at != At::Absent;
        let id = IdWords::new(self.id.as_str()).filter(|_| !says_more)?;
        Some(StageRecord { id, passage, trace, stage })
    }

    /// The checkpoint, or why there is none.
    pub(crate) fn checkpoint(self, routes: &Routes, times: &Times<'_>) -> Result<Checkpoint, DropReason> {
        let Self { id, passage, trace, stage, at, source, outcome, error, within } = self;
        let mut checkpoint = checkpoint(id, stage, passage, at, routes, times)?;
        trace.put_on(&mut checkpoint);
        Ok(Checkpoint { source, outcome, error, within, ..checkpoint })
    }
}

impl Passage {
    /// Something that took no time.
    pub(crate) fn at(now: Reading) -> Self {
        Self { opened: now, end: now, busy: 0 }
    }
}

impl From<FullRecord> for Message {
    fn from(record: FullRecord) -> Self {
        record.short().map_or_else(|| Self::Full(Box::new(record)), Self::Stage)
    }
}

impl TraceIds {
    #[cfg(feature = "opentelemetry")]
    #[inline]
    pub(crate) fn new(trace: [u8; 16], span: [u8; 8]) -> Self {
        let trace = u128::from_be_bytes(trace);
        Self { trace: [(trace >> 64) as u64, trace as u64], span: u64::from_be_bytes(span) }
    }

    /// The trace id, where there is one.
    pub(crate) fn trace_id(self) -> Option<u128> {
        #[cfg(feature = "opentelemetry")]
        return Some(u128::from(self.trace[0]) << 64 | u128::from(self.trace[1])).filter(|trace| *trace != 0);
        #[cfg(not(feature = "opentelemetry"))]
        None
    }

    fn put_on(self, checkpoint: &mut Checkpoint) {
        #[cfg(feature = "opentelemetry")]
        {
            checkpoint.trace_id = self.trace_id().unwrap_or_default();
            checkpoint.span_id = self.span;
        }
        let _ = checkpoint;
    }
}

fn checkpoint(
    id: CorrelationId,
    stage: StageRef,
    passage: Passage,
    at: At,
    routes: &Routes,
    times: &Times<'_>,
) -> Result<Checkpoint, DropReason> {
    let Passage { opened, end, busy } = passage;
    // A stage that an open route learned has no rule of its own: it is reached at its end.
    let rule = routes.get(stage.route).stage(stage.stage).map_or(InstantRule::End, |stage| stage.instant);
    let (at, clock_kind, resolution) = match (at, rule) {
        (At::Given(at, resolution), _) => (at, ClockKind::Platform, resolution),
        (At::Absent, InstantRule::Open) => (times.unix(opened), ClockKind::Process, Resolution::Fine),
        (At::Absent, InstantRule::End) => (times.unix(end), ClockKind::Process, Resolution::Fine),
        (At::Unreadable, _) | (At::Absent, InstantRule::Explicit) => return Err(DropReason::NoInstant),
    };
    // All of it as the clock tells it, and of that the part that was work.
    let (ticks, nanos) = (end.since(opened), times.between(opened, end));
    let busy = if ticks == 0 { 0 } else { (u128::from(nanos) * u128::from(busy) / u128::from(ticks)) as u64 };
    let micros = |nanos: u64| u32::try_from(nanos / 1_000).unwrap_or(u32::MAX);
    Ok(Checkpoint {
        clock: clock_kind,
        resolution,
        busy_us: micros(busy),
        idle_us: micros(nanos.saturating_sub(busy)),
        ..Checkpoint::reached(id, stage, at)
    })
}
