//! Whole screens, as a terminal would show them.

use journey_core::view::{
    AccountingView, CheckpointView, JourneyCountsView, JourneyView, LegStatsView, ListItemView, RouteSummaryView,
    StageCountView, StatsView, SummaryView,
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent},
    style::Modifier,
};

use super::*;
use crate::live::app::Data;

const LOOK: Look = Look { width: 100, color: true, unicode: true };

fn route() -> RouteSummaryView {
    let stage =
        |id: &str, name: &str, active| StageCountView { stage: id.into(), name: name.into(), active, seen: 300 };
    let leg = |name: &str, from: &str, to: &str, p95: f64, budget_ms| LegStatsView {
        name: name.into(),
        from: from.into(),
        to: to.into(),
        budget_ms,
        stats: StatsView {
            count: 400,
            mean_ms: Some(p95 / 2.0),
            p50_ms: Some(p95 / 3.0),
            p95_ms: Some(p95),
            p99_ms: Some(p95 * 2.0),
            max_ms: Some(p95 * 3.0),
            ..StatsView::default()
        },
        ..LegStatsView::default()
    };
    RouteSummaryView {
        route: "message".into(),
        label: "Message".into(),
        journeys: JourneyCountsView {
            started: 320,
            active: 7,
            stuck: 1,
            completed: 300,
            failed: 8,
            expired: 5,
            evicted: 0,
        },
        throughput_per_second: 4.7,
        legs: vec![leg("db_write", "T3", "T4", 127.0, Some(50.0)), leg("agent_processing", "T6", "T7", 1842.0, None)],
        active_by_stage: vec![
            stage("T3", "event_consumed", 0),
            stage("T4", "db_stored", 2),
            stage("T6", "agent_started", 5),
        ],
        ..RouteSummaryView::default()
    }
}

fn app() -> App {
    let mut app = App::new("http://127.0.0.1:7117", LOOK, None, None);
    app.on_data(Data::Summary(Box::new(SummaryView {
        window: "5m".into(),
        routes: vec![route()],
        accounting: AccountingView { offered: 3600, recorded: 3597, dropped: [("queue_full".to_owned(), 3)].into() },
        ..SummaryView::default()
    })));
    let journey = |number: u64, status: &str| ListItemView {
        correlation_id: format!("msg_{number}"),
        generation: 1,
        route: "message".into(),
        status: status.into(),
        started_at: Some(format!("2026-11-20T10:00:{number:02}.000Z")),
        total_ms: Some(100.0 * number as f64),
        stage: "T4".into(),
        stuck: number == 7,
        idle_ms: (status == "active").then_some(31_000.0),
        ..ListItemView::default()
    };
    let mut journeys: Vec<_> =
        (1..9).rev().map(|number| journey(number, if number > 5 { "active" } else { "completed" })).collect();
    journeys[1].correlation_id = "msg_\u{1b}[2J\n7".into();
    app.on_data(Data::List { stuck_only: false, journeys });
    app
}

fn press(app: &mut App, code: KeyCode) {
    app.on_key(KeyEvent::from(code));
}

fn screen(app: &mut App, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(app, frame)).unwrap();
    terminal
}

