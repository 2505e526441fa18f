//! Which UTC day an event belongs to: a pure function of its own timestamp, never of when it arrived.

use std::{fmt, str::FromStr};

use jiff::civil::Date;

use crate::store::{StoreError, StoreErrorKind};

/// Nanoseconds of a day.
pub(crate) const DAY_NANOS: i64 = 86_400_000_000_000;

/// A UTC day, as its number since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(i32);

impl Day {
    /// The day of an instant, unix nanoseconds.
    pub(crate) fn of(nanos: i64) -> Self {
        // An `i64` of nanoseconds spans 213 504 days.
        Self(nanos.div_euclid(DAY_NANOS) as i32)
    }

    /// Its first instant, unix nanoseconds.
    pub(crate) fn start(self) -> i64 {
        i64::from(self.0).saturating_mul(DAY_NANOS)
    }

    /// The first instant after it, unix nanoseconds.
    pub(crate) fn end(self) -> i64 {
        (i64::from(self.0) + 1).saturating_mul(DAY_NANOS)
    }

    fn date(self) -> Date {
        Date::constant(1970, 1, 1).saturating_add(jiff::Span::new().days(self.0))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date().fmt(f)
    }
}

impl FromStr for Day {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let invalid = || {
            let shown: String = text.chars().take(64).collect();
            let message = format!("`{}` is not a day (try `2026-11-20`)", shown.escape_debug());
            StoreError::new(StoreErrorKind::BadRequest, message)
        };
        let date: Date = text.parse().map_err(|_| invalid())?;
        // Other forms of a date mean the same, but a day has one text, by which it is compared.
        if date.to_string() != text {
            return Err(invalid());
        }
        let days = Date::constant(1970, 1, 1).until(date).map_err(|_| invalid())?.get_days();
        (-106_752..=106_752).contains(&days).then_some(Self(days)).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_and_ends_at_midnight_utc() {
        let midnight = 1_795_132_800_000_000_000;
        assert_eq!(Day::of(midnight).to_string(), "2026-11-20");
        assert_eq!(Day::of(midnight - 1).to_string(), "2026-11-19");
        assert_eq!(Day::of(midnight).start(), midnight);
        assert_eq!(Day::of(midnight - 1).end(), midnight);
        assert_eq!(Day::of(-1).to_string(), "1969-12-31");
    }

    #[test]
    fn a_day_comes_back_from_its_text() {
        for nanos in [0, -1, 1_795_132_800_000_000_000, i64::MAX, i64::MIN] {
            let day = Day::of(nanos);
            assert_eq!(day.to_string().parse(), Ok(day));
        }
        for text in ["", "today", "20261120", "2026-13-01", "2026-11-20T00:00:00Z", "9999-01-01"] {
            let error = text.parse::<Day>().unwrap_err();
            assert_eq!(error.message, format!("`{text}` is not a day (try `2026-11-20`)"));
        }
    }
}
