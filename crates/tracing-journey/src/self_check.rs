//! Silence is loud: what keeps stages from being seen, in sentences with what to do.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use journey_core::{DropReason, Live, ReportSource};
use parking_lot::Mutex;
use serde_json::json;
use tracing_core::{Dispatch, LevelFilter};

use crate::{
    intake::Intake,
    visibility::{is_hidden_everywhere, visible_level},
    worker::Worker,
};

/// Finds the subscriber that the layer is part of; `None` before it is installed and after it is gone.
pub(crate) type FindDispatch = Arc<dyn Fn() -> Option<Dispatch> + Send + Sync>;
/// Asks the layer what it noticed.
pub(crate) type AskFacts = Arc<dyn Fn() -> LayerFacts + Send + Sync>;

/// Callsites without an id that are named in one sentence.
const NAMED_CALLSITES: usize = 3;

/// What the layer noticed about the spans that came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LayerFacts {
    /// Stages without a correlation id, by `name (file:line)`, with how often.
    pub(crate) no_id: Vec<(String, u64)>,
    /// A layer of tracing-opentelemetry is there, but its ids cannot be read.
    pub(crate) otel_out_of_order: bool,
}

/// What is known about the observing itself.
pub(crate) struct SelfCheck {
    /// The most verbose level that stage spans may have.
    level: LevelFilter,
    /// What was suspicious at setup.
    at_setup: Vec<String>,
    dispatch: FindDispatch,
    facts: AskFacts,
    intake: Arc<Intake>,
    worker: Arc<Worker>,
    /// Weak: the tracker owns this part.
    live: Weak<Live>,
    /// The layer was part of a subscriber at some time.
    was_installed: AtomicBool,
    /// Enough time has passed for the layer to be installed.
    settled: AtomicBool,
    /// What the last look found: the level that comes through, and a sentence where that hides stages.
    seen: Mutex<(Option<LevelFilter>, Option<String>)>,
}

impl SelfCheck {
    pub(crate) fn new(
        level: LevelFilter,
        at_setup: Vec<String>,
        dispatch: FindDispatch,
        facts: AskFacts,
        intake: Arc<Intake>,
        worker: Arc<Worker>,
        live: &Arc<Live>,
    ) -> Arc<Self> {
        let live = Arc::downgrade(live);
        let (was_installed, settled) = (AtomicBool::new(false), AtomicBool::new(false));
        let seen = Mutex::default();
        Arc::new(Self { level, at_setup, dispatch, facts, intake, worker, live, was_installed, settled, seen })
    }

    /// The subscriber that the layer is part of.
    pub(crate) fn dispatch(&self) -> Option<Dispatch> {
        (self.dispatch)()
    }

    /// From now on a layer without a subscriber, or without any stage, is no matter of time.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Asks the subscriber what it lets through; only on the thread of the watch, see `LineCallsite::is_enabled`.
    pub(crate) fn look(&self) {
        let Some(dispatch) = self.dispatch() else { return };
        self.was_installed.store(true, Ordering::Relaxed);
        let visible = visible_level(&dispatch);
        let certain = is_hidden_everywhere(&dispatch, self.level) || (self.is_settled() && self.nothing_came());
        let sentence = level_sentence(self.level, visible, tracing::level_filters::STATIC_MAX_LEVEL);
        *self.seen.lock() = (Some(visible), sentence.filter(|_| certain));
    }

    fn nothing_came(&self) -> bool {
        self.live.upgrade().is_some_and(|live| live.metrics().accounting.offered == 0)
    }

    /// What is wrong or suspicious, each with what to do.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut sentences = self.at_setup.clone();
        sentences.extend(self.seen.lock().1.clone());
        let seen_in_one = self.was_installed.load(Ordering::Relaxed) || self.dispatch().is_some();
        if self.is_settled() && !seen_in_one {
            sentences.push(
                "the Journey layer is not part of any subscriber, so no span is seen: add it with \
                 `registry().with(layer).init()`, or use `tracing_journey::init()`"
                    .to_owned(),
            );
        }
        let facts = (self.facts)();
        if facts.otel_out_of_order {
            sentences.push(
                "an OpenTelemetry layer is installed before the Journey layer, so its trace ids cannot be read: use \
                 `registry().with(journey).with(otel)`, or `builder().layer(otel).install()`"
                    .to_owned(),
            );
        }
        sentences.extend(no_id_sentence(&facts.no_id));
        sentences.extend(self.losses());
        sentences
    }

    /// Sentences about losses that a setting or the caller can end. Without numbers, so that each is written once.
    fn losses(&self) -> Vec<String> {
        let Some(live) = self.live.upgrade() else { return Vec::new() };
        let accounting = live.metrics().accounting;
        let advice = [
            (DropReason::InvalidId, "a correlation id is 1 to 128 bytes without control characters"),
            (DropReason::QueueFull, "the tracker was not quick enough: raise `JOURNEY_QUEUE`"),
            (
                DropReason::Evicted,
                "more journeys are open than are kept: raise `JOURNEY_MAX_ACTIVE` or lower `JOURNEY_TTL`",
            ),
            (DropReason::UnknownStage, "no active route has the stage, or several do and none was named"),
            (DropReason::NoInstant, "the stage wants an explicit instant: a field `journey.at`, or `.at(..)`"),
            (DropReason::Internal, "a hook of Journey failed inside: please report it"),
        ];
        let seen = advice.into_iter().filter(|(reason, _)| accounting.dropped(*reason) > 0);
        seen.map(|(reason, advice)| format!("checkpoints were dropped as {}: {advice}", reason.as_str())).collect()
    }
}

