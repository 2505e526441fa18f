//! The answer in plain words, to be read at three in the morning: what happened, to what, why, and what is left to do.

use crate::{
    event::EventStatus,
    query::{
        CompensationView, DecisionView, ErrorView, FailureView, NodeKind, StepRef, StepView,
        text::{counted, list, long, named, quoted, when},
    },
    why::{Verdict, Why},
};

/// The most names in one sentence.
const MOST_NAMES: usize = 6;
/// The most decisions told in full.
const MOST_DECISIONS: usize = 4;

impl Why {
    /// One paragraph in plain English: what failed, when, with what error and on what, the way and the decisions that
    /// led there, what was undone and what a person still has to look at.
    pub fn paragraph(&self) -> String {
        let mut said = match self.verdict {
            Verdict::Unknown => vec!["Nothing is known of this trace: no event of it was found.".to_owned()],
            Verdict::Failed => self.failed(),
            Verdict::Running => self.running(),
            Verdict::Recovered | Verdict::Succeeded => self.succeeded(),
        };
        said.extend(self.missing.iter().cloned());
        said.retain(|sentence| !sentence.is_empty());
        said.join(" ")
    }

    fn failed(&self) -> Vec<String> {
        let Some(failure) = &self.failure else { return Vec::new() };
        vec![
            self.what_failed(failure),
            self.about(),
            way(failure),
            self.before(),
            self.also_failed(failure),
            self.led_there(failure),
            self.undone(),
            self.left_to_do(),
        ]
    }

    fn running(&self) -> Vec<String> {
        let began = self.started_at.as_deref().map(when).unwrap_or_default();
        let open: Vec<&StepView> = self.pending.iter().filter(|step| step.kind != NodeKind::Workflow).collect();
        let nothing_failed = self.other_failures.is_empty() && self.compensations.all.is_empty();
        let so_far = if nothing_failed { ", and nothing has failed" } else { "" };
        let mut said = vec![format!("{} has not ended{so_far}. It began on {began}.", self.subject())];
        let waits: Vec<String> = open
            .iter()
            .map(|step| format!("{} since {}{}", titled(step), when(&step.started_at), self.ago(step)))
            .collect();
        if !waits.is_empty() {
            said.push(format!("Pending: {}.", list(&waits, MOST_NAMES)));
        } else {
            let last = self.succeeded.last().map(|step| format!("; the last to succeed was {}", named(&step.label)));
            said.push(format!("No step of it is under way{}.", last.unwrap_or_default()));
        }
        let last = self.last_event_at.as_deref().map(when).unwrap_or_default();
        said.push(match self.idle_ms {
            Some(idle) => format!("Its last event was on {last}, {} ago.", long(idle)),
            None => format!("Its last event was on {last}."),
        });
        if let Some(pause) = self.longest_pause.as_ref().filter(|pause| pause.ms > 0.0) {
            let (after, before) = (named(&pause.after), named(&pause.before));
            let place = if after == before { format!("inside {after}") } else { format!("from {after} to {before}") };
            said.push(format!("The longest silence between two events was {}, {place}.", long(pause.ms)));
        }
        said.extend(self.other_failures.iter().take(MOST_NAMES).map(overcome));
        said.push(self.about());
        said.push(self.decided("So far, ", &self.decisions.iter().collect::<Vec<_>>()));
        if !self.compensations.all.is_empty() {
            said.extend([self.undone(), self.left_to_do()]);
        }
        said
    }

