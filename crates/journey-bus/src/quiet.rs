//! A thread of our own with a runtime of its own, whose clients' spans and events no subscriber of the application sees.

use std::{cell::RefCell, io};

use tokio::runtime::{Builder, Runtime};
use tracing_core::{Dispatch, dispatcher};

thread_local! {
    /// While it is there, nothing of this thread is seen.
    static QUIET: RefCell<Option<dispatcher::DefaultGuard>> = const { RefCell::new(None) };
}

/// A runtime for one thread of ours.
///
/// Only while its thread works: a subscriber that is set for a thread's whole life would put every span and event of the
/// process on the slow path of `tracing` for as long.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        // Names are looked up and files are read there.
        .max_blocking_threads(2)
        .on_thread_park(|| drop(QUIET.take()))
        .on_thread_unpark(hush)
        .build()
}

/// Starts to be unseen, before the runtime first works.
pub(crate) fn hush() {
    QUIET.set(Some(dispatcher::set_default(&Dispatch::none())));
}

/// Says something that the application's subscriber does see.
pub(crate) fn aloud(speak: impl FnOnce()) {
    let was_quiet = QUIET.take();
    let is_quiet = was_quiet.is_some();
    drop(was_quiet);
    speak();
    if is_quiet {
        hush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use tracing_core::{Event, Metadata, span};

    use super::*;

    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicU64>);

    impl tracing_core::Subscriber for Counting {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Relaxed);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn tasks_are_unseen_before_and_after_a_pause_and_what_is_said_aloud_is_seen() {
        let counting = Counting::default();
        let seen = Arc::clone(&counting.0);
        dispatcher::with_default(&Dispatch::new(counting), || {
            tracing::info!("seen");
            let runtime = runtime().unwrap();
            hush();
            let task = async {
                tracing::info!("unseen");
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                tracing::info!("unseen");
                aloud(|| tracing::info!("seen"));
                tracing::info!("unseen");
            };
            runtime.block_on(async { tokio::spawn(task).await }).unwrap();
            drop(QUIET.take());
        });
        assert_eq!(seen.load(Relaxed), 2);
    }
}
