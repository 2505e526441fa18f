//! Which real servers are there; a suite without its server says so and is never silently green.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::repository;

/// A group of tests that needs one real server.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Name in the report.
    pub name: &'static str,
    /// Program it needs.
    pub program: &'static str,
    /// How the program comes to this machine.
    pub how: &'static str,
}

/// Prometheus and its `promtool`.
pub const PROMETHEUS: Suite =
    Suite { name: "prometheus", program: "prometheus", how: "`./scripts/test` fetches it, or put it on PATH" };

/// `promtool`, which comes with Prometheus.
pub const PROMTOOL: Suite =
    Suite { name: "promtool", program: "promtool", how: "`./scripts/test` fetches it, or put it on PATH" };

/// Jaeger, all in one.
pub const JAEGER: Suite =
    Suite { name: "jaeger", program: "jaeger", how: "`./scripts/test --backends` builds it, or put it on PATH" };

/// `postgres`, with `initdb` beside it.
pub const POSTGRES: Suite =
    Suite { name: "postgres", program: "postgres", how: "`./scripts/test` fetches it, or put it on PATH" };

/// Redis, or what speaks like it.
pub const REDIS: Suite =
    Suite { name: "redis", program: "redis-server", how: "`./scripts/test` fetches it, or put it on PATH" };

/// NATS.
pub const NATS: Suite =
    Suite { name: "nats", program: "nats-server", how: "`./scripts/test` fetches it, or put it on PATH" };

/// `curl`, with which the pages show what the endpoint answers.
pub const CURL: Suite = Suite { name: "pages", program: "curl", how: "put it on PATH" };

/// The reference parser of OpenMetrics, a Python package.
const OPENMETRICS: Suite =
    Suite { name: "openmetrics", program: "prometheus_client", how: "`./scripts/test` fetches it with pip" };

/// The folder with the reference parser of OpenMetrics, for `PYTHONPATH`; or `None` after `skipped: ...` was said.
pub fn openmetrics_parser() -> Option<PathBuf> {
    let folder = repository().join(".servers/python");
    let is_there = folder.join(OPENMETRICS.program).is_dir();
    OPENMETRICS.say_whether_found(is_there.then_some(folder))
}

impl Suite {
    /// The program, or `None` after `skipped: ...` was said.
    ///
    /// Looked for in `JOURNEY_TEST_<PROGRAM>`, then in `PATH`, then in the repository's `.servers/bin`, then where Debian
    /// keeps the servers that are not in `PATH`.
    ///
    /// # Panics
    ///
    /// The variable names no file, or the program is missing and `JOURNEY_TEST_REQUIRE` (names separated by commas)
    /// says that it must not be.
    pub fn program(self) -> Option<PathBuf> {
        let variable = format!("JOURNEY_TEST_{}", self.program.to_uppercase().replace('-', "_"));
        if let Some(named) = env::var_os(&variable).filter(|value| !value.is_empty()) {
            let named = PathBuf::from(named);
            assert!(named.is_file(), "`{variable}` is `{}`, which is no file", named.display());
            self.say("ran", None);
            return Some(named);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain([repository().join(".servers/bin")]).chain(debian_folders());
        self.say_whether_found(folders.map(|folder| folder.join(self.program)).find(|program| is_program(program)))
    }

    /// Says that a part of the suite cannot run with the program that is there, and why.
    pub fn skip(self, why: &str) {
        self.say("skipped", Some(why));
    }

    fn say_whether_found(self, found: Option<PathBuf>) -> Option<PathBuf> {
        if found.is_none() {
            let required = env::var("JOURNEY_TEST_REQUIRE").unwrap_or_default();
            let is_required = required.split(',').any(|name| name.trim() == self.name);
            assert!(!is_required, "`{}` is missing and `JOURNEY_TEST_REQUIRE={required}` asks for it", self.program);
            self.say("skipped", Some(&format!("no `{}` on this machine ({})", self.program, self.how)));
        } else {
            self.say("ran", None);
        }
        found
    }

    /// Writes what becomes of the suite to stderr (when skipped) and to the file `JOURNEY_TEST_REPORT`, which
    /// `scripts/test` sums up. Whether the tests that ran were green, the test runner says.
    fn say(self, what: &str, why: Option<&str>) {
        let line = match why {
            Some(why) => format!("{what}: {}: {why}\n", self.name),
            None => format!("{what}: {}\n", self.name),
        };
        if why.is_some() {
            // Straight to stderr: the test harness swallows what the print macros write in a green test.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        if let Some(report) = env::var_os("JOURNEY_TEST_REPORT") {
            let opened = fs::OpenOptions::new().create(true).append(true).open(&report);
            let mut file = opened.unwrap_or_else(|error| panic!("`JOURNEY_TEST_REPORT` {}: {error}", report.display()));
            file.write_all(line.as_bytes()).expect("the report can be written");
        }
    }
}

/// `/usr/lib/postgresql/15/bin` and such, the newest first.
fn debian_folders() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path()).collect();
    versions.sort_by_key(|folder| folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    versions.into_iter().rev().map(|folder| folder.join("bin")).collect()
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}
