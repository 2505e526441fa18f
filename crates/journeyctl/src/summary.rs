//! The summary as people read it: what became of the journeys, how long the legs take, what is stuck, what was lost.

use journey_core::view::{AccountingView, JourneyCountsView, RouteSummaryView, StatsView, SummaryView};

use crate::{
    look::Look,
    page::{Page, Tone},
    plan::label_of,
    table::{Cell, Table},
    text::{clean, column_duration, count, percent, rough_duration, window, wrap},
};

/// Fewer values than this make a p50, p95 or p99 a guess: their ranks have no value beyond them at 95 % confidence.
pub(crate) const NEEDED: [u64; 3] = [6, 72, 368];

/// Draws a summary.
pub(crate) fn summary(view: &SummaryView, look: &Look) -> Page {
    let mut page = Page::default();
    let covered = rough_duration(view.window_seconds * 1_000.0, look);
    let head = vec![
        (Tone::Strong, format!("Summary of {}", clean(window(&view.window), look))),
        (Tone::Faint, format!("{covered} covered")),
        (Tone::Faint, clean(&view.at, look)),
    ];
    page.parts(0, head, look);
    lost(&view.accounting, look, &mut page);
    if view.routes.is_empty() {
        page.line().say(Tone::Warn, "No route is active.");
    }
    for route in &view.routes {
        route_summary(route, look, &mut page);
    }
    operations(view, look, &mut page);
    let [p50, p95, p99] = NEEDED;
    let guess = format!("~ rests on too few values to be reliable ({p50} for p50, {p95} for p95, {p99} for p99)");
    let over = "! is over its budget".to_owned();
    let legend: Vec<String> = [(guessed(view), guess), (over_budget(view), over)]
        .into_iter()
        .filter_map(|(needed, text)| needed.then_some(text))
        .collect();
    if !legend.is_empty() {
        page.line();
    }
    for text in &legend {
        page.paragraph(Tone::Faint, text, look.width);
    }
    page
}

/// Losses stand at the top: figures that rest on a part of the truth have to say so.
pub(crate) fn lost(view: &AccountingView, look: &Look, page: &mut Page) {
    if let Some(text) = lost_text(view, look) {
        page.paragraph(Tone::Bad, &text, look.width);
    }
}

/// Losses in one sentence; `None` without any.
pub(crate) fn lost_text(view: &AccountingView, look: &Look) -> Option<String> {
    let total: u64 = view.dropped.values().sum();
    if total == 0 {
        return None;
    }
    let mut reasons: Vec<_> = view.dropped.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reasons: Vec<String> =
        reasons.into_iter().map(|(reason, number)| format!("{} {}", clean(reason, look), count(*number))).collect();
    let offered = count(view.offered);
    Some(format!("! LOST {} of {offered} checkpoints since start: {}", count(total), reasons.join(", ")))
}

fn route_summary(route: &RouteSummaryView, look: &Look, page: &mut Page) {
    let label = if route.label.is_empty() { label_of(&route.route) } else { route.label.clone() };
    page.line().say(Tone::Strong, clean(&label, look));
    if route.journeys == JourneyCountsView::default() {
        page.say(Tone::Faint, "  no journeys");
    } else {
        page.parts(2, counts(route), look);
    }

    if !route.legs.is_empty() {
        page.line();
        leg_table(route, look).draw(2, look, page);
    }
    if !route.segments.is_empty() {
        let mut table = stats_table("segment");
        for segment in &route.segments {
            let name = format!("{} {}", clean(&segment.name, look), ends(&segment.from, &segment.to, look));
            table.row(stats_row(name, &segment.stats, None, note(segment.skewed, segment.coarse, look), look));
        }
        page.line();
        table.draw(2, look, page);
    }
    bottlenecks(route, look, page);
    stuck(route, look, page);
    never_seen(route, look, page);
}

fn counts(route: &RouteSummaryView) -> Vec<(Tone, String)> {
    let journeys = &route.journeys;
    let bad = |number: u64, tone: Tone| if number > 0 { tone } else { Tone::Plain };
    vec![
        (Tone::Plain, format!("{} started", count(journeys.started))),
        (Tone::Plain, format!("{} active", count(journeys.active))),
        (bad(journeys.stuck, Tone::Warn), format!("{} stuck", count(journeys.stuck))),
        (Tone::Plain, format!("{} completed", count(journeys.completed))),
        (bad(journeys.failed, Tone::Bad), format!("{} failed", count(journeys.failed))),
        (bad(journeys.expired, Tone::Warn), format!("{} expired", count(journeys.expired))),
        (bad(journeys.evicted, Tone::Bad), format!("{} evicted", count(journeys.evicted))),
        (Tone::Plain, format!("{} finished", rate(route.throughput_per_second))),
    ]
}

