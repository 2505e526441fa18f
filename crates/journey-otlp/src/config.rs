//! What is exported, and where to.

use std::{fmt, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Uri};

use crate::policy::ExportPolicy;

/// Journeys that wait for export at most, per destination.
const DEFAULT_QUEUE_CAPACITY: usize = 2_048;
/// Journeys per request at most.
const DEFAULT_BATCH_SIZE: usize = 512;
/// A journey is looked up right after it happened: one second collects a batch under load and is not waited for by
/// anybody otherwise. (The SDKs' span processors wait 5 s.)
const DEFAULT_SCHEDULE_DELAY: Duration = Duration::from_secs(1);
/// The default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of `OTEL_METRIC_EXPORT_INTERVAL`.
const DEFAULT_METRIC_INTERVAL: Duration = Duration::from_secs(60);

/// What is exported, and where to.
///
/// Comes from the environment ([`OtlpConfig::from_env`]) or from code ([`OtlpConfig::to`], [`OtlpConfig::to_file`]);
/// every setting has both forms.
#[derive(Clone, PartialEq)]
pub struct OtlpConfig {
    pub(crate) policy: ExportPolicy,
    pub(crate) traces: Outputs,
    pub(crate) metrics: Outputs,
    pub(crate) file: Option<PathBuf>,
    pub(crate) histograms: HistogramForm,
    pub(crate) metric_interval: Duration,
    pub(crate) queue_capacity: usize,
    pub(crate) batch_size: usize,
    pub(crate) schedule_delay: Duration,
    pub(crate) service_name: Option<String>,
    pub(crate) resource: Vec<(String, String)>,
    /// What was ignored, as sentences.
    pub(crate) warnings: Vec<String>,
}

/// How requests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `http/protobuf`, the default.
    #[default]
    HttpProtobuf,
    /// `http/json`.
    HttpJson,
    /// `grpc`.
    Grpc,
}

/// How latencies are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistogramForm {
    /// Base-2 exponential buckets of scale 6, or the finest scale that needs at most 160 buckets. The default.
    #[default]
    Exponential,
    /// Buckets whose bounds are powers of two seconds; the counts are exact.
    Explicit,
}

/// A setting that cannot be used: names the setting, its value and a right example.
#[derive(Debug)]
pub struct ConfigError {
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Where one signal goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outputs {
    pub(crate) collector: Option<Collector>,
    /// Text for people, on standard output.
    pub(crate) console: bool,
    /// OTLP JSON lines, on standard output.
    pub(crate) stdout: bool,
}

/// A collector and how to talk to it.
#[derive(Clone, PartialEq)]
pub(crate) struct Collector {
    /// With scheme, authority and path.
    pub(crate) url: Uri,
    pub(crate) protocol: Protocol,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) gzip: bool,
    /// For all attempts at one export together; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    pub(crate) tls: TlsFiles,
}

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
}

/// One of the two things that are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
}

impl OtlpConfig {
    /// Journeys and metrics go to a collector, such as `http://localhost:4318`.
    ///
    /// The endpoint is a base address, as in `OTEL_EXPORTER_OTLP_ENDPOINT`: over HTTP, `v1/traces` and `v1/metrics` are
    /// appended to it.
    ///
    /// # Errors
    ///
    /// The endpoint is not an http or https address.
    pub fn to(endpoint: &str, protocol: Protocol) -> Result<Self, ConfigError> {
        let collector = |signal| {
            let url = base_url("endpoint", endpoint, protocol, signal, false)?;
            Ok(Outputs { collector: Some(Collector::new(url, protocol)), ..Outputs::default() })
        };
        Ok(Self { traces: collector(Signal::Traces)?, metrics: collector(Signal::Metrics)?, ..Self::empty() })
    }

