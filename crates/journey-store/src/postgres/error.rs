//! What does an error of the database mean for whoever asked?

use std::error::Error as _;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;

use crate::store::{StoreError, StoreErrorKind};

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database refuses a row for what it is: others may be stored.
    Row(String),
    /// Everything else.
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let refuses_row = error.code().is_some_and(|code| is_about_the_row(code.code()));
        if refuses_row { Self::Row(message(&error)) } else { Self::Store(store_error(&error)) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Row(reason) => StoreError::new(StoreErrorKind::Unusable, reason),
            Failure::Store(error) => error,
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        store_error(&error)
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => store_error(&error),
            PoolError::Timeout(_) => unavailable("PostgreSQL: no connection in time"),
            other => unavailable(format!("PostgreSQL: {other}")),
        }
    }
}

pub(super) fn unavailable(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, message)
}

pub(super) fn unusable(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Unusable, message)
}

fn store_error(error: &Error) -> StoreError {
    let kind = match error.code() {
        Some(code) if !passes(code.code()) => StoreErrorKind::Unusable,
        Some(_) => StoreErrorKind::Unavailable,
        None if is_for_good(error) => StoreErrorKind::Unusable,
        None => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, message(error))
}

/// What the server says of itself or of us that waiting does not change: SQLSTATE classes and codes.
fn passes(code: &str) -> bool {
    const CLASSES: [&str; 5] = [
        "08", // connection lost
        "40", // deadlock, serialization
        "53", // disk or memory full, too many connections
        "55", // a lock was not had in time
        "58", // an input or output error of the server
    ];
    const CODES: [&str; 6] = [
        "57014", // the statement took too long
        "57P01", // the server is stopped
        "57P02", // it crashed
        "57P03", // it starts
        "25006", // it is a replica until it takes over
        "0A000", // a table has changed since the statement was prepared: a new connection helps
    ];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

/// Bad values (22), broken constraints (23), and what is larger than the server can take (54).
fn is_about_the_row(code: &str) -> bool {
    ["22", "23", "54"].iter().any(|class| code.starts_with(class))
}

/// Errors of the client itself: those that are no matter of the network.
fn is_for_good(error: &Error) -> bool {
    const KINDS: [&str; 4] = [
        "error performing TLS handshake",
        "authentication error",
        "invalid configuration",
        "invalid connection string",
    ];
    let said = error.to_string();
    // A handshake that the network broke is none of those.
    let is_network = error.source().is_some_and(|source| {
        let kind = source.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        kind.is_some_and(|kind| kind != std::io::ErrorKind::InvalidData && kind != std::io::ErrorKind::InvalidInput)
    });
    KINDS.iter().any(|kind| said.starts_with(kind)) && !is_network
}

/// The server's own words and code; the detail is left out, since it may quote values of the row.
fn message(error: &Error) -> String {
    if let Some(server) = error.as_db_error() {
        return format!("PostgreSQL: {} ({})", server.message(), server.code().code());
    }
    match error.source() {
        Some(source) => format!("PostgreSQL: {error}: {source}"),
        None => format!("PostgreSQL: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_manual_says() {
        for code in ["08006", "57P01", "57P03", "57014", "40P01", "40001", "53100", "53300", "55P03", "58030", "25006"]
        {
            assert!(passes(code) && !is_about_the_row(code), "{code}");
        }
        for code in ["22021", "22P05", "23514", "23502", "54000"] {
            assert!(is_about_the_row(code) && !passes(code), "{code}");
        }
        for code in ["28P01", "3D000", "42501", "42P01", "XX001"] {
            assert!(!is_about_the_row(code) && !passes(code), "{code}");
        }
    }
}
