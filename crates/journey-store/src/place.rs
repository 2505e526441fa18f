//! Where is the store, in one word that a setting or an option can hold?

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use crate::store::{EventStore, StoreError};

/// Where events are kept: a folder of SQLite files, or a PostgreSQL database.
///
/// ```
/// use journey_store::StorePlace;
///
/// assert_eq!("journey-events".parse::<StorePlace>()?.to_string(), "journey-events");
/// let database = "postgresql://journey:secret@db:5432/journey".parse::<StorePlace>()?;
/// assert_eq!(database.to_string(), "postgresql://db:5432/journey"); // never the password
/// # Ok::<(), journey_store::InvalidPlace>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorePlace {
    /// This folder.
    Sqlite(PathBuf),
    /// The database of this URL, which may hold a password.
    Postgres(String),
}

/// How a store is kept, as far as it is not by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Events that are older than this are refused, and dropped in time; 90 days if not given.
    pub retention: Option<Duration>,
    /// Whether what was stored survives a loss of power; if not given, not in SQLite, and in PostgreSQL.
    pub power_loss: Option<bool>,
}

/// Why a text names no place; it never holds the text where that may have a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPlace(String);

impl StorePlace {
    /// Opens it for one process to write and for reading.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`](crate::SqliteStore::open) and `PostgresStore::open`; and `Unusable` where this program was
    /// built without that kind of store.
    pub fn open(&self, options: &StoreOptions) -> Result<Arc<dyn EventStore>, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(folder) => {
                let mut config = crate::SqliteConfig::new(folder);
                config.retention = options.retention.unwrap_or(config.retention);
                config.durability = match options.power_loss {
                    Some(true) => crate::Durability::PowerLoss,
                    Some(false) => crate::Durability::Normal,
                    None => config.durability,
                };
                Ok(Arc::new(crate::SqliteStore::open(config)?))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let mut config = crate::PostgresConfig::new(url);
                config.retention = options.retention.unwrap_or(config.retention);
                config.durability = match options.power_loss {
                    Some(true) => crate::PostgresDurability::PowerLoss,
                    Some(false) => crate::PostgresDurability::Normal,
                    None => config.durability,
                };
                Ok(Arc::new(crate::PostgresStore::open(&config)?))
            }
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            _ => Err(self.left_out(options)),
        }
    }

    /// Opens it for reading only, whether somebody writes there or not.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and `Unusable` where there is no such folder. Nothing is made or changed; a database is
    /// connected to when the first question is asked, and answers `Unusable` where it holds no events of this version.
    pub fn open_to_read(&self) -> Result<Arc<dyn EventStore>, StoreError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(folder) => Ok(Arc::new(crate::SqliteStore::open_read_only(folder)?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let config = crate::PostgresConfig { read_only: true, ..crate::PostgresConfig::new(url) };
                Ok(Arc::new(crate::PostgresStore::open(&config)?))
            }
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            _ => self.open(&StoreOptions::default()),
        }
    }

    #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
    fn left_out(&self, _options: &StoreOptions) -> StoreError {
        let feature = match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        };
        let message = format!("`{self}` cannot be opened: this program was built without the feature `{feature}`");
        StoreError::new(crate::store::StoreErrorKind::Unusable, message)
    }
}

impl FromStr for StorePlace {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        const EXAMPLE: &str =
            "try a folder such as `journey-events`, or `postgresql://user:password@host:5432/database`";
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidPlace(format!("the place of the store is empty ({EXAMPLE})")));
        }
        match text.split_once("://") {
            Some(("postgresql" | "postgres", _)) => Ok(Self::Postgres(text.to_owned())),
            // What follows may be a password.
            Some((scheme, _)) => {
                let scheme: String = scheme.chars().take(32).collect();
                Err(InvalidPlace(format!("there is no store of the kind `{}` ({EXAMPLE})", scheme.escape_debug())))
            }
            None => Ok(Self::Sqlite(PathBuf::from(text.strip_prefix("sqlite:").unwrap_or(text)))),
        }
    }
}

/// The place without user and password.
impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(folder) => write!(f, "{}", folder.display()),
            Self::Postgres(url) => {
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                // Options may hold a password too.
                let rest = rest.split('?').next().unwrap_or_default();
                write!(f, "postgresql://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
            }
        }
    }
}

impl fmt::Debug for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePlace({self})")
    }
}

impl fmt::Display for InvalidPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidPlace {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_database_and_never_shows_a_password() {
        let place = |text: &str| text.parse::<StorePlace>();
        assert_eq!(place("a/b"), Ok(StorePlace::Sqlite("a/b".into())));
        assert_eq!(place("sqlite:a/b"), Ok(StorePlace::Sqlite("a/b".into())));
        let database = place("postgres://u:p@ss@h/d?password=word").unwrap();
        assert_eq!(format!("{database} {database:?}"), "postgresql://h/d StorePlace(postgresql://h/d)");
        assert_eq!(place("postgresql://h/d").unwrap().to_string(), "postgresql://h/d");
        let error = place("mysql://root:secret@h/d").unwrap_err().to_string();
        assert!(error.contains("`mysql`") && !error.contains("secret"), "{error}");
        assert!(place(" ").unwrap_err().to_string().contains("journey-events"));
    }
}
