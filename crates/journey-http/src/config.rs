//! Where the endpoint listens, who may ask, and how much.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Settings of the debug endpoint.
///
/// ```
/// use journey_http::HttpConfig;
/// let config = HttpConfig { addr: "127.0.0.1:0".parse().unwrap(), ..HttpConfig::default() };
/// assert!(config.check().is_ok());
/// let open = HttpConfig { addr: "0.0.0.0:7117".parse().unwrap(), ..HttpConfig::default() };
/// assert!(open.check().unwrap_err().to_string().contains("JOURNEY_HTTP_TOKEN_FILE"));
/// ```
#[derive(Clone)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes any free port. Default `127.0.0.1:7117`.
    pub addr: SocketAddr,
    /// The bearer token that requests must carry. Default none: whoever reaches the address may ask.
    pub token: Option<String>,
    /// Allows an address that other machines can reach without a token. Default `false`.
    pub insecure: bool,
    /// Host names under which requests may come besides `localhost`, `127.0.0.1` and `[::1]`, without port.
    ///
    /// A kubelet sends the pod's address as `Host`: name it here, or set `httpHeaders` in the probe.
    pub allowed_hosts: Vec<String>,
    /// Requests per minute for one client address, and for one token. Default 6000.
    pub requests_per_minute: u32,
    /// Connections at once; further ones are answered 503. Default 512.
    pub max_connections: usize,
    /// Event streams at once; further ones are answered 503. Default 128.
    pub max_streams: usize,
    /// How long a client may take to send the head of a request, and how long a connection may be idle. Default 10 s.
    pub header_timeout: Duration,
    /// How long a client may refuse to read what was sent before its connection is closed. Default 10 s.
    pub write_timeout: Duration,
    /// How often an event stream says that it is alive. Default 15 s.
    pub heartbeat: Duration,
    /// The store of events to answer from. Default none: answers about stored events are 501.
    #[cfg(feature = "store")]
    pub store: Option<crate::StoredEvents>,
}

/// Why the endpoint did not start. The text says what to change.
#[derive(Debug)]
pub struct HttpError(Kind);

#[derive(Debug)]
enum Kind {
    NoToken(SocketAddr),
    BadToken(&'static str),
    BadHost(String),
    Zero(&'static str),
    Bind(SocketAddr, io::Error),
    Thread(io::Error),
}

impl HttpConfig {
    /// The address where the endpoint listens unless told otherwise.
    pub const DEFAULT_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7117);

    /// Checks what can be checked without opening a socket.
    ///
    /// # Errors
    ///
    /// An address that other machines can reach without a token, a token that no header can carry, a host that is none,
    /// or a limit of 0.
    pub fn check(&self) -> Result<(), HttpError> {
        match &self.token {
            None if !is_loopback(self.addr.ip()) && !self.insecure => return Err(Kind::NoToken(self.addr).into()),
            Some(token) if token.is_empty() => return Err(Kind::BadToken("is empty").into()),
            Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(Kind::BadToken("has characters that no header can carry").into());
            }
            _ => {}
        }
        if let Some(host) = self.allowed_hosts.iter().find(|host| crate::security::host_name(host).is_none()) {
            return Err(Kind::BadHost(host.clone()).into());
        }
        let limits = [
            ("requests_per_minute", self.requests_per_minute == 0),
            ("max_connections", self.max_connections == 0),
            ("max_streams", self.max_streams == 0),
            ("header_timeout", self.header_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            ("heartbeat", self.heartbeat.is_zero()),
        ];
        match limits.into_iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(Kind::Zero(name).into()),
            None => Ok(()),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            addr: Self::DEFAULT_ADDR,
            token: None,
            insecure: false,
            allowed_hosts: Vec::new(),
            requests_per_minute: 6_000,
            max_connections: 512,
            max_streams: 128,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            #[cfg(feature = "store")]
            store: None,
        }
    }
}

impl fmt::Debug for HttpConfig {
    /// Shows everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpConfig");
        debug
            .field("addr", &self.addr)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("insecure", &self.insecure)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("requests_per_minute", &self.requests_per_minute)
            .field("max_connections", &self.max_connections)
            .field("max_streams", &self.max_streams)
            .field("header_timeout", &self.header_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("heartbeat", &self.heartbeat);
        #[cfg(feature = "store")]
        debug.field("store", &self.store);
        debug.finish()
    }
}

