//! What may be said on the command line?

use clap::{Parser, builder::PossibleValuesParser, builder::TypedValueParser as _};
use journey_store::{InvalidPlace, StorePlace};

use crate::steps::Step;

/// Runs an order of twelve steps and tells a store of events about it.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The step that fails, 1 to 12; 0: none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=12))]
    fail_at: u8,

    /// A step that cannot be undone; may be given several times
    #[arg(long, value_name = "STEP", value_parser = undoable())]
    pub(crate) cannot_undo: Vec<Step>,

    /// Where events are stored: a folder (SQLite)
    // Read later: clap would show what was given, and that may hold a password.
    #[arg(long, value_name = "PLACE", default_value = "journey-events")]
    store: String,
}

impl Options {
    pub(crate) fn fail_at(&self) -> Option<Step> {
        usize::from(self.fail_at).checked_sub(1).and_then(|index| Step::ALL.get(index).copied())
    }

    pub(crate) fn store(&self) -> Result<StorePlace, InvalidPlace> {
        self.store.parse()
    }
}

fn undoable() -> impl clap::builder::TypedValueParser<Value = Step> {
    let steps = || Step::ALL.into_iter().filter(|step| step.undone_by().is_some());
    PossibleValuesParser::new(steps().map(Step::name)).try_map(move |name| {
        steps().find(|step| step.name() == name).ok_or_else(|| format!("`{name}` is not a step that is undone"))
    })
}
