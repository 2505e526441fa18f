//! Ctrl-C and SIGTERM: noted, so that loops can end cleanly; the second one ends the process at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::error::Exit;

/// Whether somebody wants this process to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Starts to note signals.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
            let seen = Arc::new(AtomicBool::new(false));
            // In this order: the first signal only sets the flag, the second finds it set. A loop that hangs in a
            // write to a stopped pager can still be ended so.
            flag::register_conditional_shutdown(signal, i32::from(exit.code()), Arc::clone(&seen))?;
            flag::register(signal, seen)?;
            flag::register_usize(signal, Arc::clone(&stop.0), usize::from(exit.code()))?;
        }
        Ok(stop)
    }

    /// How to end, once a signal came.
    pub(crate) fn asked(&self) -> Option<Exit> {
        let code = self.0.load(Ordering::Relaxed);
        Exit::ALL.into_iter().find(|exit| code != 0 && usize::from(exit.code()) == code)
    }
}
