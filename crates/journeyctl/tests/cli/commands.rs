//! The command as people and scripts meet it: what it prints, what it says when something is wrong, how it ends.

use std::{
    io::Write as _,
    net::TcpListener,
    process::Stdio,
    sync::{Mutex, mpsc::channel},
};

use crate::support::{Server, ended, journey, reply, run};
use serde_json::{Value, json};

const JOURNEY: &str = r#"{"correlationId":"a/b ?","route":"message","routeLabel":"Message","status":"completed","generation":1,"totalMs":52.0,"traceId":"5b8aa5a2d2c872e8","checkpoints":[{"stage":"T0","name":"platform_received","label":"Platform received","outcome":"reached","offsetMs":0,"attempts":1},{"stage":"T1","name":"plugin_received","label":"Plugin received","outcome":"reached","offsetMs":52,"attempts":1}],"legs":[{"name":"channel_processing","from":"T0","to":"T1","ms":52,"quality":"exact"}]}"#;
const SUMMARY: &str = r#"{"window":"5m","routes":[{"route":"message","label":"Message","journeys":{"failed":3}}],"accounting":{"offered":9,"recorded":9,"dropped":{}}}"#;
const NO_SUCH_JOURNEY: &str = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no journey `x` is known (finished ones are kept for 5 min)"}"#;

fn endpoint() -> Server {
    Server::start(|request, stream| {
        let body = if request.target.contains("/summary") { SUMMARY } else { JOURNEY };
        reply(stream, "200 OK", "application/json", body);
    })
}

#[test]
fn show_draws_the_journey_that_was_asked_for() {
    let server = endpoint();
    let shown = run(&server.url(), &["show", "a/b ?", "--generation", "1"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    assert!(
        shown.stdout.starts_with("Message journey a/b ? · completed · 52 ms · trace 5b8aa5a2…\n"),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains("✓ Plugin received       T1     +52 ms"), "{}", shown.stdout);
    let targets: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(
        targets,
        ["/api/v2/metrics/journey/a%2Fb%20%3F?generation=1", "/api/v2/metrics/summary?window=5m&route=message"]
    );
}

#[test]
fn a_journey_is_shown_even_where_the_summary_fails() {
    let server = Server::start(|request, stream| {
        if request.target.contains("/summary") {
            reply(stream, "500 Internal Server Error", "text/plain", "oops");
        } else {
            reply(stream, "200 OK", "application/json", JOURNEY);
        }
    });
    assert_eq!(run(&server.url(), &["show", "x"]).code, Some(0));
}

#[test]
fn json_is_the_document_of_the_endpoint() {
    let server = endpoint();
    let shown = run(&server.url(), &["show", "x", "--json"]);
    assert_eq!((shown.code, shown.stdout.trim_end()), (Some(0), JOURNEY));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(run(&server.url(), &["--json", "summary"]).stdout.trim_end(), SUMMARY);
}

#[test]
fn nothing_listening_is_said_with_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for args in [&["summary"][..], &["show", "x"], &["list"], &["live"]] {
        let failed = run(&format!("http://{port}"), args);
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(3), ""), "{args:?}");
        let expected = format!(
            "error: nothing listens on {port}\nhint: is the service running with JOURNEY_HTTP_ADDR set? try `journey demo --keep`\n"
        );
        assert_eq!(failed.stderr, expected, "{args:?}");
    }
}

#[test]
fn an_unknown_journey_is_not_found() {
    let server = Server::always("404 Not Found", "application/problem+json", NO_SUCH_JOURNEY);
    let failed = run(&server.url(), &["show", "x"]);
    assert_eq!(failed.code, Some(1));
    assert_eq!(failed.stderr, "error: no journey `x` is known (finished ones are kept for 5 min)\n");
    let failed = run(&server.url(), &["show", "x", "--json"]);
    let error: Value = serde_json::from_str(&failed.stderr).unwrap();
    assert_eq!(
        (failed.code, &error["error"]["kind"], &error["error"]["exitCode"]),
        (Some(1), &json!("not_found"), &json!(1))
    );
}

