//! What the monotonic clock showed when a counter showed so many ticks, for every tick there was.
//!
//! The rate between a processor's counter and the monotonic clock is not fixed: the clock is slewed to follow the world.
//! So it is never assumed, but observed: again and again both are read at once, which gives an anchor, and between two
//! anchors lies a straight line. A span that was opened minutes ago is converted by the anchors of then.
//!
//! A conversion never changes once it was made: what is converted before the next anchor is there goes on with the rate
//! of the last line, and the next line begins where that ended. So a later tick is never an earlier instant.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Anchors nearer to each other than this are not kept, nanoseconds.
const SPACING: u64 = 10_000_000;
/// Anchors that are kept before they are thinned out.
const MOST: usize = 8_192;
/// What is left then lies as far apart as this part of its age: 20 ms after five seconds, 14 s after an hour. Lines for a
/// year are fewer than five thousand.
const FINENESS: u64 = 256;
/// A line over more than this, nanoseconds, says little of what comes next: the machine may have slept.
const RECENT: u64 = 10_000_000_000;

/// Ticks of a counter as nanoseconds of the monotonic clock. Pure: whoever has it says what was read.
#[derive(Debug)]
pub(super) struct History {
    /// In order: ticks grow, and nanoseconds grow or stay as they are.
    lines: Vec<Line>,
    /// The latest tick that was converted.
    latest: AtomicU64,
    /// The rate to go by until one was observed.
    guess: f64,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) ticks: u64,
    pub(super) nanos: u64,
}

/// From one anchor to the next.
#[derive(Clone, Copy, Debug)]
struct Line {
    from: Anchor,
    /// Nanoseconds per tick.
    rate: f64,
}

impl History {
    /// Begins at an anchor, with a guess of nanoseconds per tick.
    pub(super) fn new(from: Anchor, guess: f64) -> Self {
        Self { lines: vec![Line { from, rate: guess }], latest: AtomicU64::new(from.ticks), guess }
    }

    /// Whether an anchor at this tick would be one to keep.
    pub(super) fn wants(&self, ticks: u64) -> bool {
        let last = self.last().from.ticks;
        ticks < last || (ticks - last) as f64 * self.guess >= SPACING as f64
    }

    /// Adds what was read now. `false` where the counter went back, and with it can no longer be trusted.
    pub(super) fn add(&mut self, now: Anchor) -> bool {
        let before = self.last().from;
        if now.ticks < before.ticks {
            return false;
        }
        let latest = self.latest.load(Relaxed);
        if latest > before.ticks {
            // What was converted behind the last anchor stays as it is: its line ends where the next begins.
            let from = Anchor { ticks: latest, nanos: self.nanos(latest) };
            self.lines.push(Line { from, ..self.last() });
        }
        let from = self.last().from;
        if now.ticks <= from.ticks {
            return true;
        }
        let now = Anchor { nanos: now.nanos.max(from.nanos), ..now };
        if let Some(line) = self.lines.last_mut() {
            line.rate = rate(from, now);
        }
        // What comes is told by the two readings, not by where the last line ended.
        let observed = rate(before, now);
        let likely = now.nanos - before.nanos < RECENT && (observed / self.guess - 1.0).abs() < 0.1;
        self.lines.push(Line { from: now, rate: if likely { observed } else { self.guess } });
        if self.lines.len() > MOST {
            self.thin();
        }
        true
    }

    /// When the counter showed so many ticks. Before the first anchor there was nothing to be timed.
    pub(super) fn nanos(&self, ticks: u64) -> u64 {
        let last = self.last();
        if ticks >= last.from.ticks {
            self.latest.fetch_max(ticks, Relaxed);
            return last.nanos(ticks);
        }
        // Nearly always one of the last lines.
        let recent = self.lines.len().saturating_sub(4);
        let from = if self.lines[recent].from.ticks <= ticks { recent } else { 0 };
        let behind = from + self.lines[from..].partition_point(|line| line.from.ticks <= ticks);
        match behind.checked_sub(1).map(|at| self.lines[at]) {
            Some(line) => line.nanos(ticks).min(self.lines[behind].from.nanos),
            None => self.lines[0].from.nanos,
        }
    }

