//! What time is it in this process, and whose clock is that?

use std::{
    hash::{BuildHasher, RandomState},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A monotonic clock anchored once to the wall clock: unix nanoseconds that an NTP step never touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessClock {
    /// The anchor on the monotonic side.
    anchor: Instant,
    /// The same moment on the wall clock, unix nanoseconds.
    unix: i64,
}

/// What the clock showed, as the hot path reads it; [`ProcessClock`] says what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reading(u64);

impl Reading {
    /// Before everything; no clock shows it.
    pub(crate) const NEVER: Self = Self(0);

    /// For an atomic to hold; 0 is [`Reading::NEVER`].
    #[inline]
    pub(crate) fn ticks(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn of_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Ticks since an earlier reading; 0 where it is a later one.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl ProcessClock {
    /// Anchors a clock now.
    pub(crate) fn new() -> Self {
        // The wall clock is read between two readings of the monotonic one, so that a preemption here shifts the anchor
        // by half of what it took and not by all of it.
        let before = Instant::now();
        let wall = SystemTime::now();
        let anchor = before + before.elapsed() / 2;
        let unix =
            wall.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        Self { anchor, unix }
    }

    /// Now, unix nanoseconds; never goes back.
    #[inline]
    pub(crate) fn now(&self) -> i64 {
        self.at(Instant::now())
    }

    /// Now, to be understood later.
    #[inline]
    pub(crate) fn read(&self) -> Reading {
        let since = Instant::now().saturating_duration_since(self.anchor);
        Reading((since.as_secs() * NANOS_PER_SECOND as u64 + u64::from(since.subsec_nanos())).max(1))
    }

    /// When a reading was, unix nanoseconds. A later reading is never earlier.
    pub(crate) fn unix(&self, reading: Reading) -> i64 {
        self.unix.saturating_add_unsigned(reading.0)
    }

    /// How long it is from one reading to a later one, nanoseconds; 0 where it is an earlier one.
    pub(crate) fn between(&self, from: Reading, to: Reading) -> u64 {
        u64::try_from(self.unix(to).saturating_sub(self.unix(from))).unwrap_or(0)
    }

    /// A reading of the monotonic clock as unix nanoseconds.
    #[inline]
    pub(crate) fn at(&self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.anchor);
        // An `i64` of nanoseconds holds 292 years of uptime; plain arithmetic keeps 128-bit numbers off the hot path.
        self.unix + since.as_secs() as i64 * NANOS_PER_SECOND + i64::from(since.subsec_nanos())
    }
}

/// Names the clock of this process: the boot id of the host, or a random name where there is none.
///
/// Instants of two processes with one name can be subtracted without uncertainty.
pub(crate) fn clock_domain() -> String {
    boot_id(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().as_deref())
}

/// A number that no other process has: 64 random bits.
pub(crate) fn process_number() -> u64 {
    // The standard library seeds its hasher from the operating system, which saves a crate for random numbers.
    RandomState::new().hash_one(std::process::id())
}

fn boot_id(text: Option<&str>) -> String {
    match text.map(str::trim) {
        Some(id) if !id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
            id.to_owned()
        }
        _ => format!("process-{:016x}", process_number()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_clock_starts_at_the_wall_clock_and_never_goes_back() {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let before = wall();
        let clock = ProcessClock::new();
        let mut last = clock.now();
        // An hour of slack would hide a wrong unit; a second does not, and tolerates a wall clock that is being slewed.
        assert!((last - before).abs() < NANOS_PER_SECOND, "{last} {before}");
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn two_readings_are_as_far_apart_as_their_instants() {
        let clock = ProcessClock::new();
        let instant = Instant::now();
        let later = instant + Duration::from_nanos(61_000_000_007);
        assert_eq!(clock.at(later) - clock.at(instant), 61_000_000_007);
    }

    #[test]
    fn a_host_without_a_boot_id_gets_a_name_of_its_own() {
        assert_eq!(boot_id(Some("3f6c-01\n")), "3f6c-01");
        for text in [None, Some(""), Some("a b"), Some("<script>")] {
            assert!(boot_id(text).starts_with("process-"), "{text:?}");
        }
        assert_ne!(boot_id(None), boot_id(None));
    }
}
