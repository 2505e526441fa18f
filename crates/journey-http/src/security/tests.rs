//! The attack list, as far as it needs no socket; the rest is in `server/tests.rs`.

use super::*;
use crate::{
    HttpConfig,
    routes::ROUTES,
    testing::{Endpoint, concrete, live, whole},
};

const TOKEN: &str = "5f2c1a7d9e";

fn guarded() -> Endpoint {
    Endpoint::with(&live(), HttpConfig { token: Some(TOKEN.to_owned()), ..whole() })
}

fn status(endpoint: &Endpoint, path: &str, headers: &[(&str, &str)]) -> u16 {
    let answer = endpoint.ask("GET", path, headers);
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path} {headers:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path} {headers:?}");
        assert_eq!(answer.json()["status"], answer.status);
    }
    answer.status
}

#[test]
fn a_host_is_a_name_and_a_port_and_nothing_else() {
    for (host, name) in [
        ("localhost", Some("localhost")),
        ("LocalHost:7117", Some("localhost")),
        ("127.0.0.1:1", Some("127.0.0.1")),
        ("[::1]:7117", Some("[::1]")),
        ("[::1]", Some("[::1]")),
        ("journey.internal", Some("journey.internal")),
        ("", None),
        (":7117", None),
        ("localhost:", None),
        ("localhost:99999", None),
        ("localhost:+1", None),
        ("evil@localhost", None),
        ("localhost/x", None),
        ("localhost:7117:7117", None),
        ("::1", None),
        ("[::1", None),
        ("[::1]x", None),
        ("[localhost]", None),
        ("local host", None),
    ] {
        assert_eq!(host_name(host).as_deref(), name, "{host}");
    }
}

#[test]
fn a_rebound_name_is_turned_away_on_every_path() {
    let endpoint = Endpoint::new(&live());
    for route in &ROUTES {
        let path = concrete(route.path);
        assert_eq!(status(&endpoint, &path, &[("host", "rebound.attacker.example:7117")]), 403, "{path}");
    }
    for host in [
        "localhost.attacker.example",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "localhost.",
        "0.0.0.0",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "attacker.example@localhost",
        "localhost:7117, attacker.example",
        "10.0.0.5",
    ] {
        assert_eq!(status(&endpoint, "/livez", &[("host", host)]), 403, "{host}");
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:7117", "[::1]:7117"] {
        assert_eq!(status(&endpoint, "/livez", &[("host", host)]), 200, "{host}");
    }
    assert_eq!(status(&endpoint, "/livez", &[("host", "")]), 400);
    assert_eq!(status(&endpoint, "/livez", &[("host", "localhost"), ("host", "localhost")]), 400);
    // The target may name the server as well.
    assert_eq!(status(&endpoint, "http://attacker.example/livez", &[]), 403);
    assert_eq!(status(&endpoint, "http://localhost:7117/livez", &[]), 200);
}

#[test]
fn names_that_were_allowed_are_let_in() {
    let config = HttpConfig {
        addr: "10.0.0.5:7117".parse().unwrap(),
        allowed_hosts: vec!["Journey.Internal".to_owned(), "[fd00::5]".to_owned()],
        ..HttpConfig::default()
    };
    let endpoint = Endpoint::with(&live(), config);
    for host in ["journey.internal:80", "10.0.0.5:7117", "[fd00::5]:7117", "localhost"] {
        assert_eq!(status(&endpoint, "/livez", &[("host", host)]), 200, "{host}");
    }
    assert_eq!(status(&endpoint, "/livez", &[("host", "10.0.0.6:7117")]), 403);
}

