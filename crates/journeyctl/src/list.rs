//! Journeys one a line.

use journey_core::view::{ListItemView, ListView};

use crate::{
    look::Look,
    page::{Page, Tone},
    show::status_tone,
    table::{Cell, Table},
    text::{clean, duration, rough_duration},
};

/// Draws a list.
pub(crate) fn list(view: &ListView, look: &Look) -> Page {
    let mut page = Page::default();
    if view.journeys.is_empty() {
        page.say(Tone::Faint, "No journeys.");
        return page;
    }
    table(&view.journeys, look).draw(0, look, &mut page);
    page
}

/// The table of a list; the route is only told where there are several.
pub(crate) fn table(journeys: &[ListItemView], look: &Look) -> Table {
    let several = journeys.iter().any(|journey| journey.route != journeys[0].route);
    let mut table = Table::new("journey").words("status", 0).numbers("total", 0).words("at", 0).numbers("idle", 2);
    if several {
        table = table.words("route", 3);
    }
    table = table.words("started", 4).words("reason", 1);
    for journey in journeys {
        let mut cells = vec![
            id(journey, look).into(),
            Cell::new(status_tone(&journey.status, journey.stuck), status(journey, look)),
            journey.total_ms.map_or_else(String::new, |ms| duration(ms, look)).into(),
            clean(&journey.stage, look).into(),
            journey.idle_ms.map_or_else(String::new, |ms| rough_duration(ms, look)).into(),
        ];
        if several {
            cells.push(clean(&journey.route, look).into());
        }
        cells.push(Cell::new(Tone::Faint, clean(journey.started_at.as_deref().unwrap_or_default(), look)));
        cells.push(Cell::new(Tone::Bad, clean(journey.reason.as_deref().unwrap_or_default(), look)));
        table.row(cells);
    }
    table
}

/// The id, with its generation where it was used before.
fn id(journey: &ListItemView, look: &Look) -> String {
    let id = clean(&journey.correlation_id, look);
    if journey.generation > 1 { format!("{id} (generation {})", journey.generation) } else { id }
}

/// The status; `stuck` in place of `active`.
fn status(journey: &ListItemView, look: &Look) -> String {
    if journey.stuck && journey.status == "active" { "stuck".to_owned() } else { clean(&journey.status, look) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> ListView {
        let journey = |id: &str, status: &str, total_ms, stage: &str| ListItemView {
            correlation_id: id.into(),
            generation: 1,
            route: "message".into(),
            status: status.into(),
            started_at: Some("2026-11-20T10:00:00.000Z".into()),
            total_ms,
            stage: stage.into(),
            ..ListItemView::default()
        };
        let mut stuck = journey("msg_日本", "active", Some(130.0), "T4");
        (stuck.stuck, stuck.idle_ms) = (true, Some(45_000.0));
        let mut failed = journey("msg_2\u{1b}[2J", "failed", Some(3_456.0), "T6");
        (failed.reason, failed.generation) = (Some("agent\nexploded".into()), 2);
        ListView {
            journeys: vec![journey("msg_1", "completed", Some(2_255.0), "T11"), stuck, failed],
            next_cursor: None,
        }
    }

    #[test]
    fn a_list_is_one_line_a_journey() {
        let look = Look { width: 120, color: false, unicode: true };
        insta::assert_snapshot!(list(&example(), &look).to_text(&look), @r#"
        journey                        status       total  at   idle  started                   reason
        msg_1                          completed  2.255 s  T11        2026-11-20T10:00:00.000Z
        msg_日本                       stuck       130 ms  T4   45 s  2026-11-20T10:00:00.000Z
        msg_2\u{1b}[2J (generation 2)  failed     3.456 s  T6         2026-11-20T10:00:00.000Z  agent\u{a}exploded
        "#);
    }

    #[test]
    fn a_narrow_list_keeps_id_status_total_and_stage() {
        let look = Look { width: 40, color: false, unicode: false };
        insta::assert_snapshot!(list(&example(), &look).to_text(&look), @r#"
        journey          status       total  at
        msg_1            completed  2.255 s  T11
        msg_\u{65e5}\..  stuck       130 ms  T4
        msg_2\u{1b}[2..  failed     3.456 s  T6
        "#);
    }

    #[test]
    fn an_empty_list_says_so() {
        let look = Look { width: 80, color: false, unicode: true };
        assert_eq!(list(&ListView::default(), &look).to_text(&look), "No journeys.\n");
    }
}
