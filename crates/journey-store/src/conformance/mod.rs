//! What every store must do, as properties that run against any of them.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use journey_store::{EventStore, MemoryStore, conformance};
//! let report = conformance::run("memory", 1, &|| Arc::new(MemoryStore::new()) as Arc<dyn EventStore>);
//! assert!(report.holds(), "{report}");
//! ```
//!
//! | module | question it answers |
//! |---|---|
//! | `put` | what becomes of the events of a batch? |
//! | `read` | are events found again, in order and whole? |
//! | `traces` | what is said of a trace, and which are found? |
//! | `accounts` | does the store alone prove what was lost? |
//! | `days` | are statistics recomputed, and days dropped whole? |
//! | `hostile` | does anything break it? |
//! | `model` | what would be right, computed plainly? |

mod accounts;
mod days;
mod hostile;
mod model;
mod put;
mod read;
mod traces;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::store::EventStore;

/// Makes a new and empty store that keeps events for 90 days, for one property.
pub type Make<'a> = dyn Fn() -> Arc<dyn EventStore> + 'a;

/// What a property is given.
struct Trial<'a> {
    make: &'a Make<'a>,
    /// Every random choice follows from it.
    seed: u64,
}

/// Why a property does not hold.
#[derive(Debug)]
struct Broken(String);

type Outcome = Result<(), Broken>;

/// What must hold, as a sentence, and how that is found out.
type Property = (&'static str, fn(&Trial<'_>) -> Outcome);

/// What came of all properties on one kind of store.
#[derive(Debug)]
pub struct Report {
    /// The kind of store.
    pub kind: String,
    /// What every random choice followed from.
    pub seed: u64,
    /// Every property, and why it does not hold where it does not.
    pub results: Vec<(&'static str, Result<(), String>)>,
}

/// Runs all properties, one after the other, each on a new store.
pub fn run(kind: &str, seed: u64, make: &Make<'_>) -> Report {
    let trial = Trial { make, seed };
    let parts = [
        put::PROPERTIES,
        read::PROPERTIES,
        traces::PROPERTIES,
        accounts::PROPERTIES,
        days::PROPERTIES,
        hostile::PROPERTIES,
    ];
    let run_one = |(name, property): &Property| {
        // One that panics must not hide the others.
        let outcome = catch_unwind(AssertUnwindSafe(|| property(&trial)));
        (*name, outcome.unwrap_or_else(|_| Err(Broken("it panicked".to_owned()))).map_err(|broken| broken.0))
    };
    let results = parts.concat().iter().map(run_one).collect();
    Report { kind: kind.to_owned(), seed, results }
}

impl Report {
    /// Whether all properties hold.
    pub fn holds(&self) -> bool {
        self.results.iter().all(|(_, result)| result.is_ok())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, result) in &self.results {
            match result {
                Ok(()) => writeln!(f, "  holds   {name}")?,
                Err(why) => writeln!(f, "  BROKEN  {name}: {why}")?,
            }
        }
        let held = self.results.iter().filter(|(_, result)| result.is_ok()).count();
        write!(f, "{held} of {} properties hold, {} store, seed {}", self.results.len(), self.kind, self.seed)
    }
}

impl Trial<'_> {
    fn store(&self) -> Arc<dyn EventStore> {
        (self.make)()
    }
}

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Ends the property where something does not hold, with the reason.
macro_rules! must {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(crate::conformance::Broken(format!($($why)+)));
        }
    };
}

/// Ends the property where two things differ, with both, cut to what can be read.
macro_rules! must_equal {
    ($left:expr, $right:expr, $($what:tt)+) => {
        let (left, right) = (&$left, &$right);
        if left != right {
            let show = |value: &dyn std::fmt::Debug| -> String { format!("{value:?}").chars().take(600).collect() };
            let what = format!($($what)+);
            return Err(crate::conformance::Broken(format!("{what}: is {}, should be {}", show(&left), show(&right))));
        }
    };
}

use must;
use must_equal;