#[test]
fn pages_of_other_origins_are_turned_away() {
    let endpoint = Endpoint::new(&live());
    for origin in [
        "https://attacker.example",
        "http://localhost:3000",
        "null",
        "http://localhost:7117.attacker.example",
        "file://",
        "http://localhost",
        "http://localhost:7117/",
    ] {
        let answer = endpoint.ask("GET", "/api/v2/journeys", &[("origin", origin)]);
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    assert_eq!(status(&endpoint, "/api/v2/journeys", &[("origin", "http://localhost:7117")]), 200);
    assert_eq!(status(&endpoint, "/api/v2/journeys", &[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(status(&endpoint, "/api/v2/journeys", &[("sec-fetch-site", "same-origin")]), 200);
    assert_eq!(status(&endpoint, "/api/v2/journeys", &[("sec-fetch-site", "none")]), 200);
    let preflight = [("origin", "https://attacker.example"), ("access-control-request-method", "GET")];
    assert_eq!(endpoint.ask("OPTIONS", "/metrics", &preflight).status, 403);
}

#[test]
fn a_link_may_be_followed_from_elsewhere_but_not_fetched() {
    let endpoint = Endpoint::new(&live());
    let from_elsewhere = |mode, dest| {
        let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        status(&endpoint, "/", &headers)
    };
    assert_eq!(from_elsewhere("navigate", "document"), 200);
    assert_eq!(from_elsewhere("navigate", "iframe"), 403);
    assert_eq!(from_elsewhere("no-cors", "image"), 403);
    assert_eq!(from_elsewhere("no-cors", "script"), 403);
    assert_eq!(from_elsewhere("cors", "empty"), 403);
}

#[test]
fn without_the_token_only_answers_without_data_are_given() {
    let endpoint = guarded();
    let right = format!("Bearer {TOKEN}");
    for route in &ROUTES {
        let path = concrete(route.path);
        let expected = if route.access == Access::Token { 401 } else { 200 };
        let answer = endpoint.ask("HEAD", &path, &[]);
        assert_eq!(answer.status, expected, "{path}");
        assert_eq!(answer.header("www-authenticate").is_empty(), expected == 200, "{path}");
        let allowed = endpoint.ask("HEAD", &path, &[("authorization", &right)]);
        assert!(matches!(allowed.status, 200 | 404), "{path}: {}", allowed.status);
        // A path that is written another way is no way around.
        if path.len() > 1 && expected == 401 {
            for other in
                [format!("{path}/"), format!("/{path}"), format!("{path}/../livez"), path.replacen("/m", "/%6d", 1)]
            {
                assert!(matches!(endpoint.ask("GET", &other, &[]).status, 401), "{other}");
            }
        }
    }
}

#[test]
fn a_wrong_token_is_refused_in_every_form() {
    let endpoint = guarded();
    let answer = endpoint.ask("GET", "/metrics", &[]);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"));
    let answer = endpoint.ask("GET", "/metrics", &[("authorization", "Bearer wrong")]);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer error=\"invalid_token\""));
    let prefix = &TOKEN[..TOKEN.len() - 1];
    for value in [
        format!("Bearer {prefix}"),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer{TOKEN}"),
        format!("Bearer {TOKEN},{TOKEN}"),
    ] {
        let answer = endpoint.ask("GET", "/metrics", &[("authorization", &value)]);
        assert_eq!(answer.status, 401, "{value}");
        assert!(!answer.text().contains(prefix), "{}", answer.text());
    }
    let right = format!("bearer  {TOKEN}");
    assert_eq!(status(&endpoint, "/metrics", &[("authorization", &right)]), 200);
    assert_eq!(status(&endpoint, "/metrics", &[("authorization", &right), ("authorization", &right)]), 401);
}

#[test]
fn a_token_in_the_url_is_refused_even_if_it_is_right() {
    for endpoint in [guarded(), Endpoint::new(&live())] {
        for name in ["token", "access_token", "Authorization", "api_key"] {
            for path in ["/metrics", "/", "/nowhere"] {
                assert_eq!(status(&endpoint, &format!("{path}?x=1&{name}={TOKEN}"), &[]), 400, "{name}");
            }
        }
    }
}

#[test]
fn a_get_with_a_body_is_refused_and_its_connection_closed() {
    let endpoint = Endpoint::new(&live());
    for header in [("content-length", "5"), ("transfer-encoding", "chunked")] {
        let answer = endpoint.ask("GET", "/livez", &[header]);
        assert_eq!((answer.status, answer.header("connection")), (400, "close"), "{header:?}");
    }
    assert_eq!(status(&endpoint, "/livez", &[("content-length", "0")]), 200);
}

#[test]
fn too_many_requests_are_told_when_to_come_again_and_probes_still_answer() {
    let config = HttpConfig { requests_per_minute: 3, token: Some(TOKEN.to_owned()), ..HttpConfig::default() };
    let endpoint = Endpoint::with(&live(), config);
    let right = format!("Bearer {TOKEN}");
    let answer = endpoint.ask("GET", "/metrics", &[("authorization", &right)]);
    assert_eq!(answer.header("ratelimit-policy"), "\"client\";q=3;w=60, \"token\";q=3;w=60");
    assert_eq!(answer.header("ratelimit"), "\"client\";r=2;t=20, \"token\";r=2;t=20");
    // Guessing a token uses up what the client may ask.
    for guess in ["Bearer a", "Bearer b"] {
        assert_eq!(status(&endpoint, "/metrics", &[("authorization", guess)]), 401);
    }
    let answer = endpoint.ask("GET", "/metrics", &[("authorization", &right)]);
    assert_eq!(answer.status, 429);
    let problem = answer.json();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], serde_json::json!(["client"]));
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(answer.header("ratelimit"), format!("\"client\";r=0;t={wait}"));
    assert_eq!(status(&endpoint, "/livez", &[]), 200);
    // A page of another site uses nothing up, and is told nothing.
    let answer = endpoint.ask("GET", "/metrics", &[("origin", "https://attacker.example")]);
    assert_eq!((answer.status, answer.header("ratelimit")), (403, ""));
}

proptest::proptest! {
    #[test]
    fn a_host_name_read_once_reads_the_same_again(host in ".{0,40}") {
        if let Some(name) = host_name(&host) {
            proptest::prop_assert_eq!(host_name(&name), Some(name.clone()));
            proptest::prop_assert!(!name.contains(['@', '/', ' ']));
        }
    }
}
