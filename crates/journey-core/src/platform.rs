//! How chat platforms write their timestamps.

use std::fmt;

use crate::{
    checkpoint::Resolution,
    time::{MILLI, SECOND},
};

/// Discord counts milliseconds from the first second of 2015.
const DISCORD_EPOCH_MS: i64 = 1_420_070_400_000;

/// An instant that a platform gave: its own clock, with its own resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformTime {
    /// Unix nanoseconds.
    pub at: i64,
    /// How coarse it is.
    pub resolution: Resolution,
}

/// A text that is not a timestamp of that platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformTimeError {
    platform: &'static str,
    example: &'static str,
    value: String,
}

impl PlatformTime {
    /// WhatsApp's `timestamp`: unix seconds as text.
    ///
    /// # Errors
    ///
    /// The text is not a whole, non-negative number of seconds.
    pub fn whatsapp(timestamp: &str) -> Result<Self, PlatformTimeError> {
        let seconds = timestamp.parse().ok().and_then(whole_seconds);
        seconds.ok_or_else(|| PlatformTimeError::new("WhatsApp", "1700000000", timestamp))
    }

    /// Telegram's `date`: unix seconds as a number.
    ///
    /// # Errors
    ///
    /// The number is negative or beyond the year 2262.
    pub fn telegram(date: i64) -> Result<Self, PlatformTimeError> {
        whole_seconds(date).ok_or_else(|| PlatformTimeError::new("Telegram", "1700000000", &date.to_string()))
    }

    /// Discord's `timestamp`: RFC 3339 with milliseconds (digits below are cut off).
    ///
    /// # Errors
    ///
    /// The text is not RFC 3339.
    pub fn discord(timestamp: &str) -> Result<Self, PlatformTimeError> {
        let error = || PlatformTimeError::new("Discord", "2026-11-20T10:00:00.052000+00:00", timestamp);
        // A bare number is a snowflake or a mistake here, never a timestamp.
        if timestamp.parse::<f64>().is_ok() {
            return Err(error());
        }
        let at = crate::time::parse_instant(timestamp).map_err(|_| error())?;
        Ok(Self { at: at.div_euclid(MILLI) * MILLI, resolution: Resolution::Millisecond })
    }

    /// The instant inside a Discord snowflake id.
    ///
    /// Source of the formula: Discord's reference, "Snowflakes": `(snowflake >> 22) + 1420070400000` is unix milliseconds.
    ///
    /// # Errors
    ///
    /// The text is not an unsigned 64-bit number.
    ///
    /// ```
    /// let time = journey_core::PlatformTime::discord_snowflake("175928847299117063").unwrap();
    /// assert_eq!(journey_core::rfc3339(time.at), "2016-04-30T11:18:25.796Z");
    /// ```
    pub fn discord_snowflake(id: &str) -> Result<Self, PlatformTimeError> {
        let snowflake: u64 =
            id.parse().map_err(|_| PlatformTimeError::new("Discord snowflake", "175928847299117063", id))?;
        // 42 bits of milliseconds: 139 years after 2015, well inside an i64 of nanoseconds.
        let millis = (snowflake >> 22) as i64 + DISCORD_EPOCH_MS;
        Ok(Self { at: millis * MILLI, resolution: Resolution::Millisecond })
    }
}

fn whole_seconds(seconds: i64) -> Option<PlatformTime> {
    let at = u64::try_from(seconds).ok().and(seconds.checked_mul(SECOND))?;
    Some(PlatformTime { at, resolution: Resolution::Second })
}

impl PlatformTimeError {
    fn new(platform: &'static str, example: &'static str, value: &str) -> Self {
        Self { platform, example, value: value.chars().take(64).collect() }
    }
}

impl fmt::Display for PlatformTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { platform, example, value } = self;
        write!(f, "`{}` is not a {platform} timestamp (a right one: `{example}`)", value.escape_debug())
    }
}

impl std::error::Error for PlatformTimeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_form_is_read_with_its_resolution() {
        let second = PlatformTime { at: 1_700_000_000 * SECOND, resolution: Resolution::Second };
        assert_eq!(PlatformTime::whatsapp("1700000000"), Ok(second));
        assert_eq!(PlatformTime::telegram(1_700_000_000), Ok(second));
        let millisecond = PlatformTime { at: 1_700_000_000 * SECOND + 52 * MILLI, resolution: Resolution::Millisecond };
        assert_eq!(PlatformTime::discord("2023-11-14T22:13:20.052999+00:00"), Ok(millisecond));
    }

    #[test]
    fn other_forms_are_refused_with_a_right_example() {
        for error in [
            PlatformTime::whatsapp("2023-11-14T22:13:20Z").unwrap_err(),
            PlatformTime::whatsapp("-1").unwrap_err(),
            PlatformTime::telegram(i64::MAX).unwrap_err(),
            PlatformTime::discord("1700000000").unwrap_err(),
            PlatformTime::discord_snowflake("x").unwrap_err(),
        ] {
            assert!(error.to_string().contains("a right one"), "{error}");
        }
    }
}
