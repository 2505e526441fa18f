//! The debug endpoint as the commands see it: one GET at a time, and errors that say what to do.

use std::{
    io::{self, BufRead, BufReader, Read},
    time::Duration,
};

use serde::de::DeserializeOwned;
use ureq::http::{Response, Uri};

use crate::{
    error::{CliError, Exit},
    look::Look,
    text::clean,
};

/// Where a service listens that was not told otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:7117";
/// Holds the address of the endpoint.
pub(crate) const URL_VARIABLE: &str = "JOURNEY_URL";
/// Names a file that holds the bearer token.
pub(crate) const TOKEN_FILE_VARIABLE: &str = "JOURNEY_TOKEN_FILE";
/// Holds the bearer token itself.
pub(crate) const TOKEN_VARIABLE: &str = "JOURNEY_TOKEN";

/// What to do where an endpoint knows only what is in memory.
const NO_STORE: &str = "give the service a store of events, or ask one yourself: --store PLACE, such as journey-events";

/// Longer than any handshake on a network on which one debugs.
const CONNECT: Duration = Duration::from_secs(3);
/// A summary takes milliseconds; what takes longer than this is broken.
const ANSWER: Duration = Duration::from_secs(10);
/// The server sends a heartbeat every 15 s: three missing ones mean that nobody is there.
const SILENCE: Duration = Duration::from_secs(45);
/// The largest answer that is read.
const MAX_BODY: u64 = 64 << 20;
/// The largest token file that is read; a token has a few dozen bytes.
const MAX_TOKEN: u64 = 4096;

/// A client of one endpoint. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Client {
    /// Without a slash at its end.
    base: String,
    /// `host:port`, for messages.
    authority: String,
    token: Option<String>,
    agent: ureq::Agent,
}

/// An open stream of events.
pub(crate) type Stream = BufReader<Box<dyn Read + Send>>;

impl Client {
    /// Takes the address and the token from the environment. The token never comes from the command line, which
    /// everybody on the machine can read.
    ///
    /// # Errors
    ///
    /// The address or the token is not one, or the token's file cannot be read.
    pub(crate) fn resolve(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, CliError> {
        let (base, authority) = parse_url(url)?;
        let token = token(env)?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A token must not follow a redirect, nor pass a proxy meant for the web.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("journey/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .build()
            .new_agent();
        Ok(Self { base, authority, token, agent })
    }

    /// The address, for people.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for a document and gives its text.
    ///
    /// # Errors
    ///
    /// Nobody answers, the server refuses, the thing is not there, or the answer is too large.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, CliError> {
        let response = self.ask(path, query, "application/json", None)?;
        self.read(response)
    }

    /// Asks for a document and reads it; `key` tells ours from any other JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::get`], or the answer is not the document.
    pub(crate) fn fetch<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        key: &str,
    ) -> Result<T, CliError> {
        self.parse(&self.get(path, query)?, key)
    }

    /// Reads a document that was got from here.
    ///
    /// # Errors
    ///
    /// It is not the document.
    pub(crate) fn parse<T: DeserializeOwned>(&self, body: &str, key: &str) -> Result<T, CliError> {
        read_document(body, key).map_err(|why| self.not_ours(&why))
    }