/// Journeys per second; below one a second, per minute.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 1.0 {
        format!("{:.1}/min", per_second * 60.0)
    } else {
        format!("{per_second:.1}/s")
    }
}

/// Legs with their percentiles.
pub(crate) fn leg_table(route: &RouteSummaryView, look: &Look) -> Table {
    let mut table = stats_table("leg");
    for leg in &route.legs {
        let name = format!("{} {}", clean(&leg.name, look), ends(&leg.from, &leg.to, look));
        table.row(stats_row(name, &leg.stats, leg.budget_ms, note(leg.skewed, leg.coarse, look), look));
    }
    table
}

fn ends(from: &str, to: &str, look: &Look) -> String {
    format!("{}{}{}", clean(from, look), look.pick("→", "->"), clean(to, look))
}

fn stats_table(title: &'static str) -> Table {
    let table = Table::new(title).numbers("count", 0).numbers("mean", 7).numbers("p50", 0).numbers("p95", 0);
    table.numbers("p99", 3).numbers("max", 5).numbers("budget", 6).words("since start", 4)
}

/// What of a leg was not measured well, since start.
fn note(skewed: u64, coarse: u64, look: &Look) -> String {
    let coarse = (coarse > 0).then(|| format!("{} {}1 s", count(coarse), look.pick("±", "+-")));
    let skewed = (skewed > 0).then(|| format!("{} skewed", count(skewed)));
    coarse.into_iter().chain(skewed).collect::<Vec<_>>().join(", ")
}

fn stats_row(name: String, stats: &StatsView, budget: Option<f64>, note: String, look: &Look) -> Vec<Cell> {
    let value = |ms: Option<f64>| ms.map_or_else(|| look.pick("–", "-").to_owned(), |ms| column_duration(ms, look));
    let quantile = |ms: Option<f64>, needed: u64| {
        let guess = if ms.is_some() && stats.count < needed { "~" } else { "" };
        format!("{guess}{}", value(ms))
    };
    let over = is_over(stats, budget);
    let p95 = quantile(stats.p95_ms, NEEDED[1]);
    let p95 = if over { Cell::new(Tone::Bad, format!("!{p95}")) } else { p95.into() };
    let budget = budget.map_or_else(String::new, |budget| column_duration(budget, look));
    vec![
        name.into(),
        count(stats.count).into(),
        value(stats.mean_ms).into(),
        quantile(stats.p50_ms, NEEDED[0]).into(),
        p95,
        quantile(stats.p99_ms, NEEDED[2]).into(),
        value(stats.max_ms).into(),
        Cell::new(if over { Tone::Bad } else { Tone::Faint }, budget),
        Cell::new(Tone::Faint, note),
    ]
}

/// Whether any quantile shown rests on too few values.
fn guessed(view: &SummaryView) -> bool {
    let legs = view.routes.iter().flat_map(|route| route.legs.iter().map(|leg| &leg.stats));
    let segments = view.routes.iter().flat_map(|route| route.segments.iter().map(|segment| &segment.stats));
    let operations = view.operations.iter().map(|operation| &operation.stats);
    legs.chain(segments).chain(operations).any(|stats| stats.count > 0 && stats.count < NEEDED[2])
}

/// Whether a p95 is over its budget.
fn is_over(stats: &StatsView, budget_ms: Option<f64>) -> bool {
    budget_ms.is_some_and(|budget| stats.p95_ms.is_some_and(|p95| p95 > budget))
}

fn over_budget(view: &SummaryView) -> bool {
    view.routes.iter().flat_map(|route| &route.legs).any(|leg| is_over(&leg.stats, leg.budget_ms))
}

fn bottlenecks(route: &RouteSummaryView, look: &Look, page: &mut Page) {
    if route.bottlenecks.is_empty() {
        return;
    }
    page.line().say(Tone::Strong, "  Bottlenecks");
    for worst in &route.bottlenecks {
        let sentence = if worst.sentence.is_empty() {
            format!("{} is {} of {}", worst.leg, percent(worst.mean_share), worst.segment)
        } else {
            worst.sentence.clone()
        };
        bullet(Tone::Plain, &clean(&sentence, look), look, page);
    }
}