fn shown(app: &mut App, width: u16, height: u16) -> String {
    let terminal = screen(app, width, height);
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|row| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_overview_shows_figures_and_journeys() {
    insta::assert_snapshot!(shown(&mut app(), 100, 24), @r#"
    journey live · connected · 5m · http://127.0.0.1:7117
    Message · 4.7/s · 7 active · 1 stuck · 8 failed · 300 completed · 5 expired · 0 evicted
    ! LOST 3 of 3 600 checkpoints since start: queue_full 3
    ┌ Active by stage ─────────────────┐┌ Legs, the last 5 min ────────────────────────────────────────┐
    │T3 event_consumed     0           ││leg                     count     p50      p95      p99       │
    │T4 db_stored          2 ████      ││db_write T3→T4            400   42 ms  !127 ms   254 ms       │
    │T6 agent_started      5 ██████████││agent_processing T6→T7    400  614 ms  1842 ms  3684 ms       │
    │                                  ││                                                              │
    └──────────────────────────────────┘└──────────────────────────────────────────────────────────────┘
    ┌ Newest journeys ─────────────────────────────────────────────────────────────────────────────────┐
    │  journey              status      total  at  idle  started                                       │
    │> msg_8                active     800 ms  T4  31 s  2026-11-20T10:00:08.000Z                      │
    │  msg_\u{1b}[2J\u{a}7  stuck      700 ms  T4  31 s  2026-11-20T10:00:07.000Z                      │
    │  msg_6                active     600 ms  T4  31 s  2026-11-20T10:00:06.000Z                      │
    │  msg_5                completed  500 ms  T4        2026-11-20T10:00:05.000Z                      │
    │  msg_4                completed  400 ms  T4        2026-11-20T10:00:04.000Z                      │
    │  msg_3                completed  300 ms  T4        2026-11-20T10:00:03.000Z                      │
    │  msg_2                completed  200 ms  T4        2026-11-20T10:00:02.000Z                      │
    │  msg_1                completed  100 ms  T4        2026-11-20T10:00:01.000Z                      │
    │                                                                                                  │
    │                                                                                                  │
    │                                                                                                  │
    └──────────────────────────────────────────────────────────────────────────────────────────────────┘
    ↑↓ select  Enter open  s stuck  w window  r route  ? help  q quit
    "#);
}

#[test]
fn a_small_terminal_keeps_the_list() {
    insta::assert_snapshot!(shown(&mut app(), 50, 12), @r#"
    journey live · connected · 5m · http://127.0.0.1:7
    Message · 4.7/s · 7 active · 1 stuck · 8 failed ·
    ! LOST 3 of 3 600 checkpoints since start: queue_…
    ┌ Newest journeys ───────────────────────────────┐
    │  journey              status      total  at    │
    │> msg_8                active     800 ms  T4    │
    │  msg_\u{1b}[2J\u{a}7  stuck      700 ms  T4    │
    │  msg_6                active     600 ms  T4    │
    │  msg_5                completed  500 ms  T4    │
    │  msg_4                completed  400 ms  T4    │
    └────────────────────────────────────────────────┘
    ↑↓ select  Enter open  s stuck  w window  r route…
    "#);
}

#[test]
fn no_size_is_too_small() {
    for width in [1, 2, 3, 5, 10, 30, 89, 91] {
        for height in [1, 2, 3, 4, 5, 8, 17, 30] {
            for keys in [&[][..], &[KeyCode::Enter], &[KeyCode::Char('?')]] {
                let mut app = app();
                keys.iter().for_each(|key| press(&mut app, *key));
                app.on_data(Data::Journey { id: "msg_8".into(), generation: 1, result: Ok(Box::default()) });
                screen(&mut app, width, height);
            }
        }
    }
}

#[test]
fn a_terminal_without_utf8_gets_ascii_only() {
    let mut app = app();
    app.look.unicode = false;
    let text = shown(&mut app, 100, 24);
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn without_colour_the_selection_is_still_seen() {
    let mut app = app();
    app.look.color = false;
    press(&mut app, KeyCode::Down);
    let terminal = screen(&mut app, 100, 24);
    let buffer = terminal.backend().buffer();
    assert!(buffer.content().iter().all(|cell| cell.fg == ratatui::style::Color::Reset));
    let reversed = buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
    assert!(reversed > 0);
    let text = shown(&mut app, 100, 24);
    assert!(text.contains("│> msg_\\u{1b}[2J\\u{a}7"), "{text}");
}

#[test]
fn the_selected_journey_is_always_on_the_screen() {
    let mut app = app();
    shown(&mut app, 80, 12);
    press(&mut app, KeyCode::End);
    let text = shown(&mut app, 80, 12);
    assert!(text.contains("> msg_1"), "{text}");
}

#[test]
fn an_opened_journey_is_the_same_as_journey_show() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    assert!(shown(&mut app, 80, 12).contains("Waiting for the journey."));
    let stage = |number: usize| CheckpointView {
        stage: format!("T{number}"),
        name: format!("stage_{number}"),
        label: format!("Stage {number}"),
        outcome: "reached".into(),
        offset_ms: number as f64,
        attempts: 1,
        ..CheckpointView::default()
    };
    let view = JourneyView {
        correlation_id: "msg_8".into(),
        route: "other".into(),
        status: "completed".into(),
        checkpoints: (0..20).map(stage).collect(),
        ..JourneyView::default()
    };
    app.on_data(Data::Journey { id: "msg_8".into(), generation: 1, result: Ok(Box::new(view)) });
    insta::assert_snapshot!(shown(&mut app, 60, 10), @r#"
    journey live · connected · 5m · http://127.0.0.1:7117
    Message · 4.7/s · 7 active · 1 stuck · 8 failed · 300 comple
    ! LOST 3 of 3 600 checkpoints since start: queue_full 3
    ┌ msg_8 ───────────────────────────────────────────────────┐
    │Other journey msg_8 · completed                           │
    │                                                          │
    │  ✓ Stage 0               T0       0 ms                   │
    │  ✓ Stage 1               T1      @1 ms                   │
    └──────────────────────────────────────────────────────────┘
    ↑↓ scroll  Esc back  ? help
    "#);
    press(&mut app, KeyCode::End);
    let text = shown(&mut app, 60, 10);
    assert!(text.contains("Stage 19") && !text.contains("Stage 3 "), "{text}");
    app.on_data(Data::Journey { id: "msg_8".into(), generation: 1, result: Err("forgotten".into()) });
    press(&mut app, KeyCode::Home);
    assert!(shown(&mut app, 60, 10).contains("forgotten"));
}

#[test]
fn a_lost_connection_is_loud_and_says_why() {
    let mut app = app();
    app.on_data(Data::Failed("nothing listens on 127.0.0.1:7117".into()));
    let text = shown(&mut app, 100, 24);
    assert!(text.contains("CONNECTION LOST, retrying") && text.contains("nothing listens"), "{text}");
    app.on_data(Data::Summary(Box::new(SummaryView { window: "5m".into(), ..SummaryView::default() })));
    app.on_data(Data::StreamLost("closed".into()));
    assert!(shown(&mut app, 100, 24).contains("events interrupted"));
}

#[test]
fn every_key_is_explained() {
    let mut app = app();
    press(&mut app, KeyCode::Char('?'));
    let text = shown(&mut app, 100, 24);
    for (keys, what) in KEYS {
        assert!(text.contains(keys) && text.contains(what), "{keys}\n{text}");
    }
}
