//! Whole journeys, as they are drawn.

use journey_core::view::{
    BottleneckView, ErrorView, LegStatsView, RouteSummaryView, SegmentView, SummaryView, WithinView,
};

use super::*;

const WIDE: Look = Look { width: 120, color: false, unicode: true };
const SAMPLE: Look = Look { width: 100, ..WIDE };

fn seen(stage: &str, name: &str, label: &str, offset_ms: f64) -> CheckpointView {
    CheckpointView {
        stage: stage.into(),
        name: name.into(),
        label: label.into(),
        outcome: "reached".into(),
        offset_ms,
        attempts: 1,
        ..CheckpointView::default()
    }
}

fn leg(name: &str, from: &str, to: &str, ms: f64, segment: (&str, f64)) -> LegView {
    LegView {
        name: name.into(),
        from: from.into(),
        to: to.into(),
        ms,
        quality: "exact".into(),
        share_of_segment: Some(ms / segment.1),
        segment: Some(segment.0.into()),
        ..LegView::default()
    }
}

fn segment(name: &str, label: &str, from: &str, to: &str, ms: f64) -> SegmentView {
    SegmentView { name: name.into(), label: label.into(), from: from.into(), to: to.into(), ms }
}

/// The journey of the handbook: 2.255 s, of which the agent takes 1842 ms.
fn complete() -> JourneyView {
    let stages = [
        ("T0", "platform_received", "Platform received", 0.0),
        ("T1", "plugin_received", "Plugin received", 52.0),
        ("T2", "event_published", "Event published", 75.0),
        ("T3", "event_consumed", "Event consumed", 90.0),
        ("T4", "db_stored", "DB stored", 217.0),
        ("T5", "agent_notified", "Agent notified", 227.0),
        ("T6", "agent_started", "Agent started", 263.0),
        ("T7", "agent_completed", "Agent completed", 2105.0),
        ("T8", "api_received", "API received", 2117.0),
        ("T9", "outbound_event_published", "Event published", 2117.4),
        ("T10", "plugin_sent", "Plugin sent", 2151.0),
        ("T11", "platform_delivered", "Platform delivered", 2255.0),
    ];
    let names = [
        "channel_processing",
        "event_publish",
        "bus_delivery",
        "db_write",
        "agent_notification",
        "agent_queue",
        "agent_processing",
        "api_request",
        "outbound_publish",
        "outbound_delivery",
        "platform_send",
    ];
    let legs = stages.windows(2).zip(names).enumerate().map(|(index, (pair, name))| {
        let segment = match index {
            0..6 => ("inbound", 263.0),
            6 => ("agent", 1842.0),
            _ => ("outbound", 150.0),
        };
        leg(name, pair[0].0, pair[1].0, pair[1].3 - pair[0].3, segment)
    });
    let mut view = JourneyView {
        correlation_id: "msg_abc123".into(),
        route: "message".into(),
        route_label: "Message".into(),
        status: "completed".into(),
        generation: 1,
        total_ms: Some(2255.0),
        trace_id: "5b8aa5a2d2c872e8321cf37308d69df2".into(),
        checkpoints: stages.iter().map(|(stage, name, label, at)| seen(stage, name, label, *at)).collect(),
        legs: legs.collect(),
        segments: vec![
            segment("inbound", "Inbound", "T0", "T6", 263.0),
            segment("agent", "Agent", "T6", "T7", 1842.0),
            segment("outbound", "Outbound", "T7", "T11", 150.0),
            segment("round_trip", "Round trip", "T0", "T11", 2255.0),
        ],
        bottleneck: Some(BottleneckView {
            segment: "inbound".into(),
            leg: "db_write".into(),
            stage: "T4".into(),
            ms: 127.0,
            share_of_segment: 127.0 / 263.0,
        }),
        ..JourneyView::default()
    };
    view.legs[0].quality = "coarse".into();
    view.legs[0].uncertainty_ms = Some(1000.0);
    view.checkpoints[4].attempts = 2;
    view
}

