//! What is said at the end: one journey whole, the summary, whether it all adds up, and what to try next.

use std::time::Duration;

use journey_core::{
    Route, Window,
    view::{AccountingView, JourneyView, SummaryView},
};
use tracing_journey::{JourneyHandle, Report};

use super::{
    ledger::{Counts, Ledger},
    observe::{DEFAULT_ADDR, Observed},
};
use crate::{
    look::Look,
    page::{Page, Tone},
    plan::Plan,
    show, summary,
};

const SIMULATED: &str = "The agent's thinking time, the platforms' network and the pace of the people are simulated; \
    all else is real work: parsing, the bus, SQLite on disk, retries.";
/// Said beneath the summary, because the longest times in it come from there.
const WHOLE_SECONDS: &str = "WhatsApp and Telegram tell their time in whole seconds: what starts at their T0 is up to 1 s \
    shorter than it looks.";

/// What was seen, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Findings {
    elapsed: Duration,
    counts: Counts,
    /// The journey with the most to tell.
    shown: Option<JourneyView>,
    summary: SummaryView,
    /// Sentences; empty when every checkpoint is accounted for and every message went as planned.
    pub(super) problems: Vec<String>,
}

impl Findings {
    /// Compares what Journey saw with what the ledger knows. Everything must have been flushed.
    pub(super) fn gather(journey: &JourneyHandle, ledger: &Ledger, elapsed: Duration) -> Self {
        let route = journey.live().routes().find(Route::message().name());
        let summary = journey.live().summary(route, Window::Start);
        let counts = ledger.counts();
        let seen = ledger.interesting().into_iter().filter_map(|id| journey.get(&id));
        let shown = seen.max_by(|one, other| tells(one).cmp(&tells(other)));
        let problems = problems(&counts, &summary);
        Self { elapsed, counts, shown, summary, problems }
    }

    /// What a person reads.
    pub(super) fn text(&self, observed: &Observed, keep: bool, look: &Look) -> String {
        let mut page = Page::default();
        let seconds = self.elapsed.as_secs_f64();
        let line = format!(
            "{} messages in {seconds:.1} s: three channel plugins, a bus, SQLite, an agent and an API in one process.",
            self.counts.sent
        );
        page.paragraph(Tone::Strong, &line, look.width);
        page.paragraph(Tone::Faint, SIMULATED, look.width);
        page.line();
        let mut text = page.to_text(look);
        if let Some(shown) = &self.shown {
            let plan = Plan::of(shown, Some(&self.summary));
            text.push_str(&show::show(shown, &plan, look).to_text(look));
            text.push('\n');
        }
        text.push_str(&summary::summary(&self.summary, look).to_text(look));
        text.push_str(&self.account(look).to_text(look));
        text.push_str(&self.try_next(observed, keep, look).to_text(look));
        text
    }

    /// The same for a program.
    pub(super) fn json(&self, observed: &Observed) -> String {
        let Counts { sent, delivered, failed, unanswered, .. } = &self.counts;
        let document = serde_json::json!({
            "elapsedMs": self.elapsed.as_secs_f64() * 1_000.0,
            "messages": { "sent": sent, "delivered": delivered, "failed": failed, "unanswered": unanswered },
            "endpoint": endpoint(observed),
            "journey": self.shown,
            "summary": self.summary,
            "problems": self.problems,
        });
        format!("{document:#}\n")
    }

    /// The last lines: how the observing ended.
    pub(super) fn ending(&self, report: &Report, look: &Look) -> String {
        let mut page = Page::default();
        let Counts { sent, .. } = self.counts;
        page.paragraph(Tone::Plain, &format!("Stopped after {sent} messages: {report}."), look.width);
        page.to_text(look)
    }

    fn account(&self, look: &Look) -> Page {
        let mut page = Page::default();
        let AccountingView { offered, recorded, .. } = &self.summary.accounting;
        let dropped = dropped(&self.summary.accounting);
        let Counts { sent, delivered, failed, unanswered, .. } = &self.counts;
        page.line();
        page.paragraph(Tone::Faint, WHOLE_SECONDS, look.width);
        page.line();
        let line = format!("Checkpoints: {offered} offered = {recorded} recorded + {dropped} dropped.");
        page.paragraph(Tone::Plain, &line, look.width);
        let line = format!(
            "Messages: {sent} sent = {delivered} delivered + {failed} failed on purpose + {unanswered} never answered, on purpose."
        );
        page.paragraph(Tone::Plain, &line, look.width);
        for problem in &self.problems {
            page.paragraph(Tone::Bad, &format!("Problem: {problem}"), look.width);
        }
        page
    }

