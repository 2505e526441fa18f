//! The environment as a configuration.
//!
//! Standard `OTEL_*` variables follow the rules of the OpenTelemetry specification: an empty value is an unset one, and a
//! number, switch or word that cannot be read is ignored with a warning (see [`OtlpConfig::warnings`]; it is also shown
//! by the exporter's report). Three kinds are errors instead, since ignoring them would send data to a place or in a way
//! that nobody asked for: addresses, headers and certificate files. `JOURNEY_*` variables are always read strictly.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{
        Collector, ConfigError, HistogramForm, OtlpConfig, Outputs, Protocol, Signal, base_url, header, signal_url,
    },
    policy::ExportPolicy,
};

impl OtlpConfig {
    /// Reads the environment; `None` where it asks for no export.
    ///
    /// Exporting is on when `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one of a signal), `OTEL_TRACES_EXPORTER`,
    /// `OTEL_METRICS_EXPORTER` or `JOURNEY_EXPORT_FILE` is set; a bare process exports nothing. `OTEL_SDK_DISABLED=true`
    /// turns everything off.
    ///
    /// # Errors
    ///
    /// A `JOURNEY_*` variable, an address or a header that cannot be used. Other `OTEL_*` values that cannot be read are
    /// ignored and listed in [`OtlpConfig::warnings`].
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let mut reader = Reader { env, warnings: Vec::new() };
        if reader.switch("OTEL_SDK_DISABLED") {
            return Ok(None);
        }
        let mut config = Self::empty();
        if let Some(policy) = reader.text("JOURNEY_EXPORT") {
            config.policy = policy.parse::<ExportPolicy>()?;
        }
        config.file = reader.text("JOURNEY_EXPORT_FILE").map(PathBuf::from);
        config.traces = reader.outputs(Signal::Traces)?;
        config.metrics = reader.outputs(Signal::Metrics)?;
        reader.sizes(&mut config);
        reader.resource(&mut config);
        if reader.text("OTEL_CONFIG_FILE").is_some() {
            reader.warn("OTEL_CONFIG_FILE is not supported; the other OTEL_* variables are used");
        }
        config.warnings = reader.warnings;
        let nowhere = config.traces.is_empty() && config.metrics.is_empty() && config.file.is_none();
        Ok((!nowhere).then_some(config))
    }
}

