//! How does a record look in the file, and where does the next one begin?

use std::io;

use serde::{Deserialize, Serialize};

use crate::{event::Event, store::EmitterAccount};

/// The first bytes of a spill file: what it is, and its version.
pub(super) const HEADER: &[u8; 8] = b"JRNYSPL1";

/// Every record begins with it, so that reading finds its way after a damaged one.
const MARK: &[u8; 4] = b"JREC";

/// Mark, length of the payload, CRC32C of length and payload; numbers least significant byte first.
const PREFIX: usize = 12;

/// The longest payload, bytes. Below what four letters are as a number, so that text in a payload is no record.
const MAX_PAYLOAD: usize = 16 << 20;

/// What a payload is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    Event(Event),
    Account(EmitterAccount),
}

/// As [`Record::Event`], without a copy.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Borrowed<'a> {
    Event(&'a Event),
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart at once")]
pub(super) enum Found {
    /// A record, and how many bytes it takes.
    Record(Record, usize),
    /// So many bytes that are no record.
    Damaged(usize),
    /// Perhaps the beginning of one; or nothing.
    Nothing,
}

pub(super) fn encode(record: &Record) -> io::Result<Vec<u8>> {
    framed(serde_json::to_vec(record)?)
}

pub(super) fn encode_event(event: &Event) -> io::Result<Vec<u8>> {
    framed(serde_json::to_vec(&Borrowed::Event(event))?)
}

fn framed(payload: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length as usize <= MAX_PAYLOAD);
    let length = length.ok_or_else(|| {
        let message =
            format!("an event of {} bytes is too large for the spill file (at most {MAX_PAYLOAD})", payload.len());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })?;
    let mut record = Vec::with_capacity(PREFIX + payload.len());
    record.extend_from_slice(MARK);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&checksum(length, &payload).to_le_bytes());
    record.extend(payload);
    Ok(record)
}

fn checksum(length: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), payload)
}

/// What stands at the beginning of these bytes. `is_all`: no more bytes follow.
pub(super) fn next(bytes: &[u8], is_all: bool) -> Found {
    if bytes.is_empty() {
        return Found::Nothing;
    }
    match complete(bytes) {
        Some(Ok((payload, length))) => match serde_json::from_slice(payload) {
            Ok(record) => Found::Record(record, length),
            // Whole, but of a version that writes other things.
            Err(_) => Found::Damaged(length),
        },
        Some(Err(())) => Found::Damaged(to_next_mark(bytes)),
        None if is_all => Found::Damaged(to_next_mark(bytes)),
        None => Found::Nothing,
    }
}

/// The payload of the record at the beginning and the length of the whole; an error if there is none; `None` if more
/// bytes are needed to know.
fn complete(bytes: &[u8]) -> Option<Result<(&[u8], usize), ()>> {
    let known = bytes.len().min(MARK.len());
    if bytes[..known] != MARK[..known] {
        return Some(Err(()));
    }
    let length = length(bytes)?;
    if length > MAX_PAYLOAD {
        return Some(Err(()));
    }
    let expected = number(bytes, 8)?;
    let end = PREFIX + length;
    let payload = bytes.get(PREFIX..end)?;
    Some(if checksum(length as u32, payload) == expected { Ok((payload, end)) } else { Err(()) })
}

/// How long the payload of the record at the beginning says to be; `None` if more bytes are needed to know.
fn length(bytes: &[u8]) -> Option<usize> {
    number(bytes, MARK.len()).map(|length| length as usize)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// How many bytes lie before the next mark, which may have just begun at the end. Text that reads like one is none, so that
/// a damaged record counts once whatever its payload says.
fn to_next_mark(bytes: &[u8]) -> usize {
    let is_mark = |at: &usize| {
        let known = (bytes.len() - at).min(MARK.len());
        bytes[*at..*at + known] == MARK[..known] && length(&bytes[*at..]).is_none_or(|length| length <= MAX_PAYLOAD)
    };
    (1..bytes.len()).find(is_mark).unwrap_or(bytes.len())
}
