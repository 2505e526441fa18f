//! Every way a checkpoint can be lost has a name and a counter.

use std::collections::BTreeMap;

use crate::view::AccountingView;

/// Why a checkpoint is not part of a journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The hand-off to the tracker was full.
    QueueFull,
    /// The correlation id is empty, too long or has control characters.
    InvalidId,
    /// A stage span without a correlation id, on itself or any ancestor.
    NoId,
    /// The stage is not one of the route (or an event named a stage that no route has).
    UnknownStage,
    /// The stage wants an explicit instant and none was given, or it could not be read.
    NoInstant,
    /// The same sighting was recorded before.
    Duplicate,
    /// The journey was finished and is no longer retained.
    Late,
    /// The journey was evicted to keep memory bounded.
    Evicted,
    /// The stage already holds the most sightings that are kept.
    AttemptsLimit,
    /// The handle was shut down.
    Shutdown,
    /// A hook of ours failed inside: a bug of ours, never the application's.
    Internal,
}

impl DropReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 11] = [
        Self::QueueFull,
        Self::InvalidId,
        Self::NoId,
        Self::UnknownStage,
        Self::NoInstant,
        Self::Duplicate,
        Self::Late,
        Self::Evicted,
        Self::AttemptsLimit,
        Self::Shutdown,
        Self::Internal,
    ];

    /// The word in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::InvalidId => "invalid_id",
            Self::NoId => "no_id",
            Self::UnknownStage => "unknown_stage",
            Self::NoInstant => "no_instant",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Evicted => "evicted",
            Self::AttemptsLimit => "attempts_limit",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }
}

/// Checkpoints since start: `offered = recorded + sum(dropped)`, always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Checkpoints that the application produced.
    pub offered: u64,
    /// Checkpoints that are or were part of a journey; an eviction takes the journey's checkpoints back out.
    pub recorded: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Accounting {
    /// Checkpoints dropped for one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Checkpoints dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Adds losses.
    pub(crate) fn drop(&mut self, reason: DropReason, count: u64) {
        self.dropped[reason as usize] += count;
    }

    /// The JSON form; every reason is present, also at 0.
    pub fn view(&self) -> AccountingView {
        let dropped: BTreeMap<_, _> =
            DropReason::ALL.iter().map(|reason| (reason.as_str().to_owned(), self.dropped(*reason))).collect();
        AccountingView { offered: self.offered, recorded: self.recorded, dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_counter() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.as_str());
        }
    }
}
