//! Every setting, declared once: the reference page, the error messages and the check for unknown names come from here.

use std::fmt::Write as _;

/// One setting.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Setting {
    /// Environment variable.
    pub env: &'static str,
    /// Key in the file that `JOURNEY_CONFIG` names; `None` where only the environment can say it.
    pub key: Option<&'static str>,
    /// What holds where nothing is said, in words or as a value.
    pub default: &'static str,
    /// A right value.
    pub example: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Who reads it.
    pub group: SettingGroup,
}

/// Who reads a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingGroup {
    /// Which process this is.
    Process,
    /// Routes, and what is kept of journeys.
    Journeys,
    /// What the layer takes from spans.
    Layer,
    /// The log.
    Log,
    /// The debug endpoint.
    Http,
    /// Export by OTLP.
    Export,
    /// Events that outlive the process.
    Store,
    /// The standard variables of OpenTelemetry that are honoured.
    OpenTelemetry,
    /// The `journey` command.
    Command,
}

/// Every setting, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    env_only(
        SettingGroup::Process,
        "JOURNEY_CONFIG",
        "none",
        "/etc/journey.toml",
        "TOML file with settings: the names below, lowercase and without `JOURNEY_`, such as `ttl = \"10m\"`.",
    ),
    both(
        SettingGroup::Process,
        "JOURNEY_SERVICE",
        "service",
        "`OTEL_SERVICE_NAME`, else the name of the executable",
        "gateway",
        "Name of the service, as it stands on every checkpoint.",
    ),
    both(SettingGroup::Process, "JOURNEY_VERSION", "version", "none", "1.4.2", "Version of the service."),
    both(
        SettingGroup::Process,
        "JOURNEY_INSTANCE",
        "instance",
        "host name and process id",
        "gateway-1",
        "Which instance of the service this process is.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_ROUTES",
        "routes",
        "message",
        "message,/etc/journey/publish.toml",
        "Active routes, separated by commas: TOML files, and `message` for the built-in route.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_NAME_ON_SPANS",
        "name_on_spans",
        "off",
        "on",
        "Lets routes claim one stage name together: spans say which route they mean in the field `journey.name`.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_TTL",
        "ttl",
        "what the route says (5m)",
        "10m",
        "How long a journey of any route may go without a checkpoint before it expires.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_RETENTION",
        "retention",
        "5m",
        "15m",
        "How long a finished journey stays readable. More costs memory in proportion to the rate of journeys.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_MAX_ACTIVE",
        "max_active",
        "100000",
        "20000",
        "Open journeys at most; beyond, the one idle longest is evicted and counted.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_MAX_FINISHED",
        "max_finished",
        "20000",
        "5000",
        "Finished journeys kept at most, whatever the retention says.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_GRACE",
        "grace",
        "1s",
        "2s",
        "How long a finished journey with a gap waits for checkpoints still on their way before it is counted and exported.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_STUCK_AFTER",
        "stuck_after",
        "30s",
        "2m",
        "How long an open journey may make no progress before it is called stuck.",
    ),
    both(
        SettingGroup::Journeys,
        "JOURNEY_TRACE_ID_KEY_FILE",
        "trace_id_key_file",
        "none",
        "/run/secrets/journey_trace_key",
        "File with a secret text behind the trace ids of exported journeys; the same in all processes that export parts of one journey.",
    ),
    both(
        SettingGroup::Layer,
        "JOURNEY_LEVEL",
        "level",
        "info",
        "debug",
        "The most verbose level that stage spans may have: `error`, `warn`, `info`, `debug` or `trace`.",
    ),
    both(
        SettingGroup::Layer,
        "JOURNEY_QUEUE",
        "queue",
        "16384",
        "65536",
        "Checkpoints that may wait for the tracker, 64 to 1048576; beyond, new ones are dropped and counted as `queue_full`.",
    ),
    both(
        SettingGroup::Layer,
        "JOURNEY_WITHIN",
        "within",
        "off",
        "on",
        "Sums the time of database, HTTP and RPC client spans inside each stage.",
    ),
    both(
        SettingGroup::Log,
        "JOURNEY_LOG_SUMMARY",
        "log_summary",
        "on",
        "off",
        "One event `journey_timing` per finished journey: debug normally, warn when slow or failed, error beyond the route's deadline. Its target is `journey_timing`.",
    ),
    both(
        SettingGroup::Log,
        "JOURNEY_LOG_FORMAT",
        "log_format",
        "text",
        "json",
        "How `init` and `install` write the log on stderr: `text` or `json` (cargo feature `fmt`).",
    ),
    env_only(
        SettingGroup::Log,
        "RUST_LOG",
        "info",
        "warn,my_crate=debug",
        "Which spans and events the log of `init` and `install` shows. It filters the log only, never the stages (cargo feature `fmt`).",
    ),
    both(
        SettingGroup::Http,
        "JOURNEY_HTTP_ADDR",
        "http_addr",
        "127.0.0.1:7117",
        "127.0.0.1:0",
        "Where the debug endpoint listens, or `off`. Port 0 takes any free port.",
    ),
    both(
        SettingGroup::Http,
        "JOURNEY_HTTP_TOKEN_FILE",
        "http_token_file",
        "none",
        "/run/secrets/journey_token",
        "File with the bearer token that requests must carry. Needed for any address that is not loopback.",
    ),
    env_only(
        SettingGroup::Http,
        "JOURNEY_HTTP_TOKEN",
        "none",
        "a long random text",
        "The bearer token itself; a file is better, since other processes may read an environment.",
    ),
    both(
        SettingGroup::Http,
        "JOURNEY_HTTP_INSECURE",
        "http_insecure",
        "off",
        "on",
        "Allows an address that is not loopback without a token.",
    ),
    both(
        SettingGroup::Http,
        "JOURNEY_HTTP_ALLOWED_HOSTS",
        "http_allowed_hosts",
        "none",
        "journey.internal,10.0.0.5",
        "Host names, separated by commas, under which requests may come besides loopback.",
    ),
    both(
        SettingGroup::Export,
        "JOURNEY_EXPORT",
        "export",
        "all",
        "slow_failed",
        "Which finished journeys are exported as traces: `all`, `slow_failed`, `ratio:0.1` or `none`. Metrics always count all.",
    ),
    both(
        SettingGroup::Export,
        "JOURNEY_EXPORT_FILE",
        "export_file",
        "none",
        "/var/log/journey.jsonl",
        "File to which finished journeys are appended as lines of OTLP JSON.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE",
        "store",
        "none: nothing is stored",
        "/var/lib/journey/events",
        "Where events are stored: a folder (SQLite), or `postgresql://user:password@host:5432/database` (cargo features `store` and `postgres`). The `journey` command reads from there too.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE_FILE",
        "store_file",
        "none",
        "/run/secrets/journey_store",
        "File with the place of the store, for one with a password.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE_RETENTION",
        "store_retention",
        "90d",
        "30d",
        "How long events are kept; whole days (UTC) are dropped.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE_DURABILITY",
        "store_durability",
        "normal in SQLite, power_loss in PostgreSQL",
        "power_loss",
        "What a stored event survives: `normal` (a crash of the process) or `power_loss` (also one of the machine).",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE_SPILL",
        "store_spill",
        "none",
        "/var/lib/journey/gateway.spill",
        "File that keeps events while the store is away; each process needs its own.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE_SPILL_MIB",
        "store_spill_mib",
        "256",
        "1024",
        "The most MiB of that file.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE_REDACT",
        "store_redact",
        "on",
        "off",
        "Takes secrets and card numbers out of events before they leave the process.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_STORE_REDACT_KEYS",
        "store_redact_keys",
        "none",
        "tenant name,iban",
        "Words, separated by commas: the value of every key that contains one is redacted too.",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_LIVE",
        "live",
        "none",
        "nats://127.0.0.1:4222",
        "Where events are published live, best effort: `redis://host:6379` or `nats://host:4222`, with options such as `?keep=1h` (cargo feature `live`).",
    ),
    both(
        SettingGroup::Store,
        "JOURNEY_LIVE_FILE",
        "live_file",
        "none",
        "/run/secrets/journey_live",
        "File with that address, for one with a password.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_SERVICE_NAME",
        "none",
        "gateway",
        "Name of the service where `JOURNEY_SERVICE` is not set.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_RESOURCE_ATTRIBUTES",
        "none",
        "service.version=1.4.2,service.instance.id=gateway-1",
        "Service name, version and instance where nothing above names them; all of it goes out with exports.",
    ),
    env_only(SettingGroup::OpenTelemetry, "OTEL_SDK_DISABLED", "false", "true", "`true` turns export off."),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_TRACES_EXPORTER",
        "otlp where an endpoint is set, else none",
        "otlp",
        "`otlp`, `console` or `none` for finished journeys.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_METRICS_EXPORTER",
        "otlp where an endpoint is set, else none",
        "otlp",
        "`otlp` or `none` for metrics.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_METRIC_EXPORT_INTERVAL",
        "60000",
        "10000",
        "Milliseconds between two exports of metrics.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "none: nothing is exported",
        "http://127.0.0.1:4317",
        "Where traces and metrics go. Setting it turns export on.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "the endpoint above",
        "http://127.0.0.1:4318/v1/traces",
        "Where traces go; used as it is.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "the endpoint above",
        "http://127.0.0.1:4318/v1/metrics",
        "Where metrics go; used as it is.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "grpc",
        "`grpc` or `http/protobuf`; `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` and `..._METRICS_PROTOCOL` say it per signal.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_HEADERS",
        "none",
        "authorization=Bearer%20secret",
        "Headers of every request; never shown anywhere.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "10000",
        "3000",
        "Milliseconds one request may take.",
    ),
    env_only(SettingGroup::OpenTelemetry, "OTEL_EXPORTER_OTLP_COMPRESSION", "none", "gzip", "`gzip` or `none`."),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_INSECURE",
        "false",
        "true",
        "`true` sends gRPC without TLS where the endpoint has no scheme.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "the system's roots",
        "/etc/ssl/collector.pem",
        "PEM file with the roots that are trusted.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "none",
        "/etc/ssl/client.pem",
        "PEM file with the certificate of this client.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "none",
        "/etc/ssl/client.key",
        "PEM file with the key of that certificate.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "cumulative",
        "cumulative",
        "How metrics add up over time.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "base2_exponential_bucket_histogram",
        "explicit_bucket_histogram",
        "Form of the latency histograms.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "2048",
        "8192",
        "Finished journeys that may wait for the exporter; beyond, new ones are dropped and counted.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "512",
        "256",
        "Journeys in one request at most.",
    ),
    env_only(
        SettingGroup::OpenTelemetry,
        "OTEL_BSP_SCHEDULE_DELAY",
        "1000",
        "5000",
        "Milliseconds a finished journey waits for others to share its request.",
    ),
    env_only(
        SettingGroup::Command,
        "JOURNEY_URL",
        "http://127.0.0.1:7117",
        "http://127.0.0.1:7118",
        "Which debug endpoint the `journey` command asks.",
    ),
    env_only(
        SettingGroup::Command,
        "JOURNEY_TOKEN_FILE",
        "none",
        "/run/secrets/journey_token",
        "File with the bearer token that the `journey` command sends.",
    ),
    env_only(
        SettingGroup::Command,
        "JOURNEY_TOKEN",
        "none",
        "a long random text",
        "The token itself; a file is better.",
    ),
];

