//! How days are dropped: whole files, and what they held is said.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{
    catalogue::DayFile,
    error::{explain, explain_io},
    put::write_account,
    rows::{ACCOUNT_COLUMNS, read_account},
    writer::Writer,
};
use crate::{
    admit::MAX_EXPIRED_DAYS,
    store::{EmitterAccount, Expired, StoreError},
};

/// What outlives a day file.
#[derive(Debug)]
struct Legacy {
    /// The mark of a file that is gone or goes now, an emitter, and how many of its rows were there.
    expired: Vec<(Vec<u8>, i64, i64)>,
    accounts: Vec<EmitterAccount>,
}

pub(super) fn expire(writer: &mut Writer, now: i64, keep: i64) -> Result<Expired, StoreError> {
    let files = writer.catalogue.days();
    let Some(newest) = files.last() else { return Ok(Expired::default()) };
    // A clock that jumps forward may not take away what is recent among what is stored.
    let keep_from = now.min(newest.day.start()).saturating_sub(keep.max(0));
    let (due, kept): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.day.end() <= keep_from);
    let mut expired = Expired { days: Vec::new(), more: due.len() > MAX_EXPIRED_DAYS };
    if due.is_empty() {
        return Ok(expired);
    }
    let living = living_emitters(writer, &kept);
    for file in due.into_iter().take(MAX_EXPIRED_DAYS) {
        hand_on(writer, file, newest, &living)?;
        writer.close(file);
        let _stays = file.stays.lock();
        writer.catalogue.remove(file.day);
        file.delete().map_err(|error| explain_io(&file.path, "could not be deleted", &error))?;
        expired.days.push(file.day.to_string());
    }
    Ok(expired)
}

/// Emitters that have something in a day that stays: the others are forgotten with their last day.
fn living_emitters(writer: &mut Writer, kept: &[&Arc<DayFile>]) -> BTreeSet<i64> {
    let mut living = BTreeSet::new();
    for file in kept {
        // Of a file that cannot be read nothing is known, and that must not keep another from being dropped.
        let Ok(connection) = writer.take(file) else { continue };
        living.extend(emitters(&connection).unwrap_or_default());
        writer.give_back(file, connection);
    }
    living
}

fn emitters(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    let mut emitters = connection.prepare("SELECT emitter FROM emitters UNION SELECT emitter FROM accounts")?;
    emitters.query_map((), |row| row.get(0))?.collect()
}

/// Writes what must not be forgotten of a day into the newest one. Doing so twice is the same as once, so that a crash
/// before the file is gone does no harm.
fn hand_on(
    writer: &mut Writer,
    from: &Arc<DayFile>,
    to: &Arc<DayFile>,
    living: &BTreeSet<i64>,
) -> Result<(), StoreError> {
    let read = writer.take(from).and_then(|connection| Ok(read_legacy(&connection, living)?));
    let legacy = match read {
        Ok(legacy) => legacy,
        // A damaged day is dropped like any other; what it held cannot be said.
        Err(failure) if failure.is_damage() || failure.is_of_a_row() => return Ok(()),
        Err(failure) => return Err(failure.explain(&from.path)),
    };
    let mut connection = writer.take(to).map_err(|failure| failure.explain(&to.path))?;
    let written = write_legacy(&mut connection, &legacy);
    writer.give_back(to, connection);
    written.map_err(|error| explain(&to.path, &error))
}

fn read_legacy(connection: &Connection, living: &BTreeSet<i64>) -> Result<Legacy, rusqlite::Error> {
    let mut rows = connection.prepare(
        "SELECT mark, emitter, stored FROM emitters, state UNION ALL SELECT mark, emitter, events FROM expired",
    )?;
    let expired = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let expired = expired.filter(|row| row.as_ref().is_ok_and(|(_, emitter, _)| living.contains(emitter)));
    let expired = expired.collect::<Result<_, _>>()?;
    let mut accounts = connection.prepare(&format!("SELECT {ACCOUNT_COLUMNS} FROM accounts"))?;
    let accounts = accounts.query_map((), read_account)?;
    let accounts = accounts.filter(|row| row.as_ref().is_ok_and(|account| living.contains(&(account.emitter as i64))));
    Ok(Legacy { expired, accounts: accounts.collect::<Result<_, _>>()? })
}

fn write_legacy(connection: &mut Connection, legacy: &Legacy) -> Result<(), rusqlite::Error> {
    let transaction: Transaction<'_> = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (mark, emitter, events) in &legacy.expired {
        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO expired VALUES (?1, ?2, ?3)")?;
        insert.execute(params![mark, emitter, events])?;
    }
    for account in &legacy.accounts {
        write_account(&transaction, account)?;
    }
    transaction.commit()
}
