//! How what the process depends on feels: database, broker, agent, memory, disk.
//!
//! Every check runs on a thread of its own, so one that hangs delays no other and no reader: it is shown as down once
//! it has not answered for its timeout.

mod builtin;
mod component;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use journey_core::rfc3339;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use self::component::{Component, Work};

/// Components and resources that are kept; each has a thread and a series.
const MAX_COMPONENTS: usize = 64;

/// How often a resource is asked for its figures.
const RESOURCE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a resource may take for that.
const RESOURCE_TIMEOUT: Duration = Duration::from_secs(2);

/// The registry of components. Memory and disk are there from the start.
///
/// Dropping it stops the threads; one inside a check that hangs stops when the check returns.
pub struct Health {
    components: RwLock<Vec<Component>>,
    refused: AtomicU64,
    draining: AtomicBool,
}

/// Figures of a resource, such as a cache or a connection pool. What it does not have stays `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resource {
    /// Share of lookups that were answered from the cache, 0 to 1.
    pub hit_ratio: Option<f64>,
    /// Connections or permits in use.
    pub pool_in_use: Option<u64>,
    /// Connections or permits there are.
    pub pool_size: Option<u64>,
}

/// `GET /health`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthView {
    /// `up`, or `down` where a component is down.
    pub status: String,
    /// When this was read.
    pub at: String,
    /// The endpoint is shutting down.
    pub draining: bool,
    /// Every registered component, in the order of registration.
    pub components: Vec<ComponentView>,
    /// Every registered resource.
    pub resources: Vec<ResourceView>,
    /// Registrations that were refused because there were too many.
    pub refused: u64,
}

/// One component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentView {
    /// Its name.
    pub name: String,
    /// `up`, `down`, or `unknown` before the first check has ended.
    pub status: String,
    /// What the check said, or why it counts as down.
    pub detail: String,
    /// How long the last check took.
    pub latency_ms: Option<f64>,
    /// How long ago the last check ended.
    pub age_ms: Option<f64>,
    /// From the end of one check to the start of the next.
    pub interval_ms: f64,
    /// A check that takes longer counts as down.
    pub timeout_ms: f64,
    /// Checks that have ended since start.
    pub checks: u64,
}

/// One resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceView {
    /// Its name.
    pub name: String,
    /// Share of lookups that were answered from the cache, 0 to 1.
    pub hit_ratio: Option<f64>,
    /// Connections or permits in use.
    pub pool_in_use: Option<u64>,
    /// Connections or permits there are.
    pub pool_size: Option<u64>,
    /// How long ago it was asked; grows where it does not answer.
    pub age_ms: Option<f64>,
}

impl Health {
    /// A registry that watches memory and disk.
    pub fn new() -> Self {
        let health = Self::empty();
        builtin::register(&health);
        health
    }

    /// A registry that watches nothing: what a test says of it does not hang on the machine's disk.
    pub(crate) fn empty() -> Self {
        Self { components: RwLock::default(), refused: AtomicU64::new(0), draining: AtomicBool::new(false) }
    }

    /// Adds a component, or replaces the one of that name.
    ///
    /// `check` runs at once and then every `interval`, on a thread of its own and never twice at a time. What it returns
    /// is shown to whoever may ask the endpoint: no secrets, such as a connection string, belong there. A check that
    /// panics counts as down. The 65th component is refused and counted. Intervals below 10 ms count as 10 ms.
    pub fn register(
        &self,
        name: &str,
        interval: Duration,
        timeout: Duration,
        check: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) {
        self.add(name, interval, timeout, Work::Check(Box::new(check)));
    }

    /// Adds a resource, or replaces the one of that name. It is asked every 5 s, on a thread of its own.
    pub fn register_resource(&self, name: &str, read: impl Fn() -> Resource + Send + Sync + 'static) {
        self.add(name, RESOURCE_INTERVAL, RESOURCE_TIMEOUT, Work::Resource(Box::new(read)));
    }

    fn add(&self, name: &str, interval: Duration, timeout: Duration, work: Work) {
        let mut components = self.components.write();
        let same =
            |other: &Component| other.name() == component::name_of(name) && other.is_resource() == work.is_resource();
        let known = components.iter().position(same);
        if known.is_none() && components.len() >= MAX_COMPONENTS {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Some(component) = Component::start(name, interval, timeout, work) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        match known {
            Some(index) => components[index] = component,
            None => components.push(component),
        }
    }

    /// What is known at `now` (unix nanoseconds). Never waits for a check.
    pub fn view(&self, now: i64) -> HealthView {
        let components = self.components.read();
        let views: Vec<_> = components.iter().filter_map(Component::view).collect();
        let down = views.iter().any(|view| view.status == "down");
        HealthView {
            status: if down { "down" } else { "up" }.to_owned(),
            at: rfc3339(now),
            draining: self.is_draining(),
            components: views,
            resources: components.iter().filter_map(Component::resource_view).collect(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Says that the process is about to end: `/readyz` answers 503 from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

impl HealthView {
    /// Whether a component is down.
    pub fn is_down(&self) -> bool {
        self.status == "down"
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("components", &self.components.read().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
