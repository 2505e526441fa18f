//! Connections to the day files that were used last.

use std::sync::Arc;

use rusqlite::Connection;

use super::catalogue::DayFile;

/// A bounded number of connections; opening one more closes the one that was not used for longest.
#[derive(Debug)]
pub(super) struct OpenDays {
    /// The one used last comes last.
    open: Vec<(Arc<DayFile>, Connection)>,
    most: usize,
}

impl OpenDays {
    pub(super) fn new(most: usize) -> Self {
        Self { open: Vec::new(), most: most.max(1) }
    }

    /// The connection to this very file, for the caller alone until it is given back.
    pub(super) fn take(&mut self, file: &Arc<DayFile>) -> Option<Connection> {
        let place = self.open.iter().position(|(open, _)| Arc::ptr_eq(open, file))?;
        Some(self.open.remove(place).1)
    }

    pub(super) fn give_back(&mut self, file: &Arc<DayFile>, connection: Connection) {
        // Of a file that was dropped meanwhile, the connection would keep the bytes on disk.
        self.open.retain(|(open, _)| open.day != file.day);
        if self.open.len() >= self.most {
            self.open.remove(0);
        }
        // Else every day that was written once would keep its pages in memory until it is closed.
        if let Some((_, used_before)) = self.open.last() {
            _ = used_before.release_memory();
        }
        self.open.push((file.clone(), connection));
    }

    /// Closes what is not among these files any more.
    pub(super) fn keep_only(&mut self, files: &[Arc<DayFile>]) {
        self.open.retain(|(open, _)| files.iter().any(|file| Arc::ptr_eq(open, file)));
    }
}
