//! Which form a scraper wants.

use http::{HeaderMap, header};

/// A form of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Text 0.0.4: what everybody reads.
    Text,
    /// OpenMetrics 1.0: text with exemplars.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily`: the only form of native histograms.
    Protobuf,
}

/// What was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) format: Format,
    /// The scraper asked how names are escaped; ours need no escaping, so any answer is true.
    escaping: bool,
}

impl Accepted {
    pub(super) fn content_type(self) -> &'static str {
        match (self.format, self.escaping) {
            (Format::Text, _) => "text/plain; version=0.0.4; charset=utf-8",
            (Format::OpenMetrics, false) => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            (Format::OpenMetrics, true) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            (Format::Protobuf, _) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// The known type with the highest weight, the first of equals; text 0.0.4 where none is known.
pub(super) fn negotiate(headers: &HeaderMap) -> Accepted {
    let mut best = (Accepted { format: Format::Text, escaping: false }, 0.0);
    let values = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    for entry in values.flat_map(|value| value.split(',')) {
        let (media, weight) = weighted(entry);
        if let Some(accepted) = known(&media)
            && weight > best.1
        {
            best = (accepted, weight);
        }
    }
    best.0
}

/// Type and parameters of one entry.
struct Media {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Media {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn weighted(entry: &str) -> (Media, f32) {
    let mut parts = entry.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mut parameters: Vec<_> = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        .collect();
    let weight = parameters.iter().position(|(name, _)| name == "q").map(|index| parameters.remove(index).1);
    // A weight that is no number says nothing good about the entry: it is not used.
    let weight = weight.map_or(1.0, |q| q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
    (Media { name, parameters }, weight)
}

fn known(media: &Media) -> Option<Accepted> {
    let is = |name: &str, right: &[&str]| media.parameter(name).is_none_or(|value| right.contains(&value));
    let format = match media.name.as_str() {
        "application/vnd.google.protobuf"
            if media.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                && is("encoding", &["delimited"]) =>
        {
            Format::Protobuf
        }
        "application/openmetrics-text" if is("version", &["1.0.0"]) => Format::OpenMetrics,
        "text/plain" if is("version", &["0.0.4"]) => Format::Text,
        "*/*" | "text/*" => Format::Text,
        _ => return None,
    };
    Some(Accepted { format, escaping: media.parameter("escaping").is_some() })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn format(accept: &str) -> Format {
        negotiate(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())])).format
    }

    #[test]
    fn the_form_follows_the_weights() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                            text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let with_native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                           application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus_3, Format::OpenMetrics),
            (with_native, Format::Protobuf),
            ("*/*", Format::Text),
            ("", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text; version=2.0.0", Format::Text),
            ("application/openmetrics-text; q=0, text/plain", Format::Text),
            ("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.1", Format::Text),
            ("application/vnd.google.protobuf", Format::Text),
            ("application/openmetrics-text; q=banana", Format::Text),
            (";;;,,,=;q=1", Format::Text),
        ] {
            assert_eq!(format(accept), expected, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new()).format, Format::Text);
    }
}
