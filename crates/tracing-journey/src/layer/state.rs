//! What is known of an open span in short, packed into one word: it is written and read whole.

use journey_core::{Resolution, RouteIndex, StageIndex, StageRef, WithinKind};

use super::{callsites::Callsite, fields::Named, text::TakenId};
use crate::sighting::At;

/// | bits | what |
/// |---|---|
/// | 0..8, 8..24 | route and stage |
/// | 24..26 | whether it is one: 0 none, 1 unknown, 2 known |
/// | 26..28 | the first id: 0 none, 1 short, 2 invalid |
/// | 28 | the first id counts for the route of the stage |
/// | 29, 30, 31 | ready, cold, context |
/// | 32..34 | the kind of call: 0 none |
/// | 34..37 | the instant: 0 absent, 1 to 3 given, 4 unreadable |
/// | 37..39 | `journey.stage`: 0 not given, 1 of no route, 2 the stage above |
/// | 40..49 | `journey.name`: 0 not given, 1 not active, otherwise the route and 2 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(u64);

/// Which stage a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageOf {
    /// None: it carries an id or is a call.
    None,
    /// This one.
    Known(StageRef),
    /// It says it is one, and no route has it (or several have).
    Unknown,
}

const UNKNOWN: u64 = 1 << 24;
const KNOWN: u64 = 2 << 24;
const STAGE_OF: u64 = 3 << 24;
const SHORT: u64 = 1 << 26;
const INVALID: u64 = 2 << 26;
const ID: u64 = 3 << 26;
const OWN: u64 = 1 << 28;
const CALL: u64 = 3 << 32;
const AT: u64 = 7 << 34;

impl State {
    /// A span of which nothing is known.
    pub(super) const EMPTY: Self = Self(0);
    /// Everything about the span is in its slot.
    pub(super) const READY: u64 = 1 << 29;
    /// There is a cold part.
    pub(super) const COLD: u64 = 1 << 30;
    /// An OpenTelemetry context was seen on the span while it was open.
    pub(super) const CONTEXT: u64 = 1 << 31;

    /// What a span of a callsite is by what its fields named, without its id.
    pub(crate) fn of(callsite: &Callsite, named: Named, at: At) -> Self {
        let stage = match stage_of(callsite, named) {
            StageOf::None => 0,
            StageOf::Unknown => UNKNOWN,
            StageOf::Known(StageRef { route, stage }) => {
                let own = if callsite.first_id_counts(route) { OWN } else { 0 };
                KNOWN | own | u64::from(route.0) | u64::from(stage.0) << 8
            }
        };
        let call = match callsite.within {
            None => 0,
            Some(WithinKind::Db) => 1,
            Some(WithinKind::Http) => 2,
            Some(WithinKind::Rpc) => 3,
        };
        let at = match at {
            At::Absent => 0,
            At::Given(_, Resolution::Fine) => 1,
            At::Given(_, Resolution::Millisecond) => 2,
            At::Given(_, Resolution::Second) => 3,
            At::Unreadable => 4,
        };
        let named_stage = match named.stage {
            None => 0,
            Some(None) => 1,
            Some(Some(_)) => 2,
        };
        let named_route = match named.route {
            None => 0,
            Some(None) => 1,
            Some(Some(route)) => u64::from(route.0) + 2,
        };
        Self(stage | call << 32 | at << 34 | named_stage << 37 | named_route << 40)
    }

    #[inline]
    pub(super) fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// The same with another first id.
    #[inline]
    pub(super) fn with_id(self, id: TakenId) -> Self {
        let id = match id {
            // Or it is long, and stands in the cold part.
            TakenId::Nothing => 0,
            TakenId::Short(_) => SHORT,
            TakenId::Invalid => INVALID,
        };
        Self(self.0 & !ID | id)
    }

    /// With what a record does not change.
    pub(super) fn kept_from(self, before: Self) -> Self {
        Self(self.0 | before.0 & (ID | Self::READY | Self::COLD | Self::CONTEXT))
    }

    /// A known stage with a short id of its own and nothing else to be told: one comparison.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.0 & (STAGE_OF | ID | OWN | Self::COLD | CALL | AT) == KNOWN | SHORT | OWN
    }

    /// It is a stage, known or not.
    #[inline]
    pub(crate) fn is_stage(self) -> bool {
        self.0 & STAGE_OF != 0
    }

    #[inline]
    pub(crate) fn stage_ref(self) -> StageRef {
        StageRef { route: RouteIndex(self.0 as u8), stage: StageIndex((self.0 >> 8) as u16) }
    }

    pub(crate) fn stage(self) -> StageOf {
        match self.0 & STAGE_OF {
            0 => StageOf::None,
            KNOWN => StageOf::Known(self.stage_ref()),
            _ => StageOf::Unknown,
        }
    }

    pub(super) fn has_short_id(self) -> bool {
        self.0 & ID == SHORT
    }

    pub(super) fn has_invalid_id(self) -> bool {
        self.0 & ID == INVALID
    }

    /// No id was given, short or long.
    pub(super) fn has_no_id(self) -> bool {
        self.0 & (ID | Self::COLD) == 0
    }

    pub(super) fn is_cold(self) -> bool {
        self.0 & Self::COLD != 0
    }

    /// An OpenTelemetry context was seen on it while it was open.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn context_seen(self) -> bool {
        self.0 & Self::CONTEXT != 0
    }

    pub(crate) fn call(self) -> Option<WithinKind> {
        match (self.0 & CALL) >> 32 {
            0 => None,
            1 => Some(WithinKind::Db),
            2 => Some(WithinKind::Http),
            _ => Some(WithinKind::Rpc),
        }
    }

    /// The instant, whose value stands elsewhere.
    pub(super) fn at(self, value: u64) -> At {
        let given = |resolution| At::Given(value.cast_signed(), resolution);
        match (self.0 & AT) >> 34 {
            0 => At::Absent,
            1 => given(Resolution::Fine),
            2 => given(Resolution::Millisecond),
            3 => given(Resolution::Second),
            _ => At::Unreadable,
        }
    }

    pub(crate) fn named(self) -> Named {
        let stage = match self.0 >> 37 & 3 {
            0 => None,
            1 => Some(None),
            _ => Some(Some(self.stage_ref())),
        };
        let route = match self.0 >> 40 {
            0 => None,
            1 => Some(None),
            route => Some(Some(RouteIndex((route - 2) as u8))),
        };
        Named { route, stage }
    }
}

fn stage_of(callsite: &Callsite, named: Named) -> StageOf {
    match (named.stage, named.route) {
        (Some(Some(stage)), _) => return StageOf::Known(stage),
        (Some(None), _) => return StageOf::Unknown,
        (None, _) => {}
    }
    match (&callsite.stages[..], named.route) {
        ([], _) => StageOf::None,
        (stages, Some(Some(route))) => {
            stages.iter().find(|stage| stage.route == route).map_or(StageOf::Unknown, |stage| StageOf::Known(*stage))
        }
        ([stage], None) => StageOf::Known(*stage),
        // A route that is not active, or none where several claim the name.
        _ => StageOf::Unknown,
    }
}