struct Reader<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    /// A variable that is set and not empty.
    fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The variable of a signal, else the one for all signals, with its name.
    fn of_signal(&self, signal: Signal, option: &str) -> Option<(String, String)> {
        let names = [format!("OTEL_EXPORTER_OTLP_{}_{option}", signal.upper()), format!("OTEL_EXPORTER_OTLP_{option}")];
        names.into_iter().find_map(|name| self.text(&name).map(|value| (name, value)))
    }

    fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        // One variable can be read for both signals.
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    fn ignore(&mut self, name: &str, value: &str, problem: &str) {
        let value: String = value.chars().take(200).collect();
        self.warn(format!("{name} is ignored: `{}` {problem}", value.escape_debug()));
    }

    fn switch(&mut self, name: &str) -> bool {
        let Some(value) = self.text(name) else { return false };
        self.read_switch(name, &value)
    }

    fn read_switch(&mut self, name: &str, value: &str) -> bool {
        if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") {
            self.ignore(name, value, "is not a switch (try `true` or `false`)");
        }
        value.eq_ignore_ascii_case("true")
    }

    fn number(&mut self, name: &str, value: &str, example: u64) -> Option<u64> {
        let number = value.parse().ok();
        if number.is_none() {
            self.ignore(name, value, &format!("is not a whole number of at least 0 (try `{example}`)"));
        }
        number
    }

    fn outputs(&mut self, signal: Signal) -> Result<Outputs, ConfigError> {
        let name = format!("OTEL_{}_EXPORTER", signal.upper());
        let mut outputs = Outputs::default();
        let Some(list) = self.text(&name) else {
            if self.of_signal(signal, "ENDPOINT").is_some() {
                outputs.collector = Some(self.collector(signal)?);
            }
            return Ok(outputs);
        };
        for word in list.split(',').map(|word| word.trim().to_ascii_lowercase()) {
            match (word.as_str(), signal) {
                ("otlp", _) => outputs.collector = Some(self.collector(signal)?),
                ("console", _) => outputs.console = true,
                ("otlp/stdout", _) => outputs.stdout = true,
                // `/metrics` of the debug endpoint is there anyway.
                ("none" | "", _) | ("prometheus", Signal::Metrics) => {}
                _ => self.ignore(&name, &word, "is not an exporter known here (try `otlp`, `console` or `none`)"),
            }
        }
        Ok(outputs)
    }

    fn collector(&mut self, signal: Signal) -> Result<Collector, ConfigError> {
        let protocol = self.protocol(signal);
        let insecure = match self.of_signal(signal, "INSECURE") {
            Some((name, value)) => self.read_switch(&name, &value),
            None => false,
        };
        let own_name = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.upper());
        let url = match (self.text(&own_name), self.text("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(own), _) => signal_url(&own_name, &own, protocol, signal, insecure)?,
            (None, Some(base)) => base_url("OTEL_EXPORTER_OTLP_ENDPOINT", &base, protocol, signal, insecure)?,
            (None, None) => base_url("the default endpoint", protocol.default_endpoint(), protocol, signal, false)?,
        };
        let mut collector = Collector::new(url, protocol);
        if let Some((name, value)) = self.of_signal(signal, "HEADERS") {
            collector.headers = headers(&name, &value)?;
        }
        if let Some((name, value)) = self.of_signal(signal, "COMPRESSION") {
            match value.to_ascii_lowercase().as_str() {
                "gzip" => collector.gzip = true,
                "none" => {}
                _ => self.ignore(&name, &value, "is not a compression known here (try `gzip` or `none`)"),
            }
        }
        if let Some((name, value)) = self.of_signal(signal, "TIMEOUT")
            && let Some(millis) = self.number(&name, &value, 10_000)
        {
            collector.timeout = (millis > 0).then(|| Duration::from_millis(millis));
        }
        let file = |option| self.of_signal(signal, option).map(|(_, value)| PathBuf::from(value));
        collector.tls.certificate = file("CERTIFICATE");
        collector.tls.client_key = file("CLIENT_KEY");
        collector.tls.client_certificate = file("CLIENT_CERTIFICATE");
        Ok(collector)
    }

    fn protocol(&mut self, signal: Signal) -> Protocol {
        let Some((name, value)) = self.of_signal(signal, "PROTOCOL") else { return Protocol::default() };
        match value.to_ascii_lowercase().as_str() {
            "http/protobuf" => Protocol::HttpProtobuf,
            "http/json" => Protocol::HttpJson,
            "grpc" => Protocol::Grpc,
            _ => {
                self.ignore(&name, &value, "is not a protocol (try `http/protobuf`, `http/json` or `grpc`)");
                Protocol::default()
            }
        }
    }

    fn sizes(&mut self, config: &mut OtlpConfig) {
        let mut number = |name: &str, example| {
            let value = self.text(name)?;
            self.number(name, &value, example)
        };
        if let Some(millis) = number("OTEL_METRIC_EXPORT_INTERVAL", 60_000) {
            *config = config.clone().metric_interval(Duration::from_millis(millis));
        }
        if let Some(millis) = number("OTEL_BSP_SCHEDULE_DELAY", 1_000) {
            config.schedule_delay = Duration::from_millis(millis);
        }
        if let Some(journeys) = number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048) {
            // A number beyond this is a mistake that would cost the host its memory.
            config.queue_capacity = journeys.clamp(1, 1_000_000) as usize;
        }
        if let Some(journeys) = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512) {
            config.batch_size = journeys.clamp(1, 1_000_000) as usize;
        }
        let aggregation = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        if let Some(value) = self.text(aggregation) {
            match value.to_ascii_lowercase().as_str() {
                "explicit_bucket_histogram" => config.histograms = HistogramForm::Explicit,
                "base2_exponential_bucket_histogram" => {}
                _ => self.ignore(
                    aggregation,
                    &value,
                    "is not an aggregation (try `base2_exponential_bucket_histogram` or `explicit_bucket_histogram`)",
                ),
            }
        }
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        if let Some(value) = self.text(temporality)
            && !value.eq_ignore_ascii_case("cumulative")
        {
            self.ignore(temporality, &value, "is not supported, metrics stay cumulative (try `cumulative`)");
        }
    }

    fn resource(&mut self, config: &mut OtlpConfig) {
        config.service_name = self.text("OTEL_SERVICE_NAME");
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let Some(list) = self.text(name) else { return };
        match pairs(&list) {
            Some(attributes) => config.resource = attributes,
            None => self.ignore(name, &list, "is not a list of percent-encoded pairs (try `team=chat,region=eu%2C1`)"),
        }
    }
}

