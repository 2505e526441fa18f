//! The measured application: stages of messages, one after another or interleaved, with or without spans of others.

use std::hint::black_box;

use tracing::{Span, info, info_span};

/// Stages of the built-in `message` route.
pub(crate) const STAGES: usize = 12;

/// What one step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A stage span with `correlation_id = %id`.
    Display,
    /// A stage span with the id as `&str`.
    Text,
    /// The first, with four spans of others inside.
    Busy,
    /// One span that is nobody's stage.
    ForeignSpan,
    /// One event that is nobody's checkpoint.
    ForeignEvent,
    /// One record into an OpenTelemetry histogram.
    Histogram,
    /// One fastrace span inside a root per journey.
    Fastrace,
}

/// Which stage of which journey is next: stage by stage over a window of journeys, then the next window.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    /// Journeys that are open at once.
    pub(crate) window: usize,
    /// The first stage, and from one to the next: two threads share journeys by (0, 2) and (1, 2).
    pub(crate) first: usize,
    pub(crate) step: usize,
    base: usize,
    at: usize,
    stage: usize,
}

impl Form {
    pub(crate) fn parse(word: &str) -> crate::Result<Self> {
        Ok(match word {
            "display" => Self::Display,
            "text" => Self::Text,
            "busy" => Self::Busy,
            "foreign-span" => Self::ForeignSpan,
            "foreign-event" => Self::ForeignEvent,
            "histogram" => Self::Histogram,
            "fastrace" => Self::Fastrace,
            _ => return Err(format!("`{word}` is no form of work (try `display`)").into()),
        })
    }

    /// Spans that OpenTelemetry sees in one step.
    pub(crate) fn spans(self) -> usize {
        if self == Self::Busy { 5 } else { 1 }
    }
}

impl Cursor {
    /// Starts at the journey `base`.
    pub(crate) fn new(base: usize, window: usize, first: usize, step: usize) -> Self {
        Self { window, first, step, base, at: 0, stage: first }
    }

    #[inline]
    pub(crate) fn next(&mut self, ids: usize) -> (usize, usize) {
        let now = ((self.base + self.at) % ids, self.stage);
        self.at += 1;
        if self.at == self.window {
            self.at = 0;
            self.stage += self.step;
            if self.stage >= STAGES {
                self.stage = self.first;
                self.base += self.window;
            }
        }
        now
    }
}

/// `count` texts like UUIDs, the same in every run.
pub(crate) fn ids(count: usize) -> Vec<String> {
    (0..count as u64).map(id).collect()
}

/// The text of one id.
pub(crate) fn id(number: u64) -> String {
    let (a, b) = (mix(number), mix(number ^ 0x5bd1_e995_0000_0000));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a as u16,
        (a >> 16) & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

/// SplitMix64: unequal numbers stay unequal.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The measured steps. Callgrind counts inside of this function: no other function may have its name as a part.
#[inline(never)]
pub(crate) fn work_journeys(form: Form, ids: &[String], cursor: &mut Cursor, steps: usize) {
    steps_of(form, ids, cursor, steps);
    // No tail call: callgrind has to see the return.
    black_box(());
}

/// The same, not counted.
#[inline(never)]
pub(crate) fn warm_up(form: Form, ids: &[String], cursor: &mut Cursor, steps: usize) {
    // Unlike the function above, or the compiler makes one of the two.
    steps_of(form, ids, cursor, black_box(steps));
}

/// One step, with the clock of the caller around it.
#[inline(never)]
pub(crate) fn one_step(ids: &[String], cursor: &mut Cursor) {
    steps_of(Form::Display, ids, cursor, 1);
}

#[inline(never)]
fn steps_of(form: Form, ids: &[String], cursor: &mut Cursor, steps: usize) {
    match form {
        Form::Display => each(ids, cursor, steps, |stage, id| display(stage, id).in_scope(|| ())),
        Form::Text => each(ids, cursor, steps, |stage, id| text(stage, id).in_scope(|| ())),
        Form::Busy => each(ids, cursor, steps, |stage, id| display(stage, id).in_scope(of_others)),
        Form::ForeignSpan => each(ids, cursor, steps, |_, id| {
            info_span!("query", table = "users", key = id).in_scope(|| ());
        }),
        Form::ForeignEvent => each(ids, cursor, steps, |_, id| info!(table = "users", key = id, "read")),
        Form::Histogram => crate::peer::record_stages(steps),
        Form::Fastrace => crate::peer::fastrace_journeys(ids, cursor, steps),
    }
}

#[inline(always)]
fn each(ids: &[String], cursor: &mut Cursor, steps: usize, step: impl Fn(usize, &str)) {
    for _ in 0..steps {
        let (journey, stage) = cursor.next(ids.len());
        step(stage, black_box(&ids[journey]));
    }
}

/// Journeys for a peer that is no layer.
pub(crate) fn next_id<'a>(ids: &'a [String], cursor: &mut Cursor) -> &'a str {
    &ids[cursor.next(ids.len()).0]
}

/// Two spans with one child each, of two fields each: what a service's own libraries emit.
fn of_others() {
    for rows in 0..2_u64 {
        info_span!("query", table = "users", rows).in_scope(|| info_span!("row", rows, cached = true).in_scope(|| ()));
    }
}

/// One callsite per stage, as in a program.
macro_rules! stage_spans {
    ($($name:ident => ($($id:tt)*);)*) => {$(
        #[inline(always)]
        fn $name(stage: usize, id: &str) -> Span {
            match stage {
                0 => info_span!("platform_received", correlation_id = $($id)* id),
                1 => info_span!("plugin_received", correlation_id = $($id)* id),
                2 => info_span!("event_published", correlation_id = $($id)* id),
                3 => info_span!("event_consumed", correlation_id = $($id)* id),
                4 => info_span!("db_stored", correlation_id = $($id)* id),
                5 => info_span!("agent_notified", correlation_id = $($id)* id),
                6 => info_span!("agent_started", correlation_id = $($id)* id),
                7 => info_span!("agent_completed", correlation_id = $($id)* id),
                8 => info_span!("api_received", correlation_id = $($id)* id),
                9 => info_span!("outbound_event_published", correlation_id = $($id)* id),
                10 => info_span!("plugin_sent", correlation_id = $($id)* id),
                _ => info_span!("platform_delivered", correlation_id = $($id)* id),
            }
        }
    )*};
}

stage_spans! {
    display => (%);
    text => ();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_stage_by_stage_over_its_window() {
        let mut cursor = Cursor::new(0, 2, 0, 1);
        let steps: Vec<_> = (0..26).map(|_| cursor.next(100)).collect();
        assert_eq!(steps[..4], [(0, 0), (1, 0), (0, 1), (1, 1)]);
        assert_eq!(steps[22..], [(0, 11), (1, 11), (2, 0), (3, 0)]);
        let mut odd = Cursor::new(0, 1, 1, 2);
        let stages: Vec<_> = (0..7).map(|_| odd.next(100)).collect();
        assert_eq!(stages, [(0, 1), (0, 3), (0, 5), (0, 7), (0, 9), (0, 11), (1, 1)]);
    }

    #[test]
    fn ids_look_like_uuids_and_differ() {
        let ids = ids(1_000);
        assert!(ids.iter().all(|id| id.len() == 36), "{}", ids[0]);
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 1_000);
    }
}