    fn succeeded(&self) -> Vec<String> {
        let subject = self.subject();
        let ended = self.last_event_at.as_deref().map(when).unwrap_or_default();
        let took = self.duration_ms.map(|ms| format!(" after {}", long(ms))).unwrap_or_default();
        let steps = counted(self.succeeded.len(), "step");
        let begin = if self.verdict == Verdict::Succeeded { "Nothing failed: " } else { "" };
        let subject = if begin.is_empty() { subject } else { lower(&subject) };
        let mut said = vec![format!("{begin}{subject} succeeded on {ended}{took}, with {steps}.")];
        said.extend(self.other_failures.iter().take(MOST_NAMES).map(overcome));
        let more = self.other_failures.len().saturating_sub(MOST_NAMES);
        if more > 0 {
            said.push(format!("{} did not stop it either.", counted(more, "more failure")));
        }
        said.push(self.about());
        said.push(self.decided("", &self.decisions.iter().collect::<Vec<_>>()));
        if !self.compensations.all.is_empty() {
            said.extend([self.undone(), self.left_to_do()]);
        }
        said
    }

    fn subject(&self) -> String {
        self.route.as_deref().map_or("This trace".to_owned(), |route| format!("Workflow {}", named(route)))
    }

    fn what_failed(&self, failure: &FailureView) -> String {
        let (step, subject, at) = (&failure.step, self.subject(), when(&failure.at));
        let error = step.error.as_ref().map(|error| format!(" with {},", error_text(error))).unwrap_or_default();
        let after = format!("on {at}, {} after it began", long(failure.after_ms));
        if step.kind == NodeKind::Workflow {
            return format!("{subject} failed{error} {after}. No failed step is recorded that would say where.");
        }
        let attempt = if failure.attempt > 1 { format!(" on attempt {}", failure.attempt) } else { String::new() };
        let ran = step.duration_ms.map(|ms| format!("; the step itself ran for {}", long(ms))).unwrap_or_default();
        format!("{subject} failed at {}{attempt}{error} {after}{ran}.", titled(step))
    }

