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

impl WriterStats {
    /// That the store takes no events now, how many wait for it, and why; `None` while it takes them.
    pub fn refusal(&self) -> Option<String> {
        let Self { queued, spilled, error, .. } = self;
        let error = error.as_ref()?;
        Some(format!("the store does not take events ({queued} wait, {spilled} are in the spill file): {error}"))
    }

    /// A sentence about everything that is wrong: events that are lost, and a store that does not do what it is asked to.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let lost: u64 = self.dropped.values().sum();
        if lost > 0 {
            let counts = self.dropped.iter().filter(|(_, count)| **count > 0);
            let reasons: Vec<_> = counts.map(|(reason, count)| format!("{count} {reason}")).collect();
            warnings.push(format!(
                "{lost} events were not stored: {} (see docs/events.md, \"What becomes of an event\")",
                reasons.join(", ")
            ));
        }
        if self.replay_lost > 0 {
            let lost = self.replay_lost;
            warnings
                .push(format!("{lost} events of earlier processes were not stored: the store refused them for good"));
        }
        if self.damaged > 0 {
            let damaged = self.damaged;
            warnings.push(format!("{damaged} records of the spill file were damaged or cut off (look at the disk)"));
        }
        warnings.extend(self.refusal());
        if let Some(error) = &self.upkeep_error {
            warnings.push(format!("statistics or retention of the store are not kept up: {error}"));
        }
        warnings
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_in_a_sentence_of_its_own() {
        // Numbers of a writer that does its work.
        let well = WriterStats { emitted: 9, stored: 4, queued: 2, spilled: 3, replayed: 1, ..WriterStats::default() };
        assert_eq!((well.refusal(), well.warnings()), (None, Vec::new()));
        let ill = WriterStats {
            dropped: BTreeMap::from([("refused".to_owned(), 1), ("too_old".to_owned(), 2), ("forked".to_owned(), 0)]),
            replay_lost: 5,
            damaged: 6,
            error: Some("the disk is full".to_owned()),
            upkeep_error: Some("a file cannot be removed".to_owned()),
            ..well
        };
        insta::assert_snapshot!(ill.warnings().join("\n"), @r#"
        3 events were not stored: 1 refused, 2 too_old (see docs/events.md, "What becomes of an event")
        5 events of earlier processes were not stored: the store refused them for good
        6 records of the spill file were damaged or cut off (look at the disk)
        the store does not take events (2 wait, 3 are in the spill file): the disk is full
        statistics or retention of the store are not kept up: a file cannot be removed
        "#);
    }
}
