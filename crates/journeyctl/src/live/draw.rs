//! How the full screen looks. Every text passes through a [`Page`], so nothing from outside reaches the terminal raw.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    symbols::border,
    text::Line,
    widgets::{Block, Clear, Paragraph},
};

use crate::{
    list,
    live::app::{App, Connection, KEYS, Opened, Screen},
    look::Look,
    page::{Page, Tone},
    plan::Plan,
    show::show,
    summary::{leg_table, lost_text, rate},
    text::{clean, count, fit, pad, pad_left, width},
};

/// Below this the pane of stages has no room beside the legs.
const TWO_PANES: u16 = 90;
/// Columns of the pane of stages.
const STAGES: u16 = 36;
/// Below this only the list is shown.
const FIGURES: u16 = 16;
/// The list keeps at least this many lines, with its frame.
const LEAST_LIST: u16 = 6;

/// Lines for terminals that show ASCII only.
const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// Draws the whole screen.
pub(crate) fn draw(app: &mut App, frame: &mut Frame<'_>) {
    let look = Look { width: usize::from(frame.area().width), ..app.look };
    let mut head = Page::default();
    header(app, &look, &mut head);
    let rows = Layout::vertical([
        Constraint::Length(u16::try_from(head.len()).unwrap_or(u16::MAX)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [top, middle, bottom] = rows.areas(frame.area());
    frame.render_widget(Paragraph::new(head.to_lines(&look)), top);
    frame.render_widget(Paragraph::new(footer(app, &look)), bottom);
    match app.screen.clone() {
        Screen::Journey(opened) => journey(app, &opened, middle, frame, &look),
        Screen::Overview => overview(app, middle, frame, &look),
    }
    if app.help {
        help(middle, frame, &look);
    }
}

fn header(app: &App, look: &Look, page: &mut Page) {
    let dot = look.pick(" · ", " - ");
    // What matters most stands first: narrow terminals cut the end.
    page.line().put(Tone::Strong, format!("journey live{dot}"));
    match &app.connection {
        Connection::Waiting => page.put(Tone::Faint, "connecting"),
        Connection::Up if app.stream_lost.is_some() => page.put(Tone::Warn, "events interrupted, retrying"),
        Connection::Up => page.put(Tone::Good, "connected"),
        Connection::Lost(_) => page.put(Tone::Bad, "CONNECTION LOST, retrying"),
    };
    page.put(Tone::Plain, format!("{dot}{}", app.window.as_str()));
    for filter in [&app.route, &app.stage].into_iter().flatten() {
        page.put(Tone::Plain, format!("{dot}only {}", clean(filter, look)));
    }
    page.put(Tone::Faint, format!("{dot}{}", clean(&app.url, look)));
    if let Connection::Lost(why) = &app.connection {
        page.say(Tone::Bad, fit(&clean(why, look), look.width, look));
    }
    let Some(route) = app.shown_route() else { return };
    let journeys = &route.journeys;
    let attention = |number: u64, tone: Tone| if number > 0 { tone } else { Tone::Plain };
    let parts = [
        (Tone::Strong, clean(if route.label.is_empty() { &route.route } else { &route.label }, look)),
        (Tone::Plain, rate(route.throughput_per_second)),
        (Tone::Plain, format!("{} active", count(journeys.active))),
        (attention(journeys.stuck, Tone::Warn), format!("{} stuck", count(journeys.stuck))),
        (attention(journeys.failed, Tone::Bad), format!("{} failed", count(journeys.failed))),
        (Tone::Plain, format!("{} completed", count(journeys.completed))),
        (attention(journeys.expired, Tone::Warn), format!("{} expired", count(journeys.expired))),
        (attention(journeys.evicted, Tone::Bad), format!("{} evicted", count(journeys.evicted))),
    ];
    page.line();
    for (index, (tone, text)) in parts.into_iter().enumerate() {
        page.put(Tone::Faint, if index > 0 { dot } else { "" }).put(tone, text);
    }
    if let Some(lost) = app.summary.as_ref().and_then(|summary| lost_text(&summary.accounting, look)) {
        page.say(Tone::Bad, fit(&lost, look.width, look));
    }
}

fn footer(app: &App, look: &Look) -> Line<'static> {
    let keys = match app.screen {
        _ if app.help => "Esc back",
        Screen::Overview => look.pick(
            "↑↓ select  Enter open  s stuck  w window  r route  ? help  q quit",
            "up/down select  Enter open  s stuck  w window  r route  ? help  q quit",
        ),
        Screen::Journey(_) => look.pick("↑↓ scroll  Esc back  ? help", "up/down scroll  Esc back  ? help"),
    };
    Line::styled(fit(keys, look.width, look), Tone::Faint.style(look))
}

fn overview(app: &mut App, area: Rect, frame: &mut Frame<'_>, look: &Look) {
    let legs = app.shown_route().map_or(0, |route| route.legs.len().max(route.active_by_stage.len()));
    let wanted = u16::try_from(legs).unwrap_or(u16::MAX).saturating_add(3);
    let figures = if area.height < FIGURES || legs == 0 { 0 } else { wanted.min(area.height - LEAST_LIST) };
    let [figures, list_area] = Layout::vertical([Constraint::Length(figures), Constraint::Fill(1)]).areas(area);
    if figures.height > 0 {
        let stages = if area.width >= TWO_PANES { STAGES } else { 0 };
        let [left, right] = Layout::horizontal([Constraint::Length(stages), Constraint::Fill(1)]).areas(figures);
        if stages > 0 {
            active_stages(app, left, frame, look);
        }
        legs_pane(app, right, frame, look);
    }
    journeys(app, list_area, frame, look);
}

fn active_stages(app: &App, area: Rect, frame: &mut Frame<'_>, look: &Look) {
    let inner = framed("Active by stage", area, frame, look);
    let look = Look { width: usize::from(inner.width), ..*look };
    let Some(route) = app.shown_route() else { return };
    let most = route.active_by_stage.iter().map(|stage| stage.active).max().unwrap_or(0).max(1);
    let ids = route.active_by_stage.iter().map(|stage| width(&clean(&stage.stage, &look))).max().unwrap_or(0).min(12);
    let numbers = width(&count(most));
    let bars = look.width.saturating_sub(ids + numbers + 3).min(10);
    let names = look.width.saturating_sub(ids + numbers + bars + 3);
    let mut page = Page::default();
    for stage in &route.active_by_stage {
        let full = (stage.active as f64 / most as f64 * bars as f64).ceil() as usize;
        let name = clean(&stage.name, &look);
        let name = if stage.name == stage.stage { String::new() } else { fit(&name, names, &look) };
        let id = fit(&clean(&stage.stage, &look), ids, &look);
        page.line().put(Tone::Faint, pad(&id, ids)).put(Tone::Plain, format!(" {}", pad(&name, names)));
        page.put(Tone::Plain, format!(" {}", pad_left(&count(stage.active), numbers)));
        page.put(Tone::Plain, format!(" {}", look.pick("█", "#").repeat(full)));
    }
    frame.render_widget(Paragraph::new(page.to_lines(&look)), inner);
}

fn legs_pane(app: &App, area: Rect, frame: &mut Frame<'_>, look: &Look) {
    let title = format!("Legs, {}", crate::text::window(app.window.as_str()));
    let inner = framed(&title, area, frame, look);
    let look = Look { width: usize::from(inner.width), ..*look };
    let Some(route) = app.shown_route() else { return };
    let mut page = Page::default();
    leg_table(route, &look).draw(0, &look, &mut page);
    frame.render_widget(Paragraph::new(page.to_lines(&look)), inner);
}

fn journeys(app: &mut App, area: Rect, frame: &mut Frame<'_>, look: &Look) {
    let title = if app.stuck_only { "Stuck journeys" } else { "Newest journeys" };
    let inner = framed(title, area, frame, look);
    let look = Look { width: usize::from(inner.width), ..*look };
    app.page = usize::from(inner.height).saturating_sub(1);
    if app.list.is_empty() {
        let text = match (&app.connection, app.stuck_only) {
            (Connection::Waiting, _) => "Waiting for the first answer.",
            (_, true) => "Nothing is stuck.",
            (_, false) => "No journeys yet.",
        };
        frame.render_widget(Paragraph::new(Line::styled(text, Tone::Faint.style(&look))), inner);
        return;
    }
    let mut page = Page::default();
    list::table(&app.list, &look).draw(2, &look, &mut page);
    let mut lines = page.to_lines(&look).into_iter();
    let title = lines.next();
    let selected = app.selected_index();
    let first = (selected + 1).saturating_sub(app.page);
    let rows = lines.enumerate().skip(first).map(|(index, mut line)| {
        if index == selected {
            // The mark says it without any style.
            if let Some(indent) = line.spans.first_mut() {
                indent.content = "> ".into();
            }
            line = line.patch_style(Style::new().add_modifier(Modifier::REVERSED));
        }
        line
    });
    frame.render_widget(Paragraph::new(title.into_iter().chain(rows).collect::<Vec<_>>()), inner);
}

fn journey(app: &mut App, opened: &Opened, area: Rect, frame: &mut Frame<'_>, look: &Look) {
    let inner = framed(&clean(&opened.id, look), area, frame, look);
    let look = Look { width: usize::from(inner.width), ..*look };
    let mut page = Page::default();
    if let Some(problem) = &opened.problem {
        page.say(Tone::Bad, fit(&clean(problem, &look), look.width, &look));
    }
    match &opened.view {
        Some(view) => page.append(show(view, &Plan::of(view, app.summary.as_ref()), &look)),
        None if opened.problem.is_none() => {
            page.say(Tone::Faint, "Waiting for the journey.");
        }
        None => {}
    }
    let height = usize::from(inner.height);
    let scroll = opened.scroll.min(page.len().saturating_sub(height));
    app.page = height;
    if let Screen::Journey(opened) = &mut app.screen {
        opened.scroll = scroll;
    }
    let lines: Vec<Line<'static>> = page.to_lines(&look).into_iter().skip(scroll).take(height).collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn help(area: Rect, frame: &mut Frame<'_>, look: &Look) {
    let mut page = Page::default();
    for (keys, what) in KEYS {
        page.line().put(Tone::Strong, pad(keys, 21)).put(Tone::Plain, what);
    }
    let height = u16::try_from(page.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height);
    let columns = area.width.min(72);
    let x = area.x + (area.width - columns) / 2;
    let y = area.y + (area.height - height) / 2;
    let popup = Rect::new(x, y, columns, height);
    frame.render_widget(Clear, popup);
    let inner = framed("Keys", popup, frame, look);
    frame.render_widget(Paragraph::new(page.to_lines(look)), inner);
}

/// Draws a frame with a title and gives the place inside.
fn framed(title: &str, area: Rect, frame: &mut Frame<'_>, look: &Look) -> Rect {
    let room = usize::from(area.width).saturating_sub(4);
    let lines = if look.unicode { border::PLAIN } else { ASCII_BORDER };
    let block = Block::bordered().border_set(lines).title(format!(" {} ", fit(title, room, look)));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

#[cfg(test)]
mod tests;