    /// Journeys go into a file of OTLP JSON lines, and nowhere else.
    pub fn to_file(path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), ..Self::empty() }
    }

    /// Goes nowhere yet.
    pub(crate) fn empty() -> Self {
        Self {
            policy: ExportPolicy::All,
            traces: Outputs::default(),
            metrics: Outputs::default(),
            file: None,
            histograms: HistogramForm::default(),
            metric_interval: DEFAULT_METRIC_INTERVAL,
            queue_capacity: DEFAULT_QUEUE_CAPACITY,
            batch_size: DEFAULT_BATCH_SIZE,
            schedule_delay: DEFAULT_SCHEDULE_DELAY,
            service_name: None,
            resource: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Chooses the journeys that are exported (`JOURNEY_EXPORT`). Statistics always count all of them.
    ///
    /// Defaults to [`ExportPolicy::All`].
    #[must_use]
    pub fn policy(mut self, policy: ExportPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Writes exported journeys into a file of OTLP JSON lines as well, one journey a line (`JOURNEY_EXPORT_FILE`).
    ///
    /// The file is appended to and never rotated or limited.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Sends a header with every request (`OTEL_EXPORTER_OTLP_HEADERS`).
    ///
    /// # Errors
    ///
    /// The name or value cannot be a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let header = header("header", name, value)?;
        self.each_collector(|collector| collector.headers.push(header.clone()));
        Ok(self)
    }

    /// Compresses requests (`OTEL_EXPORTER_OTLP_COMPRESSION`): far fewer bytes for some CPU of the export thread.
    ///
    /// Defaults to off.
    #[must_use]
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.each_collector(|collector| collector.gzip = gzip);
        self
    }

    /// Limits the time for one export with all its attempts (`OTEL_EXPORTER_OTLP_TIMEOUT`). Zero is no limit: then a
    /// hung collector holds the export until it answers, and journeys beyond the queue are dropped.
    ///
    /// Defaults to 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.each_collector(|collector| collector.timeout = (!timeout.is_zero()).then_some(timeout));
        self
    }

    /// Trusts the certificates of a PEM file instead of those of the system (`OTEL_EXPORTER_OTLP_CERTIFICATE`).
    #[must_use]
    pub fn certificate(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.each_collector(|collector| collector.tls.certificate = Some(path.clone()));
        self
    }

    /// Shows the collector a certificate (`OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, `.._CLIENT_KEY`): PEM files.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        self.each_collector(|collector| {
            collector.tls.client_certificate = Some(certificate.clone());
            collector.tls.client_key = Some(key.clone());
        });
        self
    }

    /// Chooses how latencies are exported (`OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`).
    #[must_use]
    pub fn histograms(mut self, form: HistogramForm) -> Self {
        self.histograms = form;
        self
    }

    /// Sets how often metrics are exported (`OTEL_METRIC_EXPORT_INTERVAL`); 10 ms to a day.
    ///
    /// Defaults to 60 s.
    #[must_use]
    pub fn metric_interval(mut self, interval: Duration) -> Self {
        self.metric_interval = interval.clamp(Duration::from_millis(10), Duration::from_secs(86_400));
        self
    }

    /// Turns metrics off or leaves them as they are (`OTEL_METRICS_EXPORTER=none`).
    #[must_use]
    pub fn metrics(mut self, on: bool) -> Self {
        if !on {
            self.metrics = Outputs::default();
        }
        self
    }

    /// Sets how many journeys wait at most, per destination (`OTEL_BSP_MAX_QUEUE_SIZE`); later ones are dropped and
    /// counted. A waiting journey takes 1 to 2 KB.
    ///
    /// Defaults to 2048.
    #[must_use]
    pub fn queue_capacity(mut self, journeys: usize) -> Self {
        self.queue_capacity = journeys.max(1);
        self
    }

    /// Sets how many journeys one request carries at most (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
    ///
    /// Defaults to 512.
    #[must_use]
    pub fn batch_size(mut self, journeys: usize) -> Self {
        self.batch_size = journeys.max(1);
        self
    }

    /// Sets how long a journey waits for others to share its request (`OTEL_BSP_SCHEDULE_DELAY`); an hour at most.
    ///
    /// Defaults to 1 s.
    #[must_use]
    pub fn schedule_delay(mut self, delay: Duration) -> Self {
        self.schedule_delay = delay;
        self
    }

    /// Sets `service.name` of the resource; wins over everything else. Without it, `OTEL_SERVICE_NAME`, then
    /// `OTEL_RESOURCE_ATTRIBUTES`, then the service of the process count.
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Adds an attribute of the resource (`OTEL_RESOURCE_ATTRIBUTES`), such as `deployment.environment.name`.
    #[must_use]
    pub fn resource_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.resource.push((key.into(), value.into()));
        self
    }

    /// Sentences about settings that were ignored.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn each_collector(&mut self, change: impl Fn(&mut Collector)) {
        [&mut self.traces, &mut self.metrics].into_iter().filter_map(|one| one.collector.as_mut()).for_each(change);
    }
}

impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpConfig")
            .field("policy", &self.policy)
            .field("traces", &self.traces)
            .field("metrics", &self.metrics)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Outputs {
    pub(crate) fn is_empty(&self) -> bool {
        self.collector.is_none() && !self.console && !self.stdout
    }
}

