//! How long things took, day by day.

use std::collections::HashSet;

use journey_http::DailyView;
use journey_store::DailyStatistic;

use crate::{
    look::Look,
    page::{Page, Tone},
    summary::NEEDED,
    table::{Cell, Table},
    text::{clean, column_duration, count},
};

/// Draws days, the newest first; of one leg, how it went from day to day.
pub(crate) fn stats(view: &DailyView, one_leg: bool, look: &Look) -> Page {
    let mut page = Page::default();
    let (first, last) = (clean(&view.first, look), clean(&view.last, look));
    let arrow = look.pick("→", "->");
    if view.statistics.is_empty() {
        page.say(Tone::Faint, format!("No statistics of {first} {arrow} {last} (UTC)."));
        say_due(view, &mut page, look);
        return page;
    }
    page.line().put(Tone::Strong, format!("Days {first} {arrow} {last} (UTC)")).line();
    let routes: HashSet<&str> = view.statistics.iter().map(|line| line.route.as_str()).collect();
    let several = routes.len() > 1;
    let by_day = one_leg && !several;
    let mut table = table(if by_day { "day" } else { "leg" });
    let mut above = String::new();
    for line in &view.statistics {
        let (day, route) = (clean(&line.day, look), clean(&line.route, look));
        let heading = if several { format!("{day} {route}") } else { day.clone() };
        if !by_day && heading != above {
            table.heading(heading.clone());
            above = heading;
        }
        let name = if by_day { day } else { format!("  {}", clean(&line.leg, look)) };
        table.row(row(name, line, look));
    }
    table.draw(0, look, &mut page);
    if !view.due.is_empty() {
        page.line();
        say_due(view, &mut page, look);
    }
    if view.statistics.iter().any(|line| line.count < NEEDED[2]) {
        let [p50, p95, p99] = NEEDED;
        let text = format!("~ rests on too few values to be reliable ({p50} for p50, {p95} for p95, {p99} for p99)");
        page.line().paragraph(Tone::Faint, &text, look.width);
    }
    page
}

/// Which days are not told of, or not to their end.
fn say_due(view: &DailyView, page: &mut Page, look: &Look) {
    const WHEN: &str = "A service that stores events works statistics out when it starts and ends, and once a minute while events come.";
    let days: Vec<_> = view.due.iter().map(|day| clean(day, look)).collect();
    let due = match &days[..] {
        [] => WHEN.to_owned(),
        [day] => format!("Events of {day} came later and are not counted here. {WHEN}"),
        [first, .., last] => {
            format!("Events of {} days ({first} to {last}) came later and are not counted here. {WHEN}", days.len())
        }
    };
    page.paragraph(Tone::Faint, &due, look.width);
}

fn table(title: &'static str) -> Table {
    let table = Table::new(title).numbers("count", 0).numbers("mean", 4).numbers("min", 5);
    table.numbers("p50", 0).numbers("p95", 0).numbers("p99", 2).numbers("max", 3)
}

fn row(name: String, line: &DailyStatistic, look: &Look) -> Vec<Cell> {
    let value = |ms: f64| column_duration(ms, look);
    let quantile = |ms: f64, needed: u64| format!("{}{}", if line.count < needed { "~" } else { "" }, value(ms));
    vec![
        name.into(),
        count(line.count).into(),
        value(line.mean_ms).into(),
        value(line.min_ms).into(),
        quantile(line.p50_ms, NEEDED[0]).into(),
        quantile(line.p95_ms, NEEDED[1]).into(),
        quantile(line.p99_ms, NEEDED[2]).into(),
        value(line.max_ms).into(),
    ]
}

#[cfg(test)]
mod tests;
