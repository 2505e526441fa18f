//! Which failures are worth another attempt, and when it comes.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// The first pause between two attempts; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses that double, each shortened by chance to between a half and all of it, also the longest.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

/// Cheap random numbers from 0 to 1; nothing depends on their quality.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Backoff {
    pub(crate) fn next(&mut self, chance: &mut Chance) -> Duration {
        let pause = self.0.mul_f64(0.5 + 0.5 * chance.next());
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Chance {
    pub(crate) fn next(&mut self) -> f64 {
        // xorshift64*; the state is never 0.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Default for Chance {
    fn default() -> Self {
        // The only source of randomness in std: the keys of a hash map.
        Self(RandomState::new().build_hasher().finish() | 1)
    }
}

/// Whether an HTTP status says that the same request may succeed later.
pub(crate) fn is_http_retryable(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// Whether a gRPC status says so. RESOURCE_EXHAUSTED does only with a `RetryInfo`: without one the collector says that
/// it will not get better.
pub(crate) fn is_grpc_retryable(code: u32, has_retry_info: bool) -> bool {
    match code {
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        1 | 4 | 10 | 11 | 14 | 15 => true,
        8 => has_retry_info,
        _ => false,
    }
}

/// Name of a gRPC status code.
pub(crate) fn grpc_code_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("UNKNOWN")
}

/// Reads `Retry-After`: seconds, or a date. `now` is in unix seconds. A date in the past is no pause.
pub(crate) fn retry_after(value: &str, now: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::from_secs(u64::try_from(at.as_second().saturating_sub(now)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_four_http_statuses_are_worth_another_attempt() {
        let retryable: Vec<u16> = (100..600).filter(|status| is_http_retryable(*status)).collect();
        assert_eq!(retryable, [429, 502, 503, 504]);
    }

    #[test]
    fn six_grpc_codes_are_and_exhaustion_with_retry_info() {
        let retryable =
            |info| (0..20).filter(|code| is_grpc_retryable(*code, info)).map(grpc_code_name).collect::<Vec<_>>();
        let always = ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"];
        assert_eq!(retryable(false), always);
        assert_eq!(retryable(true).len(), 7);
        assert!(retryable(true).contains(&"RESOURCE_EXHAUSTED"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:40 GMT", now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!((retry_after("soon", now), retry_after("-1", now), retry_after("", now)), (None, None, None));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ_by_chance_also_there() {
        let mut chance = Chance::default();
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..50).map(|_| backoff.next(&mut chance)).collect();
        assert!(pauses[0] >= FIRST_PAUSE / 2 && pauses[0] <= FIRST_PAUSE, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        let at_the_limit: std::collections::BTreeSet<_> = pauses[10..].iter().collect();
        assert!(at_the_limit.len() > 30 && **at_the_limit.first().unwrap() >= LONGEST_PAUSE / 2, "{pauses:?}");
    }
}
