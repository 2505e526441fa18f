//! Which database, and how it is used?

use std::{fmt, path::PathBuf, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use crate::{
    admit::DEFAULT_RETENTION,
    store::{StoreError, StoreErrorKind},
};

/// The most connections that a store opens.
pub const MAX_CONNECTIONS: usize = 100;

/// The longest of the three time limits.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// What an acknowledged batch survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostgresDurability {
    /// A crash of this program, and an orderly stop of the server. Where the server crashes or its machine loses power,
    /// the batches of the last second may be gone; nothing is damaged. `synchronous_commit = off`.
    Normal,
    /// Also a crash of the server, and a loss of power where its disk keeps what it says it keeps.
    /// `synchronous_commit = on`. The default: a batch of 1 000 rows pays for one flush.
    #[default]
    PowerLoss,
}

/// Which database, and how it is used.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgresql://user:password@host:port/database` or `host=... user=...`; a folder as host means a unix socket.
    /// With `sslmode=require` the connection is encrypted and the server's certificate and name are verified; without,
    /// it is plain.
    pub url: String,
    /// The schema that holds the tables; made where it is missing. Up to 40 of `a-z 0-9 _`. Defaults to `journey`.
    pub schema: String,
    /// How long events are kept. Defaults to 90 days.
    pub retention: Duration,
    /// What an acknowledged batch survives. Defaults to [`PostgresDurability::PowerLoss`].
    pub durability: PostgresDurability,
    /// The most connections, from 1 to [`MAX_CONNECTIONS`]. Defaults to 4.
    pub connections: usize,
    /// How long connecting may take. Defaults to 5 s.
    pub connect_timeout: Duration,
    /// How long one statement may take; a whole answer takes at most four times that, and the time to connect.
    /// Defaults to 10 s.
    pub statement_timeout: Duration,
    /// How long migration, statistics, accounts and expiry may take. Defaults to 5 minutes.
    pub maintenance_timeout: Duration,
    /// Certificate authorities (PEM) for `sslmode=require`, instead of those of the system.
    pub root_certificates: Option<PathBuf>,
    /// Only to be read: nothing is made, changed or brought to another version, and a role that may do nothing else is
    /// enough. A schema that is not there, or of an older version, is then an error. Defaults to `false`.
    pub read_only: bool,
}

