//! Which process is this, what time is it, and where do random numbers come from?

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use journey_core::Clock;

use crate::{
    event::{SpanId, TraceId},
    writer::{EmitError, LossReason, WriterStats},
};

/// Gives 64 random bits at every call, other ones in every process, also after a `fork`.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The greatest number of an emitter: 53 bits, which every reader of JSON takes exactly.
const MAX_EMITTER: u64 = (1 << 53) - 1;

/// The process that made an emitter, and those that were forked from it since.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    child: OnceLock<Box<Forked>>,
}

/// A process that has a copy of an emitter without its writer.
#[derive(Debug)]
pub(super) struct Forked {
    pid: u32,
    /// A number of its own, so that no event of it can be taken for one of the parent.
    pub(super) emitter: u64,
    emitted: AtomicU64,
    child: OnceLock<Box<Forked>>,
}

impl Process {
    pub(super) fn this() -> Self {
        Self { pid: process::id(), child: OnceLock::new() }
    }

    /// The forked process that this is; `None` in the one that made the emitter. Takes no lock that the parent has.
    pub(super) fn forked(&self, random: &Random) -> Option<&Forked> {
        let pid = process::id();
        if pid == self.pid {
            return None;
        }
        let new = || {
            Box::new(Forked {
                pid,
                emitter: emitter_number(random),
                emitted: AtomicU64::new(0),
                child: OnceLock::new(),
            })
        };
        let mut forked = self.child.get_or_init(new);
        while forked.pid != pid {
            forked = forked.child.get_or_init(new);
        }
        Some(forked)
    }

    pub(super) fn random_span_id(&self, random: &Random) -> SpanId {
        loop {
            if let Some(id) = SpanId::new(random()) {
                return id;
            }
        }
    }

    pub(super) fn random_trace_id(&self, random: &Random) -> TraceId {
        loop {
            if let Some(id) = TraceId::new(u128::from(random()) << 64 | u128::from(random())) {
                return id;
            }
        }
    }
}

impl Forked {
    pub(super) fn refuse(&self) -> EmitError {
        self.emitted.fetch_add(1, Relaxed);
        let message = "this process was forked from the one that made the emitter (make one here)";
        EmitError::lost(LossReason::Forked, message)
    }

    pub(super) fn stats(&self) -> WriterStats {
        let emitted = self.emitted.load(Relaxed);
        let dropped = BTreeMap::from([(LossReason::Forked.as_str().to_owned(), emitted)]);
        WriterStats { emitter: self.emitter, emitted, dropped, ..WriterStats::default() }
    }
}

/// A number for an emitter: never 0, which means none.
pub(super) fn emitter_number(random: &Random) -> u64 {
    (random() & MAX_EMITTER).max(1)
}

/// The clock of this process, anchored once to the wall clock: unix nanoseconds that an NTP step never touches.
pub(super) fn process_clock() -> Clock {
    let anchor = Instant::now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let unix = since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    Arc::new(move || unix.saturating_add(i64::try_from(anchor.elapsed().as_nanos()).unwrap_or(i64::MAX)))
}

/// Random numbers that are good for ids, not for secrets.
pub(super) fn process_random() -> Random {
    // The standard library seeds its hasher from the operating system, which saves a crate for random numbers. The process
    // is part of what is hashed, because the seed is copied by a fork.
    let calls = AtomicU64::new(0);
    Arc::new(move || RandomState::new().hash_one((process::id(), calls.fetch_add(1, Relaxed))))
}
