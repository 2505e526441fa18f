//! How do events get from the application's threads into the store, and what becomes of each?
//!
//! | module | question it answers |
//! |---|---|
//! | `loss` | why is an event not stored? |
//! | `fate` | what became of one event, and of all? |
//! | `state` | which events wait, and what became of the others? |
//! | `lane` | which batch is with the store, and when is it tried again? |
//! | `overflow` | when do events go to the spill file, and how do they come back? |
//! | `pace` | how many are put at once, while somebody waits for others? |
//! | `said` | what has the store been told of emitters, and what not yet? |
//! | `settings` | how much may wait, how long, how often? |
//! | `upkeep` | when are statistics recomputed and old days dropped? |
//! | `work` | what does the writer's thread do next? |
//! | `close` | how does it end, in time? |

mod close;
mod fate;
mod lane;
mod loss;
mod overflow;
mod pace;
mod said;
mod settings;
mod state;
mod upkeep;
mod work;

pub use self::{
    fate::WriterStats,
    loss::{EmitError, LossReason},
};
pub(crate) use self::{
    settings::{LONGEST_GRACE, Settings, Upkeep},
    state::{Flushed, Reply, Shared},
    work::Writer,
};
