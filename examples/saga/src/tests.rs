//! Does the store alone tell what the shop itself shows?
//!
//! What is expected is read from the shop as it was before and as it is after, never from what the runner says of itself.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use clap::Parser as _;
use journey_store::{
    Emitter, EmitterAccount, Event, EventStatus, EventStore, MemoryStore, Redaction, SqliteConfig, SqliteStore,
    TraceContext, TraceId, TraceQuery, TraceReader, TraceStatus, Verdict, wait, why,
};

use crate::{
    options::Options,
    saga,
    shop::{Order, Shop},
    steps::Step,
    trouble,
};

/// An order that was run, and the shop before and after it.
struct Ran {
    fails_at: Option<Step>,
    before: Shop,
    after: Shop,
    order: Order,
    trace_id: TraceId,
    emitter: u64,
}

fn run(store: &Arc<dyn EventStore>, fails_at: Option<Step>, stay: &[Step], redaction: Redaction) -> Ran {
    let emitter = Emitter::builder(Arc::clone(store)).service("saga").redaction(redaction).start().unwrap();
    let mut shop = Shop::open(Duration::ZERO);
    let mut order = Order::of_ada(format!("order-{:x}", emitter.number()));
    if let Some(step) = fails_at {
        trouble::let_it_fail(step, &mut shop, &mut order);
    }
    stay.iter().for_each(|step| trouble::let_it_stay(*step, &mut shop));
    let before = shop.clone();
    let trace = TraceContext::start(&emitter, "order", &order.id).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(saga::run(&mut shop, &mut order, &trace));
    let stats = emitter.shutdown(Duration::from_secs(10));
    Ran { fails_at, before, after: shop, order, trace_id: trace.trace_id(), emitter: stats.emitter }
}

fn undoable() -> Vec<Step> {
    Step::ALL.into_iter().filter(|step| step.undone_by().is_some()).collect()
}

fn chosen_failures() -> impl Iterator<Item = Option<Step>> {
    std::iter::once(None).chain(Step::ALL.into_iter().map(Some))
}

/// The steps whose effect can be seen in the shop.
fn in_effect(ran: &Ran) -> BTreeSet<&'static str> {
    let (before, after, id) = (&ran.before, &ran.after, &ran.order.id);
    let free = |shop: &Shop| shop.warehouse.shelves.values().map(|shelf| shelf.free()).sum::<u32>();
    let spendable = |shop: &Shop| shop.bank.cards.values().sum::<u64>();
    let seen = [
        (Step::ReserveStock, free(after) < free(before)),
        (Step::AuthorisePayment, spendable(after) < spendable(before)),
        (Step::CreateShipment, after.warehouse.parcels.contains_key(id)),
        (Step::BookCarrier, after.carriers.booked.contains_key(id)),
        (Step::CapturePayment, after.bank.captured.contains_key(id)),
        (Step::IssueInvoice, after.office.invoiced(id) != 0),
        (Step::DispatchOrder, after.warehouse.is_on_its_way(id)),
    ];
    seen.into_iter().filter(|(_, seen)| *seen).map(|(step, _)| step.name()).collect()
}

/// Goods and money that are neither made nor lost, whatever was undone.
fn sums(shop: &Shop, order: &Order) -> (u64, u64) {
    let on_shelves: u32 = shop.warehouse.shelves.values().map(|shelf| shelf.there).sum();
    let ordered: u32 = order.lines.iter().map(|line| line.pieces).sum();
    let sent = if shop.warehouse.is_on_its_way(&order.id) { ordered } else { 0 };
    let cards: u64 = shop.bank.cards.values().sum();
    let elsewhere: u64 = shop.bank.held.values().chain(shop.bank.captured.values()).map(|(_, cents)| cents).sum();
    (u64::from(on_shelves + sent), cards + elsewhere)
}

fn labels<'q>(nodes: impl IntoIterator<Item = &'q journey_store::Node>) -> Vec<&'q str> {
    nodes.into_iter().map(|node| node.label.as_str()).collect()
}