impl PostgresConfig {
    /// Everything at its default.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            schema: "journey".to_owned(),
            retention: Duration::from_nanos(DEFAULT_RETENTION.unsigned_abs()),
            durability: PostgresDurability::default(),
            connections: 4,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            maintenance_timeout: Duration::from_secs(300),
            root_certificates: None,
            read_only: false,
        }
    }

    /// What the client needs, checked. Never names the URL: it holds the password.
    pub(super) fn resolve(&self) -> Result<Config, StoreError> {
        self.check()?;
        let example = "try `postgresql://journey:PASSWORD@localhost:5432/journey`";
        let mut client: Config =
            self.url.parse().map_err(|_| unusable(format!("the database URL cannot be read ({example})")))?;
        if client.get_hosts().is_empty() && client.get_hostaddrs().is_empty() {
            return Err(unusable(format!("the database URL names no host ({example})")));
        }
        // Where a password holds an `@`, its end is read as the host, and would be shown.
        if client.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            let message = "the host in the database URL has an `@` (write an `@` of the password as `%40`)";
            return Err(unusable(message.to_owned()));
        }
        if client.get_application_name().is_none() {
            client.application_name("journey");
        }
        let options = [client.get_options().unwrap_or_default(), &self.session_options()].join(" ");
        client
            .options(options.trim())
            .connect_timeout(self.connect_timeout)
            .tcp_user_timeout(self.statement_timeout * 4);
        Ok(client)
    }

    /// Settings that every connection starts with: no statement of ours has to set or to know them.
    fn session_options(&self) -> String {
        let synchronous_commit = match self.durability {
            PostgresDurability::Normal => "off",
            PostgresDurability::PowerLoss => "on",
        };
        let timeout = self.statement_timeout.as_millis();
        let settings = [
            format!("search_path={}", self.schema),
            format!("synchronous_commit={synchronous_commit}"),
            format!("statement_timeout={timeout}"),
            format!("lock_timeout={timeout}"),
            // Longer than whoever waits for the answer does: a session that was left alone must not keep its locks.
            format!("idle_in_transaction_session_timeout={}", timeout * 4),
            r"default_transaction_isolation=read\ committed".to_owned(),
            format!("default_transaction_read_only={}", if self.read_only { "on" } else { "off" }),
            "client_min_messages=warning".to_owned(),
            "TimeZone=UTC".to_owned(),
            // Compiling a plan over ninety partitions takes longer than any of our answers.
            "jit=off".to_owned(),
        ];
        settings.map(|setting| format!("-c {setting}")).join(" ")
    }

    fn check(&self) -> Result<(), StoreError> {
        let schema = &self.schema;
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let begins_well = schema.starts_with(|c: char| c.is_ascii_lowercase()) && !schema.starts_with("pg_");
        if !begins_well || schema.len() > 40 || !schema.chars().all(allowed) {
            let shown: String = schema.chars().take(64).collect();
            let message = format!("`{}` is not a schema for the store (try `journey`)", shown.escape_debug());
            return Err(unusable(message));
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            let message =
                format!("`{}` is not a number of connections from 1 to {MAX_CONNECTIONS} (try `4`)", self.connections);
            return Err(unusable(message));
        }
        let limits = [
            ("connect_timeout", self.connect_timeout, "5s"),
            ("statement_timeout", self.statement_timeout, "10s"),
            ("maintenance_timeout", self.maintenance_timeout, "5m"),
        ];
        for (name, limit, example) in limits {
            if limit < Duration::from_millis(10) || limit > MAX_TIMEOUT {
                let message = format!("`{limit:?}` is not a {name} from 10 ms to one day (try `{example}`)");
                return Err(unusable(message));
            }
        }
        if self.retention < Duration::from_secs(3_600) || i64::try_from(self.retention.as_nanos()).is_err() {
            let message = format!("`{:?}` is not a retention of an hour or more (try 90 days)", self.retention);
            return Err(unusable(message));
        }
        Ok(())
    }

    /// Nanoseconds.
    pub(super) fn retention_nanos(&self) -> i64 {
        i64::try_from(self.retention.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// Where the database is, for people: hosts, ports, database and schema, never user or password.
pub(super) fn place(client: &Config, schema: &str) -> String {
    let ports = client.get_ports();
    let port = |index: usize| *ports.get(index).or(ports.first()).unwrap_or(&5432);
    let hosts: Vec<String> = match client.get_hosts() {
        [] => client.get_hostaddrs().iter().enumerate().map(|(n, addr)| format!("{addr}:{}", port(n))).collect(),
        hosts => hosts.iter().enumerate().map(|(n, host)| format!("{}:{}", host_name(host), port(n))).collect(),
    };
    let database = client.get_dbname().or(client.get_user()).unwrap_or_default();
    format!("{}/{database} schema {schema}", hosts.join(","))
}

/// Whether the URL asks for an encrypted connection.
pub(super) fn wants_tls(client: &Config) -> bool {
    client.get_ssl_mode() == SslMode::Require
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(folder) => folder.display().to_string(),
    }
}

fn unusable(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unusable, message)
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the rest of the URL: where it cannot be read, nobody knows which part of it is the password.
        f.debug_struct("PostgresConfig")
            .field("schema", &self.schema)
            .field("retention", &self.retention)
            .field("durability", &self.durability)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("maintenance_timeout", &self.maintenance_timeout)
            .field("root_certificates", &self.root_certificates)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_a_debug_form_hold_no_secret() {
        let config = PostgresConfig::new("postgresql://journey:s3cret@db-1:5433,db-2/events?sslmode=require");
        let client = config.resolve().unwrap();
        assert_eq!(place(&client, "journey"), "db-1:5433,db-2:5432/events schema journey");
        assert!(wants_tls(&client));
        assert!(!format!("{config:?}").contains("s3cret"));

        let config = PostgresConfig::new("host=/run/postgresql user=journey password='s3 cret'");
        let client = config.resolve().unwrap();
        assert_eq!(place(&client, "journey"), "/run/postgresql:5432/journey schema journey");
        assert!(!wants_tls(&client));
    }

    #[test]
    fn what_is_no_configuration_is_named_without_the_url() {
        let urls =
            ["", "postgresql://", "s3cret", "host=a password=s3 cret", "postgresql://j:s3@cret@host/x", "user=s3cret"];
        for url in urls {
            let error = PostgresConfig::new(url).resolve().unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Unusable);
            assert!(!error.message.contains("cret"), "{}", error.message);
        }
        let with = |change: fn(&mut PostgresConfig)| {
            let mut config = PostgresConfig::new("host=localhost");
            change(&mut config);
            config.resolve().unwrap_err().message
        };
        assert_eq!(
            with(|config| config.schema = "x; --".to_owned()),
            "`x; --` is not a schema for the store (try `journey`)"
        );
        assert!(with(|config| config.schema = "pg_x".to_owned()).contains("`pg_x`"));
        assert!(with(|config| config.connections = 0).starts_with("`0` is not a number of connections from 1 to 100"));
        assert!(with(|config| config.statement_timeout = Duration::ZERO).contains("statement_timeout"));
        assert!(with(|config| config.retention = Duration::ZERO).contains("retention"));
    }
}