    /// What it was about, and what to search for elsewhere.
    fn about(&self) -> String {
        let subject = self.correlation_id.as_deref();
        let other_ids = self.ids.iter().filter(|(_, value)| Some(value.as_str()) != subject);
        let mut also: Vec<String> = other_ids.map(|(key, value)| format!("{key} {}", named(value))).collect();
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| named(&format!("{key}={value}"))).collect();
        if !tags.is_empty() {
            also.push(format!("{} {}", if tags.len() == 1 { "tag" } else { "tags" }, list(&tags, MOST_NAMES)));
        }
        also.extend(self.trace_id.iter().map(|id| format!("trace {id}")));
        let also = also.join(", ");
        let parent = self.parent_trace_id.map(|id| format!(" It was started by trace {id}.")).unwrap_or_default();
        match subject {
            Some(subject) => format!("It was about {} ({also}).{parent}", named(subject)),
            None => format!("To find it elsewhere: {also}.{parent}"),
        }
    }

    fn before(&self) -> String {
        let Some((last, rest)) = self.succeeded.split_last() else {
            return "No step had succeeded before that.".to_owned();
        };
        if rest.is_empty() {
            return format!("One step had succeeded before that: {}.", named(&last.label));
        }
        let first: Vec<String> = self.succeeded.iter().map(|step| named(&step.label)).collect();
        if first.len() <= MOST_NAMES {
            return format!("{} steps had succeeded before that: {}.", first.len(), list(&first, MOST_NAMES));
        }
        format!("{} steps had succeeded before that, the last of them {}.", first.len(), named(&last.label))
    }

    fn also_failed(&self, failure: &FailureView) -> String {
        let other = |one: &&super::OtherFailureView| one.overcome_by.is_none() && one.step.label != failure.step.label;
        let names: Vec<String> = self
            .other_failures
            .iter()
            .filter(other)
            .map(|one| format!("{}{}", titled(&one.step), in_brackets(one.step.error.as_ref())))
            .collect();
        if names.is_empty() { String::new() } else { format!("Also failed: {}.", list(&names, MOST_NAMES)) }
    }

    fn led_there(&self, failure: &FailureView) -> String {
        let (before, after): (Vec<&DecisionView>, Vec<&DecisionView>) =
            self.decisions.iter().partition(|decision| decision.offset_ms <= failure.after_ms);
        let led = match before.len() {
            0 => String::new(),
            1 => self.decided("One decision led there: ", &before),
            count => self.decided(&format!("{count} decisions led there: "), &before),
        };
        let then = self.decided("After the failure, ", &after);
        [led, then].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The newest decisions in full, the oldest of them first.
    fn decided(&self, begin: &str, decisions: &[&DecisionView]) -> String {
        if decisions.is_empty() {
            return String::new();
        }
        let hidden = decisions.len().saturating_sub(MOST_DECISIONS);
        let told: Vec<String> = decisions[hidden..].iter().map(|decision| decision_text(decision)).collect();
        let earlier = if hidden > 0 { format!("(the last {MOST_DECISIONS} are) ") } else { String::new() };
        format!("{begin}{earlier}{}.", told.join("; then "))
    }

    fn undone(&self) -> String {
        let all = &self.compensations.all;
        if all.is_empty() && self.succeeded.is_empty() {
            return String::new();
        }
        if all.is_empty() && self.nothing_to_undo {
            return "Nothing had been done that needs undoing.".to_owned();
        }
        if all.is_empty() {
            let known = "what the steps before it did is still in effect, as far as is known";
            return format!("No compensation is recorded: {known}.");
        }
        let with = |status| all.iter().filter(move |one: &&CompensationView| one.step.status == status);
        let undid: Vec<String> = with(EventStatus::Success).map(undone_name).collect();
        let failed: Vec<String> = with(EventStatus::Failed).map(failed_text).collect();
        let open: Vec<String> = with(EventStatus::Pending).map(undone_name).collect();
        let mut parts = Vec::new();
        if !undid.is_empty() {
            parts.push(format!("Compensation undid {}", list(&undid, MOST_NAMES)));
        }
        if !failed.is_empty() {
            let begin = if undid.is_empty() { "Compensation undid nothing: " } else { "but " };
            parts.push(format!("{begin}{}", list(&failed, MOST_NAMES)));
        }
        if !open.is_empty() {
            let begin = if parts.is_empty() {
                "Being undone, with no end recorded: "
            } else {
                "and no end is recorded of undoing "
            };
            parts.push(format!("{begin}{}", list(&open, MOST_NAMES)));
        }
        format!("{}.", parts.join(", "))
    }

    fn left_to_do(&self) -> String {
        let names =
            |steps: &[StepRef]| list(&steps.iter().map(|step| named(&step.label)).collect::<Vec<_>>(), MOST_NAMES);
        let be = |steps: &[StepRef]| if steps.len() == 1 { "is" } else { "are" };
        let were = |steps: &[StepRef]| if steps.len() == 1 { "was" } else { "were" };
        let (still, never) = (&self.compensations.still_in_effect, &self.compensations.never_undone);
        let under_way = self.compensations.all.iter().any(|one| one.step.status == EventStatus::Pending);
        let mut parts = Vec::new();
        if !still.is_empty() {
            parts.push(format!("{} {} still in effect because undoing it failed", names(still), be(still)));
        }
        if !never.is_empty() && under_way {
            parts.push(format!("{} {} done and {} not undone so far", names(never), were(never), be(never)));
        } else if !never.is_empty() {
            parts.push(format!("{} {} done and never undone", names(never), were(never)));
        }
        match parts.as_slice() {
            [] if self.compensations.all.is_empty() || under_way => String::new(),
            [] => "Everything that needed undoing was undone, as far as is recorded.".to_owned(),
            parts => format!("A person has to look: {}.", parts.join(", and ")),
        }
    }

    fn ago(&self, step: &StepView) -> String {
        // From its start to the last event, and from there to now.
        let last = self.idle_ms.zip(self.last_offset_ms());
        last.map(|(idle, last)| format!(" ({})", long(last - step.offset_ms + idle))).unwrap_or_default()
    }

    fn last_offset_ms(&self) -> Option<f64> {
        let nanos = |text: &Option<String>| journey_core::parse_instant(text.as_deref()?).ok();
        Some(crate::query::text::millis(nanos(&self.last_event_at)?.saturating_sub(nanos(&self.started_at)?)))
    }
}

