//! A circuit breaker, so that a dead collector costs next to nothing.

use std::time::{Duration, Instant};

/// Failed exports in a row that open it.
const THRESHOLD: u32 = 3;
/// How long it is open at first; doubles with every failed probe.
const FIRST_OPEN: Duration = Duration::from_secs(1);
/// How long it is open at most, unless the collector itself asks for more.
const LONGEST_OPEN: Duration = Duration::from_secs(30);
/// The longest pause that a collector can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// A circuit breaker. Time and chance are passed in.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Failures in a row.
    failures: u32,
    /// How long it opens for next.
    open_for: Duration,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Exports go out.
    Closed,
    /// Nothing goes out until then.
    Open(Instant),
    /// One export goes out, to see whether the collector is back.
    HalfOpen,
}

impl Breaker {
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// How long to wait before the next export; `None` when it may go out now.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open(until) if now < until => Some(until - now),
            State::Open(_) => {
                self.state = State::HalfOpen;
                None
            }
            State::Closed | State::HalfOpen => None,
        }
    }

    /// Lets one export go out although it is open.
    pub(crate) fn force(&mut self) {
        if matches!(self.state, State::Open(_)) {
            self.state = State::HalfOpen;
        }
    }

    /// The collector answered.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An export failed; `asked` is how long the collector wants to be left alone, `chance` is 0 to 1.
    pub(crate) fn failed(&mut self, now: Instant, asked: Option<Duration>, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        if self.failures < THRESHOLD && self.state == State::Closed && asked.is_zero() {
            return;
        }
        // Many processes that lost one collector do not come back to it in step.
        let pause = self.open_for.mul_f64(0.75 + 0.25 * chance.clamp(0.0, 1.0));
        self.state = State::Open(now + pause.max(asked));
        self.open_for = (self.open_for * 2).min(LONGEST_OPEN);
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failures: 0, open_for: FIRST_OPEN }
    }
}

impl State {
    /// The word in reports and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open(_) => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_third_failure_for_longer_each_time_and_closes_at_a_success() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        breaker.failed(now, None, 1.0);
        breaker.failed(now, None, 1.0);
        assert_eq!((breaker.state(), breaker.wait(now)), (State::Closed, None));
        let mut pauses = Vec::new();
        for _ in 0..7 {
            breaker.failed(now, None, 1.0);
            let pause = breaker.wait(now).unwrap();
            assert_eq!(breaker.state().as_str(), "open");
            assert!(breaker.wait(now + pause / 2).is_some());
            now += pause;
            assert_eq!((breaker.wait(now), breaker.state()), (None, State::HalfOpen));
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        breaker.succeeded();
        assert_eq!(breaker.state(), State::Closed);
        breaker.failed(now, None, 1.0);
        assert_eq!(breaker.wait(now), None, "counting starts again");
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..10 {
            breaker.failed(now, None, 0.5);
            breaker.failed(now, None, 0.5);
            breaker.succeeded();
        }
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn what_the_collector_asks_for_is_given_at_once_but_not_for_ever() {
        let now = Instant::now();
        let asked = |seconds| {
            let mut breaker = Breaker::default();
            breaker.failed(now, Some(Duration::from_secs(seconds)), 0.0);
            breaker.wait(now).unwrap().as_secs()
        };
        assert_eq!((asked(60), asked(100_000)), (60, 300));
    }

    #[test]
    fn pauses_differ_by_chance() {
        let now = Instant::now();
        let pause = |chance| {
            let mut breaker = Breaker::default();
            (0..3).for_each(|_| breaker.failed(now, None, chance));
            breaker.wait(now).unwrap()
        };
        assert_eq!((pause(0.0), pause(1.0)), (Duration::from_millis(750), Duration::from_secs(1)));
    }
}
