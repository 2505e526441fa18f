//! Which finished journeys are exported.

use std::{fmt, str::FromStr};

use journey_core::{Journey, Outcome, Presence, Route, Routes, StageState, Status, TraceIdKey};

use crate::config::ConfigError;

/// Which finished journeys are exported. Statistics always count all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum ExportPolicy {
    /// Every journey.
    #[default]
    All,
    /// Journeys that failed, expired, needed a second attempt anywhere, or took longer than the route's `slow` (or, where
    /// the route declares none, its `deadline`). On a route that declares neither, no journey is slow.
    SlowFailed,
    /// A share of the journeys, 0 to 1, chosen by trace id: every process chooses the same ones.
    Ratio(f64),
    /// No journey.
    None,
}

impl ExportPolicy {
    /// Whether a journey is chosen.
    pub(crate) fn chooses(self, journey: &Journey, routes: &Routes, key: &TraceIdKey) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Ratio(ratio) => ratio_keeps(ratio, journey.trace_id(routes, key)),
            Self::SlowFailed => {
                journey.status() != Status::Completed
                    || is_remarkable(&journey.stages(routes), routes.get(journey.route()))
            }
        }
    }
}

/// Compares the 56 bits that W3C Trace Context calls random with a threshold, as OpenTelemetry's consistent samplers do:
/// what a lower ratio keeps, a higher one keeps too.
fn ratio_keeps(ratio: f64, trace_id: u128) -> bool {
    const RANGE: u64 = 1 << 56;
    let threshold = ((1.0 - ratio) * RANGE as f64) as u64;
    (trace_id as u64) & (RANGE - 1) >= threshold
}

fn is_remarkable(stages: &[StageState], route: &Route) -> bool {
    let reached = || stages.iter().filter(|stage| stage.sighting.outcome == Outcome::Reached).map(|s| s.sighting.at);
    let took = reached().max().unwrap_or(0).saturating_sub(reached().min().unwrap_or(0));
    let slow = route.slow().or(route.deadline());
    let is_slow = slow.is_some_and(|slow| u128::try_from(took).is_ok_and(|took| took > slow.as_nanos()));
    let repeatable = |stage: &StageState| {
        route.stage(stage.stage).is_some_and(|declared| matches!(declared.presence, Presence::Repeatable(_)))
    };
    is_slow || stages.iter().any(|stage| stage.error.is_some() || stage.attempts > 1 && !repeatable(stage))
}

impl FromStr for ExportPolicy {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let lower = text.trim().to_ascii_lowercase();
        let ratio = |text: &str| text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        match lower.as_str() {
            "all" => Ok(Self::All),
            "slow_failed" => Ok(Self::SlowFailed),
            "none" => Ok(Self::None),
            other => other.strip_prefix("ratio:").and_then(ratio).map(Self::Ratio).ok_or_else(|| {
                let problem = "which chooses no journeys (try `all`, `slow_failed`, `ratio:0.1` or `none`)";
                ConfigError::new("JOURNEY_EXPORT", text, problem)
            }),
        }
    }
}

impl fmt::Display for ExportPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::SlowFailed => f.write_str("slow_failed"),
            Self::Ratio(ratio) => write!(f, "ratio:{ratio}"),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use journey_core::StageError;

    use super::*;
    use crate::trace::tests::stage;

    fn route() -> journey_core::RouteBuilder {
        Route::builder("r")
            .stage("A", "a", |s| s)
            .stage("B", "b", |s| s.presence(Presence::Repeatable(5)))
            .terminal("B")
    }

    #[test]
    fn a_journey_is_remarkable_when_slow_or_retried() {
        let slow = route().slow(Duration::from_nanos(100)).deadline(Duration::from_nanos(500)).build().unwrap();
        let deadline = route().deadline(Duration::from_nanos(500)).build().unwrap();
        let neither = route().build().unwrap();
        let took = |nanos: i64| [stage(0, 10), stage(1, 10 + nanos)];
        for (route, nanos, expected) in [
            (&slow, 100, false),
            (&slow, 101, true),
            (&deadline, 500, false),
            (&deadline, 501, true),
            (&neither, 1 << 50, false),
        ] {
            assert_eq!(is_remarkable(&took(nanos), route), expected, "{nanos}");
        }
        let mut retried = took(1);
        retried[0].attempts = 2;
        assert!(is_remarkable(&retried, &neither));
        let mut repeated = took(1);
        repeated[1].attempts = 4;
        assert!(!is_remarkable(&repeated, &neither), "a repeat of a repeatable stage is no retry");
        repeated[1].error = Some(StageError::new("timeout", ""));
        assert!(is_remarkable(&repeated, &neither));
    }

    #[test]
    fn a_ratio_keeps_its_share_and_a_higher_one_keeps_the_same_and_more() {
        let key = TraceIdKey::default();
        let ids: Vec<u128> = (0..20_000).map(|n| key.trace_id("message", &n.to_string(), 1)).collect();
        let kept = |ratio| ids.iter().filter(|id| ratio_keeps(ratio, **id)).count();
        for ratio in [0.01, 0.1, 0.5, 0.9] {
            assert!((kept(ratio) as f64 / 20_000.0 - ratio).abs() < 0.015, "{ratio}: {}", kept(ratio));
        }
        assert_eq!((kept(0.0), kept(1.0)), (0, 20_000));
        assert!(ids.iter().all(|id| !ratio_keeps(0.1, *id) || ratio_keeps(0.2, *id)));
    }

    #[test]
    fn policies_are_read_and_written_in_the_same_words() {
        for text in ["all", "slow_failed", "ratio:0.1", "ratio:1", "none"] {
            assert_eq!(text.parse::<ExportPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "some", "ratio:", "ratio:2", "ratio:-1", "ratio:NaN"] {
            let error = text.parse::<ExportPolicy>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`JOURNEY_EXPORT` is `{text}`")) && error.contains("ratio:0.1"),
                "{error}"
            );
        }
    }
}