    fn try_next(&self, observed: &Observed, keep: bool, look: &Look) -> Page {
        let mut page = Page::default();
        page.line();
        if let Some(sent_to) = exported_to() {
            page.paragraph(Tone::Plain, &format!("Journeys and metrics go to {sent_to} by OTLP."), look.width);
        }
        let Some(endpoint) = endpoint(observed) else {
            page.paragraph(Tone::Plain, "The debug endpoint is off.", look.width);
            return page;
        };
        if observed.moved {
            page.paragraph(
                Tone::Warn,
                &format!("{DEFAULT_ADDR} is taken, so a free port was taken instead."),
                look.width,
            );
        }
        if keep {
            page.say(Tone::Strong, format!("The page and the endpoint: {endpoint}/"));
            page.say(Tone::Plain, "Messages go on until Ctrl-C. Try next, in another terminal:");
        } else {
            page.say(Tone::Plain, format!("The page and the endpoint were at {endpoint}/"));
            page.say(Tone::Plain, "They stay with `journey demo --keep`. Try then, in another terminal:");
        }
        let by_default = endpoint == format!("http://{DEFAULT_ADDR}") || (observed.moved && !keep);
        let url = if by_default { String::new() } else { format!(" --url {endpoint}") };
        let id = self.shown.as_ref().map_or("ID", |shown| &shown.correlation_id);
        // An id of this run is gone with it.
        let id = if keep { id } else { "ID" };
        for command in [&format!("show {id}"), "summary", "live", "list --stuck", "list --failed"] {
            page.say(Tone::Strong, format!("  journey {command}{url}"));
        }
        if keep {
            page.say(Tone::Strong, format!("  curl {endpoint}/health"));
        }
        page
    }
}

/// How much a journey shows: clocks finer than a second first, then attempts, then time.
fn tells(view: &JourneyView) -> (bool, u32, u64) {
    let fine = view.checkpoints.iter().all(|stage| stage.resolution_ms.is_none_or(|resolution| resolution < 1_000.0));
    let attempts = view.checkpoints.iter().map(|stage| stage.attempts).sum();
    (fine, attempts, view.total_ms.unwrap_or(0.0) as u64)
}

fn problems(counts: &Counts, summary: &SummaryView) -> Vec<String> {
    let mut problems = counts.surprises.clone();
    let ended = counts.delivered + counts.failed + counts.unanswered;
    if ended != counts.sent {
        problems.push(format!("{} messages of {} never ended", counts.sent.saturating_sub(ended), counts.sent));
    }
    let AccountingView { offered, recorded, .. } = &summary.accounting;
    let dropped = dropped(&summary.accounting);
    if *offered != recorded + dropped {
        problems.push(format!("{offered} checkpoints offered are not {recorded} recorded + {dropped} dropped"));
    }
    match summary.routes.first().map(|route| &route.journeys) {
        None => problems.push("the route `message` is not active".to_owned()),
        Some(seen) => {
            for (what, seen, known) in
                [("completed", seen.completed, counts.delivered), ("failed", seen.failed, counts.failed)]
            {
                if seen != known {
                    problems.push(format!("{known} messages and {seen} journeys {what}"));
                }
            }
        }
    }
    problems
}

fn dropped(accounting: &AccountingView) -> u64 {
    accounting.dropped.values().sum()
}

fn endpoint(observed: &Observed) -> Option<String> {
    observed.journey.http_addr().map(|addr| format!("http://{addr}"))
}

fn exported_to() -> Option<String> {
    let variables = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    variables.into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use journey_core::view::{JourneyCountsView, RouteSummaryView};

    use super::*;

    fn seen(completed: u64, failed: u64, offered: u64) -> SummaryView {
        let journeys = JourneyCountsView { completed, failed, ..JourneyCountsView::default() };
        SummaryView {
            routes: vec![RouteSummaryView { journeys, ..RouteSummaryView::default() }],
            accounting: AccountingView { offered, recorded: 100, dropped: [("late".to_owned(), 1)].into() },
            ..SummaryView::default()
        }
    }

    #[test]
    fn it_adds_up_or_says_what_does_not() {
        let counts = Counts { sent: 10, delivered: 8, failed: 1, unanswered: 1, surprises: vec![] };
        assert_eq!(problems(&counts, &seen(8, 1, 101)), [""; 0]);
        assert_eq!(problems(&counts, &seen(7, 1, 101)), ["8 messages and 7 journeys completed"]);
        assert_eq!(
            problems(&Counts { unanswered: 0, ..counts }, &seen(8, 0, 102)),
            [
                "1 messages of 10 never ended",
                "102 checkpoints offered are not 100 recorded + 1 dropped",
                "1 messages and 0 journeys failed"
            ]
        );
    }
}
