//! Which callsites are our business? Resolved once per callsite, never per span.

use std::sync::{
    Arc, OnceLock,
    atomic::{
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use journey_core::{Correlation, RouteIndex, Routes, StageRef, WithinKind};
use parking_lot::Mutex;
use tracing_core::{Level, Metadata};

use super::{
    fields::{Named, Role},
    state::State,
};
use crate::sighting::At;

/// Places of a table. Half of them are used: then the next table is made. Two thousand callsites are a large program.
const TABLE: usize = 4_096;

/// Metadata is aligned to more than one byte, which leaves this bit of its address to say that it is of interest.
const OF_INTEREST: usize = 1;

/// All callsites that were met, found by the address of their metadata.
///
/// Foreign ones are kept too. `tracing` tells us of a callsite before its first use, but not before its second: a thread
/// that comes while another is still telling us uses the callsite at once, so that "unknown" must not mean "foreign".
pub(crate) struct Callsites {
    rules: Rules,
    table: Table,
    inserting: Mutex<()>,
    foreign: Arc<Foreign>,
}

/// The addresses of foreign callsites again, each at its home only (where two meet, the later one is looked up), which makes the answer nearly always one load.
pub(crate) struct Foreign(Box<[AtomicUsize; TABLE]>);

/// A callsite of interest.
#[derive(Debug)]
pub(crate) struct Callsite {
    /// Its number, for [`Callsites::numbered`].
    pub(crate) number: u32,
    pub(crate) metadata: &'static Metadata<'static>,
    /// What each field is to us, by its index.
    pub(crate) roles: Box<[Role]>,
    /// Routes for which each id field counts, one bit per route; by the number in [`Role::Id`].
    pub(crate) id_routes: Box<[u64]>,
    /// The stages that the span's name means.
    pub(crate) stages: Box<[StageRef]>,
    /// It has a field `journey.stage`.
    pub(crate) names_stage: bool,
    /// It is an event that goes to the store.
    #[cfg_attr(not(feature = "store"), expect(dead_code, reason = "there is no store for it to go to"))]
    pub(crate) says_event: bool,
    /// It is a span that may undo what was done before.
    pub(crate) undoes: bool,
    /// It is a call that is summed into the stage around it.
    pub(crate) within: Option<WithinKind>,
    /// The operation such a call is counted as: `db query`, the kind and the span's name.
    pub(crate) operation: Option<Arc<str>>,
    /// What its spans are where their fields name neither stage nor route nor instant.
    pub(crate) plain: State,
}

/// What makes a callsite interesting.
#[derive(Debug)]
pub(crate) struct Rules {
    routes: Arc<Routes>,
    /// Calls inside stages are collected.
    within: bool,
    /// Events with `event_type`, and spans with `compensates`, go to a store.
    said: bool,
    /// A route takes each root span as a journey, so every span may matter as a root.
    root_span: bool,
}

/// Open addressing without locks for readers: an address is published after its callsite is in place.
struct Table {
    /// The number of its first callsite.
    base: usize,
    /// 0, the address of a foreign callsite, or that of one of interest with [`OF_INTEREST`] set.
    addresses: Box<[AtomicUsize; TABLE]>,
    callsites: Box<[OnceLock<Box<Callsite>>; TABLE]>,
    used: AtomicUsize,
    next: OnceLock<Box<Table>>,
}

/// What a table says about a callsite.
enum Known<'a> {
    OfInterest(&'a Callsite),
    Foreign,
    No,
}

impl Callsites {
    pub(crate) fn new(routes: Arc<Routes>, within: bool, said: bool) -> Self {
        let root_span = routes.iter().any(|(_, route)| *route.correlation() == Correlation::RootSpan);
        Self {
            rules: Rules { routes, within, said, root_span },
            table: Table::new(0),
            inserting: Mutex::new(()),
            foreign: Arc::default(),
        }
    }

    /// The callsite, where it is of interest. A foreign one costs one look into a table.
    pub(crate) fn find(&self, metadata: &'static Metadata<'static>) -> Option<&Callsite> {
        match self.table.find(address(metadata)) {
            Known::Foreign => None,
            Known::OfInterest(callsite) => Some(callsite),
            Known::No => self.first_sight(metadata),
        }
    }

    /// Tells of nearly every foreign callsite.
    pub(crate) fn foreign(&self) -> Arc<Foreign> {
        Arc::clone(&self.foreign)
    }

    /// A callsite of interest by its number.
    pub(crate) fn numbered(&self, number: u32) -> Option<&Callsite> {
        self.table.numbered(number as usize)
    }

    /// Whether the filter lets it through: it is of interest, or it may be the root of a journey.
    pub(crate) fn wants(&self, metadata: &Metadata<'_>) -> bool {
        if self.rules.root_span && metadata.is_span() {
            return true;
        }
        match self.table.find(address(metadata)) {
            Known::OfInterest(_) => true,
            Known::Foreign => false,
            Known::No => self.rules.of_interest(metadata),
        }
    }

    #[cold]
    #[inline(never)]
    fn first_sight(&self, metadata: &'static Metadata<'static>) -> Option<&Callsite> {
        let callsite = self.rules.of_interest(metadata).then(|| Box::new(self.rules.callsite(metadata)));
        if callsite.is_none() {
            self.foreign.add(metadata);
        }
        // Two threads may meet a callsite at once: the first one in keeps its place.
        let _inserting = self.inserting.lock();
        match self.table.find(address(metadata)) {
            Known::OfInterest(callsite) => Some(callsite),
            Known::Foreign => None,
            Known::No => self.table.insert(address(metadata), callsite),
        }
    }
}

impl Foreign {
    /// Whether it is known to be foreign. Where not, [`Callsites::find`] tells.
    #[inline]
    pub(crate) fn has(&self, metadata: &Metadata<'_>) -> bool {
        self.place(metadata).load(Relaxed) == address(metadata)
    }

    fn add(&self, metadata: &'static Metadata<'static>) {
        // The first one stays, also where several threads add.
        let _ = self.place(metadata).compare_exchange(0, address(metadata), Relaxed, Relaxed);
    }

    #[inline]
    fn place(&self, metadata: &Metadata<'_>) -> &AtomicUsize {
        &self.0[home(address(metadata))]
    }
}

impl Default for Foreign {
    fn default() -> Self {
        Self(places())
    }
}

impl Callsite {
    /// Whether its first id field is one of the route.
    pub(crate) fn first_id_counts(&self, route: RouteIndex) -> bool {
        self.id_routes.first().is_some_and(|routes| routes & (1 << route.0) != 0)
    }
}

impl Rules {
    fn of_interest(&self, metadata: &Metadata<'_>) -> bool {
        let has = |name: &str| metadata.fields().field(name).is_some();
        if metadata.is_event() {
            return has("journey.stage") || is_instrumented_error(metadata) || self.says_event(metadata);
        }
        let carries_id = |correlation: &Correlation| match correlation {
            Correlation::Fields(names) => names.iter().any(|name| has(name)),
            Correlation::RootSpan => false,
        };
        metadata.is_span()
            && (has("journey.stage")
                || !self.routes.stages_named(metadata.name()).is_empty()
                || self.routes.iter().any(|(_, route)| carries_id(route.correlation()))
                || (self.within && within_kind(metadata).is_some())
                || self.undoes(metadata))
    }

    fn says_event(&self, metadata: &Metadata<'_>) -> bool {
        self.said && metadata.is_event() && metadata.fields().field("event_type").is_some()
    }

    fn undoes(&self, metadata: &Metadata<'_>) -> bool {
        self.said && metadata.is_span() && metadata.fields().field("compensates").is_some()
    }

    fn callsite(&self, metadata: &'static Metadata<'static>) -> Callsite {
        let names_stage = metadata.fields().field("journey.stage").is_some();
        let (says_event, undoes) = (self.says_event(metadata), self.undoes(metadata));
        let stages = if metadata.is_span() { self.routes.stages_named(metadata.name()) } else { &[] };
        let within = if self.within && metadata.is_span() { within_kind(metadata) } else { None };
        let is_heard = names_stage || !stages.is_empty() || metadata.is_event() || undoes;
        let role = |name: &str| match Role::of(name) {
            #[cfg(feature = "store")]
            Role::Compensates if !undoes => Role::None,
            role if is_heard => role,
            _ => Role::None,
        };
        let mut roles: Box<[Role]> = metadata.fields().iter().map(|field| role(field.name())).collect();
        let mut id_routes = Vec::new();
        for (RouteIndex(route), declared) in self.routes.iter() {
            let Correlation::Fields(names) = declared.correlation() else { continue };
            let Some(field) = names.iter().find_map(|name| metadata.fields().field(name.as_str())) else { continue };
            let role = &mut roles[field.index()];
            if !matches!(role, Role::Id(_)) {
                *role = Role::Id(id_routes.len() as u8);
                id_routes.push(0);
            }
            if let Role::Id(number) = *role {
                id_routes[usize::from(number)] |= 1_u64 << route;
            }
        }
        let operation = within.map(|kind| format!("{} {}", kind.as_str(), metadata.name()).into());
        let (id_routes, stages) = (id_routes.into(), stages.into());
        let (number, plain) = (0, State::EMPTY);
        let mut callsite = Callsite {
            number,
            metadata,
            roles,
            id_routes,
            stages,
            names_stage,
            says_event,
            undoes,
            within,
            operation,
            plain,
        };
        callsite.plain = State::of(&callsite, Named::default(), At::Absent);
        callsite
    }
}

/// `#[instrument(err)]` emits an event whose only field is `error`; an error event that says more is the application's
/// own and does not decide about the stage.
fn is_instrumented_error(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::ERROR && metadata.fields().len() == 1 && metadata.fields().field("error").is_some()
}

fn within_kind(metadata: &Metadata<'_>) -> Option<WithinKind> {
    let has = |name| metadata.fields().field(name).is_some();
    if has("db.system.name") || has("db.system") {
        Some(WithinKind::Db)
    } else if has("rpc.system") {
        // Before HTTP: a gRPC client may name both, and the call is the rpc.
        Some(WithinKind::Rpc)
    } else {
        has("http.request.method").then_some(WithinKind::Http)
    }
}

impl Table {
    fn new(base: usize) -> Self {
        Self { base, addresses: places(), callsites: places(), used: AtomicUsize::new(0), next: OnceLock::new() }
    }

    #[inline]
    fn find(&self, address: usize) -> Known<'_> {
        let mut at = home(address);
        loop {
            // Half of the slots stay empty, so that this ends.
            match self.addresses[at].load(Acquire) {
                found if found == address | OF_INTEREST => {
                    return self.callsites[at].get().map_or(Known::No, |callsite| Known::OfInterest(callsite));
                }
                found if found == address => return Known::Foreign,
                0 => return self.next.get().map_or(Known::No, |next| next.find(address)),
                _ => at = (at + 1) % TABLE,
            }
        }
    }

    fn numbered(&self, number: usize) -> Option<&Callsite> {
        match self.callsites.get(number - self.base) {
            Some(callsite) => callsite.get().map(|callsite| &**callsite),
            None => self.next.get()?.numbered(number),
        }
    }

    /// Called by one thread at a time, for an address that is not there; no callsite makes it a foreign one.
    fn insert(&self, address: usize, mut callsite: Option<Box<Callsite>>) -> Option<&Callsite> {
        if self.used.load(Relaxed) >= TABLE / 2 {
            let next = self.next.get_or_init(|| Box::new(Self::new(self.base + TABLE)));
            return next.insert(address, callsite);
        }
        self.used.fetch_add(1, Relaxed);
        let mut at = home(address);
        while self.addresses[at].load(Relaxed) != 0 {
            at = (at + 1) % TABLE;
        }
        if let Some(callsite) = &mut callsite {
            callsite.number = (self.base + at) as u32;
        }
        let placed: Option<&Callsite> = callsite.map(|callsite| &**self.callsites[at].get_or_init(|| callsite));
        let mark = if placed.is_some() { OF_INTEREST } else { 0 };
        // Readers that see the address may read the callsite without a lock.
        self.addresses[at].store(address | mark, Release);
        placed
    }
}

/// So many of something, made one after another: an array on the stack might not fit there.
pub(super) fn places<T: Default, const N: usize>() -> Box<[T; N]> {
    let places: Box<[T]> = (0..N).map(|_| T::default()).collect();
    places.try_into().unwrap_or_else(|_| unreachable!("so many were made"))
}

#[inline]
fn address(metadata: &Metadata<'_>) -> usize {
    std::ptr::from_ref(metadata).addr()
}

/// Statics lie a hundred bytes or so apart: without the low bits nearly each has a place of its own.
#[inline]
fn home(address: usize) -> usize {
    address / 32 % TABLE
}

impl std::fmt::Debug for Callsites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callsites").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callsite() -> Box<Callsite> {
        let span = tracing::info_span!(parent: None, "T4", correlation_id = "m");
        let metadata = span.metadata().unwrap_or_else(|| unreachable!("a subscriber is there"));
        Box::new(Callsites::new(Arc::default(), false, false).rules.callsite(metadata))
    }

    #[test]
    fn a_full_table_goes_on_in_the_next() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let table = Table::new(0);
            let address = |number: usize| (number + 1) * 64;
            for number in 0..2 * TABLE {
                let interesting = (number % 3 == 0).then(callsite);
                let placed = table.insert(address(number), interesting);
                assert_eq!(placed.is_some(), number % 3 == 0);
                if let Some(placed) = placed {
                    assert!(std::ptr::eq(placed, table.numbered(placed.number as usize).unwrap()));
                }
            }
            for number in 0..2 * TABLE {
                let found = table.find(address(number));
                assert!(matches!(found, Known::OfInterest(_)) == (number % 3 == 0) && !matches!(found, Known::No));
            }
            assert!(matches!(table.find(address(2 * TABLE)), Known::No));
        });
    }

    #[test]
    fn a_callsite_that_nobody_told_us_about_is_resolved_once() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let callsites = Callsites::new(Arc::default(), false, false);
            let foreign = tracing::info_span!("foreign").metadata().unwrap();
            let stage = tracing::info_span!("T4").metadata().unwrap();
            for _ in 0..2 {
                assert!(callsites.wants(stage) && !callsites.wants(foreign));
                assert!(callsites.find(stage).is_some() && callsites.find(foreign).is_none());
            }
            assert_eq!(callsites.table.used.load(Relaxed), 2);
        });
    }

    #[test]
    fn threads_that_meet_a_callsite_at_once_get_the_same() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let stage = tracing::info_span!("T4").metadata().unwrap();
            for _ in 0..100 {
                let callsites = Callsites::new(Arc::default(), false, false);
                std::thread::scope(|scope| {
                    let find = || callsites.find(stage).map(|callsite| std::ptr::from_ref(callsite).addr());
                    let other = scope.spawn(find);
                    assert_eq!(find(), other.join().unwrap());
                });
                assert_eq!(callsites.table.used.load(Relaxed), 1);
            }
        });
    }
}
