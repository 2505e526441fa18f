//! What an error of SQLite means to whoever asked.

use std::{io, path::Path};

use rusqlite::ErrorCode;

use crate::store::{StoreError, StoreErrorKind};

/// Something that did not work, of a file.
#[derive(Debug)]
pub(super) enum Failure {
    /// Of the file that was asked or written.
    Here(rusqlite::Error),
    /// Said already, of something else or by other means.
    Said(StoreError),
}

impl Failure {
    /// Says what happened, where it was to this file.
    pub(super) fn explain(self, path: &Path) -> StoreError {
        match self {
            Self::Here(error) => explain(path, &error),
            Self::Said(error) => error,
        }
    }

    /// Whether the file itself is not what it should be, so that asking again cannot help.
    pub(super) fn is_damage(&self) -> bool {
        let code = match self {
            Self::Here(error) => error.sqlite_error_code(),
            Self::Said(_) => None,
        };
        matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// Whether a row holds what was never written there.
    pub(super) fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Here(error) if error.sqlite_error_code().is_none())
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Here(error)
    }
}

/// Says what happened to which file, and whether to try again.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let named = path.display();
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (StoreErrorKind::Unavailable, "is locked by another program")
        }
        Some(ErrorCode::DiskFull) => (StoreErrorKind::Unavailable, "has no room to grow"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (StoreErrorKind::Unusable, "is damaged"),
        Some(ErrorCode::SystemIoFailure) => (StoreErrorKind::Unavailable, "could not be read or written"),
        Some(ErrorCode::CannotOpen) => (StoreErrorKind::Unavailable, "could not be opened"),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (StoreErrorKind::Unusable, "may not be written (check its owner and permissions)")
        }
        Some(_) => (StoreErrorKind::Unavailable, "could not be used"),
        // A value in a row that is of no kind that was ever written there.
        None => (StoreErrorKind::Unusable, "has a damaged row"),
    };
    StoreError::new(kind, format!("`{named}` {what}: {error}"))
}

/// Says what happened to which file or folder.
pub(super) fn explain_io(path: &Path, what: &str, error: &io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, format!("`{}` {what}: {error}", path.display()))
}

/// Whether there may be no such file.
pub(super) fn is_absence(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
}

/// Whether one row cannot be kept, though the next may.
pub(super) fn is_of_one_row(error: &rusqlite::Error) -> bool {
    use ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(error.sqlite_error_code(), Some(TooBig | ConstraintViolation | TypeMismatch))
}