    fn last(&self) -> Line {
        self.lines[self.lines.len() - 1]
    }

    /// Leaves out anchors that are nearer to each other than a [`FINENESS`]th of their age.
    fn thin(&mut self) {
        let now = self.last().from.nanos;
        let mut kept: Vec<Line> = Vec::with_capacity(MOST + 2);
        kept.push(self.last());
        let mut newer = now;
        for line in self.lines[1..self.lines.len() - 1].iter().rev() {
            let age = now - line.from.nanos;
            if newer - line.from.nanos >= age / FINENESS {
                newer = line.from.nanos;
                kept.push(*line);
            }
        }
        // Before the first there is nothing.
        kept.push(self.lines[0]);
        kept.reverse();
        for at in 1..kept.len() {
            let (from, to) = (kept[at - 1].from, kept[at].from);
            if to.ticks > from.ticks {
                kept[at - 1].rate = rate(from, to);
            }
        }
        self.lines = kept;
    }
}

impl Line {
    fn nanos(&self, ticks: u64) -> u64 {
        self.from.nanos + ((ticks - self.from.ticks) as f64 * self.rate) as u64
    }
}

fn rate(from: Anchor, to: Anchor) -> f64 {
    (to.nanos - from.nanos) as f64 / (to.ticks - from.ticks) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLI: u64 = 1_000_000;

    /// A counter of three ticks per nanosecond, and a clock that is slewed by so many parts in a million.
    struct World {
        ticks: u64,
        nanos: f64,
        ppm: f64,
    }

    impl World {
        fn new() -> Self {
            Self { ticks: 1_000_000, nanos: 0.0, ppm: 0.0 }
        }

        fn pass(&mut self, ticks: u64) -> Anchor {
            self.ticks += ticks;
            self.nanos += ticks as f64 / 3.0 * (1.0 + self.ppm / 1e6);
            self.now()
        }

        fn now(&self) -> Anchor {
            Anchor { ticks: self.ticks, nanos: self.nanos as u64 }
        }
    }

    #[test]
    fn a_slewed_clock_is_followed_without_a_jump() {
        let mut world = World::new();
        let mut history = History::new(world.now(), 1.0 / 3.0);
        let mut truth = Vec::new();
        for step in 0..3_000 {
            world.ppm = match step {
                0..1_000 => 0.0,
                1_000..2_000 => 500.0,
                _ => -500.0,
            };
            // A reading every millisecond, an anchor every ten.
            let now = world.pass(3 * MILLI);
            truth.push(now);
            if step % 10 == 9 {
                assert!(history.add(now));
            }
        }
        let mut last = 0;
        for now in truth {
            let nanos = history.nanos(now.ticks);
            assert!(nanos >= last, "a later tick is never earlier");
            last = nanos;
            // The steepest slew may be seen one spacing late: 10 ms of 1000 ppm, a quarter of it between two anchors.
            assert!(nanos.abs_diff(now.nanos) <= 2_500, "{nanos} {now:?}");
        }
    }

    #[test]
    fn anchors_are_met_exactly_also_long_afterwards() {
        let mut world = World::new();
        let mut history = History::new(world.now(), 1.0 / 3.0);
        let anchors: Vec<Anchor> = (0..1_000)
            .map(|step| {
                world.ppm = f64::from(step % 7) * 50.0;
                let now = world.pass(3 * 100 * MILLI);
                history.add(now);
                now
            })
            .collect();
        for anchor in anchors.into_iter().rev() {
            assert_eq!(history.nanos(anchor.ticks), anchor.nanos);
        }
    }

    #[test]
    fn a_span_that_was_opened_an_hour_ago_is_converted_by_the_anchors_of_then() {
        let mut world = World::new();
        let mut history = History::new(world.now(), 1.0 / 3.0);
        let mut opened = Vec::new();
        for step in 0..36_000_u64 {
            // The rate changes now and then by parts in a million, as a clock that is disciplined does.
            world.ppm = (step / 640) as f64 * 0.1;
            let now = world.pass(3 * 100 * MILLI);
            history.add(now);
            opened.push(world.pass(3 * 7));
        }
        assert!(history.lines.len() <= MOST + 1);
        for opened in opened {
            let nanos = history.nanos(opened.ticks);
            // The oldest anchors are 14 s apart: a line between two is off by a quarter of what a change of the rate by 0.1
            // parts in a million is over that time.
            assert!(nanos.abs_diff(opened.nanos) <= 500, "{} {opened:?}", nanos as i64 - opened.nanos as i64);
        }
    }

    #[test]
    fn what_was_converted_before_the_next_anchor_stays_as_it_was() {
        let mut world = World::new();
        // The guess is wrong by a tenth of a percent.
        let mut history = History::new(world.now(), 1.001 / 3.0);
        let early: Vec<(u64, u64)> = (0..100)
            .map(|_| {
                let now = world.pass(3 * MILLI / 10);
                (now.ticks, history.nanos(now.ticks))
            })
            .collect();
        history.add(world.now());
        let mut last = 0;
        for (ticks, nanos) in early {
            assert_eq!(history.nanos(ticks), nanos);
            last = nanos;
        }
        let now = world.pass(3 * 10 * MILLI);
        history.add(now);
        assert!(history.nanos(now.ticks) == now.nanos && now.nanos > last, "and the truth is found again");
    }

    #[test]
    fn a_counter_that_goes_back_is_found_out() {
        let mut history = History::new(Anchor { ticks: 1_000, nanos: 0 }, 1.0);
        assert!(history.add(Anchor { ticks: 2_000, nanos: 1_000 }));
        assert!(!history.add(Anchor { ticks: 1_999, nanos: 2_000 }));
        assert!(history.wants(1_999), "it is looked at, so that it is found out");
    }

    #[test]
    fn a_machine_that_slept_does_not_spoil_what_comes_after() {
        let mut history = History::new(Anchor { ticks: 0, nanos: 0 }, 1.0 / 3.0);
        history.add(Anchor { ticks: 300 * MILLI, nanos: 100 * MILLI });
        // The counter went on for an hour, the clock for a tenth of a second.
        let slept = 300 * MILLI + 3 * 3_600_000 * MILLI;
        history.add(Anchor { ticks: slept, nanos: 200 * MILLI });
        assert_eq!(history.nanos(slept + 3_000), 200 * MILLI + 1_000);
        assert!((100 * MILLI..=200 * MILLI).contains(&history.nanos(slept - 5_000)));
        assert_eq!(history.nanos(150 * MILLI), 50 * MILLI);
    }

    proptest! {
        #[test]
        fn later_ticks_are_never_earlier_instants_whenever_they_are_converted(
            steps in prop::collection::vec((0_u64..40 * MILLI, 0_u64..20 * MILLI, any::<bool>()), 1..60),
            asked in prop::collection::vec(0_u64..1_500 * MILLI, 1..60),
        ) {
            let (mut now, mut asked) = (Anchor { ticks: 5, nanos: 0 }, asked.into_iter());
            let mut history = History::new(now, 1.0 / 3.0);
            let mut converted = Vec::new();
            for (ticks, nanos, ask) in steps {
                // Whatever two clocks do to each other, as long as neither goes back.
                now = Anchor { ticks: now.ticks + ticks, nanos: now.nanos + nanos };
                history.add(now);
                if let Some(ticks) = asked.next().filter(|_| ask) {
                    converted.push((ticks, history.nanos(ticks)));
                }
            }
            for (ticks, nanos) in &converted {
                prop_assert_eq!(history.nanos(*ticks), *nanos);
            }
            converted.sort_unstable();
            prop_assert!(converted.is_sorted_by_key(|(_, nanos)| *nanos), "{:?}", converted);
        }
    }
}
