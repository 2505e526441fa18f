//! Where live events go, and how: one address with its options.

use std::{fmt, path::PathBuf, time::Duration};

use url::Url;

/// For how long a server keeps events, unless told otherwise.
const DEFAULT_KEEP: Duration = Duration::from_secs(3_600);
/// Events that wait in this process at most.
const DEFAULT_QUEUE: usize = 8_192;
/// MiB of written events that wait in this process at most.
const DEFAULT_QUEUE_MIB: usize = 16;
/// Events that Redis keeps at most: about 1 GB at 1 kB each, whatever the rate is.
const DEFAULT_MAX_EVENTS: u64 = 1_000_000;
/// MiB that NATS keeps at most.
const DEFAULT_MAX_MIB: u64 = 512;

/// Options of every address.
const COMMON_OPTIONS: &[&str] = &["name", "keep", "queue", "queue_mib", "ca", "cert", "key"];

/// Where live events go, read from an address such as `redis://user:password@localhost:6379/0?keep=1h`.
///
/// | scheme | server |
/// |---|---|
/// | `redis`, `rediss` (TLS) | Redis or Valkey; the path is the number of the database |
/// | `nats`, `tls` | NATS; one name before the `@` is a token |
///
/// User and password are percent-encoded where they hold other characters than letters and digits.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `name` | begins every key, subject and stream name; `a-z 0-9 _ -`, at most 32 | `journey` |
/// | `keep` | for how long the server keeps an event, `1s` to `1d` | `1h` |
/// | `queue` | events that wait in this process at most, 1 to 1 000 000 | 8192 |
/// | `queue_mib` | MiB of events that wait in this process at most, 1 to 1024 | 16 |
/// | `max_events` | Redis: events kept at most, from 100 on | 1 000 000 |
/// | `max_mib` | NATS: MiB kept at most by a stream that is created here, from 1 on | 512 |
/// | `credentials` | NATS: a credentials file | |
/// | `ca` | TLS: PEM file of the certificate authorities | the system's |
/// | `cert`, `key` | TLS: PEM files of the client's own certificate and key | |
#[derive(Clone, PartialEq, Eq)]
pub struct LiveConfig {
    pub(crate) server: Server,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Number of the Redis database.
    pub(crate) database: i64,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) name: String,
    pub(crate) keep: Duration,
    pub(crate) max_events: u64,
    pub(crate) max_mib: u64,
    pub(crate) queue: usize,
    pub(crate) queue_bytes: usize,
}

/// Which kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Redis,
    Nats,
}

