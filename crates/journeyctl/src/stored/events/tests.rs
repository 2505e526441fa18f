//! Lists, as they are drawn.

use clap::Parser as _;
use journey_store::fixture::Saga;

use super::*;
use crate::{
    cli::{Cli, Command},
    local, stored,
};

const LOOK: Look = Look { width: 100, color: false, unicode: true };
/// 2026-11-20T10:00:00Z
const BEGIN: i64 = 1_795_168_800_000_000_000;

/// Two orders that failed, the second after midnight, and one that went well.
fn orders() -> Vec<journey_store::Event> {
    let orders = [
        Saga { fails_at: Some(9), ..Saga::default() },
        Saga { trace: 2, order: 1043, emitter: 8, begin: BEGIN + 3_600_000_000_000, ..Saga::default() },
        Saga {
            fails_at: Some(2),
            trace: 3,
            order: 1044,
            emitter: 9,
            begin: BEGIN + 86_400_000_000_000,
            ..Saga::default()
        },
    ];
    orders.iter().flat_map(Saga::events).collect()
}

fn listed(args: &[&str], look: &Look) -> String {
    let Command::Events(args) = Cli::try_parse_from([&["journey", "events"], args].concat()).unwrap().command else {
        panic!("not events");
    };
    let source = local::with(&orders(), BEGIN + 90_000_000_000_000);
    let mut out = Vec::new();
    stored::events(&source, &args, args.limit == 7, look, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_failed_stands_under_its_day_with_the_reason() {
    insta::assert_snapshot!(listed(&["--failed", "--since", "2d"], &LOOK));
    insta::assert_snapshot!(listed(&["--failed", "--since", "2d"], &Look { width: 80, ..LOOK }));
}

#[test]
fn in_a_pipe_each_line_stands_for_itself() {
    insta::assert_snapshot!(listed(&["--failed", "--since", "2d"], &Look { width: Look::UNLIMITED, ..LOOK }));
}

#[test]
fn types_tags_and_routes_choose() {
    insta::assert_snapshot!(listed(&["--type", "ai:decision", "--since", "2d", "--tag", "tenant=acme"], &LOOK));
    for args in [["--tag", "tenant=other"], ["--route", "message"], ["--type", "stage:cancelled"], ["--until", "3d"]] {
        let since = if args[0] == "--until" { "5d" } else { "2d" };
        assert_eq!(listed(&[&args[..], &["--since", since]].concat(), &LOOK), "No events.\n", "{args:?}");
    }
}

#[test]
fn events_fold_into_traces() {
    insta::assert_snapshot!(listed(&["--traces", "--since", "2d"], &LOOK));
    assert_eq!(listed(&["--traces", "--since", "2d", "--min-ms", "1e9"], &LOOK), "No traces.\n");
    assert_eq!(listed(&["--traces", "--failed", "--since", "2d"], &LOOK).lines().count(), 3);
}

#[test]
fn pages_follow_one_another_without_gap_or_repetition() {
    let mut cursor: Option<String> = None;
    let mut read = Vec::new();
    loop {
        let go_on = cursor.iter().flat_map(|cursor| ["--cursor", cursor]).collect::<Vec<_>>();
        let page = listed(&[&["--since", "2d", "--limit", "7"], &go_on[..]].concat(), &LOOK);
        let page: EventsView = serde_json::from_str(&page).unwrap();
        read.extend(page.events);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut all = orders();
    all.sort_by_key(|event| (event.timestamp, event.emitter, event.seq));
    assert_eq!(read, all);
}