impl ReportSource for SelfCheck {
    fn report(&self) -> serde_json::Value {
        let facts = (self.facts)();
        let no_id: serde_json::Map<_, _> =
            facts.no_id.into_iter().map(|(place, count)| (place, count.into())).collect();
        json!({
            "stageLevel": self.level.to_string(),
            "visibleLevel": self.seen.lock().0.map(|level| level.to_string()),
            "installed": self.dispatch().is_some(),
            "queueDepth": self.intake.len(),
            "queueCapacity": self.intake.capacity(),
            "lostOthers": self.intake.lost_others(),
            "trackerPanics": self.worker.panics(),
            "noIdByCallsite": no_id,
            "openTelemetryOutOfOrder": facts.otel_out_of_order,
        })
    }

    fn warnings(&self) -> Vec<String> {
        self.sentences()
    }
}

/// Names the callsites without an id, without their counts: a sentence is written once.
fn no_id_sentence(callsites: &[(String, u64)]) -> Option<String> {
    let first: Vec<&str> = callsites.iter().take(NAMED_CALLSITES).map(|(place, _)| place.as_str()).collect();
    let more = callsites.len().saturating_sub(NAMED_CALLSITES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!first.is_empty()).then(|| {
        format!(
            "stages without a correlation id are not counted: {}{more} (add a field `correlation_id = %id` to them or to a \
             span around them)",
            first.join(", ")
        )
    })
}

/// Says that stage spans are hidden by the level of the subscriber, or compiled out.
fn level_sentence(stages: LevelFilter, subscriber: LevelFilter, compiled: LevelFilter) -> Option<String> {
    let upper = |level: LevelFilter| level.to_string().to_uppercase();
    let stages_at = upper(stages);
    if compiled < stages {
        let compiled = upper(compiled);
        return Some(format!(
            "stage spans are at {stages_at} but levels below {compiled} are compiled out by a `max_level` feature of the \
             crate `tracing`: remove that feature, or raise the stage spans and set `JOURNEY_LEVEL={}`",
            compiled.to_lowercase()
        ));
    }
    (subscriber < stages).then(|| {
        let (subscriber, word) = (upper(subscriber), stages.to_string().to_lowercase());
        let filter = subscriber.to_lowercase();
        format!(
            "stage spans are at {stages_at} but the subscriber's level is {subscriber}: `RUST_LOG={filter}` as a global \
             filter hides them from every layer (use `tracing_journey::init()` or `install()`, which filter only the log, \
             or `RUST_LOG={filter},<your crate>={word}`)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callsites_without_an_id_are_named_a_few_at_a_time() {
        let callsites = ["a", "b", "c", "d", "e"].map(|name| (format!("{name} (app.rs:1)"), 2));
        assert_eq!(no_id_sentence(&[]), None);
        let sentence = no_id_sentence(&callsites).unwrap();
        assert!(sentence.contains(": a (app.rs:1), b (app.rs:1), c (app.rs:1) and 2 more (add a field"), "{sentence}");
    }

    #[test]
    fn a_level_that_hides_the_stages_gives_one_sentence_that_says_what_to_do() {
        let trace = LevelFilter::TRACE;
        assert_eq!(
            level_sentence(LevelFilter::INFO, LevelFilter::WARN, trace).unwrap(),
            "stage spans are at INFO but the subscriber's level is WARN: `RUST_LOG=warn` as a global filter hides them from \
             every layer (use `tracing_journey::init()` or `install()`, which filter only the log, or \
             `RUST_LOG=warn,<your crate>=info`)"
        );
        let compiled = level_sentence(LevelFilter::INFO, LevelFilter::INFO, LevelFilter::ERROR).unwrap();
        assert!(compiled.contains("compiled out") && compiled.contains("JOURNEY_LEVEL=error"), "{compiled}");
        assert_eq!(level_sentence(LevelFilter::INFO, LevelFilter::INFO, trace), None);
        assert_eq!(level_sentence(LevelFilter::INFO, trace, trace), None);
    }
}