fn headers(setting: &str, list: &str) -> Result<Vec<(http::HeaderName, http::HeaderValue)>, ConfigError> {
    let pairs = pairs(list).ok_or_else(|| {
        ConfigError::unspoken(setting, "is not a list of percent-encoded pairs (try `api-key=secret,tenant=one`)")
    })?;
    pairs.iter().map(|(key, value)| header(setting, key, value)).collect()
}

/// Reads `key=value,key=value`, both percent-encoded; `None` where any of it cannot be read.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=')?;
            let (key, value) = (percent_decoded(key.trim())?, percent_decoded(value.trim())?);
            (!key.is_empty()).then_some((key, value))
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<OtlpConfig>, ConfigError> {
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        OtlpConfig::from_env(&find)
    }

    fn on(pairs: &[(&str, &str)]) -> OtlpConfig {
        read(pairs).unwrap().unwrap()
    }

    /// Where traces and metrics go.
    fn places(pairs: &[(&str, &str)]) -> String {
        let Some(config) = read(pairs).unwrap() else { return "off".to_owned() };
        let place = |outputs: &Outputs| {
            let collector =
                outputs.collector.as_ref().map(|collector| format!("{} {}", collector.protocol, collector.url));
            let words = [(outputs.console, "console"), (outputs.stdout, "stdout")];
            let words = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.to_owned());
            collector.into_iter().chain(words).collect::<Vec<_>>().join("+")
        };
        format!("{} | {}", place(&config.traces), place(&config.metrics))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");

    #[test]
    fn a_bare_process_exports_nothing() {
        for pairs in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_EXPORTER_OTLP_HEADERS", "a=b"), ("JOURNEY_EXPORT", "all"), ("OTEL_SERVICE_NAME", "x")],
            &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none"), ENDPOINT],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
        ] {
            assert_eq!(places(pairs), "off", "{pairs:?}");
        }
    }

    #[test]
    fn addresses_follow_the_specification() {
        let own = |url| ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url);
        let base = |url| ("OTEL_EXPORTER_OTLP_ENDPOINT", url);
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC");
        let service = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let metrics_service = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        let cases: &[(&[(&str, &str)], String)] = &[
            (&[ENDPOINT], "http/protobuf http://c:4318/v1/traces | http/protobuf http://c:4318/v1/metrics".into()),
            (
                &[base("http://c/otlp/"), ("OTEL_METRICS_EXPORTER", "none")],
                "http/protobuf http://c/otlp/v1/traces | ".into(),
            ),
            (
                &[base("http://c/otlp?k=v"), ("OTEL_METRICS_EXPORTER", "none")],
                "http/protobuf http://c/otlp/v1/traces?k=v | ".into(),
            ),
            // The address of a signal is used as it is; only an empty path becomes `/`.
            (&[own("https://c:1/custom")], "http/protobuf https://c:1/custom | ".into()),
            (&[own("http://c")], "http/protobuf http://c/ | ".into()),
            (&[own("http://t"), ENDPOINT], "http/protobuf http://t/ | http/protobuf http://c:4318/v1/metrics".into()),
            (
                &[grpc, base("http://c:4317/ignored")],
                format!("grpc http://c:4317{service} | grpc http://c:4317{metrics_service}"),
            ),
            (&[grpc, own("c:4317")], format!("grpc https://c:4317{service} | ")),
            (
                &[grpc, own("c:4317"), ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true")],
                format!("grpc http://c:4317{service} | "),
            ),
            (
                &[grpc, own("https://c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
                format!("grpc https://c:4317{service} | "),
            ),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], "http/protobuf http://localhost:4318/v1/traces | ".into()),
            (&[("OTEL_METRICS_EXPORTER", "otlp"), grpc], format!(" | grpc http://localhost:4317{metrics_service}")),
            (
                &[("OTEL_TRACES_EXPORTER", "console, otlp/stdout"), ("OTEL_METRICS_EXPORTER", "console,prometheus")],
                "console+stdout | console".into(),
            ),
            (
                &[ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"), ("OTEL_METRICS_EXPORTER", "none")],
                "http/json http://c:4318/v1/traces | ".into(),
            ),
            (&[("JOURNEY_EXPORT_FILE", "j.jsonl")], " | ".into()),
        ];
        for (pairs, expected) in cases {
            assert_eq!(places(pairs), *expected, "{pairs:?}");
        }
    }

    #[test]
    fn options_have_their_defaults_and_an_empty_one_is_unset() {
        let collector = |pairs: &[(&str, &str)]| {
            let all: Vec<_> = [ENDPOINT].iter().chain(pairs).copied().collect();
            let config = on(&all);
            assert_eq!(config.warnings, [""; 0], "{pairs:?}");
            config.traces.collector.unwrap()
        };
        let name = |option| format!("OTEL_EXPORTER_OTLP_{option}");
        let plain = collector(&[]);
        assert_eq!((plain.gzip, plain.timeout, plain.headers.len()), (false, Some(Duration::from_secs(10)), 0));
        for option in ["COMPRESSION", "TIMEOUT", "HEADERS", "PROTOCOL", "INSECURE", "CERTIFICATE", "CLIENT_KEY"] {
            assert_eq!(collector(&[(&name(option), " ")]), plain, "{option}");
        }
        assert_eq!(collector(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]), plain);
        assert!(collector(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "GZip")]).gzip);
        assert_eq!(collector(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]).timeout, None);
        let both = [("OTEL_EXPORTER_OTLP_TIMEOUT", "5"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7")];
        assert_eq!(collector(&both).timeout, Some(Duration::from_millis(7)));
        let headers = collector(&[("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20a%3Db, x = 1=2 ,")]).headers;
        let shown: Vec<_> = headers.iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
        assert_eq!(shown, ["authorization: Basic a=b", "x: 1=2"]);
        let tls =
            collector(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca"), ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "k")]).tls;
        assert_eq!((tls.certificate, tls.client_key), (Some("ca".into()), Some("k".into())));
    }

    #[test]
    fn standard_values_that_cannot_be_read_are_ignored_with_a_warning() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
            ("OTEL_SDK_DISABLED", "1"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "linear"),
        ] {
            let config = on(&[ENDPOINT, (name, value)]);
            let [warning] = config.warnings.as_slice() else { panic!("{name}: {:?}", config.warnings) };
            assert!(
                warning.starts_with(&format!("{name} is ignored: `{value}` ")) && warning.contains("try `"),
                "{warning}"
            );
            let plain = OtlpConfig { warnings: Vec::new(), ..config };
            assert_eq!(plain, on(&[ENDPOINT]), "{name}");
        }
        assert_eq!(on(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin,otlp")]).warnings.len(), 1);
    }

    #[test]
    fn what_would_send_data_elsewhere_or_is_ours_is_an_error_that_names_it() {
        for (name, value, part) in [
            ("JOURNEY_EXPORT", "some", "`slow_failed`"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "try `http://localhost:4318`"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c", "which is not an http or https address"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "is not an"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b", "is not an address"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}` is `{value}`")) && error.contains(part), "{error}");
        }
        let secret = [ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", "secret")];
        let error = read(&secret).unwrap_err().to_string();
        assert!(
            error.starts_with("`OTEL_EXPORTER_OTLP_HEADERS` is not a list") && !error.contains(" `secret"),
            "{error}"
        );
        let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:pass@c")]).unwrap_err().to_string();
        assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("pass@"), "{error}");
    }

    #[test]
    fn the_rest_is_read_too() {
        let config = on(&[
            ENDPOINT,
            ("JOURNEY_EXPORT", "ratio:0.25"),
            ("JOURNEY_EXPORT_FILE", "/tmp/j.jsonl"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "7"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3"),
            ("OTEL_SERVICE_NAME", "gateway"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=chat%2C1,%6bey=va%3Dlue"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
            ("OTEL_CONFIG_FILE", "x.yaml"),
        ]);
        assert_eq!(config.policy, ExportPolicy::Ratio(0.25));
        assert_eq!(config.file, Some("/tmp/j.jsonl".into()));
        assert_eq!((config.metric_interval, config.schedule_delay), (Duration::from_secs(5), Duration::from_millis(7)));
        assert_eq!((config.queue_capacity, config.batch_size), (1, 3));
        assert_eq!(config.service_name.as_deref(), Some("gateway"));
        assert_eq!(
            config.resource,
            [("team".to_owned(), "chat,1".to_owned()), ("key".to_owned(), "va=lue".to_owned())]
        );
        assert_eq!(config.histograms, HistogramForm::Explicit);
        assert!(config.warnings[0].contains("OTEL_CONFIG_FILE"));
    }
}
