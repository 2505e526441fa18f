//! How does the store feel? Part `store` of the self view, and a component of the health.

use std::{sync::Arc, time::Duration};

use journey_core::{Live, ReportSource};
use journey_store::{StoreInfo, wait};
use serde_json::{Value, json};

use super::{
    StoredEvents,
    desk::{Counts, Desk},
};
use crate::Health;

/// How often the store is asked how it is.
const INTERVAL: Duration = Duration::from_secs(15);

/// Without an answer by then, it counts as down.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The name of the component.
const COMPONENT: &str = "event-store";

impl Desk {
    /// A desk that the process shows among its parts and components.
    pub(crate) fn open(stored: &StoredEvents, live: &Arc<Live>, health: &Health) -> Arc<Self> {
        let desk = Arc::new(Self::new(stored, live));
        live.add_part("store", Arc::clone(&desk) as _);
        if let Some(emitter) = &desk.emitter {
            emitter.report_to(live);
        }
        let checked = Arc::clone(&desk);
        health.register(COMPONENT, INTERVAL, TIMEOUT, move || checked.check());
        desk
    }

    /// Asks the store how it is; on the thread of the component, which may hang with it.
    fn check(&self) -> Result<String, String> {
        let info = wait(self.reader().store().info()).map_err(|error| {
            self.note(&error.message);
            error.message
        })?;
        let said = said(&info);
        *self.info.lock() = Some(info);
        match self.emitter.as_ref().and_then(|emitter| emitter.stats().refusal()) {
            Some(refusal) => Err(format!("{said}; {refusal}")),
            None => Ok(said),
        }
    }
}

impl ReportSource for Desk {
    fn report(&self) -> Value {
        let counts = &self.counts;
        let mut report = json!({
            "asked": Counts::read(&counts.asked),
            "failed": Counts::read(&counts.failed),
            "timedOut": Counts::read(&counts.timed_out),
            "turnedAway": Counts::read(&counts.turned_away),
        });
        if let Some(info) = &*self.info.lock() {
            report["kind"] = info.kind.as_str().into();
            report["place"] = info.place.as_str().into();
            report["days"] = info.days.len().into();
            report["firstDay"] = info.days.first().cloned().into();
            report["lastDay"] = info.days.last().cloned().into();
            report["bytes"] = info.bytes.into();
            report["damaged"] = info.damaged.clone().into();
        }
        if let Some((at, error)) = &*self.last_error.lock() {
            report["lastError"] = json!({ "at": at, "message": error });
        }
        report
    }

    fn warnings(&self) -> Vec<String> {
        self.info.lock().as_ref().map(|info| info.damaged.clone()).unwrap_or_default()
    }
}

/// A store in a sentence.
fn said(info: &StoreInfo) -> String {
    let days = match (&info.days[..], info.days.last()) {
        ([], _) | (_, None) => "no events".to_owned(),
        ([only], _) => format!("1 day ({only})"),
        ([first, ..], Some(last)) => format!("{} days ({first} to {last})", info.days.len()),
    };
    let bytes = info.bytes.map_or_else(String::new, |bytes| format!(", {:.1} MiB", bytes as f64 / f64::from(1 << 20)));
    let damaged = match &info.damaged[..] {
        [] => String::new(),
        [first, more @ ..] => format!("; damaged parts: {}, such as: {first}", more.len() + 1),
    };
    format!("{} at {}: {days}{bytes}{damaged}", info.kind, info.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_said_in_a_sentence() {
        let days = |days: &[&str]| days.iter().map(|day| (*day).to_owned()).collect::<Vec<_>>();
        let mut info = StoreInfo { kind: "sqlite".into(), place: "data".into(), ..StoreInfo::default() };
        assert_eq!(said(&info), "sqlite at data: no events");
        info.days = days(&["2026-11-20"]);
        assert_eq!(said(&info), "sqlite at data: 1 day (2026-11-20)");
        info.damaged = vec!["events-20261119.db is no database".to_owned()];
        let damaged =
            "sqlite at data: 1 day (2026-11-20); damaged parts: 1, such as: events-20261119.db is no database";
        assert_eq!(said(&info), damaged);
        info.damaged.clear();
        (info.days, info.bytes) = (days(&["2026-11-18", "2026-11-19", "2026-11-20"]), Some(3 << 19));
        assert_eq!(said(&info), "sqlite at data: 3 days (2026-11-18 to 2026-11-20), 1.5 MiB");
    }
}
