//! How does a context travel to another process? As the header `traceparent` of W3C Trace Context, level 2.

use crate::event::{InvalidEvent, SpanId, TraceId};

const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Version, trace, span, flags: 2, 32, 16 and 2 digits with dashes between.
const LENGTH: usize = 55;

/// Version 0, sampled: whoever gets it should keep what it belongs to.
pub(super) fn write(trace_id: TraceId, span_id: SpanId) -> String {
    format!("00-{trace_id}-{span_id}-01")
}

pub(super) fn read(header: &str) -> Result<(TraceId, SpanId), InvalidEvent> {
    parts(header.trim_matches([' ', '\t'])).ok_or_else(|| InvalidEvent::new("a traceparent header", header, EXAMPLE))
}

fn parts(header: &str) -> Option<(TraceId, SpanId)> {
    // Digits are lower case, and a header of a later version may have more behind another dash.
    let is_allowed = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    let head = header.get(..LENGTH)?;
    if !head.bytes().all(is_allowed) {
        return None;
    }
    let parts: Vec<&str> = head.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return None };
    if version.len() != 2 || flags.len() != 2 || *version == "ff" {
        return None;
    }
    let rest = &header[LENGTH..];
    if !rest.is_empty() && (*version == "00" || !rest.starts_with('-')) {
        return None;
    }
    Some((trace.parse().ok()?, span.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_the_recommendation_allows_is_read() {
        let read_both = |header: &str| read(header).map(|(trace, span)| (trace.to_string(), span.to_string()));
        let ids = ("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), "00f067aa0ba902b7".to_owned());
        for header in [EXAMPLE, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", &format!(" {EXAMPLE}\t")] {
            assert_eq!(read_both(header), Ok(ids.clone()), "{header}");
        }
        let later = EXAMPLE.replacen("00", "cc", 1);
        assert_eq!(read_both(&later), Ok(ids.clone()));
        assert_eq!(read_both(&format!("{later}-what-comes")), Ok(ids));
        for header in [
            "",
            "00",
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replacen("00", "ff", 1),
            &format!("{EXAMPLE}-more"),
            &format!("{later}more"),
            &EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &EXAMPLE.replace("00f067aa0ba902b7", "0000000000000000"),
            &EXAMPLE.replace("-01", "-0é"),
            &EXAMPLE.replace("4bf9", "+bf9"),
        ] {
            let error = read(header).unwrap_err().to_string();
            assert!(error.contains("is not a traceparent header (try `00-4bf9"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in 1_u128.., span in 1_u64..) {
            let ids = (TraceId::new(trace).unwrap(), SpanId::new(span).unwrap());
            prop_assert_eq!(read(&write(ids.0, ids.1)), Ok(ids));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}|[0-9a-f-]{50,60}") {
            let _ = read(&text);
        }
    }
}
