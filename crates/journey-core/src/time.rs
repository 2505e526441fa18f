//! Instants and durations as text and numbers. Inside, an instant is always an `i64` of unix nanoseconds.

use std::{fmt, time::Duration};

use jiff::Timestamp;

/// Nanoseconds in a millisecond.
pub(crate) const MILLI: i64 = 1_000_000;
/// Nanoseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// A text or number that is not an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidInstant(String);

impl fmt::Display for InvalidInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an instant (try `1700000000052` or `2026-11-20T10:00:00.052Z`)", self.0.escape_debug())
    }
}

impl std::error::Error for InvalidInstant {}

/// Writes unix nanoseconds as RFC 3339 in UTC with milliseconds: `2026-11-20T10:00:00.052Z`.
///
/// The digits below a millisecond are cut off, not rounded.
pub fn rfc3339(nanos: i64) -> String {
    // Every i64 of nanoseconds (years 1677 to 2262) is within what a Timestamp holds.
    match Timestamp::from_millisecond(nanos.div_euclid(MILLI)) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => String::new(),
    }
}

/// Reads an instant: RFC 3339, or a unix time in seconds, milliseconds, microseconds or nanoseconds.
///
/// # Errors
///
/// The text is neither, or is outside the years 1677 to 2262.
pub fn parse_instant(text: &str) -> Result<i64, InvalidInstant> {
    let invalid = || InvalidInstant(text.chars().take(64).collect());
    if let Ok(number) = text.parse::<i64>() {
        return instant_from_number(number).ok_or_else(invalid);
    }
    if let Some((whole, fraction)) = text.split_once('.')
        && let Ok(seconds) = whole.parse::<u32>()
    {
        // Fractional seconds, as some platforms write them; a float would lose the last digits.
        let digits = fraction.bytes().all(|digit| digit.is_ascii_digit()) && (1..=9).contains(&fraction.len());
        let nanos: Option<i64> = format!("{fraction:0<9}").parse().ok().filter(|_| digits);
        return nanos.map(|nanos| i64::from(seconds) * SECOND + nanos).ok_or_else(invalid);
    }
    let at: Timestamp = text.parse().map_err(|_| invalid())?;
    i64::try_from(at.as_nanosecond()).map_err(|_| invalid())
}

/// Reads a unix time whose unit is told by its size: below 1e11 seconds, below 1e14 milliseconds, below 1e17
/// microseconds, else nanoseconds.
///
/// Each range covers the years 1973 to 5138 of its unit, so a present-day time is never misread. `None` for a
/// negative number.
pub fn instant_from_number(number: i64) -> Option<i64> {
    match number {
        i64::MIN..0 => None,
        0..100_000_000_000 => number.checked_mul(SECOND),
        100_000_000_000..100_000_000_000_000 => number.checked_mul(MILLI),
        100_000_000_000_000..100_000_000_000_000_000 => number.checked_mul(1_000),
        _ => Some(number),
    }
}

/// Reads a duration: `50ms`, `2s`, `1.5s`, `5m`, `1h`, `1d`, or parts in a row such as `1h30m`.
///
/// # Errors
///
/// A sentence that names the text and right examples.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || {
        let shown: String = text.chars().take(64).collect();
        format!("`{}` is not a duration (try `50ms`, `90s` or `5m`)", shown.escape_debug())
    };
    let mut rest = text.trim();
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let scale = match &rest[..unit_len] {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(invalid()),
        };
        total += number * scale;
        rest = &rest[unit_len..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| invalid())
}

/// Nanoseconds as milliseconds.
pub(crate) fn millis(nanos: i64) -> f64 {
    nanos as f64 / MILLI as f64
}

/// A duration as nanoseconds; more than 292 years are 292 years.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_unix_time_is_told_by_its_size() {
        let expected = 1_700_000_000 * SECOND;
        for text in ["1700000000", "1700000000000", "1700000000000000", "1700000000000000000", "2023-11-14T22:13:20Z"] {
            assert_eq!(parse_instant(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_instant("2023-11-14T23:13:20.5+01:00"), Ok(expected + SECOND / 2));
        assert_eq!(parse_instant("1700000000.25"), Ok(expected + SECOND / 4));
    }

    #[test]
    fn what_is_not_an_instant_is_named() {
        for text in ["", "soon", "-5", "NaN", "inf", "2026-13-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
            let error = parse_instant(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn instants_are_written_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_700_000_000_052_999_999), "2023-11-14T22:13:20.052Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(i64::MAX), "2262-04-11T23:47:16.854Z");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
        for text in ["", "5", "soon", "5 m", "-1s", "1e9d", "ms"] {
            assert!(parse_duration(text).unwrap_err().contains("try `50ms`"), "{text}");
        }
    }
}