/// Writes the reference page `docs/configuration.md` from [`SETTINGS`].
pub fn settings_page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Written from the list in crates/tracing-journey/src/settings.rs; a test compares them. Run\n     \
         `UPDATE_DOCS=1 cargo test -p tracing-journey --test configuration_page` after a change there. -->\n\n\
         What code says (`tracing_journey::builder()`) comes first, then the environment, then the TOML file that\n\
         `JOURNEY_CONFIG` names. An empty variable counts as not set. A value that does not fit is an error that names the\n\
         variable (or the file and key), the value and a right one. A key of the file that nobody knows is an error; an\n\
         unknown `JOURNEY_` variable is a warning in the log and in `/api/v2/metrics/self`.\n\n\
         Durations are written `50ms`, `90s`, `5m` or `1h30m`; switches are `on` or `off`; lists are separated by commas in\n\
         the environment and are arrays in the file.\n",
    );
    let mut group = None;
    for setting in SETTINGS {
        if group != Some(setting.group) {
            group = Some(setting.group);
            let title = setting.group.title();
            // A String takes every write.
            let _ = write!(
                page,
                "\n## {title}\n\n| variable | key in the file | default | example | what it does |\n|---|---|---|---|---|\n"
            );
        }
        let Setting { env, key, default, example, help, .. } = setting;
        let key = key.map_or_else(|| "-".to_owned(), |key| format!("`{key}`"));
        let _ = writeln!(page, "| `{env}` | {key} | {default} | `{example}` | {help} |");
    }
    page
}