impl Collector {
    pub(crate) fn new(url: Uri, protocol: Protocol) -> Self {
        let (headers, tls) = (Vec::new(), TlsFiles::default());
        Self { url, protocol, headers, gzip: false, timeout: Some(DEFAULT_TIMEOUT), tls }
    }

    /// Protocol and address, without what may be secret.
    pub(crate) fn shown(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or("http");
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let path = if self.protocol == Protocol::Grpc { "" } else { self.url.path() };
        format!("{} {scheme}://{authority}{path}", self.protocol)
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Signal {
    /// As in names of variables.
    pub(crate) fn upper(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    fn http_path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }

    pub(crate) fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

impl Protocol {
    pub(crate) fn default_endpoint(self) -> &'static str {
        match self {
            Self::Grpc => "http://localhost:4317",
            Self::HttpProtobuf | Self::HttpJson => "http://localhost:4318",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
            Self::Grpc => "grpc",
        })
    }
}

impl ConfigError {
    pub(crate) fn new(setting: &str, value: &str, problem: &str) -> Self {
        let value: String = value.chars().take(200).collect();
        Self { text: format!("`{setting}` is `{}`, {problem}", value.escape_debug()), source: None }
    }

    /// About a setting whose value is not repeated, since it may hold a secret.
    pub(crate) fn unspoken(setting: &str, problem: &str) -> Self {
        Self { text: format!("`{setting}` {problem}"), source: None }
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// Address of a signal below a base address. `insecure` counts for gRPC without a scheme.
pub(crate) fn base_url(
    setting: &str,
    base: &str,
    protocol: Protocol,
    signal: Signal,
    insecure: bool,
) -> Result<Uri, ConfigError> {
    if protocol == Protocol::Grpc {
        return signal_url(setting, base, protocol, signal, insecure);
    }
    let url = checked_url(setting, base, protocol)?;
    let path = format!("{}/{}", url.path().trim_end_matches('/'), signal.http_path());
    with_path(setting, base, url, &path)
}

/// Address of a signal, as it was given for the signal.
pub(crate) fn signal_url(
    setting: &str,
    url: &str,
    protocol: Protocol,
    signal: Signal,
    insecure: bool,
) -> Result<Uri, ConfigError> {
    if protocol != Protocol::Grpc {
        return checked_url(setting, url, protocol);
    }
    let with_scheme = match url.contains("://") {
        true => url.to_owned(),
        false => format!("{}://{url}", if insecure { "http" } else { "https" }),
    };
    let checked = checked_url(setting, &with_scheme, protocol)?;
    with_path(setting, url, checked, signal.grpc_path())
}

fn checked_url(setting: &str, text: &str, protocol: Protocol) -> Result<Uri, ConfigError> {
    let example = protocol.default_endpoint();
    let url: Uri = text.parse().map_err(|error: http::uri::InvalidUri| {
        ConfigError::new(setting, text, &format!("which is not an address (try `{example}`)")).caused_by(error)
    })?;
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let problem = "holds a user or password, which is not supported (try `OTEL_EXPORTER_OTLP_HEADERS`)";
        return Err(ConfigError::unspoken(setting, problem));
    }
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    if !known || url.host().is_none_or(str::is_empty) {
        return Err(ConfigError::new(
            setting,
            text,
            &format!("which is not an http or https address (try `{example}`)"),
        ));
    }
    Ok(url)
}

fn with_path(setting: &str, text: &str, url: Uri, path: &str) -> Result<Uri, ConfigError> {
    let mut parts = url.into_parts();
    let query = parts.path_and_query.as_ref().and_then(|old| old.query()).map(|query| format!("?{query}"));
    let invalid = |error: http::Error| ConfigError::new(setting, text, "which is not an address").caused_by(error);
    let path = format!("{path}{}", query.unwrap_or_default());
    parts.path_and_query = Some(path.parse().map_err(|error: http::uri::InvalidUri| invalid(error.into()))?);
    Uri::from_parts(parts).map_err(|error| invalid(error.into()))
}

/// A header; an error never repeats the value.
pub(crate) fn header(setting: &str, name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ConfigError> {
    let name = HeaderName::try_from(name)
        .map_err(|error| ConfigError::new(setting, name, "which is no header name (try `api-key`)").caused_by(error))?;
    let mut value = HeaderValue::try_from(value).map_err(|error| {
        ConfigError::unspoken(setting, &format!("has a value of `{name}` that no header can have")).caused_by(error)
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}
