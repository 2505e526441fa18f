//! The pure heart of Journey: what a route, a checkpoint and a journey are, and how latencies are counted.
//!
//! Nothing here reads a clock, opens a socket, spawns a thread or knows `tracing`: time is passed in as unix
//! nanoseconds, so every rule can be tested by value.
//!
//! | module | question it answers |
//! |---|---|
//! | `id` | what is a correlation id, and which are refused? |
//! | `time` | how are instants written and read? |
//! | `platform` | how do chat platforms write their timestamps? |
//! | `route`, `route_file`, `routes` | which stages, legs and segments were declared, and which name means which stage? |
//! | `checkpoint` | what does one sighting hold? |
//! | `journey` | what do all sightings of one message say together? |
//! | `uuid` | how is an id that is a UUID kept in sixteen bytes? |
//! | `tracker` | which journeys are open, finished, late, evicted, and what was lost? |
//! | `histogram`, `window` | how are latencies counted, and over which period? |
//! | `attribution` | which leg is the bottleneck? |
//! | `closest` | what was meant by a name that nobody knows? |
//! | `view` | what do readers see (the one set of JSON types)? |
//! | `feed` | what happened since I last looked? |
//! | `live` | how do one writer and many readers share a tracker? |

mod attribution;
mod checkpoint;
mod closest;
mod drops;
mod feed;
mod histogram;
mod id;
mod journey;
mod live;
mod metrics;
mod platform;
mod route;
mod route_file;
mod routes;
mod time;
mod timings;
mod trace_id;
mod tracker;
mod uuid;
pub mod view;
mod window;

pub use self::{
    attribution::{Attribution, LegShare, LegVector, attribute},
    checkpoint::{
        Checkpoint, ClockKind, Outcome, Resolution, Source, SourceIndex, Sources, StageError, Within, WithinKind,
    },
    closest::closest,
    drops::{Accounting, DropReason},
    feed::{CheckpointEvent, Feed, FeedBatch, FeedEvent, FeedItem, FeedReader},
    histogram::{Histogram, HistogramBuckets},
    id::{CorrelationId, ID_WORDS, IdWords, InvalidId, MAX_ID_BYTES},
    journey::{CountedStage, Journey, LegQuality, LegValue, SegmentValue, Sighting, StageState, Status},
    live::{CheckpointSink, Clock, FinishedSink, Live, OpenStage, OpenStages, ReportSource},
    metrics::{Exemplar, MetricFamily, MetricKind, MetricLabels, MetricsSnapshot, Series},
    platform::{PlatformTime, PlatformTimeError},
    route::{
        Correlation, InstantRule, Leg, LegKind, Presence, Route, RouteBuilder, RouteError, Segment, Stage,
        StageBuilder, StageIndex,
    },
    routes::{RouteIndex, Routes, StageRef, StageTexts},
    time::{InvalidInstant, instant_from_number, parse_duration, parse_instant, rfc3339},
    timings::Timings,
    trace_id::{SpanIdSeed, TraceIdKey, root_span_id, span_id_for_leg},
    tracker::{Limits, ListQuery, Recorded, SummaryParts, Tracker},
    window::Window,
};
