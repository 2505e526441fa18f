//! Who is turned away: pages of other sites, rebound names, requests without the token, too many requests.

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::{
    problem::{Problem, shown},
    rate_limit::{Limit, Limiter},
    router::App,
    routes::{Access, Route},
};

/// Names under which only this machine is reached.
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Query parameters in which people try to send a token.
const TOKEN_PARAMETERS: [&str; 6] = ["token", "access_token", "auth_token", "api_key", "apikey", "authorization"];

/// Headers of every answer. `frame-ancestors` and its older form keep the endpoint out of other pages.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// What the checks know.
pub(crate) struct Guard {
    /// Allowed `Host` names, lower case, without port.
    hosts: Vec<String>,
    /// Digest of the token.
    token: Option<blake3::Hash>,
    limiter: Limiter,
}

impl Guard {
    pub(crate) fn new(config: &crate::HttpConfig) -> Self {
        let own = (!config.addr.ip().is_unspecified()).then(|| match config.addr {
            SocketAddr::V4(addr) => addr.ip().to_string(),
            SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
        });
        let configured = config.allowed_hosts.iter().map(String::as_str).chain(own.as_deref()).filter_map(host_name);
        Self {
            hosts: LOOPBACK_HOSTS.into_iter().map(str::to_owned).chain(configured).collect(),
            token: config.token.as_deref().map(|token| blake3::hash(token.as_bytes())),
            limiter: Limiter::new(config.requests_per_minute),
        }
    }

    /// Lets a request in, or says why not. What was counted against the client is added to `limits` in both cases.
    fn admit(&self, request: &Request, limits: &mut Vec<Limit>) -> Result<(), Problem> {
        let access = Route::of_path(request.uri().path()).map_or(Access::Token, |route| route.access);
        // Before anything is counted: a page of another site must not use up what its visitor may ask.
        self.check_host(request.uri(), request.headers())?;
        check_origin(request.headers())?;
        check_body(request.method(), request.headers())?;
        if access == Access::Probe {
            return Ok(());
        }
        let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        self.limiter.check_client(client, limits)?;
        check_query(request.uri())?;
        if let (Access::Token, Some(token)) = (access, &self.token) {
            check_token(request.headers(), token)?;
            self.limiter.check_token(token, limits)?;
        }
        Ok(())
    }

    /// The names that a request gives the server: without this, a page whose name was rebound to this address could ask
    /// as if it came from here, token or not.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::bad_request(
                "a request needs exactly one `Host` header (such as `Host: localhost:7117`)",
            ));
        };
        let host = String::from_utf8_lossy(host.as_bytes());
        // A target in absolute form names the server a second time.
        for name in [Some(host.as_ref()), uri.authority().map(|authority| authority.as_str())].into_iter().flatten() {
            if !host_name(name).is_some_and(|name| self.hosts.contains(&name)) {
                let detail = format!(
                    "the host `{}` is not allowed (use `localhost`, `127.0.0.1` or `[::1]`, or name it in \
                     `JOURNEY_HTTP_ALLOWED_HOSTS`)",
                    shown(name)
                );
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
        }
        Ok(())
    }
}

/// Checks a request, runs it, and gives every answer the headers it needs.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut limits = Vec::new();
    let mut response = match app.guard.admit(&request, &mut limits) {
        // A panic of ours is answered, and never ends a connection or the thread.
        Ok(()) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the endpoint failed inside; this is a bug of Journey")
                .into_response()
        }),
        Err(problem) => problem.into_response(),
    };
    app.stats.answered(response.status());
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    Limit::describe(&limits, headers);
    response
}

/// The name in `host[:port]` in lower case; `None` for anything else, such as user information or a path.
pub(crate) fn host_name(host: &str) -> Option<String> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let port_is_right = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok() && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name_is_right = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    (port_is_right && name_is_right).then(|| name.to_ascii_lowercase())
}

/// Refuses what a page of another origin sends.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |what: &str| {
        let detail =
            format!("{what}: this endpoint answers no pages of other sites (ask from a program, or open it directly)");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    let text = |name: HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(origin) = text(header::ORIGIN) {
        let host = text(header::HOST).unwrap_or_default();
        let of_origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !of_origin.is_some_and(|authority| authority.eq_ignore_ascii_case(&host)) {
            return refuse(&format!("the origin is `{}`", shown(&origin)));
        }
    }
    let fetch = |name: &'static str| text(HeaderName::from_static(name)).unwrap_or_default();
    // A link that a person follows opens the page itself; the page that holds the link learns nothing from it.
    let followed_link = fetch("sec-fetch-mode") == "navigate" && fetch("sec-fetch-dest") == "document";
    if fetch("sec-fetch-site") == "cross-site" && !followed_link {
        return refuse("the request comes from another site");
    }
    Ok(())
}

/// Refuses a body where none belongs: some intermediaries skip it and take its bytes for the next request.
fn check_body(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    if has_body && matches!(*method, Method::GET | Method::HEAD) {
        let close = HeaderValue::from_static("close");
        return Err(Problem::bad_request("a GET or HEAD request has no body").header(header::CONNECTION, close));
    }
    Ok(())
}

/// A URL ends in histories and logs: no token goes there.
fn check_query(uri: &Uri) -> Result<(), Problem> {
    let names = uri.query().unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    for name in names {
        if TOKEN_PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Problem::bad_request(
                "a token does not belong into the URL, which ends in logs (send the header `Authorization: Bearer <token>`)",
            ));
        }
    }
    Ok(())
}

fn check_token(headers: &HeaderMap, token: &blake3::Hash) -> Result<(), Problem> {
    let refuse = |detail: &'static str, challenge: &'static str| {
        let challenge = HeaderValue::from_static(challenge);
        Err(Problem::new(StatusCode::UNAUTHORIZED, detail).header(header::WWW_AUTHENTICATE, challenge))
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next(), values.next()) else {
        return refuse("there are two `Authorization` headers", "Bearer error=\"invalid_request\"");
    };
    let Some(value) = value else {
        return refuse("this needs the header `Authorization: Bearer <token>`", "Bearer");
    };
    let given = value.as_bytes();
    let given = match given.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
        _ => return refuse("the `Authorization` header is not of the form `Bearer <token>`", "Bearer"),
    };
    // Digests have one length and compare in constant time, so the time tells nothing about the token.
    if blake3::hash(given) != *token {
        return refuse("the token is not the right one", "Bearer error=\"invalid_token\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