/// Compares what the store tells of an order with the shop.
fn check(store: &Arc<dyn EventStore>, ran: &Ran) {
    let case = format!("{:?} fails, {:?}", ran.fails_at, in_effect(ran));
    assert_eq!(sums(&ran.before, &ran.order), sums(&ran.after, &ran.order), "{case}");
    let events = wait(store.trace(ran.trace_id, None, 1_000)).unwrap().items;
    let query = TraceQuery::of(&events);
    let before_failure: Vec<Step> = Step::ALL.into_iter().take_while(|step| Some(*step) != ran.fails_at).collect();

    // What failed, and the way there.
    let failing = ran.fails_at.map(Step::name);
    assert_eq!(query.failure().map(|node| node.label.as_str()), failing, "{case}");
    assert_eq!(labels(query.failure_path()), failing.map_or(Vec::new(), |step| vec!["order", step]), "{case}");
    assert_eq!(labels(query.successes()), before_failure.iter().map(|step| step.name()).collect::<Vec<_>>(), "{case}");
    let status = if failing.is_some() { TraceStatus::Failed } else { TraceStatus::Success };
    assert_eq!((query.status(), query.pending().count()), (status, 0), "{case}");
    assert_eq!(wait(store.summary(ran.trace_id)).unwrap().unwrap().status, status, "{case}");

    // What was undone, and what is left.
    let compensations = query.compensations();
    let done: Vec<Step> = before_failure.iter().copied().filter(|step| step.undone_by().is_some()).collect();
    if failing.is_some() {
        let all: Vec<_> = compensations
            .all
            .iter()
            .map(|one| (one.original.unwrap().label.as_str(), one.node.label.as_str()))
            .collect();
        let expected: Vec<_> = done.iter().rev().map(|step| (step.name(), step.undone_by().unwrap())).collect();
        assert_eq!(all, expected, "{case}");
        for one in &compensations.all {
            let still_there = in_effect(ran).contains(one.original.unwrap().label.as_str());
            let status = if still_there { EventStatus::Failed } else { EventStatus::Success };
            assert_eq!(one.node.status, status, "{case}: {}", one.node.label);
            assert_eq!(one.node.error.is_some(), still_there, "{case}: {}", one.node.label);
        }
        assert_eq!(
            labels(compensations.failed.iter().copied()).into_iter().collect::<BTreeSet<_>>(),
            in_effect(ran),
            "{case}"
        );
    } else {
        assert!(compensations.all.is_empty() && compensations.failed.is_empty(), "{case}");
        assert_eq!(in_effect(ran), undoable().into_iter().map(Step::name).collect(), "{case}");
        assert_eq!(ran.after.office.mails.len(), 1);
    }
    assert_eq!(labels(compensations.never_undone), [""; 0], "{case}");

    decisions(&query, ran, &case);
    paragraph(&query, ran, &case);
    for event in &events {
        let text = serde_json::to_string(event).unwrap();
        assert_eq!(secrets().into_iter().find(|secret| text.contains(secret)), None, "{case}: {text}");
    }
}

fn decisions(query: &TraceQuery<'_>, ran: &Ran, case: &str) {
    let mut expected = Vec::new();
    if let Some(carrier) = &ran.order.carrier {
        let offered = ran.after.carriers.offers.iter().map(|offer| offer.name.to_owned()).collect::<Vec<_>>();
        expected.push(("shipping_route", carrier.clone(), offered));
    }
    if ran.fails_at.is_none_or(|step| step >= Step::CheckFraud) {
        let choices = ["pass", "review", "reject"].map(str::to_owned).to_vec();
        expected.push(("fraud_check", ran.after.office.risk(&ran.order).chosen.to_owned(), choices));
    }
    let told = query.decisions();
    let of = |decision: &journey_store::Decision<'_>| (decision.chosen.clone().unwrap(), decision.alternatives.clone());
    let found: Vec<_> = told.iter().map(|one| (one.node.label.as_str(), of(one).0, of(one).1)).collect();
    assert_eq!(found, expected, "{case}");
    for decision in &told {
        assert!(decision.reasoning.is_some() && decision.confidence.is_some(), "{case}");
        assert!(query.parent(decision.node).is_some_and(|step| step.label != "order"), "{case}");
    }
    let rejected = expected.iter().any(|(_, chosen, _)| chosen == "reject");
    assert_eq!(rejected, ran.fails_at == Some(Step::CheckFraud), "{case}");
}

fn paragraph(query: &TraceQuery<'_>, ran: &Ran, case: &str) {
    let why = why(query);
    let told = why.paragraph();
    let Some(step) = ran.fails_at else {
        assert_eq!(why.verdict, Verdict::Succeeded, "{case}");
        assert!(told.starts_with("Nothing failed: workflow `order` succeeded"), "{told}");
        return;
    };
    assert_eq!(why.verdict, Verdict::Failed, "{case}");
    assert!(told.starts_with(&format!("Workflow `order` failed at `{}` with ", step.name())), "{told}");
    let error = why.failure.as_ref().unwrap().step.error.as_ref().unwrap().message.clone().unwrap();
    assert!(told.contains(&error) && told.contains(&ran.order.id), "{told}");
    if let Some(carrier) = &ran.order.carrier {
        assert!(told.contains(&format!("`shipping_route` chose \"{carrier}\"")), "{told}");
    }
    let left = in_effect(ran);
    let still: BTreeSet<&str> = why.compensations.still_in_effect.iter().map(|step| step.label.as_str()).collect();
    assert_eq!(still, left, "{case}");
    assert_eq!(told.contains("A person has to look"), !left.is_empty(), "{told}");
    assert_eq!(told.contains("still in effect because undoing it failed"), !left.is_empty(), "{told}");
    let nothing = why.compensations.all.is_empty();
    assert_eq!(told.contains("Everything that needed undoing was undone"), left.is_empty() && !nothing, "{told}");
    assert_eq!(
        told.contains("Nothing had been done that needs undoing") || why.succeeded.is_empty(),
        nothing,
        "{told}"
    );
}

/// Nothing of a process is missing: from the store alone.
fn check_account(account: &EmitterAccount, events: &[Event]) {
    let dropped: u64 = account.dropped.values().sum();
    assert_eq!((account.emitted, dropped), (account.stored, 0));
    let mut numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=account.emitted).collect::<Vec<_>>());
}

