//! `timings`: stage instants as they ride in the JSON metadata of an event.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    route::{Route, StageIndex},
    time::MILLI,
};

/// The `timings` object of an event envelope: unix milliseconds by timings key.
///
/// Nulls and keys that are not ours survive a round trip, in their order.
///
/// ```
/// let text = r#"{"platformReceivedAt":1700000000000,"pluginReceivedAt":null,"theirs":"x"}"#;
/// let timings: journey_core::Timings = serde_json::from_str(text).unwrap();
/// assert_eq!(timings.get("platformReceivedAt"), Some(1_700_000_000_000_000_000));
/// assert_eq!(timings.get("pluginReceivedAt"), None);
/// assert_eq!(serde_json::to_string(&timings).unwrap(), text);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timings(Map<String, Value>);

impl Timings {
    /// Without any instants.
    pub fn new() -> Self {
        Self::default()
    }

    /// The instant under a timings key, unix nanoseconds (whole milliseconds).
    pub fn get(&self, key: &str) -> Option<i64> {
        let value = self.0.get(key)?;
        // Some runtimes write every number as a double.
        let millis = value.as_i64().or_else(|| value.as_f64().filter(|v| v.abs() < 9e15).map(|v| v as i64))?;
        millis.checked_mul(MILLI)
    }

    /// Sets the instant under a timings key; digits below a millisecond are cut off.
    pub fn set(&mut self, key: &str, at: i64) {
        self.0.insert(key.to_owned(), at.div_euclid(MILLI).into());
    }

    /// The stages of a route that have an instant here.
    pub fn stages(&self, route: &Route) -> Vec<(StageIndex, i64)> {
        let stages = route.stages().iter().enumerate();
        stages.filter_map(|(index, stage)| Some((StageIndex(index as u16), self.get(&stage.timings_key)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_instants() {
        let timings: Timings =
            serde_json::from_str(r#"{"a":"1700000000000","b":1700000000000.0,"c":null,"d":{},"e":1e300}"#).unwrap();
        assert_eq!(timings.get("a"), None);
        assert_eq!(timings.get("b"), Some(1_700_000_000 * 1_000_000_000));
        assert_eq!(timings.get("c").or(timings.get("d")).or(timings.get("e")), None);
    }

    #[test]
    fn instants_are_found_by_the_routes_timings_keys() {
        let route = Route::message();
        let mut timings = Timings::new();
        timings.set("dbStoredAt", 1_700_000_000_123_999_999);
        timings.set("unrelated", 5);
        assert_eq!(timings.stages(&route), [(StageIndex(4), 1_700_000_000_123_000_000)]);
    }
}