fn stuck(route: &RouteSummaryView, look: &Look, page: &mut Page) {
    if route.stuck.is_empty() {
        return;
    }
    page.line().say(Tone::Warn, "  Stuck");
    for journey in &route.stuck {
        let (id, stage) = (clean(&journey.correlation_id, look), clean(&journey.stage, look));
        let inside = journey.in_progress.as_deref().map(|open| format!(", inside {},", clean(open, look)));
        let text =
            format!("{id} at {stage}{} for {}", inside.unwrap_or_default(), rough_duration(journey.idle_ms, look));
        bullet(Tone::Plain, &text, look, page);
    }
    let more = route.journeys.stuck.saturating_sub(route.stuck.len() as u64);
    if more > 0 {
        bullet(Tone::Faint, &format!("and {} more: journey list --stuck", count(more)), look, page);
    }
}

fn never_seen(route: &RouteSummaryView, look: &Look, page: &mut Page) {
    if route.never_seen.is_empty() {
        return;
    }
    let stages: Vec<String> = route.never_seen.iter().map(|stage| clean(stage, look)).collect();
    page.line().say(Tone::Warn, "  Stages never seen since start");
    let advice = "(is their span named after the stage, and does the log level let it through?)";
    bullet(Tone::Plain, &format!("{} {advice}", stages.join(", ")), look, page);
}

fn operations(view: &SummaryView, look: &Look, page: &mut Page) {
    if view.operations.is_empty() {
        return;
    }
    let mut table = stats_table("operation");
    for operation in &view.operations {
        table.row(stats_row(clean(&operation.name, look), &operation.stats, None, String::new(), look));
    }
    page.line().say(Tone::Strong, "Operations");
    table.draw(2, look, page);
}

fn bullet(tone: Tone, text: &str, look: &Look, page: &mut Page) {
    for (index, line) in wrap(text, look.width.saturating_sub(6).max(10)).into_iter().enumerate() {
        let start = if index == 0 { look.pick("    • ", "    * ") } else { "      " };
        page.say(tone, format!("{start}{line}"));
    }
}

#[cfg(test)]
mod tests {
    use journey_core::view::{BottleneckStatsView, LegStatsView, OperationView, SegmentStatsView, StuckView};

    use super::*;

    const WIDE: Look = Look { width: 100, color: false, unicode: true };

    fn stats(count: u64, p50: f64, p95: f64, p99: f64) -> StatsView {
        StatsView {
            count,
            mean_ms: Some(p50 * 1.2),
            min_ms: Some(0.1),
            max_ms: Some(p99 * 1.5),
            p50_ms: Some(p50),
            p95_ms: Some(p95),
            p99_ms: Some(p99),
            p999_ms: Some(p99),
        }
    }

    fn example() -> SummaryView {
        let leg = |name: &str, from: &str, to: &str, budget_ms, stats| LegStatsView {
            name: name.into(),
            from: from.into(),
            to: to.into(),
            budget_ms,
            stats,
            skewed: u64::from(name == "channel_processing") * 4,
            coarse: u64::from(name == "channel_processing") * 1_200,
        };
        let route = RouteSummaryView {
            route: "message".into(),
            label: "Message".into(),
            journeys: JourneyCountsView { started: 1_312, active: 12, stuck: 21, completed: 1_280, failed: 8, expired: 0, evicted: 0 },
            throughput_per_second: 4.71,
            legs: vec![
                leg("channel_processing", "T0", "T1", None, stats(1_300, 52.0, 480.0, 900.0)),
                leg("db_write", "T3", "T4", Some(50.0), stats(300, 12.0, 127.0, 240.0)),
                leg("agent_queue", "T5", "T6", None, StatsView::default()),
            ],
            segments: vec![SegmentStatsView {
                name: "inbound".into(),
                label: "Inbound".into(),
                from: "T0".into(),
                to: "T6".into(),
                stats: stats(1_280, 263.0, 1_800.0, 12_000.0),
                ..Default::default()
            }],
            bottlenecks: vec![BottleneckStatsView {
                sentence: "db_write (T4) is 48 % of inbound at its p95 of 1800 ms and the largest leg of 61 % of 1280 journeys".into(),
                ..Default::default()
            }],
            stuck: vec![StuckView { correlation_id: "msg_9".into(), route: "message".into(), stage: "T4".into(), idle_ms: 45_000.0, in_progress: Some("T5".into()) }],
            never_seen: vec!["T8".into(), "T9".into()],
            active_by_stage: Vec::new(),
        };
        SummaryView {
            at: "2026-11-20T10:00:00.000Z".into(),
            window: "5m".into(),
            window_seconds: 123.0,
            routes: vec![route],
            operations: vec![OperationView { name: "GET /health".into(), stats: stats(40, 0.4, 0.9, 1.1) }],
            accounting: AccountingView {
                offered: 15_744,
                recorded: 15_700,
                dropped: [("queue_full", 41), ("invalid_id", 3), ("late", 0)]
                    .into_iter()
                    .map(|(r, n)| (r.to_owned(), n))
                    .collect(),
            },
        }
    }

