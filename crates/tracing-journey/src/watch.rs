//! The thread that looks whether stages can be seen, and writes what is wrong into the log.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing_core::{Kind as CallsiteKind, Level, field::Value};

use crate::{error::Kind, handle::JourneyHandle, line::LineCallsite, self_check::SelfCheck};

/// When the second check comes: by then spans of the start have been seen.
const SECOND_CHECK: Duration = Duration::from_secs(5);
/// How often it is looked at later.
const LATER_CHECKS: Duration = Duration::from_secs(60);
/// How long a start waits for the first check, so that a process that ends at once has said it too.
const FIRST_CHECK: Duration = Duration::from_millis(250);

/// The running thread.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<(Mutex<bool>, Condvar)>,
}

impl Watch {
    /// Checks at once, after 5 s, and then each minute, until it is stopped.
    ///
    /// The thread holds the handle: dropping all others is no shutdown.
    pub(crate) fn start(check: Arc<SelfCheck>, handle: JourneyHandle) -> Result<Self, Kind> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let told = Arc::clone(&stop);
        let (first, checked) = mpsc::sync_channel(1);
        // Not hidden from subscribers: its few events are meant for the log.
        let body = move || {
            watch(&check, &told, &first);
            drop(handle);
        };
        std::thread::Builder::new().name("journey-check".to_owned()).spawn(body).map_err(Kind::Thread)?;
        // A log that takes longer than this is not waited for.
        let _ = checked.recv_timeout(FIRST_CHECK);
        Ok(Self { stop })
    }

    /// Lets the thread end; it holds nothing that anybody waits for, so nobody does.
    pub(crate) fn stop(&self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
    }
}

fn watch(check: &SelfCheck, stop: &(Mutex<bool>, Condvar), first: &mpsc::SyncSender<()>) {
    let mut written = HashSet::new();
    let mut pause = SECOND_CHECK;
    loop {
        check.look();
        write_new(check, &mut written);
        let _ = first.try_send(());
        let mut stopped = stop.0.lock();
        if !*stopped {
            stop.1.wait_for(&mut stopped, pause);
        }
        if *stopped {
            return;
        }
        drop(stopped);
        check.settle();
        pause = LATER_CHECKS;
    }
}

/// Writes each sentence once.
fn write_new(check: &SelfCheck, written: &mut HashSet<String>) {
    static LINE: OnceLock<&LineCallsite> = OnceLock::new();
    let line = LINE.get_or_init(|| {
        LineCallsite::leak("journey_check", "tracing_journey", Level::WARN, &["message"], CallsiteKind::EVENT)
    });
    let new: Vec<String> = check.sentences().into_iter().filter(|sentence| !written.contains(sentence)).collect();
    match check.dispatch() {
        Some(dispatch) => {
            for sentence in &new {
                if line.is_enabled(&dispatch) {
                    line.send(&dispatch, &[Some(sentence as &dyn Value)]);
                }
            }
        }
        // Not in a subscriber: the one of the process may show it, `/api/v2/metrics/self` does.
        None if check.is_settled() => {
            new.iter().for_each(|sentence| tracing::warn!(target: "tracing_journey", "{sentence}"))
        }
        // The layer is still on its way into a subscriber.
        None => return,
    }
    written.extend(new);
}
