//! One component: a thread that asks, and what it learned last.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{ComponentView, Resource, ResourceView};
use crate::config::bounded;

/// The longest name, in characters: it becomes a label of a series.
const MAX_NAME: usize = 64;

/// The longest text of a check that is kept, in characters.
const MAX_DETAIL: usize = 256;

/// Checks never run more often than this, whatever was asked: an interval of 0 would take a whole core.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

type Check = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What a thread does.
pub(super) enum Work {
    Check(Check),
    Resource(Box<dyn Fn() -> Resource + Send + Sync>),
}

/// One component. Dropping it tells its thread to stop.
pub(super) struct Component {
    name: String,
    interval: Duration,
    timeout: Duration,
    is_resource: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// When the check that runs now began.
    running_since: Option<Instant>,
    last: Option<Ended>,
    checks: u64,
}

/// A check that ended.
struct Ended {
    at: Instant,
    took: Duration,
    result: Result<String, String>,
    resource: Resource,
}

impl Component {
    /// Starts the thread; `None` where the system has no thread left.
    pub(super) fn start(name: &str, interval: Duration, timeout: Duration, work: Work) -> Option<Self> {
        let name = name_of(name);
        let interval = bounded(interval.max(MIN_INTERVAL));
        let shared = Arc::<Shared>::default();
        let is_resource = work.is_resource();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name(format!("journey-health-{name}"));
        thread.spawn(move || of_thread.run(interval, &work)).ok()?;
        Some(Self { name, interval, timeout, is_resource, shared })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_resource(&self) -> bool {
        self.is_resource
    }

    /// What is known of a component that is checked.
    pub(super) fn view(&self) -> Option<ComponentView> {
        if self.is_resource {
            return None;
        }
        let state = self.shared.state.lock();
        let (status, detail) = self.judge(&state);
        Some(ComponentView {
            name: self.name.clone(),
            status: status.to_owned(),
            detail,
            latency_ms: state.last.as_ref().map(|ended| ms(ended.took)),
            age_ms: state.last.as_ref().map(|ended| ms(ended.at.elapsed())),
            interval_ms: ms(self.interval),
            timeout_ms: ms(self.timeout),
            checks: state.checks,
        })
    }

    /// What is known of a resource.
    pub(super) fn resource_view(&self) -> Option<ResourceView> {
        if !self.is_resource {
            return None;
        }
        let state = self.shared.state.lock();
        let resource = state.last.as_ref().map(|ended| ended.resource).unwrap_or_default();
        Some(ResourceView {
            name: self.name.clone(),
            hit_ratio: resource.hit_ratio.filter(|ratio| ratio.is_finite()),
            pool_in_use: resource.pool_in_use,
            pool_size: resource.pool_size,
            age_ms: state.last.as_ref().map(|ended| ms(ended.at.elapsed())),
        })
    }

    fn judge(&self, state: &State) -> (&'static str, String) {
        if let Some(waiting) = state.running_since.map(|since| since.elapsed())
            && waiting > self.timeout
        {
            let detail = format!("no answer for {:.1} s (timeout {:?})", waiting.as_secs_f64(), self.timeout);
            return ("down", detail);
        }
        match &state.last {
            None => ("unknown", "the first check has not ended".to_owned()),
            Some(ended) if ended.took > self.timeout => {
                ("down", format!("answered after {:?} (timeout {:?})", ended.took, self.timeout))
            }
            Some(Ended { result: Ok(detail), .. }) => ("up", detail.clone()),
            Some(Ended { result: Err(detail), .. }) => ("down", detail.clone()),
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        // The thread is not waited for: it may hang in a check for as long as it likes.
        self.shared.stopped.notify_all();
    }
}

impl Shared {
    fn run(&self, interval: Duration, work: &Work) {
        loop {
            let began = Instant::now();
            self.state.lock().running_since = Some(began);
            let (result, resource) = work.run();
            let mut state = self.state.lock();
            state.running_since = None;
            state.last = Some(Ended { at: Instant::now(), took: began.elapsed(), result, resource });
            state.checks += 1;
            let next = Instant::now() + interval;
            while !state.stop {
                if self.stopped.wait_until(&mut state, next).timed_out() {
                    break;
                }
            }
            if state.stop {
                return;
            }
        }
    }
}

impl Work {
    pub(super) fn is_resource(&self) -> bool {
        matches!(self, Self::Resource(_))
    }

    fn run(&self) -> (Result<String, String>, Resource) {
        let done = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Check(check) => (check(), Resource::default()),
            Self::Resource(read) => (Ok(String::new()), read()),
        }));
        let (result, resource) = done.unwrap_or_else(|_| (Err("the check panicked".to_owned()), Resource::default()));
        (result.map(|text| cut(&text)).map_err(|text| cut(&text)), resource)
    }
}

/// A name as it is kept: cut, without control characters.
pub(super) fn name_of(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_DETAIL).collect()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
