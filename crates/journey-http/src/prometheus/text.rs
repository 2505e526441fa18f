//! Text 0.0.4 and OpenMetrics 1.0.

use std::fmt::Write;

use journey_core::{Exemplar, Histogram};

use super::families::{Family, Kind, Sample, Value};

/// Exponents of the classic buckets: `le` is a power of two from 7.6 us to 4096 s. Fixed, so that series never come or
/// go; and edges of our own buckets, so that the counts are exact.
pub(super) const EXPONENTS: std::ops::RangeInclusive<i32> = -17..=12;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Text,
    OpenMetrics,
}

/// Writes all families.
pub(super) fn write(families: &[Family<'_>], dialect: Dialect) -> Vec<u8> {
    let mut text = String::with_capacity(64 * 1_024);
    for family in families {
        write_family(&mut text, family, dialect);
    }
    if dialect == Dialect::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text.into_bytes()
}

/// The edge `2^exponent`, in seconds.
pub(super) fn edge(exponent: i32) -> f64 {
    f64::from(exponent).exp2()
}

/// Exemplars by classic bucket, the last one for `+Inf`: at most one each, the newest.
pub(super) fn exemplars_by_bucket(exemplars: &[Exemplar]) -> Vec<Option<&Exemplar>> {
    let mut buckets: Vec<Option<&Exemplar>> = vec![None; EXPONENTS.count() + 1];
    for exemplar in exemplars {
        let value = seconds(exemplar);
        let index = EXPONENTS.into_iter().position(|exponent| value <= edge(exponent)).unwrap_or(buckets.len() - 1);
        if buckets[index].is_none_or(|known| known.at <= exemplar.at) {
            buckets[index] = Some(exemplar);
        }
    }
    buckets
}

/// The value of an exemplar, in seconds.
pub(super) fn seconds(exemplar: &Exemplar) -> f64 {
    exemplar.nanos as f64 / 1e9
}

fn write_family(text: &mut String, family: &Family<'_>, dialect: Dialect) {
    let total = if family.kind == Kind::Counter { "_total" } else { "" };
    // OpenMetrics names the family of a counter without its suffix, the older text with it.
    let name = match dialect {
        Dialect::Text => format!("{}{total}", family.name),
        Dialect::OpenMetrics => family.name.to_owned(),
    };
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    // Writing to a String never fails.
    let _ = writeln!(text, "# HELP {name} {}", escape(family.help, dialect));
    let _ = writeln!(text, "# TYPE {name} {kind}");
    if let (Dialect::OpenMetrics, Some(unit)) = (dialect, family.unit()) {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    for sample in &family.samples {
        match &sample.value {
            Value::Number(number) => {
                let _ = writeln!(text, "{}{total}{} {}", family.name, labels(sample, None), float(*number));
            }
            Value::Histogram(histogram, exemplars) => {
                write_histogram(text, family.name, sample, histogram, exemplars, dialect);
            }
        }
    }
}

fn write_histogram(
    text: &mut String,
    name: &str,
    sample: &Sample<'_>,
    histogram: &Histogram,
    exemplars: &[Exemplar],
    dialect: Dialect,
) {
    // Text 0.0.4 has no exemplars; a parser of it takes them for an error.
    let by_bucket = if dialect == Dialect::OpenMetrics { exemplars_by_bucket(exemplars) } else { Vec::new() };
    let counts = EXPONENTS.map(|exponent| (le(exponent), histogram.count_up_to_power_of_two(exponent)));
    let counts = counts.chain([("+Inf".to_owned(), histogram.count())]);
    for (index, (le, count)) in counts.enumerate() {
        let _ = write!(text, "{name}_bucket{} {count}", labels(sample, Some(&le)));
        if let Some(Some(exemplar)) = by_bucket.get(index) {
            write_exemplar(text, exemplar);
        }
        text.push('\n');
    }
    let sum = histogram.sum_nanos() as f64 / 1e9;
    let _ = writeln!(text, "{name}_sum{} {}", labels(sample, None), float(sum));
    let _ = writeln!(text, "{name}_count{} {}", labels(sample, None), histogram.count());
}

/// The ids take 63 of the 128 characters that an exemplar may have.
fn write_exemplar(text: &mut String, exemplar: &Exemplar) {
    let _ = write!(
        text,
        " # {{trace_id=\"{:032x}\",span_id=\"{:016x}\"}} {} {}.{:03}",
        exemplar.trace_id,
        exemplar.span_id,
        float(seconds(exemplar)),
        exemplar.at.div_euclid(1_000_000_000),
        exemplar.at.rem_euclid(1_000_000_000) / 1_000_000,
    );
}

fn labels(sample: &Sample<'_>, le: Option<&str>) -> String {
    let mut text = String::new();
    let le = le.map(|le| ("le", le));
    for (name, value) in sample.labels.iter().map(|(name, value)| (*name, value.as_str())).chain(le) {
        text.push(if text.is_empty() { '{' } else { ',' });
        let _ = write!(text, "{name}=\"{}\"", escape_label(value));
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

fn escape_label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

fn escape(help: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Text => help.replace('\\', "\\\\").replace('\n', "\\n"),
        Dialect::OpenMetrics => escape_label(help),
    }
}

/// An edge as a label: always with a point or an exponent, as Prometheus writes it itself, so that the series stay the
/// same whichever format is scraped.
fn le(exponent: i32) -> String {
    let text = float(edge(exponent));
    if text.contains(['.', 'e']) { text } else { format!("{text}.0") }
}

/// A number in the shortest form that reads back the same, written as Go does.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let exponent: i32 = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if (-4..21).contains(&exponent) {
        return number.to_string();
    }
    let mantissa = scientific.split_once('e').map_or(scientific.as_str(), |(mantissa, _)| mantissa);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (number, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (1e-4, "0.0001"),
            (edge(-17), "7.62939453125e-06"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float(number), text);
        }
        assert_eq!((le(-17).as_str(), le(-1).as_str(), le(12).as_str()), ("7.62939453125e-06", "0.5", "4096.0"));
    }

    #[test]
    fn an_exemplar_stands_at_the_bucket_that_holds_its_value() {
        let exemplar = |nanos, at| Exemplar { nanos, at, trace_id: 1, span_id: 2 };
        let all = [
            exemplar(0, 1),
            exemplar(1_000_000_000, 1),
            exemplar(1_000_000_001, 1),
            exemplar(1_500_000_000, 2),
            exemplar(10_000_000_000_000, 1),
        ];
        let buckets = exemplars_by_bucket(&all);
        let found: Vec<_> =
            buckets.iter().enumerate().filter_map(|(index, e)| Some((index, e.as_ref()?.nanos))).collect();
        // 2^0 is the 18th edge: its bucket takes the value that equals it. The newest of one bucket wins.
        assert_eq!(found, [(0, 0), (17, 1_000_000_000), (18, 1_500_000_000), (30, 10_000_000_000_000)]);
    }

    #[test]
    fn an_exemplar_is_short_enough_and_has_milliseconds() {
        let mut text = String::new();
        write_exemplar(
            &mut text,
            &Exemplar { nanos: 1, at: 1_700_000_000_052_999_999, trace_id: u128::MAX, span_id: u64::MAX },
        );
        assert!(text.ends_with("} 1e-09 1700000000.052"), "{text}");
        let labels = text.split(['{', '}']).nth(1).unwrap();
        assert!(labels.chars().filter(|c| !"=\",".contains(*c)).count() <= 128, "{labels}");
    }

    #[test]
    fn hostile_label_values_are_escaped() {
        let sample = Sample { labels: vec![("a", "x\"} 1\n# TYPE \\".to_owned())], value: Value::Number(1.0) };
        assert_eq!(labels(&sample, None), "{a=\"x\\\"} 1\\n# TYPE \\\\\"}");
    }
}