impl HttpError {
    pub(crate) fn bind(addr: SocketAddr, error: io::Error) -> Self {
        Self(Kind::Bind(addr, error))
    }

    pub(crate) fn thread(error: io::Error) -> Self {
        Self(Kind::Thread(error))
    }

    /// Whether another program has the address already.
    pub fn is_address_in_use(&self) -> bool {
        matches!(&self.0, Kind::Bind(_, error) if error.kind() == io::ErrorKind::AddrInUse)
    }
}

/// Times longer than this are this: a clock cannot add up everything that a `Duration` can say.
pub(crate) fn bounded(duration: Duration) -> Duration {
    duration.min(Duration::from_secs(365 * 24 * 3_600))
}

impl From<Kind> for HttpError {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::NoToken(addr) => write!(
                f,
                "the debug endpoint would listen on {addr}, where other machines reach it without a token (set \
                 `JOURNEY_HTTP_TOKEN_FILE`, listen on `127.0.0.1:{}`, or say `JOURNEY_HTTP_INSECURE=on`)",
                addr.port()
            ),
            Kind::BadToken(problem) => {
                write!(f, "the token of the debug endpoint {problem} (a right one: what `openssl rand -hex 32` prints)")
            }
            Kind::BadHost(host) => {
                let host: String = host.chars().take(64).collect();
                write!(f, "the allowed host `{}` is not a host name (try `journey.internal`)", host.escape_debug())
            }
            Kind::Zero(name) => write!(f, "the limit `{name}` of the debug endpoint is 0, it has to be more"),
            Kind::Bind(addr, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "the debug endpoint cannot listen on {addr}: another program does (set `JOURNEY_HTTP_ADDR=127.0.0.1:0` to \
                 take any free port)"
            ),
            Kind::Bind(addr, _) => write!(
                f,
                "the debug endpoint cannot listen on {addr} (set `JOURNEY_HTTP_ADDR` to an address of this machine, such as \
                 `127.0.0.1:7117`)"
            ),
            Kind::Thread(_) => write!(f, "the thread of the debug endpoint could not be started"),
        }
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Bind(_, error) | Kind::Thread(error) => Some(error),
            _ => None,
        }
    }
}

/// Whether only this machine reaches an address, also in the form of an IPv4 address inside IPv6.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(config: HttpConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token_or_an_explicit_word() {
        for addr in ["0.0.0.0:7117", "[::]:7117", "10.0.0.5:7117", "[::ffff:10.0.0.5]:7117"] {
            let config = HttpConfig { addr: addr.parse().unwrap(), ..HttpConfig::default() };
            let text = error(config.clone());
            assert!(text.contains(addr) && text.contains("JOURNEY_HTTP_TOKEN_FILE"), "{text}");
            assert!(HttpConfig { token: Some("secret".into()), ..config.clone() }.check().is_ok());
            assert!(HttpConfig { insecure: true, ..config }.check().is_ok());
        }
        for addr in ["127.0.0.1:0", "127.8.9.1:1", "[::1]:7117", "[::ffff:127.0.0.1]:7117"] {
            assert!(HttpConfig { addr: addr.parse().unwrap(), ..HttpConfig::default() }.check().is_ok(), "{addr}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        assert!(error(HttpConfig { token: Some(String::new()), ..HttpConfig::default() }).contains("is empty"));
        assert!(
            error(HttpConfig { token: Some("a b\n".into()), ..HttpConfig::default() }).contains("no header can carry")
        );
        assert!(
            error(HttpConfig { allowed_hosts: vec!["http://x/".into()], ..HttpConfig::default() })
                .contains("`http://x/`")
        );
        assert!(error(HttpConfig { max_streams: 0, ..HttpConfig::default() }).contains("`max_streams`"));
    }

    #[test]
    fn a_token_is_never_printed() {
        let config = HttpConfig { token: Some("hunter2hunter2".into()), ..HttpConfig::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
        let bad = HttpConfig { token: Some("hunter2 hunter2".into()), ..config };
        assert!(!error(bad).contains("hunter2"));
    }
}