fn way(failure: &FailureView) -> String {
    // Workflow and step alone were named already.
    if failure.path.len() < 3 {
        return String::new();
    }
    let names: Vec<String> = failure.path.iter().map(|step| named(&step.label)).collect();
    let shown = match names.len() {
        ..=8 => names.join(" > "),
        count => format!("{} > ... ({} more) > {}", names[..3].join(" > "), count - 7, names[count - 4..].join(" > ")),
    };
    format!("The path: {shown}.")
}

/// `db_stored` (T4).
fn titled(step: &StepView) -> String {
    match step.stage.as_deref().filter(|stage| *stage != step.label) {
        Some(stage) => format!("{} ({stage})", named(&step.label)),
        None => named(&step.label),
    }
}

fn error_text(error: &ErrorView) -> String {
    // Rust's own texts and boxes as types of errors say nothing that the message does not.
    let tells = |error_type: &&String| {
        !["alloc::", "core::", "&", "str", "dyn "].iter().any(|dull| error_type.starts_with(dull))
    };
    match (error.error_type.as_ref().filter(|error_type| error.message.is_none() || tells(error_type)), &error.message)
    {
        (Some(error_type), Some(message)) => format!("{error_type}: {}", quoted(message)),
        (Some(error_type), None) => error_type.clone(),
        (None, Some(message)) => quoted(message),
        (None, None) => "an error that says nothing".to_owned(),
    }
}

fn in_brackets(error: Option<&ErrorView>) -> String {
    error.map(|error| format!(" ({})", error_text(error))).unwrap_or_default()
}

fn overcome(failure: &super::OtherFailureView) -> String {
    let (step, error) = (titled(&failure.step), in_brackets(failure.step.error.as_ref()));
    match (&failure.overcome_by, failure.overcome_after_ms) {
        (Some(by), Some(ms)) if by.status == EventStatus::Success => {
            format!("{step} had failed{error}; tried again, it succeeded {} later.", long(ms))
        }
        (Some(_), _) => format!("{step} failed{error} and is being tried again."),
        (None, _) => format!("{step} failed{error}, and the work went on without it."),
    }
}

fn decision_text(decision: &DecisionView) -> String {
    let about = named(&decision.decision);
    let chosen = decision
        .chosen
        .as_deref()
        .map_or("chose something it does not name".to_owned(), |chosen| format!("chose {}", quoted(chosen)));
    let is_chosen = |other: &&String| Some(other.as_str()) != decision.chosen.as_deref();
    let others: Vec<String> = decision.alternatives.iter().filter(is_chosen).map(|other| quoted(other)).collect();
    let over = if others.is_empty() { String::new() } else { format!(" over {}", list(&others, 4)) };
    let sure = decision.confidence.map(|sure| format!(" with confidence {sure}")).unwrap_or_default();
    let because = decision.reasoning.as_deref().map(|why| format!(", because {}", quoted(why))).unwrap_or_default();
    format!("{about} {chosen}{over}{sure}{because}")
}

fn undone_name(one: &CompensationView) -> String {
    one.original
        .as_ref()
        .map_or_else(|| format!("something unknown ({})", named(&one.step.label)), |original| named(&original.label))
}

fn failed_text(one: &CompensationView) -> String {
    let took = one.step.duration_ms.map(|ms| format!(" after {}", long(ms))).unwrap_or_default();
    let error = one.step.error.as_ref().map(|error| format!(" with {}", error_text(error))).unwrap_or_default();
    let original = undone_name(one);
    let first = if one.made_good { " at first" } else { "" };
    format!("undoing {original} ({}) failed{first}{took}{error}", named(&one.step.label))
}

fn lower(subject: &str) -> String {
    let mut chars = subject.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
