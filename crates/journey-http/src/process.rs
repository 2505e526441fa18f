//! How much processor, memory and files the process uses.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::document::ProcessView;

/// Figures younger than this are given out again: reading them takes several files.
const FRESH: Duration = Duration::from_millis(500);

/// Reads the figures of this process.
pub(crate) struct ProcessReader(Mutex<State>);

struct State {
    /// `None` where the system tells nothing.
    system: Option<System>,
    last: Option<(Instant, ProcessView)>,
}

impl ProcessReader {
    /// The figures of now, at most half a second old. What the system does not tell is 0 or absent.
    pub(crate) fn read(&self) -> ProcessView {
        let mut state = self.0.lock();
        if let Some((at, view)) = state.last
            && at.elapsed() < FRESH
        {
            return view;
        }
        let pid = Pid::from_u32(std::process::id());
        let wanted = ProcessRefreshKind::nothing().with_memory().with_cpu();
        let Some(system) = &mut state.system else { return ProcessView::default() };
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, wanted);
        let view = system.process(pid).map_or_else(ProcessView::default, |process| ProcessView {
            cpu_seconds: process.accumulated_cpu_time() as f64 / 1e3,
            resident_memory_bytes: process.memory(),
            virtual_memory_bytes: process.virtual_memory(),
            start_time_seconds: process.start_time() as f64,
            open_fds: process.open_files().map(|count| count as u64),
            max_fds: process.open_files_limit().map(|count| count as u64),
        });
        state.last = Some((Instant::now(), view));
        view
    }
}

impl Default for ProcessReader {
    fn default() -> Self {
        Self(Mutex::new(State { system: System::new().ok(), last: None }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_figures_are_those_of_this_process() {
        let ballast = vec![7_u8; 32 << 20];
        let view = ProcessReader::default().read();
        assert!(view.resident_memory_bytes > ballast.len() as u64, "{view:?}");
        assert!(view.virtual_memory_bytes >= view.resident_memory_bytes, "{view:?}");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 3_600.0..=now + 2.0).contains(&view.start_time_seconds), "{view:?}");
        if cfg!(target_os = "linux") {
            assert!(view.open_fds.unwrap() >= 3 && view.max_fds.unwrap() >= view.open_fds.unwrap(), "{view:?}");
        }
        assert_eq!(ballast[ballast.len() - 1], 7);
    }

    #[test]
    fn processor_time_grows_with_work() {
        let reader = ProcessReader::default();
        let before = reader.read().cpu_seconds;
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut sum = 0_u64;
        while reader.read().cpu_seconds <= before {
            assert!(Instant::now() < deadline, "no processor time was seen in 20 s of work");
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        assert!(sum > 0);
    }
}