fn check_all(store: &Arc<dyn EventStore>, all: &[Ran]) {
    let accounts = wait(store.accounts()).unwrap();
    assert_eq!(accounts.len(), all.len());
    for ran in all {
        check(store, ran);
        let events = wait(store.trace(ran.trace_id, None, 1_000)).unwrap().items;
        check_account(accounts.iter().find(|account| account.emitter == ran.emitter).unwrap(), &events);
    }
}

/// In all forms in which they might have been kept.
fn secrets() -> [String; 4] {
    let order = Order::of_ada(String::new());
    [order.card.replace(' ', ""), order.card.replace(' ', "-"), order.card, order.password]
}

/// The files of a folder that contain a secret.
fn files_with_secrets(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        looked_at += bytes.len();
        let has = |secret: &String| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        if secrets().iter().any(has) {
            found.push(path.display().to_string());
        }
    }
    assert!(looked_at > 0);
    found
}

#[test]
fn memory_tells_the_truth_whatever_fails_and_whatever_cannot_be_undone() {
    let undoable = undoable();
    let mut cases = 0;
    for fails_at in chosen_failures() {
        for stay in 0..1_u32 << undoable.len() {
            let stay = (0..).zip(&undoable).filter(|(bit, _)| stay >> bit & 1 == 1).map(|(_, step)| *step);
            let stay: Vec<Step> = stay.collect();
            let store: Arc<dyn EventStore> = Arc::new(MemoryStore::default());
            let ran = run(&store, fails_at, &stay, Redaction::default());
            check_all(&store, &[ran]);
            cases += 1;
        }
    }
    assert_eq!(cases, 13 * 128);
}

#[test]
fn files_tell_the_truth_to_whoever_comes_later_and_hold_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let undoable = undoable();
    let mut all = Vec::new();
    {
        let store: Arc<dyn EventStore> = Arc::new(SqliteStore::open(SqliteConfig::new(folder.path())).unwrap());
        for fails_at in chosen_failures() {
            let each = undoable.chunks(1).chain([&[][..], &undoable[..]]);
            all.extend(each.map(|stay| run(&store, fails_at, stay, Redaction::default())));
        }
        // With the log of the database.
        assert_eq!(files_with_secrets(folder.path()), [""; 0]);
    }
    assert_eq!(files_with_secrets(folder.path()), [""; 0]);
    let store: Arc<dyn EventStore> = Arc::new(SqliteStore::open_read_only(folder.path()).unwrap());
    check_all(&store, &all);
}

#[test]
fn without_redaction_the_same_search_finds_the_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn EventStore> = Arc::new(SqliteStore::open(SqliteConfig::new(folder.path())).unwrap());
    run(&store, None, &[], Redaction::off());
    drop(store);
    assert_eq!(files_with_secrets(folder.path()).len(), 1);
}

#[test]
fn a_step_whose_undoing_was_forgotten_is_named() {
    // As if the process had undone the shipment and then been killed: the events after that never came to be.
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::default());
    let ran = run(&store, Some(Step::CapturePayment), &[], Redaction::default());
    let mut events = wait(store.trace(ran.trace_id, None, 1_000)).unwrap().items;
    let undone = events.iter().position(|event| event.event_type == "saga:compensated").unwrap();
    events.truncate(undone + 1);
    let query = TraceQuery::new(events);
    let never: Vec<&str> = labels(query.compensations().never_undone);
    assert_eq!(never, ["reserve_stock", "authorise_payment", "create_shipment"]);
}

#[test]
fn what_is_found_by_its_order_is_the_same_trace() {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::default());
    let ran = run(&store, Some(Step::IssueInvoice), &[Step::CapturePayment], Redaction::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(TraceReader::new(store).find(&ran.order.id)).unwrap();
    assert_eq!(found.items.iter().map(|trace| trace.trace_id).collect::<Vec<_>>(), [ran.trace_id]);
}

#[test]
fn flags_that_are_wrong_are_named_with_what_would_be_right() {
    let error = |arguments: &[&str]| {
        let parsed = Options::try_parse_from(["saga"].iter().chain(arguments));
        parsed
            .map_err(|error| error.to_string())
            .and_then(|options| options.store().map_err(|error| error.to_string()))
            .unwrap_err()
    };
    assert!(error(&["--fail-at", "13"]).contains("13 is not in 0..=12"));
    assert!(error(&["--fail-at", "last"]).contains("'last' for '--fail-at <N>'"));
    let unknown = error(&["--cannot-undo", "price_order"]);
    assert!(unknown.contains("possible values: reserve_stock, authorise_payment"), "{unknown}");
    let password = error(&["--store", "mysql://root:sesame@db/orders"]);
    assert!(password.contains("`mysql`") && !password.contains("sesame"), "{password}");
    assert!(error(&["--store", ""]).contains("the place of the store is empty"));
    let options = Options::try_parse_from(["saga", "--fail-at", "9"]).unwrap();
    assert_eq!(options.fail_at(), Some(Step::CapturePayment));
}
