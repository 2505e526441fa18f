//! What readers see: the one set of JSON types used by the endpoint, the stream, files and the command line.
//!
//! Keys are camelCase, instants are RFC 3339 in UTC with milliseconds, durations are numbers in milliseconds with the
//! suffix `Ms`. Fields are only ever added.
//!
//! | module | question it answers |
//! |---|---|
//! | `journey` | what is known of one journey? |
//! | `list` | which journeys are there, and which of them are stuck? |
//! | `summary` | where does the time of many journeys go? |
//! | `process` | what does the process know about its own observing? |

mod journey;
mod list;
mod process;
mod summary;

pub use self::{
    journey::{
        BottleneckView, CheckpointView, ErrorView, InProgressView, JourneyView, LegView, SegmentView, SpanView,
        WithinView,
    },
    list::{ListItemView, ListView, StuckView},
    process::{AccountingView, JourneyCountsView, SelfView},
    summary::{
        BottleneckStatsView, LegStatsView, OperationView, RouteSummaryView, SegmentStatsView, StageCountView,
        StatsView, SummaryView,
    },
};