    /// Opens the stream of events. `None` where the server has nothing more to say.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub(crate) fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
        last_event_id: Option<&str>,
    ) -> Result<Option<Stream>, CliError> {
        let response = self.ask(path, query, "text/event-stream", last_event_id)?;
        if response.status() == 204 {
            return Ok(None);
        }
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(self.not_ours(&format!("a stream of `{}`", plain(kind))));
        }
        let reader: Box<dyn Read + Send> = Box::new(response.into_body().into_reader());
        Ok(Some(BufReader::new(reader)))
    }

    fn ask(
        &self,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
        last_event_id: Option<&str>,
    ) -> Result<Response<ureq::Body>, CliError> {
        let streaming = accept == "text/event-stream";
        let mut request = self
            .agent
            .get(format!("{}{path}{}", self.base, query_text(query)))
            .config()
            .timeout_recv_body(if streaming { None } else { Some(ANSWER) })
            .timeout_per_read(streaming.then_some(SILENCE))
            .build()
            .header("accept", accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.call().map_err(|error| self.failed(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response)) }
    }

    fn read(&self, response: Response<ureq::Body>) -> Result<String, CliError> {
        let mut body = response.into_body();
        body.with_config().limit(MAX_BODY).read_to_string().map_err(|error| self.failed(&error))
    }

    /// The request did not come to an answer.
    fn failed(&self, error: &ureq::Error) -> CliError {
        let at = &self.authority;
        let check = format!("check the address: --url or {URL_VARIABLE}, such as {DEFAULT_URL}");
        match error {
            ureq::Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
                CliError::new(Exit::Unreachable, format!("nothing listens on {at}"))
                    .hint("is the service running with JOURNEY_HTTP_ADDR set? try `journey demo --keep`")
            }
            ureq::Error::Io(io) if io.kind() == io::ErrorKind::InvalidData => self.not_ours(&io.to_string()),
            ureq::Error::Io(io) => {
                CliError::new(Exit::Unreachable, format!("the connection to {at} failed: {io}")).hint(check)
            }
            ureq::Error::HostNotFound => {
                CliError::new(Exit::Unreachable, format!("no host is known for {at}")).hint(check)
            }
            ureq::Error::Timeout(step) => {
                CliError::new(Exit::Unreachable, format!("{at} does not answer in time ({step})")).hint(check)
            }
            ureq::Error::BodyExceedsLimit(limit) => {
                CliError::new(Exit::Unexpected, format!("the answer of {at} is larger than {} MB", limit >> 20))
                    .hint("ask for less, for example with --limit or --route")
            }
            other => self.not_ours(&other.to_string()),
        }
    }

    /// The server answered, and not with what was asked for.
    fn refused(&self, response: Response<ureq::Body>) -> CliError {
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(plain);
        let retry_after = header("retry-after");
        let problem = header("content-type").is_some_and(|kind| kind.contains("json"));
        let body = if problem { self.read(response).unwrap_or_default() } else { String::new() };
        let detail = problem_detail(&body);
        let said = detail.clone().map(|detail| format!(": {detail}")).unwrap_or_default();
        let at = &self.base;
        match (status.as_u16(), detail) {
            (401, _) => CliError::new(Exit::Refused, format!("{at} wants a token (401){said}")).hint(format!(
                "set {TOKEN_FILE_VARIABLE} to the file that the service reads as JOURNEY_HTTP_TOKEN_FILE"
            )),
            (403, _) => CliError::new(Exit::Refused, format!("{at} refuses this client (403){said}")).hint(format!(
                "check the token ({TOKEN_FILE_VARIABLE}) and that the address is one the service knows as its own"
            )),
            (429 | 503, _) => {
                let word = if status == 429 { "too many requests" } else { "not available now" };
                let wait = retry_after.map_or_else(|| "a moment".to_owned(), |seconds| format!("{seconds} s"));
                CliError::new(Exit::Refused, format!("{at} refuses: {word} ({}){said}", status.as_u16()))
                    .hint(format!("try again in {wait}"))
                    .passing()
            }
            (501, _) => CliError::new(Exit::Refused, format!("{at} has no store of events (501){said}")).hint(NO_STORE),
            // A service that was built without answers about stored events knows no such path.
            (404, Some(detail)) if detail.starts_with("there is nothing at `/api/v2/") => {
                CliError::new(Exit::Refused, format!("{at} answers nothing about stored events: {detail}"))
                    .hint(NO_STORE)
            }
            (404, Some(detail)) => CliError::new(Exit::NotFound, detail),
            (400 | 422, Some(detail)) => CliError::new(Exit::Usage, detail),
            (code, _) => self.not_ours(&format!("status {code}{said}")),
        }
    }

    fn not_ours(&self, why: &str) -> CliError {
        CliError::new(
            Exit::Unexpected,
            format!("{} does not answer like a Journey endpoint ({})", self.base, plain(why)),
        )
        .hint(format!("check the address: --url or {URL_VARIABLE}, such as {DEFAULT_URL}"))
    }
}

impl std::fmt::Debug for Client {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Reads a document; `key` tells ours from any other JSON.
///
/// # Errors
///
/// Why it is not the document.
pub(crate) fn read_document<T: DeserializeOwned>(body: &str, key: &str) -> Result<T, String> {
    let value: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if value.get(key).is_none() {
        return Err(format!("`{key}` is missing"));
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Reads one line of at most `limit` bytes. `None` at the end of the stream.
///
/// # Errors
///
/// The connection failed, or the line is longer.
pub(crate) fn read_line(stream: &mut impl BufRead, limit: u64) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = stream.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 == limit && line.last() != Some(&b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line of the stream is longer than {limit} bytes"),
        ));
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned()))
}

