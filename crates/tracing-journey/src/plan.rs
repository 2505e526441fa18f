//! From what was asked (code, environment, file) to what will be done.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use journey_core::{Limits, Route, RouteError, Routes, Source, TraceIdKey};
use tracing_core::LevelFilter;

use crate::{
    clock::clock_domain,
    config::{Config, Environment, read_text},
    error::{Kind, Place, SetupError},
    intake::DEFAULT_CAPACITY,
};

/// The open route of flows that declare none of their own.
pub(crate) const FLOW_ROUTE: &str = "flow";

/// What code asked for; `None` leaves it to the environment, the file, and the default.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) environment: Option<Environment>,
    pub(crate) service: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) routes: Vec<Route>,
    pub(crate) flow_routes: Vec<String>,
    pub(crate) name_on_spans: Option<bool>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) retention: Option<Duration>,
    pub(crate) max_active: Option<usize>,
    pub(crate) max_finished: Option<usize>,
    pub(crate) grace: Option<Duration>,
    pub(crate) stuck_after: Option<Duration>,
    pub(crate) queue: Option<usize>,
    pub(crate) level: Option<LevelFilter>,
    pub(crate) within: Option<bool>,
    pub(crate) log_summary: Option<bool>,
    pub(crate) export: Option<String>,
    /// `Some(None)` is `no_http`.
    pub(crate) http: Option<Option<SocketAddr>>,
    pub(crate) http_token: Option<String>,
    pub(crate) trace_id_key: Option<TraceIdKey>,
    pub(crate) store: Option<String>,
}

/// What will be done: everything is read, named and checked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) routes: Arc<Routes>,
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    pub(crate) key: TraceIdKey,
    pub(crate) queue: usize,
    pub(crate) level: LevelFilter,
    pub(crate) within: bool,
    pub(crate) log_summary: bool,
    #[cfg(feature = "fmt")]
    pub(crate) log_json: bool,
    #[cfg(feature = "fmt")]
    pub(crate) log_filter: Option<String>,
    #[cfg(feature = "fmt")]
    pub(crate) no_colour: bool,
    #[cfg(feature = "http")]
    pub(crate) http: Option<journey_http::HttpConfig>,
    #[cfg(feature = "otlp")]
    pub(crate) export: Option<journey_otlp::OtlpConfig>,
    #[cfg(feature = "store")]
    pub(crate) events: Option<crate::events::EventsPlan>,
    /// What is suspicious, but no reason to stop.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn resolve(asked: Asked) -> Result<Self, SetupError> {
        let environment = asked.environment.clone().unwrap_or_else(Environment::of_process);
        let config = Config::read(environment)?;
        check_features(&asked, &config)?;
        let limits = limits(&asked, &config)?;
        let source = source(&asked, &config);
        let key = match asked.trace_id_key.clone() {
            Some(key) => key,
            None => {
                config.secret_file("JOURNEY_TRACE_ID_KEY_FILE")?.map(|text| TraceIdKey::new(&text)).unwrap_or_default()
            }
        };
        let queue = asked.queue.map(|queue| queue.clamp(64, 1 << 20));
        let plan = Self {
            source,
            limits,
            key,
            queue: queue.or(config.count("JOURNEY_QUEUE", 64, 1 << 20)?).unwrap_or(DEFAULT_CAPACITY),
            level: asked.level.or(config.level("JOURNEY_LEVEL")?).unwrap_or(LevelFilter::INFO),
            within: asked.within.or(config.switch("JOURNEY_WITHIN")?).unwrap_or(false),
            log_summary: asked.log_summary.or(config.switch("JOURNEY_LOG_SUMMARY")?).unwrap_or(true),
            #[cfg(feature = "fmt")]
            log_json: log_json(&config)?,
            #[cfg(feature = "fmt")]
            log_filter: config.variable("RUST_LOG"),
            #[cfg(feature = "fmt")]
            no_colour: config.variable("NO_COLOR").is_some(),
            #[cfg(feature = "http")]
            http: http(&asked, &config)?,
            #[cfg(feature = "otlp")]
            export: export(asked.export.as_deref(), &config)?,
            #[cfg(feature = "store")]
            events: crate::events::EventsPlan::resolve(&asked, &config)?,
            warnings: config.unknown(),
            routes: Arc::new(routes(asked, &config)?),
        };
        Ok(plan)
    }
}

