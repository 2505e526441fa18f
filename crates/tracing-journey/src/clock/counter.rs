//! The processor's counter: can it be trusted, and what does it show?

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Instant,
};

use super::{history::Anchor, since};

/// What the kernel makes its monotonic clock of. Where it says `tsc`, it has found the counters of all processors in
/// step and of constant rate, and goes on to watch that.
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
/// Anchors from one look at that to the next: ten seconds and more.
const LOOK_AGAIN: u32 = 1_000;
/// Readings for one anchor, of which the tightest is taken.
const TRIES: usize = 3;

/// A counter that ticks at a constant rate, on all processors alike.
#[derive(Debug)]
pub(super) struct Counter {
    // A crate, because reading the counter takes `unsafe`.
    clock: quanta::Clock,
    trusted: AtomicBool,
    looks: AtomicU32,
}

impl Counter {
    /// The counter, where the kernel trusts it for its own clock.
    pub(super) fn find() -> Option<Self> {
        // Without this look `quanta` would go by what the processor says of itself alone.
        is_the_clock().then(|| Self {
            clock: quanta::Clock::new(),
            trusted: AtomicBool::new(true),
            looks: AtomicU32::new(0),
        })
    }

    #[inline]
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted.load(Relaxed)
    }

    /// From now on the kernel is asked.
    pub(super) fn distrust(&self) {
        self.trusted.store(false, Relaxed);
    }

    /// Whether the kernel still trusts it, looked up now and then.
    pub(super) fn is_still_the_clock(&self) -> bool {
        !(self.looks.fetch_add(1, Relaxed) + 1).is_multiple_of(LOOK_AGAIN) || is_the_clock()
    }

    #[inline]
    pub(super) fn ticks(&self) -> u64 {
        self.clock.raw()
    }

    /// Nanoseconds per tick, as measured at the start for a fraction of a millisecond.
    pub(super) fn nanos_per_tick(&self) -> f64 {
        const MANY: u64 = 1 << 40;
        self.clock.delta_as_nanos(0, MANY) as f64 / MANY as f64
    }

    /// Counter and monotonic clock at one moment, the latter since `start`.
    pub(super) fn anchor(&self, start: Instant) -> Anchor {
        let read = || {
            let before = self.ticks();
            let now = Instant::now();
            let took = self.ticks().saturating_sub(before);
            (took, Anchor { ticks: before + took / 2, nanos: since(start, now) })
        };
        // A reading that was interrupted is a wide one.
        let (mut took, mut anchor) = read();
        for _ in 1..TRIES {
            let (again, newer) = read();
            if again <= took {
                (took, anchor) = (again, newer);
            }
        }
        anchor
    }
}

fn is_the_clock() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
        && std::fs::read_to_string(CLOCK_SOURCE).is_ok_and(|source| source.trim() == "tsc")
}