#[test]
fn a_refusal_says_why_and_what_to_do() {
    for (status, parts) in [
        ("401 Unauthorized", ["wants a token (401)", "JOURNEY_TOKEN_FILE"]),
        ("403 Forbidden", ["refuses this client (403)", "check the token"]),
        ("429 Too Many Requests", ["too many requests (429)", "try again in"]),
        ("503 Service Unavailable", ["not available now (503)", "try again in"]),
    ] {
        let server = Server::always(status, "application/problem+json", r#"{"detail":"because\u001b[2J"}"#);
        let failed = run(&server.url(), &["summary"]);
        assert_eq!(failed.code, Some(4), "{status}");
        assert!(parts.iter().all(|part| failed.stderr.contains(part)), "{}", failed.stderr);
        assert!(failed.stderr.contains("because\\u{1b}[2J"), "{}", failed.stderr);
    }
}

#[test]
fn a_wrong_filter_is_a_usage_error_in_the_servers_words() {
    let server =
        Server::always("400 Bad Request", "application/problem+json", r#"{"detail":"`T99` is no stage (try `T4`)"}"#);
    let failed = run(&server.url(), &["list", "--stage", "T99"]);
    assert_eq!((failed.code, failed.stderr.as_str()), (Some(2), "error: `T99` is no stage (try `T4`)\n"));
}

#[test]
fn whatever_else_answers_is_told_from_journey() {
    let html = Server::always("200 OK", "text/html", "<html>hello</html>");
    let other = Server::always("200 OK", "application/json", "{}");
    let missing = Server::always("404 Not Found", "text/html", "not here");
    let moved = Server::always("302 Found", "text/html", "elsewhere");
    let garbage = Server::start(|_, stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")));
    for server in [html, other, missing, moved, garbage] {
        for args in [&["summary"][..], &["show", "x"], &["list"], &["live"]] {
            let failed = run(&server.url(), args);
            assert_eq!(failed.code, Some(5), "{args:?} {}", failed.stderr);
            assert!(failed.stderr.contains("does not answer like a Journey endpoint"), "{}", failed.stderr);
            assert!(failed.stderr.contains("check the address: --url or JOURNEY_URL"), "{}", failed.stderr);
        }
    }
}

#[test]
fn the_token_comes_from_the_environment_and_goes_nowhere_else() {
    let server = endpoint();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "s3cret-of-file\n").unwrap();
    let mut from_file = journey(&server.url(), &["summary"]);
    from_file.env("JOURNEY_TOKEN_FILE", &file).env("JOURNEY_TOKEN", "other");
    assert_eq!(ended(from_file.spawn().unwrap()).code, Some(0));
    let mut from_variable = journey(&server.url(), &["summary"]);
    from_variable.env("JOURNEY_TOKEN", "s3cret");
    assert_eq!(ended(from_variable.spawn().unwrap()).code, Some(0));
    let sent: Vec<Option<String>> =
        server.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [Some("Bearer s3cret-of-file".to_owned()), Some("Bearer s3cret".to_owned())]);

    let refusing = Server::always("401 Unauthorized", "text/plain", "no");
    for args in [&["summary"][..], &["--help"], &["summary", "--window", "soon"]] {
        let mut command = journey(&refusing.url(), args);
        let said = ended(command.env("JOURNEY_TOKEN", "s3cret").spawn().unwrap());
        assert!(!format!("{said:?}").contains("s3cret"), "{said:?}");
    }
    let mut no_file = journey(&server.url(), &["summary"]);
    let failed = ended(no_file.env("JOURNEY_TOKEN_FILE", directory.path().join("none")).spawn().unwrap());
    assert_eq!(failed.code, Some(2));
    assert!(
        failed.stderr.contains("cannot read the token file") && failed.stderr.contains("none"),
        "{}",
        failed.stderr
    );
}

#[test]
fn a_redirect_is_not_followed_with_the_token() {
    let other = endpoint();
    let target = format!("HTTP/1.1 302 Found\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n", other.url());
    let server = Server::start(move |_, stream| drop(stream.write_all(target.as_bytes())));
    let mut command = journey(&server.url(), &["summary"]);
    assert_eq!(ended(command.env("JOURNEY_TOKEN", "s3cret").spawn().unwrap()).code, Some(5));
    assert!(other.requests().is_empty());
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for args in [
        &["nonsense"][..],
        &["summary", "--window", "7m"],
        &["list", "--stuck", "--active"],
        &["show"],
        &["summary", "--color", "red"],
        &["summary", "--url", "https://example.test"],
        &["summary", "--url", "localhost:7117"],
    ] {
        let failed = run("http://127.0.0.1:9", args);
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(failed.stderr.starts_with("error: "), "{}", failed.stderr);
    }
}

#[test]
fn a_pipe_that_was_closed_is_no_error() {
    let (closed, wait) = channel();
    let wait = Mutex::new(wait);
    let server = Server::start(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        reply(stream, "200 OK", "application/json", SUMMARY);
    });
    for args in [&["summary"][..], &["summary", "--json"]] {
        let mut child = journey(&server.url(), args).spawn().unwrap();
        drop(child.stdout.take());
        closed.send(()).unwrap();
        let end = ended(child);
        assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    for args in [&["completions", "bash"][..], &["--help"]] {
        let mut child = journey(&server.url(), args).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let end = ended(child);
        assert!(end.code == Some(0) && !end.stderr.contains("panicked"), "{args:?} {end:?}");
    }
}

#[test]
fn colour_is_for_those_who_want_it() {
    let server = endpoint();
    for (args, variables, coloured) in [
        (&["summary"][..], &[][..], false),
        (&["summary", "--color", "always"], &[], true),
        (&["summary"], &[("CLICOLOR_FORCE", "1")], true),
        (&["summary"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&["summary", "--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
        (&["summary", "--color", "always", "--json"], &[], false),
    ] {
        let mut command = journey(&server.url(), args);
        let shown = ended(command.envs(variables.iter().copied()).spawn().unwrap());
        assert_eq!(shown.stdout.contains('\u{1b}'), coloured, "{args:?} {variables:?}");
        assert!(shown.stdout.contains("3 failed") || args.contains(&"--json"), "{}", shown.stdout);
    }
}

#[test]
fn a_locale_without_utf8_gets_ascii() {
    let server = endpoint();
    for variables in [&[("LC_ALL", "C")][..], &[("LANG", "de_DE.ISO-8859-1")]] {
        let mut command = journey(&server.url(), &["show", "x"]);
        let shown = ended(command.envs(variables.iter().copied()).spawn().unwrap());
        assert!(shown.stdout.is_ascii() && shown.stdout.contains("ok Plugin received"), "{}", shown.stdout);
    }
}

#[test]
fn lists_are_asked_for_page_by_page() {
    let server = Server::start(|request, stream| {
        let from: u32 = request.target.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
        let size: u32 = request.target.split("limit=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let journeys: Vec<Value> =
            (from..from + size).map(|n| json!({ "correlationId": format!("msg_{n}"), "status": "failed" })).collect();
        let body = json!({ "journeys": journeys, "nextCursor": (from + size).to_string() });
        reply(stream, "200 OK", "application/json", &body.to_string());
    });
    let args = [
        "list", "--failed", "--slow", "--min-ms", "1.5", "--route", "a b", "--stage", "T4", "--limit", "1500", "--json",
    ];
    let listed = run(&server.url(), &args);
    let document: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((document["journeys"].as_array().unwrap().len(), &document["nextCursor"]), (1500, &json!("1500")));
    let filter = "/api/v2/journeys?status=failed&sort=slowest&route=a%20b&stage=T4&minMs=1.5";
    let targets: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, [format!("{filter}&limit=1000"), format!("{filter}&limit=500&cursor=1000")]);

    let listed = run(&server.url(), &["list", "--stuck", "--limit", "2"]);
    assert_eq!(listed.stdout.lines().count(), 3, "{}", listed.stdout);
    assert!(server.requests()[2].target.ends_with("?stuck=true&limit=2"));
}

#[test]
fn a_list_whose_cursor_stands_still_ends() {
    let server = Server::always("200 OK", "application/json", r#"{"journeys":[],"nextCursor":"again"}"#);
    let listed = run(&server.url(), &["list"]);
    assert_eq!((listed.code, listed.stdout.as_str()), (Some(0), "No journeys.\n"));
}

#[test]
fn routes_are_checked_and_explained() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let stages = "[[stages]]\nid = \"P0\"\nname = \"listed\"\n[[stages]]\nid = \"P1\"\nname = \"archived\"\n";
    let good = write("good.toml", &format!("name = \"publish\"\nterminal = [\"archived\"]\n{stages}"));
    let twin = write("twin.toml", &format!("name = \"twin\"\nterminal = [\"archived\"]\n{stages}"));
    let bad = write("bad.toml", &format!("name = \"publish\"\nterminal = [\"archivd\"]\n{stages}"));
    let broken = write("broken.toml", "name = \n");

    let checked = run("", &["check-route", &good]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert!(
        checked.stdout.starts_with(&format!("✓ {good}: route publish\n  2 stages · 1 leg · ")),
        "{}",
        checked.stdout
    );
    let checked = run("", &["check-route", &good, "--json"]);
    let document: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(document["routes"][0]["legs"][0]["name"], json!("listed_to_archived"));

    for (files, part) in [
        (vec![bad.as_str()], "archivd"),
        (vec![&good, &twin], "claimed by the routes `publish` and `twin`"),
        (vec![&broken], "broken.toml"),
        (vec!["no/such/file.toml"], "cannot read `no/such/file.toml`"),
    ] {
        let failed = run("", &[&["check-route"], &files[..]].concat());
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{files:?}");
        assert!(failed.stderr.starts_with("error: ") && failed.stderr.contains(part), "{}", failed.stderr);
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run("", &["completions", shell]);
        assert_eq!(script.code, Some(0));
        assert!(script.stdout.contains("check-route"), "{shell}");
    }
    assert_eq!(run("", &["completions", "bash", "--json"]).code, Some(2));
}

#[test]
fn help_lists_exit_codes_and_variables() {
    let help = run("", &["--help"]);
    assert_eq!(help.code, Some(0));
    for part in ["Exit codes:", "  3  nothing answers", "JOURNEY_TOKEN_FILE", "NO_COLOR", "journey demo --keep"] {
        assert!(help.stdout.contains(part), "{part}\n{}", help.stdout);
    }
}
