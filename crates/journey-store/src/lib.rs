//! Events that outlive the process: why did it fail, did the compensation work, why that path.
//!
//! | module | question it answers |
//! |---|---|
//! | `event` | what happened (one row, one JSON form)? |
//! | `store` | how is an event kept and found again, whatever the store is? |

mod event;
mod store;

pub use self::{
    event::{Event, EventStatus, InvalidEvent, MAX_EVENT_TYPE_BYTES, SpanId, TraceId},
    store::{
        Answer, Batch, DailyStatistic, EmitterAccount, EventFilter, EventStore, Expired, MAX_PAGE, Page, Put,
        RejectReason, ScanFilter, StoreError, StoreErrorKind, StoreInfo, TraceStatus, TraceSummary,
    },
};
