//! One sighting: journey J reached stage S at time t, seen by service P.

use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::{id::CorrelationId, routes::StageRef};

/// The longest error text that is kept, in bytes.
const MAX_ERROR_BYTES: usize = 256;

/// One sighting of a stage, sent whole.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The journey.
    pub id: CorrelationId,
    /// The route and stage.
    pub stage: StageRef,
    /// The instant that counts, unix nanoseconds.
    pub at: i64,
    /// Whose clock that instant is from.
    pub clock: ClockKind,
    /// How coarse the instant is.
    pub resolution: Resolution,
    /// Who saw it; 0 is the process of the tracker.
    pub source: SourceIndex,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// It came with the message from an earlier process, which already counted it.
    pub carried: bool,
    /// Time the span was entered, microseconds.
    pub busy_us: u32,
    /// Time the span was open and not entered, microseconds.
    pub idle_us: u32,
    /// OpenTelemetry trace id of the span, 0 where there is none.
    pub trace_id: u128,
    /// OpenTelemetry span id of the span, 0 where there is none.
    pub span_id: u64,
    /// Why the attempt failed.
    pub error: Option<Box<StageError>>,
    /// Calls inside the stage, where they are collected.
    pub within: Option<Box<Vec<Within>>>,
}

/// How an attempt at a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The stage was reached.
    Reached,
    /// The attempt failed.
    Failed,
    /// The attempt was dropped before it finished.
    Cancelled,
}

/// Whose clock an instant is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClockKind {
    /// The clock of the process that saw it ([`Source::clock_domain`]).
    Process,
    /// The platform's own clock.
    Platform,
    /// The clock of some earlier process that is not named.
    Carried,
}

/// The smallest step of an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    /// A microsecond or finer.
    Fine,
    /// A millisecond.
    Millisecond,
    /// A second.
    Second,
}

/// Number of a [`Source`] within one tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceIndex(pub u16);

/// Who sees checkpoints: one per process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `service.name`.
    pub service: String,
    /// `service.version`, empty where unknown.
    pub version: String,
    /// `service.instance.id`.
    pub instance: String,
    /// Instants of one domain can be subtracted without uncertainty: the boot id of the host.
    pub clock_domain: String,
}

/// The sources a tracker has seen; a clone is another handle to the same table.
#[derive(Clone, Debug)]
pub struct Sources(Arc<RwLock<Vec<Arc<Source>>>>);

/// Why an attempt failed; both texts are cut to 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StageError {
    /// Low-cardinality kind, `error.type`.
    pub kind: String,
    /// What the application said.
    pub message: String,
}

/// Calls of one kind inside a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within {
    /// What was called.
    pub kind: WithinKind,
    /// How many calls ended inside the stage.
    pub count: u32,
    /// Sum of their durations, nanoseconds.
    pub nanos: u64,
}

/// What a call inside a stage went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WithinKind {
    /// A span with `db.system.name` (or the older `db.system`).
    Db,
    /// A span with `http.request.method`.
    Http,
    /// A span with `rpc.system`.
    Rpc,
}

impl Checkpoint {
    /// A sighting that reached `stage` at `at` by the process's own clock, with nothing else known.
    pub fn reached(id: CorrelationId, stage: StageRef, at: i64) -> Self {
        Self {
            id,
            stage,
            at,
            clock: ClockKind::Process,
            resolution: Resolution::Fine,
            source: SourceIndex(0),
            outcome: Outcome::Reached,
            carried: false,
            busy_us: 0,
            idle_us: 0,
            trace_id: 0,
            span_id: 0,
            error: None,
            within: None,
        }
    }
}

impl Sources {
    /// A table whose source 0 is the process of the tracker.
    pub fn new(own: Source) -> Self {
        Self(Arc::new(RwLock::new(vec![Arc::new(own)])))
    }

    /// The number of a source; the same source keeps its number. From the 65 536th on, all share the last number.
    pub fn intern(&self, source: Source) -> SourceIndex {
        let mut sources = self.0.write();
        let index = sources.iter().position(|known| **known == source).unwrap_or_else(|| {
            if sources.len() <= usize::from(u16::MAX) {
                sources.push(Arc::new(source));
            }
            sources.len() - 1
        });
        SourceIndex(index as u16)
    }

    /// A source by its number; the own one where the number is unknown.
    pub fn get(&self, index: SourceIndex) -> Arc<Source> {
        let sources = self.0.read();
        Arc::clone(sources.get(usize::from(index.0)).unwrap_or(&sources[0]))
    }

    /// All sources, the own one first.
    pub fn all(&self) -> Vec<Arc<Source>> {
        self.0.read().clone()
    }
}

impl Outcome {
    /// The word in JSON: `reached`, `failed`, `cancelled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Resolution {
    /// The step in nanoseconds; 0 for [`Resolution::Fine`].
    pub fn nanos(self) -> i64 {
        match self {
            Self::Fine => 0,
            Self::Millisecond => crate::time::MILLI,
            Self::Second => crate::time::SECOND,
        }
    }
}

impl StageError {
    /// Cuts both texts at a character boundary at or below 256 bytes.
    pub fn new(kind: &str, message: &str) -> Self {
        Self { kind: cut(kind).to_owned(), message: cut(message).to_owned() }
    }
}

impl WithinKind {
    /// The word in JSON: `db`, `http`, `rpc`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Db => "db",
            Self::Http => "http",
            Self::Rpc => "rpc",
        }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_stays_small_enough_to_copy_through_a_queue() {
        assert!(std::mem::size_of::<Checkpoint>() <= 128, "{}", std::mem::size_of::<Checkpoint>());
    }

    #[test]
    fn errors_are_cut_at_a_character() {
        assert_eq!(StageError::new("error", &"ä".repeat(200)).message.len(), 256);
        assert_eq!(StageError::new("error", &"€".repeat(200)).message.len(), 255);
    }
}
