//! Many spans, of ours and of others.

use journey_core::Routes;
use tracing::{Span, info_span};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

use super::{Seen, record};

#[test]
fn foreign_spans_and_events_never_enter_the_table() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        for _ in 0..100 {
            let span = info_span!("query", table = "users", rows = tracing::field::Empty).entered();
            span.record("rows", 3);
            tracing::warn!(error = "slow", "a message");
            assert_eq!(seen.open_spans(), 0);
        }
    });
    assert_eq!((seen.lines(), seen.lost()), (vec![], vec![]));
}

#[test]
fn ten_thousand_stages_open_at_once_are_all_sent() {
    let seen = record(|| {
        let spans: Vec<Span> = (0..10_000).map(|number| info_span!("T4", correlation_id = number)).collect();
        for span in &spans {
            span.in_scope(|| info_span!("foreign").in_scope(|| ()));
        }
        drop(spans);
    });
    let mut ids: Vec<u32> =
        seen.checkpoints().iter().map(|checkpoint| checkpoint.id.as_str().parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..10_000), "{} of 10000", ids.len());
    assert_eq!(seen.lost(), []);
}

#[test]
fn a_full_hand_off_loses_the_newest_and_counts_them() {
    let seen = record(|| {
        for number in 0..20_000 {
            info_span!("T4", correlation_id = number).in_scope(|| ());
        }
    });
    let kept = seen.checkpoints();
    assert_eq!((kept.len(), kept[0].id.as_str(), kept[16_383].id.as_str()), (16_384, "0", "16383"));
    assert_eq!(seen.lost(), [("queue_full", 20_000 - 16_384)]);
}

#[test]
fn threads_that_share_journeys_lose_none() {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let seen = record(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let dispatch = dispatch.clone();
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&dispatch, || {
                        for number in 0..EACH {
                            let _request = info_span!("request", correlation_id = number).entered();
                            info_span!("T4").in_scope(|| info_span!("foreign").in_scope(|| ()));
                        }
                    });
                });
            }
        });
    });
    let mut counts = vec![0; EACH];
    for checkpoint in seen.checkpoints() {
        counts[checkpoint.id.as_str().parse::<usize>().unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| *count == THREADS), "{counts:?}");
}

/// A layer of somebody who passes hooks on, but not `register_callsite`.
struct Wrapper<L>(L);

impl<S: tracing::Subscriber, L: Layer<S>> Layer<S> for Wrapper<L> {
    fn on_new_span(&self, attrs: &tracing::span::Attributes<'_>, id: &tracing::Id, ctx: Context<'_, S>) {
        self.0.on_new_span(attrs, id, ctx);
    }

    fn on_enter(&self, id: &tracing::Id, ctx: Context<'_, S>) {
        self.0.on_enter(id, ctx);
    }

    fn on_exit(&self, id: &tracing::Id, ctx: Context<'_, S>) {
        self.0.on_exit(id, ctx);
    }

    fn on_close(&self, id: tracing::Id, ctx: Context<'_, S>) {
        self.0.on_close(id, ctx);
    }
}

#[test]
fn callsites_that_nobody_told_us_about_are_known_at_first_sight() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    tracing::subscriber::with_default(Registry::default().with(Wrapper(layer)), || {
        for _ in 0..3 {
            let _foreign = info_span!("foreign").entered();
            info_span!("T4", correlation_id = "m").in_scope(|| ());
        }
    });
    assert_eq!(seen.lines(), ["T4 m reached"; 3]);
}

#[test]
fn a_layer_in_an_option_works_and_finds_its_subscriber() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    let watched = layer.watched();
    tracing::subscriber::with_default(Registry::default().with(Some(layer)), || {
        info_span!("T4", correlation_id = "m").in_scope(|| ());
        assert!(watched.dispatch().is_some());
    });
    assert_eq!(seen.lines(), ["T4 m reached"]);
    assert!(watched.dispatch().is_none(), "the subscriber is gone");
}
