//! Values over the last 1 m, 5 m, 15 m, 1 h and since start.

use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::time::SECOND;

/// Length of the slots that values are added to.
const SLOT: i64 = 10 * SECOND;
/// Ended slots kept one by one: five minutes.
const SLOTS_KEPT: i64 = 30;
/// Slots in a minute.
const SLOTS_PER_MINUTE: i64 = 6;
/// Ended minutes kept: an hour.
const MINUTES_KEPT: i64 = 60;
/// Emptied slots kept for reuse: one for the next slot, one for the next minute.
const SPARE: usize = 2;

/// A period that ends now and starts at the edge of a slot, see each.
///
/// Slots begin at whole ten seconds of unix time, minutes at whole minutes. A window is never shorter than its name once
/// the tracker has run for that long, and longer by less than one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// The last minute: 60 to 70 s.
    #[serde(rename = "1m")]
    Minute,
    /// The last five minutes: 300 to 310 s.
    #[default]
    #[serde(rename = "5m")]
    FiveMinutes,
    /// The last fifteen minutes: 15 to 16 min.
    #[serde(rename = "15m")]
    QuarterHour,
    /// The last hour: 60 to 61 min.
    #[serde(rename = "1h")]
    Hour,
    /// Since the tracker started.
    #[serde(rename = "start")]
    Start,
}

impl Window {
    /// Every window, shortest first.
    pub const ALL: [Self; 5] = [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::Start];

    /// The word in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::Start => "start",
        }
    }
}

impl std::str::FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|window| window.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(32).collect();
            format!("`{}` is not a window (try `1m`, `5m`, `15m`, `1h` or `start`)", shown.escape_debug())
        })
    }
}

/// What a slot of time can hold: something that starts empty and adds up.
///
/// Merging is commutative and associative, and merging an empty slot changes nothing.
pub(crate) trait Slot: Clone + Default {
    /// Adds all of another slot.
    fn merge(&mut self, other: &Self);
    /// Empties it, keeping its memory.
    fn clear(&mut self);
}

/// Values by slots of time.
///
/// Values go into one open slot of ten seconds. When it has ended it is added to its minute and to the total, and kept for
/// five minutes; minutes are kept for an hour. A slot without values takes no memory, and a pause of hours costs no more
/// than one of seconds.
///
/// A time before the open slot counts as within it: nothing is ever added to a slot that has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows<S> {
    started: i64,
    /// Number of the open slot: its start in unix time, in slots.
    open_number: i64,
    /// Whether anybody asked for the open slot to add to it.
    open_used: bool,
    open: S,
    /// Ended slots with values, by number, oldest first; none older than [`SLOTS_KEPT`]. Shared with readers.
    slots: VecDeque<(i64, Arc<S>)>,
    /// The ended slots of each minute together, by number, oldest first; the last may be unfinished.
    minutes: VecDeque<(i64, Arc<S>)>,
    /// All ended slots together.
    ended: S,
    /// Emptied slots whose memory is used again.
    spare: Vec<Arc<S>>,
}

/// The slots of a window at one instant: quickly taken, and added up by whoever wants the sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots<S> {
    ended: Vec<Arc<S>>,
    /// The open slot; of all slots together, everything.
    rest: Option<S>,
}

impl<S: Slot> Windows<S> {
    /// Starts empty at `now` (unix nanoseconds).
    pub(crate) fn new(now: i64) -> Self {
        Self { started: now, open_number: now.div_euclid(SLOT), ..Self::default() }
    }

    /// The slot of now, to add to.
    pub(crate) fn current(&mut self, now: i64) -> &mut S {
        // Multiplied instead of divided: this is asked for every value.
        if now >= (self.open_number + 1).saturating_mul(SLOT) {
            self.end_slot(now.div_euclid(SLOT));
        }
        self.open_used = true;
        &mut self.open
    }

    /// All slots of a window together, as of `now`.
    pub(crate) fn read(&self, window: Window, now: i64) -> S {
        self.slots(window, now).sum()
    }