    #[test]
    fn a_summary_shows_all_there_is_to_know() {
        insta::assert_snapshot!(summary(&example(), &WIDE).to_text(&WIDE), @r#"
        Summary of the last 5 min · 2 min 3 s covered · 2026-11-20T10:00:00.000Z
        ! LOST 44 of 15 744 checkpoints since start: queue_full 41, invalid_id 3

        Message
          1 312 started · 12 active · 21 stuck · 1 280 completed · 8 failed · 0 expired · 0 evicted ·
          4.7/s finished

          leg                       count    p50      p95      p99      max  budget  since start
          channel_processing T0→T1  1 300  52 ms   480 ms   900 ms  1350 ms          1 200 ±1 s, 4 skewed
          db_write T3→T4              300  12 ms  !127 ms  ~240 ms   360 ms   50 ms
          agent_queue T5→T6             0      –        –        –        –

          segment        count    mean     p50      p95     p99     max
          inbound T0→T6  1 280  316 ms  263 ms  1800 ms  12.0 s  18.0 s

          Bottlenecks
            • db_write (T4) is 48 % of inbound at its p95 of 1800 ms and the largest leg of 61 % of 1280
              journeys

          Stuck
            • msg_9 at T4, inside T5, for 45 s
            • and 20 more: journey list --stuck

          Stages never seen since start
            • T8, T9 (is their span named after the stage, and does the log level let it through?)

        Operations
          operation    count    mean     p50      p95      p99     max
          GET /health     40  480 µs  400 µs  ~900 µs  ~1.1 ms  1.7 ms

        ~ rests on too few values to be reliable (6 for p50, 72 for p95, 368 for p99)
        ! is over its budget
        "#);
    }

    #[test]
    fn a_narrow_summary_without_utf8_keeps_the_figures_that_matter() {
        let look = Look { width: 60, unicode: false, ..WIDE };
        insta::assert_snapshot!(summary(&example(), &look).to_text(&look), @r#"
        Summary of the last 5 min - 2 min 3 s covered -
        2026-11-20T10:00:00.000Z
        ! LOST 44 of 15 744 checkpoints since start: queue_full 41,
        invalid_id 3

        Message
          1 312 started - 12 active - 21 stuck - 1 280 completed -
          8 failed - 0 expired - 0 evicted - 4.7/s finished

          leg                        count    p50      p95      p99
          channel_processing T0->T1  1 300  52 ms   480 ms   900 ms
          db_write T3->T4              300  12 ms  !127 ms  ~240 ms
          agent_queue T5->T6             0      -        -        -

          segment         count     p50      p95     p99     max
          inbound T0->T6  1 280  263 ms  1800 ms  12.0 s  18.0 s

          Bottlenecks
            * db_write (T4) is 48 % of inbound at its p95 of 1800 ms
              and the largest leg of 61 % of 1280 journeys

          Stuck
            * msg_9 at T4, inside T5, for 45 s
            * and 20 more: journey list --stuck

          Stages never seen since start
            * T8, T9 (is their span named after the stage, and does
              the log level let it through?)

        Operations
          operation    count     p50      p95      p99     max
          GET /health     40  400 us  ~900 us  ~1.1 ms  1.7 ms

        ~ rests on too few values to be reliable (6 for p50, 72 for
        p95, 368 for p99)
        ! is over its budget
        "#);
    }

    #[test]
    fn an_empty_summary_is_calm() {
        let mut view = example();
        view.accounting.dropped.values_mut().for_each(|count| *count = 0);
        view.routes = vec![RouteSummaryView { route: "publish_photo".into(), ..Default::default() }];
        view.operations.clear();
        insta::assert_snapshot!(summary(&view, &WIDE).to_text(&WIDE), @r#"
        Summary of the last 5 min · 2 min 3 s covered · 2026-11-20T10:00:00.000Z

        Publish photo
          no journeys
        "#);
    }

    #[test]
    fn hostile_names_stay_on_their_line() {
        let mut view = example();
        view.routes[0].legs[0].name = "db\u{1b}[2J\nx".into();
        view.routes[0].stuck[0].correlation_id = "a\u{202e}b\rc".into();
        view.routes[0].bottlenecks[0].sentence = "x\u{7}y".into();
        view.accounting.dropped.insert("lo\u{9b}st".into(), 1);
        view.operations[0].name = "GET /\u{8}".into();
        let calm = summary(&example(), &WIDE).to_text(&WIDE).lines().count();
        let text = summary(&view, &Look { width: Look::UNLIMITED, ..WIDE }).to_text(&WIDE);
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        assert!(text.lines().count() <= calm, "{text}");
    }
}