/// PEM files of a connection with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// An address that cannot be used: names what is wrong and a right example, and never a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl LiveConfig {
    /// Reads an address with its options. Nothing is opened or connected to yet.
    ///
    /// # Errors
    ///
    /// It is no address, its scheme, an option or a value is unknown, or this build has no support for the server.
    pub fn parse(address: &str) -> Result<Self, ConfigError> {
        let problem = |text: &str| ConfigError::of(address, text);
        let url = Url::parse(address.trim())
            .map_err(|error| problem(&format!("is no address: {error} (try `redis://localhost:6379`)")))?;
        let (server, default_port, is_tls) = match url.scheme() {
            "redis" => (Server::Redis, 6379, false),
            "rediss" => (Server::Redis, 6379, true),
            "nats" => (Server::Nats, 4222, false),
            "tls" => (Server::Nats, 4222, true),
            _ => {
                return Err(problem(
                    "has a scheme that is none of `redis`, `rediss`, `nats`, `tls` (try `nats://localhost:4222`)",
                ));
            }
        };
        server.check_built().map_err(|text| problem(&text))?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if address.contains('@') && !has_user {
            return Err(problem(
                "has an `@` but no user before it: percent-encode other characters than letters and digits in user and \
                 password (try `redis://user:p%40ss@localhost:6379`)",
            ));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| problem("names no host (try `redis://localhost:6379`)"))?;
        let mut config = Self {
            server,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(default_port),
            user: (!url.username().is_empty()).then(|| decoded(url.username())),
            password: url.password().map(decoded),
            database: server.database(url.path()).map_err(|text| problem(&text))?,
            tls: is_tls.then(TlsFiles::default),
            credentials: None,
            name: "journey".to_owned(),
            keep: DEFAULT_KEEP,
            max_events: DEFAULT_MAX_EVENTS,
            max_mib: DEFAULT_MAX_MIB,
            queue: DEFAULT_QUEUE,
            queue_bytes: DEFAULT_QUEUE_MIB << 20,
        };
        let mut seen = Vec::new();
        for (key, value) in url.query_pairs() {
            if seen.contains(&key) {
                return Err(problem(&format!("sets `{}` twice", shown(&key))));
            }
            config.set(&key, &value).map_err(|text| problem(&text))?;
            seen.push(key);
        }
        if url.fragment().is_some() {
            return Err(problem("has a `#` (try `%23` where it belongs to a password or a file name)"));
        }
        config.check_tls().map_err(|text| problem(&text))?;
        Ok(config)
    }

    /// The server's address without user, password and options, for people: `redis://localhost:6379/0`.
    pub fn place(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let (host, port) = (host, self.port);
        match (self.server, self.tls.is_some()) {
            (Server::Redis, false) => format!("redis://{host}:{port}/{}", self.database),
            (Server::Redis, true) => format!("rediss://{host}:{port}/{}", self.database),
            (Server::Nats, false) => format!("nats://{host}:{port}"),
            (Server::Nats, true) => format!("tls://{host}:{port}"),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let own = self.server.options();
        match key {
            "name" => self.name = name(value)?,
            "keep" => self.keep = keep(value)?,
            "queue" => self.queue = number(key, value, 1..=1_000_000, "8192")? as usize,
            "queue_mib" => self.queue_bytes = (number(key, value, 1..=1_024, "16")? as usize) << 20,
            "max_events" if own.contains(&key) => self.max_events = number(key, value, 100..=u64::MAX >> 1, "1000000")?,
            "max_mib" if own.contains(&key) => self.max_mib = number(key, value, 1..=1 << 30, "512")?,
            "credentials" if own.contains(&key) => self.credentials = Some(value.into()),
            "ca" | "cert" | "key" => {
                let example = self.server.tls_example();
                let tls =
                    self.tls.as_mut().ok_or_else(|| format!("sets `{key}`, which needs TLS (try `{example}`)"))?;
                let file = match key {
                    "ca" => &mut tls.authorities,
                    "cert" => &mut tls.certificate,
                    _ => &mut tls.key,
                };
                *file = Some(value.into());
            }
            unknown => {
                let known: Vec<_> = COMMON_OPTIONS.iter().chain(own).map(|option| format!("`{option}`")).collect();
                let known = known.join(", ");
                return Err(format!("has the option `{}`, which is none of {known} (try `?keep=1h`)", shown(unknown)));
            }
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), String> {
        match self.tls.as_ref().map(|tls| (tls.certificate.is_some(), tls.key.is_some())) {
            Some((true, false)) => Err("sets `cert`, which needs `key` as well (try `&key=client.key`)".to_owned()),
            Some((false, true)) => Err("sets `key`, which needs `cert` as well (try `&cert=client.pem`)".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Server {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["max_events"],
            Self::Nats => &["max_mib", "credentials"],
        }
    }

    fn tls_example(self) -> &'static str {
        match self {
            Self::Redis => "rediss://localhost:6379?ca=ca.pem",
            Self::Nats => "tls://localhost:4222?ca=ca.pem",
        }
    }

    fn check_built(self) -> Result<(), String> {
        let (is_built, feature) = match self {
            Self::Redis => (cfg!(feature = "redis"), "redis"),
            Self::Nats => (cfg!(feature = "nats"), "nats"),
        };
        let problem = || format!("needs the feature `{feature}` of journey-bus, which this program was built without");
        is_built.then_some(()).ok_or_else(problem)
    }

    fn database(self, path: &str) -> Result<i64, String> {
        let number = path.trim_start_matches('/');
        match self {
            _ if number.is_empty() => Ok(0),
            Self::Redis => {
                let read = number.parse().ok().filter(|number| (0..=65_535).contains(number));
                read.ok_or_else(|| {
                    "has a path that is no number of a database (try `redis://localhost:6379/0`)".to_owned()
                })
            }
            Self::Nats => Err("has a path, which NATS does not know (try `nats://localhost:4222`)".to_owned()),
        }
    }
}

impl ConfigError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn of(address: &str, problem: &str) -> Self {
        Self(format!("the live address `{}` {problem}", without_secrets(address)))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LiveConfig");
        shown.field("place", &self.place()).field("name", &self.name).field("keep", &self.keep);
        shown.finish_non_exhaustive()
    }
}

/// An address as it may be shown: nothing of what stands before the last `@`, however badly it is written.
fn without_secrets(address: &str) -> String {
    let shown = match address.rfind('@') {
        None => address.to_owned(),
        Some(at) => match address.find("://").filter(|scheme| *scheme < at && *scheme < 10) {
            Some(scheme) => format!("{}://***{}", &address[..scheme], &address[at..]),
            None => format!("***{}", &address[at..]),
        },
    };
    shown.chars().take(120).collect::<String>().escape_debug().to_string()
}

/// A word of an address as it may stand in an error.
fn shown(word: &str) -> String {
    word.chars().take(40).collect::<String>().escape_debug().to_string()
}

fn decoded(text: &str) -> String {
    // The decoder of queries, without what `+` and `&` mean there.
    let text = text.replace('+', "%2B").replace('&', "%26");
    url::form_urlencoded::parse(format!("={text}").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn name(value: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if value.is_empty() || value.len() > 32 || !value.bytes().all(allowed) {
        return Err(format!(
            "sets `name` to `{}`, which is not 1 to 32 of `a-z 0-9 _ -` (try `journey`)",
            shown(value)
        ));
    }
    Ok(value.to_owned())
}

fn keep(value: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let read = journey_core::parse_duration(value).map_err(|error| format!("sets `keep`: {error}"))?;
    if bounds.contains(&read) {
        Ok(read)
    } else {
        Err(format!("sets `keep` to `{}`, which is not from `1s` to `1d` (try `1h`)", shown(value)))
    }
}

fn number(key: &str, value: &str, bounds: std::ops::RangeInclusive<u64>, example: &str) -> Result<u64, String> {
    value.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
        let (from, to) = (bounds.start(), bounds.end());
        format!("sets `{key}` to `{}`, which is not a number from {from} to {to} (try `{example}`)", shown(value))
    })
}

#[cfg(all(test, feature = "redis", feature = "nats"))]
#[expect(clippy::unwrap_used, reason = "helpers of tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(address: &str) -> String {
        LiveConfig::parse(address).unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_read_with_its_options() {
        let config =
            LiveConfig::parse("rediss://us%40er:p%3Ass+@[::1]/3?keep=90s&queue=7&name=team-a&ca=ca.pem").unwrap();
        assert_eq!(config.place(), "rediss://[::1]:6379/3");
        assert_eq!((config.user.as_deref(), config.password.as_deref()), (Some("us@er"), Some("p:ss+")));
        assert_eq!((config.host.as_str(), config.keep.as_secs(), config.queue), ("::1", 90, 7));
        assert_eq!(
            (config.name.as_str(), config.tls.unwrap().authorities.unwrap().to_str()),
            ("team-a", Some("ca.pem"))
        );
        let config = LiveConfig::parse("nats://token@example.org:4223?max_mib=9&credentials=a.creds").unwrap();
        assert_eq!((config.place().as_str(), config.max_mib), ("nats://example.org:4223", 9));
        assert_eq!((config.user.as_deref(), config.password), (Some("token"), None));
    }

    #[test]
    fn a_wrong_address_is_named_with_a_right_example() {
        let starts = "the live address `";
        for (address, says) in [
            ("", "is no address: relative URL without a base (try `redis://localhost:6379`)"),
            ("localhost:6379", "has a scheme that is none of `redis`, `rediss`, `nats`, `tls`"),
            ("http://localhost", "has a scheme that is none of"),
            ("redis://", "names no host"),
            ("redis://localhost:99999", "is no address: invalid port number"),
            ("redis://localhost/db", "has a path that is no number of a database"),
            ("nats://localhost/0", "has a path, which NATS does not know"),
            ("redis://localhost?ttl=1h", "has the option `ttl`, which is none of `name`, `keep`"),
            ("redis://localhost?max_mib=1", "has the option `max_mib`, which is none of"),
            ("nats://localhost?max_events=1000", "has the option `max_events`, which is none of"),
            ("redis://localhost?keep=soon", "sets `keep`: `soon` is not a duration"),
            ("redis://localhost?keep=2d", "sets `keep` to `2d`, which is not from `1s` to `1d`"),
            ("redis://localhost?queue=0", "sets `queue` to `0`, which is not a number from 1 to 1000000 (try `8192`)"),
            ("redis://localhost?name=a.>", "sets `name` to `a.>`, which is not"),
            ("redis://localhost?keep=1h&keep=2h", "sets `keep` twice"),
            ("redis://localhost?ca=ca.pem", "sets `ca`, which needs TLS (try `rediss://localhost:6379?ca=ca.pem`)"),
            ("tls://localhost?cert=a.pem", "sets `cert`, which needs `key` as well"),
            ("redis://localhost#x", "has a `#`"),
        ] {
            let text = problem(address);
            assert!(text.starts_with(starts) && text.contains(says), "{address}: {text}");
        }
    }

    proptest! {
        #[test]
        fn a_password_is_never_shown(before in "[a-z:/?#&=%\\[ ]{0,6}", after in "[a-z/?#&=:@ ]{0,6}") {
            for scheme in ["redis", "nats", "wrong", "rediss"] {
                let address = format!("{scheme}://user:{before}SECRET{after}@localhost:1?keep=1h");
                let said = match LiveConfig::parse(&address) {
                    Ok(config) => format!("{config:?} {}", config.place()),
                    Err(error) => format!("{error} {error:?}"),
                };
                prop_assert!(!said.contains("SECRET"), "{}", said);
            }
        }
    }
}