/// Events that somebody wants to keep must not be dropped in silence because a feature is off.
fn check_features(asked: &Asked, config: &Config) -> Result<(), SetupError> {
    let store = ["JOURNEY_STORE", "JOURNEY_STORE_FILE"].into_iter().find(|name| config.get(name).is_some());
    let live = ["JOURNEY_LIVE", "JOURNEY_LIVE_FILE"].into_iter().find(|name| config.get(name).is_some());
    let store = store.or(asked.store.as_ref().map(|_| "store"));
    for (named, feature, is_on) in [(store, "store", cfg!(feature = "store")), (live, "live", cfg!(feature = "live"))] {
        if let (Some(name), false) = (named, is_on) {
            let sentence = format!(
                "`{name}` is set, and this program was built without it (turn on the cargo feature `{feature}` of \
                 tracing-journey)"
            );
            return Err(Kind::Settings(sentence).into());
        }
    }
    if live.is_some() && store.is_none() {
        let sentence = "`JOURNEY_LIVE` is set without a store (set `JOURNEY_STORE` too, such as `journey-events`)";
        return Err(Kind::Settings(sentence.to_owned()).into());
    }
    Ok(())
}

fn limits(asked: &Asked, config: &Config) -> Result<Limits, SetupError> {
    let default = Limits::default();
    let most = 100_000_000;
    Ok(Limits {
        max_active: asked
            .max_active
            .or(config.count("JOURNEY_MAX_ACTIVE", 1, most)?)
            .unwrap_or(default.max_active)
            .max(1),
        max_finished: asked
            .max_finished
            .or(config.count("JOURNEY_MAX_FINISHED", 1, most)?)
            .unwrap_or(default.max_finished),
        retention: asked.retention.or(config.duration("JOURNEY_RETENTION")?).unwrap_or(default.retention),
        grace: asked.grace.or(config.duration("JOURNEY_GRACE")?).unwrap_or(default.grace),
        stuck_after: asked.stuck_after.or(config.duration("JOURNEY_STUCK_AFTER")?).unwrap_or(default.stuck_after),
    })
}

/// The declared routes (the built-in one where none is), and the open ones of flows.
fn routes(asked: Asked, config: &Config) -> Result<Routes, SetupError> {
    let mut routes = asked.routes;
    if routes.is_empty() {
        match config.list("JOURNEY_ROUTES") {
            None => routes.push(Route::message()),
            Some((items, given)) if items.is_empty() => return Err(given.wrong("names no route")),
            Some((items, _)) => {
                for item in items {
                    routes.push(if item == "message" {
                        Route::message()
                    } else {
                        Route::from_toml(&item, &read_text("JOURNEY_ROUTES", Path::new(&item))?)?
                    });
                }
            }
        }
    }
    for name in asked.flow_routes.into_iter().chain([FLOW_ROUTE.to_owned()]) {
        match routes.iter().find(|route| route.name() == name) {
            None => routes.push(open_route(&name)?),
            Some(route) if route.is_open() || name == FLOW_ROUTE => {}
            Some(_) => {
                let problem =
                    format!("`flow_route(\"{}\")` names a route that is declared with stages", name.escape_debug());
                return Err(Kind::Settings(problem).into());
            }
        }
    }
    let ttl = match asked.ttl {
        Some(ttl) if ttl.is_zero() => {
            let problem = "must be longer than zero".to_owned();
            return Err(
                Kind::Setting { place: Place::Code("ttl"), value: "0s".to_owned(), problem, example: "10m" }.into()
            );
        }
        Some(ttl) => Some(ttl),
        None => config.duration("JOURNEY_TTL")?,
    };
    if let Some(ttl) = ttl {
        routes = routes.into_iter().map(|route| route.with_ttl(ttl)).collect();
    }
    let name_on_spans = asked.name_on_spans.or(config.switch("JOURNEY_NAME_ON_SPANS")?).unwrap_or(false);
    let routes = if name_on_spans { Routes::told_apart_by_name(routes) } else { Routes::new(routes) };
    routes.map_err(|error: RouteError| error.into())
}

/// `Route::open` takes any name; a TOML route checks it, with the same words for the same mistake.
fn open_route(name: &str) -> Result<Route, SetupError> {
    let quoted = toml::Value::String(name.to_owned());
    Ok(Route::from_toml("flow_route", &format!("name = {quoted}\nopen = true"))?)
}