fn usual() -> SummaryView {
    let mut leg =
        LegStatsView { name: "db_write".into(), from: "T3".into(), to: "T4".into(), ..LegStatsView::default() };
    (leg.stats.count, leg.stats.p95_ms) = (100, Some(41.0));
    let route = RouteSummaryView { route: "message".into(), legs: vec![leg], ..RouteSummaryView::default() };
    SummaryView { window: "5m".into(), routes: vec![route], ..SummaryView::default() }
}

/// Takes away what was seen of stages, as a service that does not report would.
fn without(mut view: JourneyView, stages: &[&str]) -> JourneyView {
    let gone = |stage: &String| stages.contains(&stage.as_str());
    view.checkpoints.retain(|seen| !gone(&seen.stage));
    view.legs.retain(|leg| !gone(&leg.from) && !gone(&leg.to));
    view.segments.retain(|segment| !gone(&segment.from) && !gone(&segment.to));
    view.bottleneck = None;
    view
}

fn drawn(view: &JourneyView, look: &Look) -> String {
    show(view, &Plan::of(view, None), look).to_text(look)
}

#[test]
fn a_complete_journey_reads_as_the_handbook_shows() {
    let view = complete();
    insta::assert_snapshot!(show(&view, &Plan::of(&view, Some(&usual())), &SAMPLE).to_text(&SAMPLE), @r#"
    Message journey msg_abc123 · completed · 2.255 s · trace 5b8aa5a2…

    Inbound                                       263 ms
      ✓ Platform received     T0       0 ms
      ✓ Plugin received       T1     +52 ms  ████░░░░░░░░░░░░░░░░  20 %  ±1 s
      ✓ Event published       T2     +23 ms  ██░░░░░░░░░░░░░░░░░░   9 %
      ✓ Event consumed        T3     +15 ms  █░░░░░░░░░░░░░░░░░░░   6 %
      ✓ DB stored             T4    +127 ms  ██████████░░░░░░░░░░  48 %  ×2 attempts
      ✓ Agent notified        T5     +10 ms  █░░░░░░░░░░░░░░░░░░░   4 %
      ✓ Agent started         T6     +36 ms  ███░░░░░░░░░░░░░░░░░  14 %

    Agent                                        1842 ms
      ✓ Agent completed       T7   +1842 ms  ████████████████████ 100 %

    Outbound                                      150 ms
      ✓ API received          T8     +12 ms  ██░░░░░░░░░░░░░░░░░░   8 %
      ✓ Event published       T9    +400 µs  ░░░░░░░░░░░░░░░░░░░░  <1 %
      ✓ Plugin sent           T10    +34 ms  ████░░░░░░░░░░░░░░░░  22 %
      ✓ Platform delivered    T11   +104 ms  ██████████████░░░░░░  69 %

    Bottleneck: db_write (T4) took 127 ms, 48 % of inbound; p95 of the last 5 min is 41 ms
    "#);
}

#[test]
fn sixty_columns_drop_the_bars() {
    let look = Look { width: 60, ..WIDE };
    let text = drawn(&complete(), &look);
    assert!(text.lines().all(|line| width(line) <= 60), "{text}");
    insta::assert_snapshot!(text, @r#"
    Message journey msg_abc123 · completed · 2.255 s ·
    trace 5b8aa5a2…

    Inbound                                       263 ms
      ✓ Platform received     T0       0 ms
      ✓ Plugin received       T1     +52 ms  20 %  ±1 s
      ✓ Event published       T2     +23 ms   9 %
      ✓ Event consumed        T3     +15 ms   6 %
      ✓ DB stored             T4    +127 ms  48 %  ×2 attempts
      ✓ Agent notified        T5     +10 ms   4 %
      ✓ Agent started         T6     +36 ms  14 %

    Agent                                        1842 ms
      ✓ Agent completed       T7   +1842 ms 100 %

    Outbound                                      150 ms
      ✓ API received          T8     +12 ms   8 %
      ✓ Event published       T9    +400 µs  <1 %
      ✓ Plugin sent           T10    +34 ms  22 %
      ✓ Platform delivered    T11   +104 ms  69 %

    Bottleneck: db_write (T4) took 127 ms, 48 % of inbound
    "#);
}

#[test]
fn forty_columns_cut_the_labels_too() {
    let look = Look { width: 40, ..WIDE };
    let text = drawn(&complete(), &look);
    assert!(text.lines().all(|line| width(line) <= 40), "{text}");
    insta::assert_snapshot!(text.lines().take(8).collect::<Vec<_>>().join("\n"), @r#"
    Message journey msg_abc123 · completed ·
    2.255 s · trace 5b8aa5a2…

    Inbound                     263 ms
      ✓ Platform recei…  T0       0 ms
      ✓ Plugin received  T1     +52 ms  20 %
          ±1 s
      ✓ Event published  T2     +23 ms   9 %
    "#);
}

#[test]
fn a_terminal_without_utf8_gets_ascii_only() {
    let look = Look { unicode: false, ..SAMPLE };
    let mut view = complete();
    view.checkpoints[1].label = "Empfänger".into();
    let text = drawn(&view, &look);
    assert!(text.is_ascii());
    insta::assert_snapshot!(text.lines().take(10).collect::<Vec<_>>().join("\n"), @r#"
    Message journey msg_abc123 - completed - 2.255 s - trace 5b8aa5a2...

    Inbound                                        263 ms
      ok Platform received     T0       0 ms
      ok Empf\u{e4}nger        T1     +52 ms  ####................  20 %  +-1 s
      ok Event published       T2     +23 ms  ##..................   9 %
      ok Event consumed        T3     +15 ms  #...................   6 %
      ok DB stored             T4    +127 ms  ##########..........  48 %  x2 attempts
      ok Agent notified        T5     +10 ms  #...................   4 %
      ok Agent started         T6     +36 ms  ###.................  14 %
    "#);
}

#[test]
fn gaps_have_a_question_mark_and_no_number() {
    let mut view = without(complete(), &["T4", "T5"]);
    view.missing = vec!["T4".into(), "agent_notified".into()];
    insta::assert_snapshot!(drawn(&view, &SAMPLE), @r#"
    Message journey msg_abc123 · completed · 2.255 s · trace 5b8aa5a2…

    Inbound                                       263 ms
      ✓ Platform received     T0       0 ms
      ✓ Plugin received       T1     +52 ms  ████░░░░░░░░░░░░░░░░  20 %  ±1 s
      ✓ Event published       T2     +23 ms  ██░░░░░░░░░░░░░░░░░░   9 %
      ✓ Event consumed        T3     +15 ms  █░░░░░░░░░░░░░░░░░░░   6 %
      ? DB stored             T4             not seen
      ? Agent notified        T5             not seen
      ✓ Agent started         T6

    Agent                                        1842 ms
      ✓ Agent completed       T7   +1842 ms  ████████████████████ 100 %

    Outbound                                      150 ms
      ✓ API received          T8     +12 ms  ██░░░░░░░░░░░░░░░░░░   8 %
      ✓ Event published       T9    +400 µs  ░░░░░░░░░░░░░░░░░░░░  <1 %
      ✓ Plugin sent           T10    +34 ms  ████░░░░░░░░░░░░░░░░  22 %
      ✓ Platform delivered    T11   +104 ms  ██████████████░░░░░░  69 %
    "#);
}

#[test]
fn a_partial_journey_says_what_is_not_known() {
    let mut view = without(complete(), &["T0", "T1", "T2"]);
    (view.partial, view.total_ms) = (true, Some(2165.0));
    view.checkpoints.iter_mut().for_each(|seen| seen.offset_ms -= 90.0);
    view.legs.retain(|leg| leg.segment.as_deref() != Some("inbound"));
    insta::assert_snapshot!(drawn(&view, &SAMPLE), @r#"
    Message journey msg_abc123 · completed · 2.165 s · trace 5b8aa5a2…
    Partial: the first stage was not seen here, so totals that start there are absent

    Inbound                                            ?
      ✓ Event consumed        T3       0 ms
      ✓ DB stored             T4             ×2 attempts
      ✓ Agent notified        T5
      ✓ Agent started         T6

    Agent                                        1842 ms
      ✓ Agent completed       T7   +1842 ms  ████████████████████ 100 %

    Outbound                                      150 ms
      ✓ API received          T8     +12 ms  ██░░░░░░░░░░░░░░░░░░   8 %
      ✓ Event published       T9    +400 µs  ░░░░░░░░░░░░░░░░░░░░  <1 %
      ✓ Plugin sent           T10    +34 ms  ████░░░░░░░░░░░░░░░░  22 %
      ✓ Platform delivered    T11   +104 ms  ██████████████░░░░░░  69 %
    "#);
}

#[test]
fn an_active_stuck_journey_shows_what_is_still_to_come() {
    let mut view = without(complete(), &["T7", "T8", "T9", "T10", "T11"]);
    (view.status, view.stuck, view.total_ms) = ("active".into(), true, Some(263.0));
    view.in_progress = vec![InProgressView { stage: "T7".into(), name: "agent_completed".into(), open_ms: 45_000.0 }];
    insta::assert_snapshot!(drawn(&view, &SAMPLE), @r#"
    Message journey msg_abc123 · active, stuck · 263 ms · trace 5b8aa5a2…

    Inbound                                       263 ms
      ✓ Platform received     T0       0 ms
      ✓ Plugin received       T1     +52 ms  ████░░░░░░░░░░░░░░░░  20 %  ±1 s
      ✓ Event published       T2     +23 ms  ██░░░░░░░░░░░░░░░░░░   9 %
      ✓ Event consumed        T3     +15 ms  █░░░░░░░░░░░░░░░░░░░   6 %
      ✓ DB stored             T4    +127 ms  ██████████░░░░░░░░░░  48 %  ×2 attempts
      ✓ Agent notified        T5     +10 ms  █░░░░░░░░░░░░░░░░░░░   4 %
      ✓ Agent started         T6     +36 ms  ███░░░░░░░░░░░░░░░░░  14 %

    Agent                                              …
      … Agent completed       T7             running for 45 s

    Outbound                                           …
      … API received          T8             not yet
      … Event published       T9             not yet
      … Plugin sent           T10            not yet
      … Platform delivered    T11            not yet
    "#);
}

#[test]
fn failures_attempts_skew_lateness_and_budgets_are_marked() {
    let mut view = without(complete(), &["T7", "T8", "T9", "T10", "T11"]);
    (view.status, view.reason, view.late) = ("failed".into(), Some("agent exploded".into()), true);
    (view.generation, view.other_generations) = (2, vec![1, 3]);
    let error = |kind: &str, message: &str| Some(ErrorView { kind: kind.into(), message: message.into() });
    view.checkpoints[4].attempts = 3;
    view.checkpoints[4].retry_ms = Some(85.0);
    view.checkpoints[4].error = error("timeout", "pool exhausted after 30 s");
    view.checkpoints[4].within.insert("db".into(), WithinView { count: 12, ms: 45.0 });
    view.checkpoints[5].late = true;
    view.checkpoints[5].outcome = "cancelled".into();
    view.legs.retain(|leg| leg.to != "T5" && leg.to != "T6");
    view.checkpoints[6].outcome = "failed".into();
    view.checkpoints[6].error = error("error", "no such agent");
    view.legs[1].ms = -35.0;
    view.legs[1].quality = "skewed".into();
    view.legs[1].share_of_segment = None;
    view.legs[2].quality = "cross_clock".into();
    view.legs[3].budget_ms = Some(50.0);
    view.deviations = vec!["too_often: T4 (3, at most 1)".into()];
    insta::assert_snapshot!(drawn(&view, &WIDE), @r#"
    Message journey msg_abc123 · failed · 2.255 s · generation 2 (also: 1, 3) · trace 5b8aa5a2…
    Reason: agent exploded
    Late: a checkpoint came after the journey was finished

    Inbound                                       263 ms
      ✓ Platform received     T0       0 ms
      ✓ Plugin received       T1     +52 ms  ████░░░░░░░░░░░░░░░░  20 %  ±1 s
      ✓ Event published       T2     -35 ms  skewed
      ✓ Event consumed        T3     +15 ms  █░░░░░░░░░░░░░░░░░░░   6 %  two clocks
      ✓ DB stored             T4    +127 ms  ██████████░░░░░░░░░░  48 %  over budget of 50 ms  ×3 attempts over 85 ms
          an attempt failed: timeout: pool exhausted after 30 s
          db: 12 calls, 45 ms
      ⊘ Agent notified        T5             cancelled  late
      ✗ Agent started         T6             failed
          error: no such agent

    Deviation: too_often: T4 (3, at most 1)
    "#);
}

#[test]
fn hostile_texts_stay_texts() {
    let mut view = complete();
    let hostile = "x\u{1b}[2J\r\n\u{202e}\u{9b}31m日本";
    view.correlation_id = hostile.into();
    view.route_label = hostile.into();
    view.status = hostile.into();
    view.reason = Some(hostile.into());
    view.trace_id = hostile.into();
    view.checkpoints[1].label = hostile.into();
    view.checkpoints[1].outcome = hostile.into();
    view.checkpoints[2].error = Some(ErrorView { kind: hostile.into(), message: hostile.into() });
    view.segments[0].label = hostile.into();
    view.missing = vec![hostile.into()];
    view.deviations = vec![hostile.into()];
    view.bottleneck = Some(BottleneckView {
        segment: hostile.into(),
        leg: hostile.into(),
        stage: hostile.into(),
        ms: 1.0,
        share_of_segment: 0.1,
    });
    let text = drawn(&view, &WIDE);
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    insta::assert_snapshot!(text.lines().take(8).collect::<Vec<_>>().join("\n"), @r#"
    x\u{1b}[2J\u{d}\u{a}\u{202e}\u{9b}31m日本 journey x\u{1b}[2J\u{d}\u{a}\u{202e}\u{9b}31m日本 ·
    x\u{1b}[2J\u{d}\u{a}\u{202e}\u{9b}31m日本 · 2.255 s · trace x\u{1b}[2J\u{d}\u{a}\u{202e}…
    Reason: x\u{1b}[2J\u{d}\u{a}\u{202e}\u{9b}31m日本

    x\u{1b}[2J\u{d}\u{a}\u{202e}\u{9b}31m日本                                       263 ms
      ✓ Platform received                          T0                    0 ms
      ✓ x\u{1b}[2J\u{d}\u{a}\u{202e}\u{9b}31m日本  T1                  +52 ms  ████░░░░░░░░░░░░░░░░  20 %
          x\u{1b}[2J\u{d}\u{a}\u{202e}\u{9b}31m日本  ±1 s
    "#);
}

#[test]
fn wide_labels_keep_the_numbers_aligned() {
    let mut view = complete();
    view.checkpoints[1].label = "受信プラグイン".into();
    let text = drawn(&view, &SAMPLE);
    let line = |stage: &str| text.lines().find(|line| line.contains(stage)).unwrap_or_default();
    let column = |stage: &str| width(line(stage).split(" ms").next().unwrap_or_default());
    assert_eq!(column(" T1 "), column(" T2 "), "{text}");
}

#[test]
fn colour_adds_nothing_but_colour() {
    let coloured = drawn(&complete(), &Look { color: true, ..SAMPLE });
    assert!(coloured.contains("\u{1b}[32m✓\u{1b}[0m"), "{coloured}");
    let mut plain = coloured;
    for sgr in ["0", "1", "2", "31", "32", "33"] {
        plain = plain.replace(&format!("\u{1b}[{sgr}m"), "");
    }
    assert_eq!(plain, drawn(&complete(), &SAMPLE));
}

#[test]
fn an_open_route_shows_when_each_stage_came() {
    let view = JourneyView {
        correlation_id: "job 7".into(),
        route: "queue_command".into(),
        status: "completed".into(),
        checkpoints: vec![seen("parsed", "parsed", "parsed", 0.0), seen("rendered", "rendered", "rendered", 12.4)],
        total_ms: Some(12.4),
        ..JourneyView::default()
    };
    insta::assert_snapshot!(drawn(&view, &SAMPLE), @r#"
    Queue command journey job 7 · completed · 12 ms

      ✓ parsed                parsed        0 ms
      ✓ rendered              rendered    @12 ms
    "#);
}

#[test]
fn an_empty_journey_is_still_a_line() {
    assert_eq!(drawn(&JourneyView::default(), &WIDE), " journey  ·\n");
}