/// A path segment or a query value, with everything but letters, digits, `-`, `_`, `~` and inner dots escaped.
pub(crate) fn encode(text: &str) -> String {
    // `.` and `..` alone mean something else in a path.
    let only_dots = text.chars().all(|c| c == '.');
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && !only_dots) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A query with its question mark; none at all where there is nothing in it.
pub(crate) fn query_text(query: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn parse_url(url: &str) -> Result<(String, String), CliError> {
    let wrong = |problem: &str| {
        let message = format!("the address `{}` {problem}", plain(url));
        CliError::new(Exit::Usage, message).hint(format!("a right one for --url or {URL_VARIABLE}: {DEFAULT_URL}"))
    };
    let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(wrong("uses https, which this program does not speak (use a tunnel, such as `ssh -L`)"));
        }
        _ => return Err(wrong("does not start with http://")),
    }
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        // The address itself is not repeated: it may hold a password.
        return Err(CliError::new(
            Exit::Usage,
            "the address holds a user name or password, which other people on this machine can read",
        )
        .hint(format!("put the token into a file and name it in {TOKEN_FILE_VARIABLE}")));
    }
    if uri.query().is_some() {
        return Err(wrong("has a query"));
    }
    let port = authority.port_u16().unwrap_or(80);
    Ok((url.trim_end_matches('/').to_owned(), format!("{}:{port}", authority.host())))
}

fn token(env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, CliError> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let (name, token) = if let Some(file) = set(TOKEN_FILE_VARIABLE) {
        let mut text = String::new();
        std::fs::File::open(&file).and_then(|open| open.take(MAX_TOKEN).read_to_string(&mut text)).map_err(
            |error| {
                CliError::new(Exit::Usage, format!("cannot read the token file `{}`: {error}", plain(&file)))
                    .hint(format!("{TOKEN_FILE_VARIABLE} names a file that holds the token and nothing else"))
            },
        )?;
        (TOKEN_FILE_VARIABLE, text)
    } else if let Some(token) = set(TOKEN_VARIABLE) {
        (TOKEN_VARIABLE, token)
    } else {
        return Ok(None);
    };
    let token = token.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        // The token itself is never repeated.
        return Err(CliError::new(
            Exit::Usage,
            format!("{name} holds no token: one word of visible ASCII characters is expected"),
        ));
    }
    Ok(Some(token.to_owned()))
}

/// What an RFC 9457 document says.
pub(crate) fn problem_detail(body: &str) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_str(body).ok()?;
    let text = |key: &str| problem.get(key)?.as_str().filter(|text| !text.is_empty()).map(plain);
    text("detail").or_else(|| text("title"))
}

/// A text of the other side, safe for one line of an error.
pub(crate) fn plain(text: &str) -> String {
    let short: String = text.chars().take(500).collect();
    clean(&short, &Look { width: Look::UNLIMITED, color: false, unicode: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_is_sent() {
        for (url, problem) in [
            ("localhost:7117", "does not start with http://"),
            ("https://example.test", "uses https"),
            ("http://", "is not a URL"),
            ("ftp://host", "does not start with http://"),
            ("http://host/?x=1", "has a query"),
            ("", "is not a URL"),
        ] {
            let error = parse_url(url).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(problem), "{url}: {}", error.message);
        }
        let secret = parse_url("http://me:hunter2@host").unwrap_err().to_string();
        assert!(!secret.contains("hunter2"), "{secret}");
        assert_eq!(
            parse_url("http://[::1]:7117/base/").unwrap(),
            ("http://[::1]:7117/base".into(), "[::1]:7117".into())
        );
    }

    #[test]
    fn ids_cannot_leave_their_place_in_the_path() {
        for (id, encoded) in [
            ("a/b?c#d e%", "a%2Fb%3Fc%23d%20e%25"),
            ("..", "%2E%2E"),
            ("v1.2", "v1.2"),
            ("é", "%C3%A9"),
            ("a&b=c+", "a%26b%3Dc%2B"),
        ] {
            assert_eq!(encode(id), encoded);
        }
    }

    #[test]
    fn a_token_is_never_repeated_in_an_error() {
        let env = |name: &str| (name == TOKEN_VARIABLE).then(|| "se cret".to_owned());
        let error = token(&env).unwrap_err().to_string();
        assert!(error.contains(TOKEN_VARIABLE) && !error.contains("cret"), "{error}");
        assert_eq!(token(&|_| Some(String::new())).unwrap(), None);
    }

    #[test]
    fn a_line_without_an_end_is_bounded() {
        let mut endless = BufReader::new(io::repeat(b'x'));
        assert_eq!(read_line(&mut endless, 100).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut lines = BufReader::new(&b"a\r\n\nlast"[..]);
        let read: Vec<String> = std::iter::from_fn(|| read_line(&mut lines, 100).unwrap()).collect();
        assert_eq!(read, ["a", "", "last"]);
    }
}