    /// The slots of a window, as of `now`.
    pub(crate) fn slots(&self, window: Window, now: i64) -> Slots<S> {
        let Some(first) = self.first_slot(window, now) else {
            return Slots { ended: Vec::new(), rest: Some(self.since_start()) };
        };
        let ended = match window {
            Window::Minute | Window::FiveMinutes => slots_from(&self.slots, first),
            _ => slots_from(&self.minutes, first.div_euclid(SLOTS_PER_MINUTE)),
        };
        let rest = (self.open_used && self.open_number >= first).then(|| self.open.clone());
        Slots { ended, rest }
    }

    /// Everything since start, without reading the slots.
    pub(crate) fn since_start(&self) -> S {
        let mut sum = self.ended.clone();
        if self.open_used {
            sum.merge(&self.open);
        }
        sum
    }

    /// The time whose values [`Windows::read`] adds up, nanoseconds: what a rate is divided by.
    ///
    /// Less than the window's name says while the tracker is young, and up to one slot more later.
    pub(crate) fn covered(&self, window: Window, now: i64) -> i64 {
        let first = self.first_slot(window, now).map_or(self.started, |slot| slot.saturating_mul(SLOT));
        now.saturating_sub(first.max(self.started)).max(0)
    }

    /// Number of the first slot that a window holds; `None` for all of them.
    fn first_slot(&self, window: Window, now: i64) -> Option<i64> {
        let number = now.div_euclid(SLOT).max(self.open_number);
        let minute = number.div_euclid(SLOTS_PER_MINUTE);
        match window {
            Window::Minute => Some(number - SLOTS_PER_MINUTE),
            Window::FiveMinutes => Some(number - SLOTS_KEPT),
            Window::QuarterHour => Some((minute - 15) * SLOTS_PER_MINUTE),
            Window::Hour => Some((minute - MINUTES_KEPT) * SLOTS_PER_MINUTE),
            Window::Start => None,
        }
    }

    /// Closes the open slot and opens the one of `number`.
    #[inline(never)]
    fn end_slot(&mut self, number: i64) {
        if number <= self.open_number {
            return;
        }
        let ended = std::mem::replace(&mut self.open_number, number);
        drop_before(&mut self.slots, number - SLOTS_KEPT, &mut self.spare);
        let minute = number.div_euclid(SLOTS_PER_MINUTE);
        drop_before(&mut self.minutes, minute - MINUTES_KEPT, &mut self.spare);
        if !std::mem::take(&mut self.open_used) {
            return;
        }

        self.ended.merge(&self.open);
        let ended_minute = ended.div_euclid(SLOTS_PER_MINUTE);
        if ended_minute >= minute - MINUTES_KEPT {
            match self.minutes.back_mut() {
                Some((last, slots)) if *last == ended_minute => Arc::make_mut(slots).merge(&self.open),
                _ => {
                    let mut slots = self.spare.pop().unwrap_or_default();
                    Arc::make_mut(&mut slots).merge(&self.open);
                    self.minutes.push_back((ended_minute, slots));
                }
            }
        }
        if ended >= number - SLOTS_KEPT {
            // The empty slot becomes the open one, with its memory.
            let mut slot = self.spare.pop().unwrap_or_default();
            std::mem::swap(Arc::make_mut(&mut slot), &mut self.open);
            self.slots.push_back((ended, slot));
        } else {
            self.open.clear();
        }
    }
}

impl<S: Slot> Slots<S> {
    /// All of them together.
    pub(crate) fn sum(self) -> S {
        let mut sum = self.rest.unwrap_or_default();
        self.ended.iter().for_each(|slot| sum.merge(slot));
        sum
    }
}

/// All slots whose number is at least `first`.
fn slots_from<S: Slot>(slots: &VecDeque<(i64, Arc<S>)>, first: i64) -> Vec<Arc<S>> {
    let before = slots.partition_point(|(number, _)| *number < first);
    slots.range(before..).map(|(_, slot)| Arc::clone(slot)).collect()
}

