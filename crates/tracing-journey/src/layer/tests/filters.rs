//! With the per-layer filter, and beside layers that have filters of their own.
//!
//! What is only true while no other subscriber is alive in the process is in `tests/layer_filters.rs`.

use std::{io, sync::Arc};

use journey_core::Routes;
use parking_lot::Mutex;
use tracing::{Level, Subscriber, debug, debug_span, enabled, info, info_span, level_filters::LevelFilter, trace_span};
use tracing_subscriber::{Layer, Registry, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt};

use super::Seen;

/// What a `fmt` layer wrote.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn lines(&self) -> usize {
        String::from_utf8(self.0.lock().clone()).unwrap().lines().count()
    }
}

fn filtered() -> (impl Layer<Registry>, Seen) {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let filter = layer.filter();
    (layer.with_filter(filter), seen)
}

#[test]
fn without_the_filter_other_layers_filters_are_their_own() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let log = Log::default();
    let only_ours = filter_fn(|metadata| metadata.target() == "wanted");
    let fmt = tracing_subscriber::fmt::layer().with_writer(log.clone()).with_filter(only_ours);
    tracing::subscriber::with_default(Registry::default().with(layer).with(fmt), || {
        for number in 0..50 {
            let _unwanted = enabled!(target: "unwanted", Level::INFO);
            info_span!("T4", correlation_id = number).in_scope(|| info!(target: "unwanted", "x"));
            info!(target: "wanted", "y");
        }
    });
    assert_eq!((seen.checkpoints().len(), log.lines()), (50, 50));
}

#[test]
fn a_plain_layer_switches_no_callsite_off_for_others() {
    let (layer, _seen) = Seen::layer(Routes::default(), false, None);
    let log = Log::default();
    let fmt = tracing_subscriber::fmt::layer().with_writer(log.clone()).with_filter(LevelFilter::DEBUG);
    tracing::subscriber::with_default(Registry::default().with(layer).with(fmt), || {
        debug_span!("foreign").in_scope(|| debug!("more verbose than our hint"));
    });
    assert_eq!(log.lines(), 1);
}

#[test]
fn the_hint_is_the_level_of_stages_with_and_without_the_filter() {
    // Asked of the subscribers: `LevelFilter::current` is the most verbose of all tests that run now.
    let (plain, _) = Seen::layer(Routes::default(), false, None);
    assert_eq!(Registry::default().with(plain).max_level_hint(), Some(LevelFilter::INFO));
    let (filtered, _) = filtered();
    assert_eq!(Registry::default().with(filtered).max_level_hint(), Some(LevelFilter::INFO));
}

#[test]
fn stages_that_exist_for_other_layers_are_taken_at_any_level() {
    for with_filter in [false, true] {
        let (layer, seen) = Seen::layer(Routes::default(), false, None);
        let layer: Box<dyn Layer<Registry> + Send + Sync> = match layer.filter() {
            filter if with_filter => Box::new(layer.with_filter(filter)),
            _ => Box::new(layer),
        };
        let fmt = tracing_subscriber::fmt::layer().with_writer(Log::default()).with_filter(LevelFilter::TRACE);
        tracing::subscriber::with_default(Registry::default().with(layer).with(fmt), || {
            trace_span!("T4", correlation_id = "m").in_scope(|| ());
        });
        assert_eq!(seen.lines(), ["T4 m reached"]);
    }
}

#[test]
fn a_failure_inside_a_hidden_function_is_not_the_stages() {
    let (layer, seen) = filtered();
    let everything = tracing_subscriber::fmt::layer().with_writer(Log::default());
    tracing::subscriber::with_default(Registry::default().with(layer).with(everything), || {
        info_span!("T4", correlation_id = "m").in_scope(|| {
            info_span!("helper").in_scope(|| tracing::error!(error = "the first try"));
        });
        info_span!("T5", correlation_id = "m").in_scope(|| tracing::error!(error = "refused"));
    });
    assert_eq!(seen.lines(), ["T4 m reached", "T5 m failed"]);
}
