//! What happens to events while the store is away: a bounded file beside the process.
//!
//! The file is a header and then records, appended only: a mark, the payload's length, a CRC32C of both, and the payload,
//! which is one event or one emitter's account as JSON. Whatever was written before a `kill -9` is found at the next start;
//! of a power loss the file is not safe, because nothing waits for the disk. A record that is damaged or cut off is passed
//! over, up to the next mark.

mod record;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use self::record::{Found, HEADER, Record};
use crate::{event::Event, store::EmitterAccount};

/// So much is read at once.
const READ_BYTES: usize = 256 << 10;

/// An open spill file. One process has it at a time.
pub(crate) struct Spill {
    append: File,
    read: File,
    /// Where the first record stands that was not put yet.
    head: u64,
    /// Where the next record will stand.
    tail: u64,
    limit: u64,
    /// Held as long as the file is in use. Another file, because on some systems a lock keeps the own reader out too.
    _lock: File,
}

/// Records that were appended together.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub(crate) events: Vec<Event>,
    /// What their emitter said of itself after them.
    pub(crate) account: Option<EmitterAccount>,
    /// Records before or among them that could not be read.
    pub(crate) damaged: u64,
    /// Where the next group begins.
    pub(crate) end: u64,
}

impl Spill {
    /// Opens or makes a spill file. A file that is none is moved aside.
    pub(crate) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let lock = lock(path)?;
        if !has_header(path)? {
            fs::rename(path, beside(path, "unreadable"))?;
        }
        // Not truncated: what an earlier process left is still to be put. Appending keeps a place of its own, so that what a
        // failed write left behind is written over.
        let mut append = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        if append.seek(SeekFrom::End(0))? < HEADER.len() as u64 {
            append.seek(SeekFrom::Start(0))?;
            append.write_all(HEADER)?;
        }
        let tail = append.seek(SeekFrom::End(0))?;
        let read = File::open(path)?;
        Ok(Self { append, read, head: HEADER.len() as u64, tail, limit, _lock: lock })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head >= self.tail
    }

    /// Writes events and the account after them: how many events there was room for, from the first on.
    ///
    /// The place of what was put already is free again only once all was put.
    pub(crate) fn append(&mut self, events: &[Event], account: &EmitterAccount) -> io::Result<usize> {
        let account = record::encode(&Record::Account(account.clone()))?;
        let room = self.limit.saturating_sub(self.tail).saturating_sub(account.len() as u64);
        let mut bytes = Vec::new();
        let mut kept = 0;
        for event in events {
            let record = record::encode_event(event)?;
            if (bytes.len() + record.len()) as u64 > room {
                break;
            }
            bytes.extend(record);
            kept += 1;
        }
        if kept == 0 && !events.is_empty() {
            return Ok(0);
        }
        bytes.extend(account);
        self.append.seek(SeekFrom::Start(self.tail))?;
        self.append.write_all(&bytes)?;
        self.tail += bytes.len() as u64;
        Ok(kept)
    }

    /// Reads the next group, at most so many events of it; `None` at the end. It is read again until it is released.
    pub(crate) fn next_group(&mut self, most: usize) -> io::Result<Option<Group>> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut group = Group { end: self.head, ..Group::default() };
        let mut bytes = Vec::new();
        self.read.seek(SeekFrom::Start(self.head))?;
        let mut used = 0;
        // A file that somebody made shorter ends earlier.
        let mut is_at_end = false;
        while group.events.len() < most {
            match record::next(&bytes[used..], is_at_end) {
                Found::Record(record, length) => {
                    used += length;
                    match record {
                        Record::Event(event) => group.events.push(event),
                        Record::Account(account) => {
                            group.account = Some(account);
                            break;
                        }
                    }
                }
                Found::Damaged(length) => {
                    used += length;
                    group.damaged += 1;
                }
                Found::Nothing if is_at_end => {
                    // What is behind the last mark is not read again.
                    used = used.max((self.tail - self.head) as usize);
                    break;
                }
                Found::Nothing => is_at_end = self.read_more(&mut bytes)? == 0,
            }
        }
        group.end += used as u64;
        Ok(Some(group))
    }

    /// All before `end` was put, or cannot be. Whether nothing is left: then the file is empty again.
    pub(crate) fn release(&mut self, end: u64) -> bool {
        self.head = end;
        if self.head < self.tail {
            return false;
        }
        (self.head, self.tail) = (HEADER.len() as u64, HEADER.len() as u64);
        // If that fails, old records are read again at the next start, and the store finds them to be duplicates.
        let _ = self.append.set_len(self.tail);
        true
    }

    fn read_more(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let before = bytes.len();
        let left = (self.tail - self.head).saturating_sub(before as u64);
        (&mut self.read).take(left.min(READ_BYTES as u64)).read_to_end(bytes)?;
        Ok(bytes.len() - before)
    }
}

/// One process at a time: two would write over each other's records.
fn lock(path: &Path) -> io::Result<File> {
    let place = beside(path, "lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&place)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let message =
                format!("the spill file `{}` is in use by another emitter (give each its own)", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a file is a spill file, or not there, or one whose header was cut off while it was written.
fn has_header(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(HEADER.len() as u64).read_to_end(&mut begin)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    Ok(HEADER.starts_with(&begin))
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests;