fn source(asked: &Asked, config: &Config) -> Source {
    let attributes = config.variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let pick = |code: &Option<String>, env: &'static str, otel: Option<String>, attribute: &str| {
        let code = code.clone().filter(|text| !text.trim().is_empty());
        code.or_else(|| config.get(env).map(|given| given.text))
            .or(otel)
            .or_else(|| resource_attribute(&attributes, attribute))
    };
    let service = pick(&asked.service, "JOURNEY_SERVICE", config.variable("OTEL_SERVICE_NAME"), "service.name");
    let version = pick(&asked.version, "JOURNEY_VERSION", None, "service.version");
    let instance = pick(&asked.instance, "JOURNEY_INSTANCE", None, "service.instance.id");
    let pid = std::process::id();
    let host = first_line("/proc/sys/kernel/hostname").or_else(|| config.variable("HOSTNAME"));
    Source {
        service: plain(service.unwrap_or_else(executable)),
        version: plain(version.unwrap_or_default()),
        instance: plain(instance.unwrap_or_else(|| format!("{}-{pid}", host.as_deref().unwrap_or("host")))),
        clock_domain: clock_domain(),
    }
}

/// One value of `OTEL_RESOURCE_ATTRIBUTES`: `key=value` pairs between commas, values percent-encoded.
fn resource_attribute(attributes: &str, key: &str) -> Option<String> {
    let pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
    let value = pairs.rev().find(|(name, _)| name.trim() == key)?.1;
    let value = percent_decoded(value.trim());
    (!value.is_empty()).then_some(value)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[2..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Names go into logs, pages and metrics: short, and without control characters.
fn plain(text: String) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect::<String>().trim().to_owned()
}

fn executable() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(Path::file_stem).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "unknown_service".to_owned())
}

fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(feature = "fmt")]
fn log_json(config: &Config) -> Result<bool, SetupError> {
    let Some(given) = config.get("JOURNEY_LOG_FORMAT") else { return Ok(false) };
    match given.text.to_ascii_lowercase().as_str() {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(given.wrong("is neither `text` nor `json`")),
    }
}

#[cfg(feature = "http")]
fn http(asked: &Asked, config: &Config) -> Result<Option<journey_http::HttpConfig>, SetupError> {
    let addr = match asked.http {
        Some(addr) => addr,
        None => config.address("JOURNEY_HTTP_ADDR")?.unwrap_or(Some(journey_http::HttpConfig::DEFAULT_ADDR)),
    };
    let Some(addr) = addr else { return Ok(None) };
    let (file, variable) = (config.secret_file("JOURNEY_HTTP_TOKEN_FILE")?, config.get("JOURNEY_HTTP_TOKEN"));
    if asked.http_token.is_none() && file.is_some() && variable.is_some() {
        let sentence = "both `JOURNEY_HTTP_TOKEN_FILE` and `JOURNEY_HTTP_TOKEN` are set (keep the file)".to_owned();
        return Err(Kind::Settings(sentence).into());
    }
    let token = asked.http_token.clone().or(file).or(variable.map(|given| given.text));
    let insecure = config.switch("JOURNEY_HTTP_INSECURE")?.unwrap_or(false);
    let allowed_hosts = config.list("JOURNEY_HTTP_ALLOWED_HOSTS").map(|(hosts, _)| hosts).unwrap_or_default();
    let mut http = journey_http::HttpConfig::default();
    (http.addr, http.token, http.insecure, http.allowed_hosts) = (addr, token, insecure, allowed_hosts);
    http.check().map_err(Kind::HttpConfig)?;
    Ok(Some(http))
}

