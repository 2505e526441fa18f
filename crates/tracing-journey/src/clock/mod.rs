//! What time is it in this process, and whose clock is that?
//!
//! The hot path reads the processor's counter where that is what the kernel's monotonic clock is made of, which costs less
//! than half of asking the kernel. What a reading means is worked out on the tracker's thread, by the monotonic clock
//! itself ([`history`]): with a counter or without, instants are those of the monotonic clock.

mod counter;
mod history;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{RwLock, RwLockReadGuard};

use self::{counter::Counter, history::History};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A monotonic clock anchored once to the wall clock: unix nanoseconds that an NTP step never touches. A clone is the same
/// clock.
#[derive(Clone, Debug)]
pub(crate) struct ProcessClock {
    /// The anchor on the monotonic side.
    anchor: Instant,
    /// The same moment on the wall clock, unix nanoseconds.
    unix: i64,
    counter: Option<Arc<Counted>>,
}

/// The counter, and what it meant when.
#[derive(Debug)]
struct Counted {
    counter: Counter,
    history: RwLock<History>,
}

/// What the clock showed, as the hot path reads it; [`ProcessClock`] says what it means.
///
/// Ticks of the counter, or nanoseconds with the highest bit set: a process may stop to trust its counter, and readings
/// from before and after then still mean what they meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reading(u64);

/// Converts readings, many at once. While it lives, nothing is learned of the clock.
pub(crate) struct Times<'a> {
    unix: i64,
    history: Option<RwLockReadGuard<'a, History>>,
}

/// Set in readings that are nanoseconds.
const NANOS: u64 = 1 << 63;

impl Reading {
    /// Before everything; no clock shows it.
    pub(crate) const NEVER: Self = Self(0);

    /// For an atomic to hold; 0 is [`Reading::NEVER`].
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Ticks since an earlier reading; 0 where it is a later one, or where the two are of different kinds.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks < NANOS / 2 { ticks } else { 0 }
    }
}

impl ProcessClock {
    /// Anchors a clock now. Where there is a counter to trust, this takes a millisecond.
    pub(crate) fn new() -> Self {
        // The wall clock is read between two readings of the monotonic one, so that a preemption here shifts the anchor
        // by half of what it took and not by all of it.
        let before = Instant::now();
        let wall = SystemTime::now();
        let anchor = before + before.elapsed() / 2;
        let unix =
            wall.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        let counter = Counter::find().map(|counter| {
            let history = RwLock::new(History::new(counter.anchor(anchor), counter.nanos_per_tick()));
            Arc::new(Counted { counter, history })
        });
        Self { anchor, unix, counter }
    }

    /// Now, unix nanoseconds; never goes back.
    #[inline]
    pub(crate) fn now(&self) -> i64 {
        self.at(Instant::now())
    }

    /// Now, to be understood later.
    #[inline]
    pub(crate) fn read(&self) -> Reading {
        match &self.counter {
            Some(counted) if counted.counter.is_trusted() => Reading(counted.counter.ticks()),
            _ => self.read_instant(),
        }
    }

    #[inline(never)]
    fn read_instant(&self) -> Reading {
        Reading(since(self.anchor, Instant::now()) | NANOS)
    }

    /// Looks at counter and monotonic clock at once, if that was not done just before. What was read before this call is
    /// then converted between two such looks. Called again and again by the tracker's thread, before it converts.
    pub(crate) fn observe(&self) {
        let Some(Counted { counter, history }) = self.counter.as_deref() else { return };
        if counter.is_trusted() && history.read().wants(counter.ticks()) {
            let kept = history.write().add(counter.anchor(self.anchor));
            if !kept || !counter.is_still_the_clock() {
                counter.distrust();
            }
        }
    }

    /// What readings mean.
    pub(crate) fn times(&self) -> Times<'_> {
        Times { unix: self.unix, history: self.counter.as_deref().map(|counted| counted.history.read()) }
    }

    /// When a reading was, unix nanoseconds. A later reading is never earlier.
    pub(crate) fn unix(&self, reading: Reading) -> i64 {
        self.times().unix(reading)
    }

    /// How long it is from one reading to a later one, nanoseconds; 0 where it is an earlier one.
    pub(crate) fn between(&self, from: Reading, to: Reading) -> u64 {
        self.times().between(from, to)
    }

    /// A reading of the monotonic clock as unix nanoseconds.
    #[inline]
    pub(crate) fn at(&self, instant: Instant) -> i64 {
        self.unix.saturating_add_unsigned(since(self.anchor, instant))
    }
}

impl Times<'_> {
    /// When a reading was, unix nanoseconds. A later reading is never earlier.
    pub(crate) fn unix(&self, Reading(reading): Reading) -> i64 {
        let nanos = match &self.history {
            Some(history) if reading & NANOS == 0 => history.nanos(reading),
            _ => reading & !NANOS,
        };
        self.unix.saturating_add_unsigned(nanos)
    }

    /// How long it is from one reading to a later one, nanoseconds; 0 where it is an earlier one.
    pub(crate) fn between(&self, from: Reading, to: Reading) -> u64 {
        u64::try_from(self.unix(to).saturating_sub(self.unix(from))).unwrap_or(0)
    }
}

/// Nanoseconds from one instant to a later one. 64 bits of them hold 584 years of uptime; plain arithmetic keeps 128-bit
/// numbers off the hot path.
#[inline]
fn since(anchor: Instant, instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(anchor);
    since.as_secs() * NANOS_PER_SECOND + u64::from(since.subsec_nanos())
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
        assert!((last - before).abs() < NANOS_PER_SECOND as i64, "{last} {before}");
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
    fn readings_are_instants_of_the_monotonic_clock() {
        // With the counter of this host, if it has one, and as on a host without.
        let clock = ProcessClock::new();
        for clock in [ProcessClock { counter: None, ..clock.clone() }, clock] {
            let bracketed: Vec<_> = (0..20_000)
                .map(|_| {
                    let bracketed = (clock.now(), clock.read(), clock.now());
                    clock.observe();
                    bracketed
                })
                .collect();
            let times = clock.times();
            let off = |(before, reading, after): &(i64, Reading, i64)| {
                let at = times.unix(*reading);
                (before - at).max(at - after)
            };
            // Two clocks read one after the other agree to what the reading takes; a preempted one is wide, not off.
            let mut off: Vec<i64> = bracketed.iter().map(off).collect();
            off.sort_unstable();
            assert!(off[off.len() - 1] < 2_000, "{:?}", &off[off.len() - 10..]);
            assert!(bracketed.is_sorted_by_key(|(_, reading, _)| times.unix(*reading)));
            assert_eq!(times.between(bracketed[9].1, bracketed[9].1), 0);
        }
    }

    #[test]
    fn readings_from_before_and_after_the_loss_of_trust_are_in_order() {
        let clock = ProcessClock::new();
        let before = clock.read();
        clock.observe();
        let Some(counted) = &clock.counter else { return };
        counted.counter.distrust();
        let after = clock.read();
        assert!(after.bits() & NANOS != 0 && before.bits() & NANOS == 0);
        assert!(clock.unix(after) + 1_000 > clock.unix(before) && clock.unix(after) <= clock.now());
        assert_eq!((after.since(before), before.since(after)), (0, 0));
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
