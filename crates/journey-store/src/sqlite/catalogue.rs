//! Which day files there are, and who may write them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI32},
};

use parking_lot::{Mutex, RwLock};

use super::{error::explain_io, filter::TraceFilter};
use crate::{
    day::Day,
    event::TraceId,
    store::{StoreError, StoreErrorKind},
};

/// The file whose lock says that somebody writes.
const LOCK_FILE: &str = "writer.lock";

/// What stands between the name of a day file that was set aside and its number.
const DAMAGED: &str = ".damaged-";

/// All day files of a folder.
#[derive(Debug)]
pub(super) struct Catalogue {
    folder: PathBuf,
    days: RwLock<BTreeMap<Day, Arc<DayFile>>>,
}

/// One day file. Another file of the same day, after this one was dropped, is another of these.
#[derive(Debug)]
pub(super) struct DayFile {
    pub(super) day: Day,
    pub(super) path: PathBuf,
    /// Its traces; `None` until the writer has read them.
    pub(super) filter: RwLock<Option<TraceFilter>>,
    /// Pages of its log after the last commit.
    pub(super) log_pages: AtomicI32,
    /// Those of them that the other thread has copied into the file.
    pub(super) copied_pages: AtomicI32,
    /// Held by whoever needs that the file of this name stays the same, and by whoever takes it away.
    pub(super) stays: Mutex<()>,
    /// What was wrong with it when it was read last.
    damage: Mutex<Option<String>>,
}

impl Catalogue {
    /// The files that are in a folder now.
    pub(super) fn read(folder: &Path) -> Result<Self, StoreError> {
        let catalogue = Self { folder: folder.to_owned(), days: RwLock::default() };
        catalogue.refresh()?;
        Ok(catalogue)
    }

    /// Looks again, where somebody else writes.
    pub(super) fn refresh(&self) -> Result<(), StoreError> {
        let found = self.entries().map_err(|error| explain_io(&self.folder, "could not be listed", &error))?;
        let days: Vec<Day> = found.iter().filter_map(|name| day_of_name(name)).collect();
        let mut known = self.days.write();
        known.retain(|day, _| days.contains(day));
        for day in days {
            known.entry(day).or_insert_with(|| Arc::new(self.file(day)));
        }
        Ok(())
    }

    /// All files, oldest first.
    pub(super) fn days(&self) -> Vec<Arc<DayFile>> {
        self.days.read().values().cloned().collect()
    }

    pub(super) fn get(&self, day: Day) -> Option<Arc<DayFile>> {
        self.days.read().get(&day).cloned()
    }

    /// The file of a day, which is now one of these.
    pub(super) fn get_or_add(&self, day: Day) -> Arc<DayFile> {
        let mut days = self.days.write();
        let added = || {
            let file = self.file(day);
            // Nothing is in a file that is only made now.
            *file.filter.write() = Some(TraceFilter::default());
            Arc::new(file)
        };
        days.entry(day).or_insert_with(added).clone()
    }

    pub(super) fn remove(&self, day: Day) {
        self.days.write().remove(&day);
    }

    /// Whether this very file is the one of its day.
    pub(super) fn is_current(&self, file: &Arc<DayFile>) -> bool {
        self.get(file.day).is_some_and(|current| Arc::ptr_eq(&current, file))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is wrong, a sentence for each file.
    pub(super) fn damaged(&self) -> Vec<String> {
        let aside = self.entries().unwrap_or_default();
        let aside = aside.into_iter().filter(|name| name.contains(DAMAGED) && !name.ends_with("-wal"));
        let aside = aside.map(|name| format!("`{}` is damaged and was set aside", self.folder.join(name).display()));
        self.days().iter().filter_map(|file| file.damage.lock().clone()).chain(aside).collect()
    }

    /// Moves a damaged file out of the way, so that its day can go on in a new one. What is left in it stays on disk.
    pub(super) fn set_aside(&self, file: &DayFile) -> Result<(), StoreError> {
        let _stays = file.stays.lock();
        let taken = |path: &PathBuf| path.exists();
        let aside =
            (1_u32..).map(|number| with_suffix(&file.path, &format!("{DAMAGED}{number}"))).find(|it| !taken(it));
        let aside = aside.unwrap_or_else(|| with_suffix(&file.path, DAMAGED));
        let moved = move_file(&with_suffix(&file.path, "-wal"), &with_suffix(&aside, "-wal"))
            .and_then(|()| remove_file(&with_suffix(&file.path, "-shm")))
            .and_then(|()| move_file(&file.path, &aside));
        moved.map_err(|error| explain_io(&file.path, "is damaged and could not be set aside", &error))?;
        self.remove(file.day);
        Ok(())
    }

    fn file(&self, day: Day) -> DayFile {
        let name = format!("events-{}.db", day.to_string().replace('-', ""));
        DayFile {
            day,
            path: self.folder.join(name),
            filter: RwLock::default(),
            log_pages: AtomicI32::new(0),
            copied_pages: AtomicI32::new(0),
            stays: Mutex::default(),
            damage: Mutex::default(),
        }
    }

    fn entries(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl DayFile {
    /// `false`: the trace is certainly not in it.
    pub(super) fn may_contain(&self, id: TraceId) -> bool {
        self.filter.read().as_ref().is_none_or(|filter| filter.may_contain(id))
    }

    pub(super) fn note_damage(&self, why: &StoreError) {
        *self.damage.lock() = Some(why.message.clone());
    }

    /// Deletes it. What is left of it after a crash is no danger: a log without its file is removed before a file of that
    /// name is made.
    pub(super) fn delete(&self) -> io::Result<()> {
        remove_file(&self.path)?;
        self.remove_leftovers()
    }

    /// Removes a log whose file is gone: SQLite would take it for that of a new one.
    pub(super) fn remove_leftovers(&self) -> io::Result<()> {
        remove_file(&with_suffix(&self.path, "-wal"))?;
        remove_file(&with_suffix(&self.path, "-shm"))
    }

    /// Bytes on disk, with its log.
    pub(super) fn bytes(&self) -> u64 {
        let parts = [self.path.clone(), with_suffix(&self.path, "-wal")];
        parts.iter().filter_map(|path| fs::metadata(path).ok()).map(|found| found.len()).sum()
    }
}

/// Makes sure that nobody else writes in this folder, for as long as the file is open.
///
/// # Errors
///
/// `Unusable`: somebody does.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|error| explain_io(&path, "could not be opened", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!(
                "`{}` is in use by another writer (give every process a folder of its own, or open it read-only)",
                folder.display()
            );
            Err(StoreError::new(StoreErrorKind::Unusable, message))
        }
        Err(TryLockError::Error(error)) => Err(explain_io(&path, "could not be locked", &error)),
    }
}

fn day_of_name(name: &str) -> Option<Day> {
    let digits = name.strip_prefix("events-")?.strip_suffix(".db")?;
    if digits.len() != 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]).parse().ok()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn remove_file(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    absent_is_fine(fs::rename(from, to))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