/// Finds a setting by its variable.
pub(crate) fn setting(env: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.env == env)
}

const fn both(
    group: SettingGroup,
    env: &'static str,
    key: &'static str,
    default: &'static str,
    example: &'static str,
    help: &'static str,
) -> Setting {
    Setting { env, key: Some(key), default, example, help, group }
}

const fn env_only(
    group: SettingGroup,
    env: &'static str,
    default: &'static str,
    example: &'static str,
    help: &'static str,
) -> Setting {
    Setting { env, key: None, default, example, help, group }
}

impl SettingGroup {
    fn title(self) -> &'static str {
        match self {
            Self::Process => "The process",
            Self::Journeys => "Routes and journeys",
            Self::Layer => "The layer",
            Self::Log => "The log",
            Self::Http => "The debug endpoint",
            Self::Export => "Export",
            Self::Store => "Stored events",
            Self::OpenTelemetry => "Standard variables of OpenTelemetry",
            Self::Command => "The `journey` command",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_variables_without_their_prefix() {
        for setting in SETTINGS {
            if let Some(key) = setting.key {
                assert_eq!(Some(key.to_uppercase().as_str()), setting.env.strip_prefix("JOURNEY_"), "{}", setting.env);
            }
            assert!(setting.help.ends_with('.') && !setting.help.contains('|'), "{}", setting.env);
        }
    }

    #[test]
    fn a_slip_of_the_hand_finds_the_name_that_was_meant() {
        use journey_core::closest;
        let known = || SETTINGS.iter().map(|setting| setting.env);
        assert_eq!(closest("JOURNEY_RETENTON", known()), Some("JOURNEY_RETENTION"));
        assert_eq!(closest("JOURNEY_HTTP_ADDRESS", known()), Some("JOURNEY_HTTP_ADDR"));
        assert_eq!(closest("SOMETHING_ELSE_ENTIRELY", known()), None);
    }
}