#[cfg(feature = "otlp")]
fn export(code: Option<&str>, config: &Config) -> Result<Option<journey_otlp::OtlpConfig>, SetupError> {
    // What code says stands where the environment would say it, so there is one reader of these words.
    let variable = |name: &str| match (name, code) {
        ("JOURNEY_EXPORT", Some(code)) => Some(code.to_owned()),
        _ => config.variable(name),
    };
    journey_otlp::OtlpConfig::from_env(&variable).map_err(|error| Kind::Export(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pairs: &[(&str, &str)], ask: impl FnOnce(&mut Asked)) -> Result<Plan, SetupError> {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut asked = Asked { environment: Some(Environment::of_pairs(pairs)), ..Asked::default() };
        ask(&mut asked);
        Plan::resolve(asked)
    }

    #[test]
    fn code_comes_before_the_environment() {
        let plan = plan(&[("JOURNEY_RETENTION", "1m"), ("JOURNEY_GRACE", "3s"), ("JOURNEY_SERVICE", "env")], |asked| {
            asked.retention = Some(Duration::from_secs(7));
            asked.service = Some("code".to_owned());
        });
        let plan = plan.unwrap();
        assert_eq!((plan.limits.retention, plan.limits.grace), (Duration::from_secs(7), Duration::from_secs(3)));
        assert_eq!(plan.source.service, "code");
    }

    #[test]
    fn the_service_is_named_by_the_standard_variables_too() {
        let attributes = "service.name=a%20b,service.version=1.2,service.instance.id=i-1";
        let named = plan(&[("OTEL_RESOURCE_ATTRIBUTES", attributes)], |_| {}).unwrap().source;
        assert_eq!((named.service.as_str(), named.version.as_str(), named.instance.as_str()), ("a b", "1.2", "i-1"));
        let named =
            plan(&[("OTEL_RESOURCE_ATTRIBUTES", attributes), ("OTEL_SERVICE_NAME", "x")], |_| {}).unwrap().source;
        assert_eq!(named.service, "x");
        let unnamed = plan(&[], |_| {}).unwrap().source;
        assert!(!unnamed.service.is_empty() && !unnamed.instance.is_empty() && !unnamed.clock_domain.is_empty());
    }

    #[test]
    fn the_built_in_route_is_there_unless_others_are_declared_and_flows_always_have_one() {
        let names = |plan: Plan| plan.routes.iter().map(|(_, r)| r.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(plan(&[], |_| {}).unwrap()), ["message", "flow"]);
        let own = || Route::builder("own").stage("A", "a", |s| s).terminal("a").build().unwrap();
        let with_own = plan(&[], |asked| {
            asked.routes.push(own());
            asked.flow_routes.push("queue_command".to_owned());
        });
        assert_eq!(names(with_own.unwrap()), ["own", "queue_command", "flow"]);
        let ttl = plan(&[("JOURNEY_TTL", "90s")], |_| {}).unwrap();
        assert!(ttl.routes.iter().all(|(_, route)| route.ttl() == Duration::from_secs(90)));
        let twice = plan(&[], |asked| {
            asked.routes.push(own());
            asked.flow_routes.push("own".to_owned());
        });
        assert_eq!(twice.unwrap_err().to_string(), "`flow_route(\"own\")` names a route that is declared with stages");
        let odd = plan(&[], |asked| asked.flow_routes.push("a\n".to_owned())).unwrap_err();
        assert!(odd.to_string().contains("must be 1 to 64 bytes"), "{odd}");
    }

    #[test]
    fn a_route_file_that_is_missing_or_wrong_is_named() {
        let missing = plan(&[("JOURNEY_ROUTES", "message,/nowhere/publish.toml")], |_| {}).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "`JOURNEY_ROUTES` names the file `/nowhere/publish.toml`, which cannot be read"
        );
        assert!(missing.is_configuration());
        let none = plan(&[("JOURNEY_ROUTES", ",")], |_| {}).unwrap_err().to_string();
        assert_eq!(none, "`JOURNEY_ROUTES` is `,`, which names no route (try `message,/etc/journey/publish.toml`)");
    }

    #[cfg(feature = "http")]
    #[test]
    fn the_endpoint_is_off_where_code_or_environment_says_so() {
        assert!(plan(&[("JOURNEY_HTTP_ADDR", "off")], |_| {}).unwrap().http.is_none());
        assert!(plan(&[], |asked| asked.http = Some(None)).unwrap().http.is_none());
        let open = plan(&[("JOURNEY_HTTP_ADDR", "0.0.0.0:7117")], |_| {}).unwrap_err();
        assert!(open.is_configuration() && open.to_string().contains("JOURNEY_HTTP_TOKEN_FILE"), "{open}");
        assert_eq!(plan(&[], |_| {}).unwrap().http.unwrap().addr, journey_http::HttpConfig::DEFAULT_ADDR);
    }
}
