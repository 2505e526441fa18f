//! The PostgreSQL store on a real server.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use journey_store::{
    EventFilter, EventStore, Page, PostgresConfig, PostgresStore, Put, ScanFilter, StoreErrorKind, StoreOptions,
    StorePlace, TraceId, conformance, wait,
};
use journey_tests::{
    events::{batch, numbered},
    postgres::{Postgres, Session, shared},
    suite,
};

#[test]
fn the_postgres_store_conforms() {
    let Some(server) = shared() else { return };
    // Not the plain order of bytes, where the server knows another: nothing may depend on how it compares texts.
    let url = server.database_with("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US-u-kn-true'");
    let url = url.unwrap_or_else(|_| server.database());
    let schemas = AtomicU32::new(0);
    let make = || {
        let mut config = PostgresConfig::new(&url);
        config.schema = format!("store_{}", schemas.fetch_add(1, Ordering::Relaxed));
        Arc::new(PostgresStore::open(&config).unwrap()) as Arc<dyn EventStore>
    };
    let report = conformance::run("postgres", 20_261_120, &make);
    println!("{report}");
    assert!(report.holds(), "{report}");
}

#[test]
fn who_only_reads_makes_and_changes_nothing_and_needs_no_more_than_to_read() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let place: StorePlace = url.parse().unwrap();
    let events = numbered(1, 1..11);
    let id = events[0].trace_id;

    let early = place.open_to_read().unwrap();
    let error = wait(early.summary(id)).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unusable);
    assert!(error.message.contains("no stored events in the schema `journey`"), "{error}");
    let session = Session::open(&url);
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'journey'";
    assert_eq!(session.run(schemas)[0][0], "0", "looking made nothing");

    let writer = place.open(&StoreOptions::default()).unwrap();
    assert_eq!(wait(writer.put(batch(events))).unwrap(), vec![Put::New; 10]);
    let reader = place.open_to_read().unwrap();
    assert_eq!(wait(reader.trace(id, None, 100)).unwrap().items.len(), 10);
    assert!(!wait(reader.recent(EventFilter::default(), None, 10)).unwrap().items.is_empty());
    wait(reader.info()).unwrap();
    wait(reader.accounts()).unwrap();
    let refused = wait(reader.put(batch(numbered(1, 11..12)))).unwrap_err();
    assert!(refused.message.contains("read-only"), "{refused}");
    assert_eq!(session.run("SELECT count(*) FROM journey.events")[0][0], "10");
}

#[test]
fn an_encrypted_connection_verifies_the_server() {
    let Some(program) = suite::POSTGRES.program() else { return };
    let mut server = Postgres::start(&program, &[]);
    let trusted = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let url = format!("{}?sslmode=require", server.database());
    let config = |certificate: &rcgen::Certificate, name: &str| {
        let mut config = PostgresConfig::new(&url);
        config.root_certificates = Some(server.own(name, &certificate.pem()));
        config
    };
    let (good, wrong) = (config(&trusted.cert, "good.pem"), config(&other.cert, "wrong.pem"));

    let plain = PostgresStore::open(&good).unwrap();
    let error = wait(plain.prepare()).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unusable);
    assert!(error.message.contains("TLS") && error.message.contains("server does not support"), "{error}");

    if let Err(why) = server.encrypt(&trusted.cert.pem(), &trusted.signing_key.serialize_pem()) {
        return suite::POSTGRES.skip(&format!("no encrypted connections with this server: {why}"));
    }
    let store = PostgresStore::open(&good).unwrap();
    assert_eq!(wait(store.put(batch(numbered(1, 1..11)))).unwrap(), vec![Put::New; 10]);
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'journey'";
    assert_eq!(Session::open(&server.url("postgres")).value(encrypted), "t");

    let error = wait(PostgresStore::open(&wrong).unwrap().prepare()).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unusable, "{error}");
    assert!(error.message.contains("certificate"), "{error}");
    let mut nowhere = good.clone();
    nowhere.root_certificates = Some(server.folder().join("no such file.pem"));
    let error = PostgresStore::open(&nowhere).unwrap_err();
    assert!(error.message.contains("no such file.pem") && error.message.contains("PEM"), "{error}");
}

#[test]
fn what_is_rare_is_found_by_pages_that_each_look_at_a_part() {
    const EVENTS: u64 = 41_000;
    let Some(server) = shared() else { return };
    let store = PostgresStore::open(&PostgresConfig::new(&server.database())).unwrap();
    // A trace each, and six that are rare: among the first, after 20 000, and the last.
    let rare: [u64; 6] = [1, 2, 20_000, 20_001, 20_002, EVENTS];
    let mut events = numbered(1, 1..EVENTS + 1);
    for event in &mut events {
        event.trace_id = TraceId::new(u128::from(event.seq)).unwrap();
        if rare.contains(&event.seq) {
            event.route = Some("rare".to_owned());
            event.tags.insert("rare".to_owned(), "yes".to_owned());
        }
    }
    for part in events.chunks(2_000) {
        wait(store.put(batch(part.to_vec()))).unwrap();
    }
    let scan = ScanFilter { route: Some("rare".to_owned()), ..ScanFilter::default() };
    let recent = EventFilter { tags: vec!["rare=yes".to_owned()], ..EventFilter::default() };
    for limit in [1, 2, 5, 6, 7, 100] {
        let (found, pages) = all(|cursor| wait(store.scan(scan.clone(), cursor, limit)).unwrap());
        assert_eq!(found.iter().map(|event| event.seq).collect::<Vec<_>>(), rare, "scan, {limit}");
        assert!((3..=9).contains(&pages), "{pages} pages of {limit}");
        let (found, pages) = all(|cursor| wait(store.recent(recent.clone(), cursor, limit)).unwrap());
        let ids: Vec<_> = found.iter().rev().map(|trace| trace.trace_id.get() as u64).collect();
        assert_eq!(ids, rare, "recent, {limit}");
        assert!((3..=9).contains(&pages), "{pages} pages of {limit}");
    }
    let nothing = ScanFilter { route: Some("nowhere".to_owned()), ..scan };
    let (found, pages) = all(|cursor| wait(store.scan(nothing.clone(), cursor, 100)).unwrap());
    assert_eq!((found.len(), pages), (0, 3));
}

/// All that the pages hold, and how many there were.
fn all<T>(mut page: impl FnMut(Option<String>) -> Page<T>) -> (Vec<T>, usize) {
    let (mut items, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let next = page(cursor);
        items.extend(next.items);
        pages += 1;
        match next.next {
            Some(next) => cursor = Some(next),
            None => return (items, pages),
        }
    }
}
