//! What became of one event, and of all?

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    loss::{EmitError, LossReason},
    state::Reply,
};

/// What became of the events of one process: `emitted = stored + sum(dropped) + queued + spilled`, at every moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WriterStats {
    /// The number of the emitter.
    pub emitter: u64,
    /// Events emitted: each call took one number.
    pub emitted: u64,
    /// Events that the store has.
    pub stored: u64,
    /// Of those, the ones that the store had before, because an earlier try had reached it.
    pub duplicate: u64,
    /// Events that are not and will not be stored, by [`LossReason`].
    pub dropped: BTreeMap<String, u64>,
    /// Events that wait in memory or are with the store.
    pub queued: u64,
    /// Events in the spill file.
    pub spilled: u64,
    /// Events of earlier processes that the store got from the spill file. They belong to the accounts of their emitters.
    pub replayed: u64,
    /// Events of earlier processes that the store refused for good. Where the file has an account of their emitter, they are
    /// added to it.
    pub replay_lost: u64,
    /// Records of the spill file that were damaged or cut off, of whichever process.
    pub damaged: u64,
    /// Times that the store's daily statistics were recomputed because new events had come.
    pub recomputed: u64,
    /// Days that were dropped because the store's retention was over.
    pub expired_days: u64,
    /// Times that the store did not recompute or drop what it was asked to; it is asked again when that is due next.
    pub upkeep_failed: u64,
    /// Why, the last time; `None` once it does again.
    pub upkeep_error: Option<String>,
    /// Secrets that were replaced.
    pub redacted: u64,
    /// Texts, members and nested values that were cut because the data was too large.
    pub cut: u64,
    /// What the store or the spill file last answered instead of taking events; `None` once it takes them again.
    pub error: Option<String>,
}

/// What the writer found out about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    Duplicate,
    Spilled,
    Lost(LossReason),
}

/// Where the writer had it from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Queue,
    Spill,
}

/// What somebody who waits for the event is told.
pub(super) fn told_of(fate: Fate, message: &str) -> Reply {
    match fate {
        Fate::Stored | Fate::Duplicate => Ok(()),
        Fate::Spilled => Err(EmitError::kept(message)),
        Fate::Lost(reason) => Err(EmitError::lost(reason, message)),
    }
}