/// Lets go of all slots whose number is below `first`, and keeps the memory of a few.
fn drop_before<S: Slot>(slots: &mut VecDeque<(i64, Arc<S>)>, first: i64, spare: &mut Vec<Arc<S>>) {
    while slots.front().is_some_and(|(number, _)| *number < first) {
        let Some((_, mut slot)) = slots.pop_front() else { return };
        // What a reader still looks at goes when it has.
        if spare.len() < SPARE
            && let Some(own) = Arc::get_mut(&mut slot)
        {
            own.clear();
            spare.push(slot);
        }
    }
}

impl Slot for u64 {
    fn merge(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }

    fn clear(&mut self) {
        *self = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::histogram::Histogram;

    /// The start of a minute.
    const START: i64 = 1_800_000_000 * SECOND;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;

    fn windows(values: &[(i64, u64)]) -> Windows<u64> {
        let mut windows = Windows::new(START);
        for (at, value) in values {
            *windows.current(START + at) += value;
        }
        windows
    }

    /// The windows in the order of [`Window::ALL`].
    fn read_all(windows: &Windows<u64>, at: i64) -> [u64; 5] {
        Window::ALL.map(|window| windows.read(window, START + at))
    }

    #[test]
    fn a_window_covers_its_length_and_less_than_one_slot_more() {
        let windows = windows(&[(5 * SECOND, 1)]);
        let last_seen = [69, 309, 959, 3_659].map(|second| second * SECOND + SECOND - 1);
        for (window, last) in Window::ALL.into_iter().zip(last_seen) {
            assert_eq!(windows.read(window, START + last), 1, "{window:?}");
            assert_eq!(windows.read(window, START + last + 1), 0, "{window:?}");
        }
        assert_eq!(windows.since_start(), 1);
    }

    #[test]
    fn each_window_adds_up_its_own_slots() {
        let values: Vec<_> = (0..7_200).map(|second| (second * SECOND, 1)).collect();
        let windows = windows(&values);
        // 7199 s: 9 s into the open slot, 59 s into the open minute.
        assert_eq!(read_all(&windows, 7_199 * SECOND), [70, 310, 960, 3_660, 7_200]);
        assert_eq!((windows.slots.len(), windows.minutes.len()), (30, 61));
    }

    #[test]
    fn old_slots_are_not_shown_however_long_nothing_was_recorded() {
        let mut windows = windows(&[(0, 1), (30 * SECOND, 2), (4 * MINUTE, 4)]);
        assert_eq!(read_all(&windows, 4 * MINUTE), [4, 7, 7, 7, 7]);
        assert_eq!(read_all(&windows, 10 * MINUTE), [0, 0, 7, 7, 7]);
        assert_eq!(read_all(&windows, 5 * HOUR), [0, 0, 0, 0, 7]);
        *windows.current(START + 5 * HOUR) += 8;
        assert_eq!(read_all(&windows, 5 * HOUR), [8, 8, 8, 8, 15]);
        assert_eq!((windows.slots.len(), windows.minutes.len()), (0, 0));
        *windows.current(START + 10 * HOUR) += 16;
        assert_eq!(read_all(&windows, 10 * HOUR), [16, 16, 16, 16, 31]);
    }

    #[test]
    fn a_clock_that_goes_back_adds_to_the_open_slot() {
        let mut windows = windows(&[(MINUTE, 1), (0, 2), (-HOUR, 4)]);
        assert_eq!(windows.slots.len(), 0);
        assert_eq!(read_all(&windows, 0), [7, 7, 7, 7, 7]);
        assert_eq!(windows.covered(Window::Hour, START - 1), 0);
        for extreme in [i64::MIN, i64::MAX, 0, i64::MAX] {
            *windows.current(extreme) += 8;
            for window in Window::ALL {
                windows.read(window, extreme);
                windows.covered(window, extreme);
            }
        }
        assert_eq!(windows.since_start(), 39);
    }

    #[test]
    fn rates_are_of_the_time_that_is_really_covered() {
        let windows = windows(&(0..7_200).map(|second| (second * SECOND, 1)).collect::<Vec<_>>());
        for window in Window::ALL {
            let now = START + 7_199 * SECOND + SECOND - 1;
            let rate = windows.read(window, now) as f64 / (windows.covered(window, now) as f64 / SECOND as f64);
            assert!((rate - 1.0).abs() < 1e-6, "{window:?} {rate}");
        }
        let windows: Windows<u64> = Windows::new(START);
        assert_eq!(windows.covered(Window::FiveMinutes, START), 0);
        assert_eq!(windows.covered(Window::FiveMinutes, START + MINUTE), MINUTE);
        assert_eq!(windows.covered(Window::Minute, START + HOUR + 7 * SECOND), MINUTE + 7 * SECOND);
        assert_eq!(windows.covered(Window::QuarterHour, START + HOUR + 50 * SECOND), 15 * MINUTE + 50 * SECOND);
        assert_eq!(windows.covered(Window::Start, START + 2 * HOUR), 2 * HOUR);
    }

    #[test]
    fn slots_without_values_take_no_memory() {
        let mut windows: Windows<Histogram> = Windows::new(START);
        windows.current(START).record(5);
        for minute in 1..600 {
            windows.read(Window::Hour, START + minute * MINUTE);
        }
        assert_eq!((windows.slots.len(), windows.minutes.len(), windows.spare.len()), (0, 0, 0));
        windows.current(START + 10 * HOUR).record(6);
        assert_eq!((windows.slots.len(), windows.minutes.len()), (0, 0));
    }

    #[test]
    fn a_window_is_named_as_it_is_written() {
        for window in Window::ALL {
            assert_eq!(window.as_str().parse(), Ok(window));
            assert_eq!(serde_json::to_string(&window).unwrap(), format!("\"{}\"", window.as_str()));
        }
        assert_eq!(
            "2m".parse::<Window>().unwrap_err(),
            "`2m` is not a window (try `1m`, `5m`, `15m`, `1h` or `start`)"
        );
    }

    /// What a window holds by pairs of time and value, nothing ever forgotten.
    fn naive(recorded: &[(i64, u64)], window: Window, now: i64) -> Histogram {
        let (step, length) = match window {
            Window::Minute => (SLOT, MINUTE),
            Window::FiveMinutes => (SLOT, 5 * MINUTE),
            Window::QuarterHour => (MINUTE, 15 * MINUTE),
            Window::Hour => (MINUTE, HOUR),
            Window::Start => (1, i64::MAX),
        };
        let first = (now - now.rem_euclid(step)).saturating_sub(length);
        let mut sum = Histogram::default();
        for (_, value) in recorded.iter().filter(|(at, _)| *at >= first) {
            sum.record(*value);
        }
        sum
    }

    /// Steps of time: mostly short, some over minutes, a few over hours.
    fn step() -> impl Strategy<Value = i64> {
        prop_oneof![8 => 0..15 * SECOND, 4 => 0..3 * MINUTE, 2 => 0..20 * MINUTE, 1 => 0..3 * HOUR]
    }

    proptest! {
        #[test]
        fn every_window_holds_what_a_naive_model_holds(
            offset in 0..HOUR,
            steps in prop::collection::vec((step(), 0_u64..10_000_000_000, any::<bool>()), 1..120),
            idle in step(),
        ) {
            let mut now = START + offset;
            let mut windows: Windows<Histogram> = Windows::new(now);
            let mut recorded = Vec::new();
            for (step, value, read) in steps {
                now += step;
                windows.current(now).record(value);
                recorded.push((now, value));
                if read {
                    prop_assert_eq!(windows.read(Window::Hour, now), naive(&recorded, Window::Hour, now));
                }
            }
            prop_assert!(windows.slots.len() <= 30 && windows.minutes.len() <= 61 && windows.spare.len() <= SPARE);
            prop_assert_eq!(windows.since_start().count(), recorded.len() as u64);
            now += idle;
            for window in Window::ALL {
                prop_assert_eq!(windows.read(window, now), naive(&recorded, window, now), "{:?}", window);
            }
        }
    }
}
