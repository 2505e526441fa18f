//! Events that outlive the process: why did it fail, did the compensation work, why that path.
//!
//! | module | question it answers |
//! |---|---|
//! | `admit` | which events does a store keep? |
//! | `analytics` | how often do traces fail, where, what is slow, does compensation work, which decisions turn out well? |
//! | `conformance` | what must every store do? |
//! | `context` | which trace, which span, and whose message? |
//! | `cursor` | where did a page end? |
//! | `daily` | how long did things take on one day? |
//! | `day` | which UTC day does an event belong to? |
//! | `emit` | how does an application say what happened, and how does it know that it is kept? |
//! | `event` | what happened (one row, one JSON form)? |
//! | `fixture` | an order of twelve steps as events, for tests and documentation |
//! | `memory` | events in memory |
//! | `merge` | what is known of a trace in one line? |
//! | `place` | where is the store, in one word? |
//! | `postgres` | events in PostgreSQL |
//! | `query` | what is the shape of one trace, what failed, what was undone, what was decided? |
//! | `reader` | the same questions to a store |
//! | `redact` | what must not leave the process, and how large may the rest be? |
//! | `spill` | what happens to events while the store is away? |
//! | `sqlite` | events in a folder of SQLite files |
//! | `store` | how is an event kept and found again, whatever the store is? |
//! | `stream` | what happens now, and what happened before I began to look? |
//! | `why` | why did it fail, in one paragraph? |
//! | `writer` | how do events get into the store, and what becomes of each? |

mod admit;
mod analytics;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod context;
mod cursor;
mod daily;
mod day;
mod emit;
mod event;
#[doc(hidden)]
pub mod fixture;
mod memory;
mod merge;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
mod reader;
mod redact;
mod spill;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod stream;
mod wait;
mod why;
mod writer;

#[cfg(feature = "postgres")]
pub use self::postgres::{MAX_CONNECTIONS, PostgresConfig, PostgresDurability, PostgresHealth, PostgresStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{Durability, SqliteConfig, SqliteStore};
pub use self::{
    admit::{DEFAULT_RETENTION, MAX_BATCH, MAX_DATA_DEPTH, MAX_EXPIRED_DAYS, MAX_KEY_BYTES},
    analytics::{
        Analytics, AnalyticsKind, AnalyticsView, CompensatedWork, CompensationRate, DecisionOutcome, ErrorCount,
        FailureRate, InvalidAnalyticsKind, MAX_ROWS, NO_ROUTE, OTHER, PeriodRate, SlowStage, StageFailures,
    },
    context::TraceContext,
    daily::{MAX_DAILY_LEGS, MAX_LEG_NAME_BYTES, daily_statistics, read_sketch},
    emit::{Emit, Emitter, EmitterBuilder, EventDraft, Flush, Random, StartError},
    event::{Event, EventStatus, InvalidEvent, MAX_EVENT_TYPE_BYTES, SpanId, TraceId},
    memory::MemoryStore,
    merge::{MAX_SUMMARY_TAG_BYTES, MAX_SUMMARY_TAGS, MAX_SUMMARY_TYPES},
    place::{InvalidPlace, StoreOptions, StorePlace},
    query::{
        Compensation, CompensationView, Compensations, CompensationsView, Decision, DecisionView, ErrorView,
        FailureView, Mark, Moment, Node, NodeKind, StepRef, StepView, TraceQuery, TraceTree, TraceView, TreeNode,
    },
    reader::{
        ActiveTrace, ActiveView, AnalyticsQuestion, DEFAULT_ANALYTICS_EVENTS, FamilyMember, FamilyView, MAX_ACTIVE,
        MAX_FAMILY, MAX_TRACE_EVENTS, TraceEvents, TraceReader,
    },
    redact::{CUT, CUT_KEY, Cleaned, DataLimits, REDACTED, Redaction},
    store::{
        Answer, Batch, DailyStatistic, EmitterAccount, EventFilter, EventStore, Expired, MAX_PAGE, Page, Put,
        RejectReason, ScanFilter, StoreError, StoreErrorKind, StoreInfo, TraceStatus, TraceSummary,
    },
    stream::{TraceStream, Watched},
    wait::wait,
    why::{OtherFailureView, PauseView, Verdict, Why, why, why_at},
    writer::{EmitError, LossReason, WriterStats},
};
