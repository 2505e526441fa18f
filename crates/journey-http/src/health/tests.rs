use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::*;
use crate::testing::until;

const LONG: Duration = Duration::from_secs(3_600);

fn component(health: &Health, name: &str) -> ComponentView {
    health.view(0).components.into_iter().find(|view| view.name == name).unwrap()
}

#[test]
fn a_component_says_how_it_is_how_long_the_check_took_and_how_old_that_is() {
    let health = Health::empty();
    health.register("database", LONG, LONG, || Ok("17 tables".to_owned()));
    health.register("broker", LONG, LONG, || Err("connection refused".to_owned()));
    until(|| health.view(0).components.iter().all(|view| view.checks == 1));
    let database = component(&health, "database");
    assert_eq!((database.status.as_str(), database.detail.as_str()), ("up", "17 tables"));
    assert!(database.latency_ms.is_some() && database.age_ms.is_some());
    let broker = component(&health, "broker");
    assert_eq!((broker.status.as_str(), broker.detail.as_str()), ("down", "connection refused"));
    assert!(health.view(0).is_down());
}

#[test]
fn a_check_that_hangs_is_down_and_delays_no_other() {
    let health = Health::empty();
    let (release, hold) = mpsc::channel::<()>();
    let hold = parking_lot::Mutex::new(hold);
    health.register("agent", LONG, Duration::from_millis(1), move || {
        let _ = hold.lock().recv();
        Ok(String::new())
    });
    health.register("database", Duration::from_millis(10), LONG, || Ok(String::new()));
    until(|| component(&health, "agent").status == "down" && component(&health, "database").checks > 2);
    assert!(component(&health, "agent").detail.starts_with("no answer for"));
    drop(release);
    until(|| component(&health, "agent").checks == 1);
    // It answered, but long after its timeout.
    assert!(component(&health, "agent").detail.starts_with("answered after"));
}

#[test]
fn a_check_that_panics_is_down_and_is_tried_again() {
    let health = Health::empty();
    let calls = Arc::new(AtomicUsize::new(0));
    let of_check = Arc::clone(&calls);
    health.register("agent", Duration::from_millis(10), LONG, move || {
        assert!(of_check.fetch_add(1, Ordering::Relaxed) > 0, "the first call fails (expected in this test)");
        Ok("recovered".to_owned())
    });
    until(|| component(&health, "agent").detail == "recovered");
}

#[test]
fn before_the_first_check_has_ended_nothing_is_known() {
    let health = Health::empty();
    let (release, hold) = mpsc::channel::<()>();
    let hold = parking_lot::Mutex::new(hold);
    health.register("agent", LONG, LONG, move || {
        let _ = hold.lock().recv();
        Ok(String::new())
    });
    assert_eq!(component(&health, "agent").status, "unknown");
    assert!(!health.view(0).is_down());
    drop(release);
}

#[test]
fn a_name_registered_again_replaces_and_too_many_are_refused() {
    let health = Health::empty();
    health.register("a", LONG, LONG, || Ok("old".to_owned()));
    health.register("a", LONG, LONG, || Ok("new".to_owned()));
    until(|| component(&health, "a").detail == "new");
    for number in 1..=MAX_COMPONENTS {
        health.register(&format!("b{number}"), LONG, LONG, || Ok(String::new()));
    }
    let view = health.view(0);
    assert_eq!((view.components.len(), view.refused), (MAX_COMPONENTS, 1));
}

#[test]
fn times_without_end_are_taken() {
    let health = Health::empty();
    health.register("a", Duration::MAX, Duration::MAX, || Ok(String::new()));
    until(|| component(&health, "a").status == "up");
}

#[test]
fn a_resource_is_shown_with_what_it_has() {
    let health = Health::empty();
    health.register_resource("pool", || Resource {
        pool_in_use: Some(3),
        pool_size: Some(10),
        hit_ratio: Some(f64::NAN),
    });
    until(|| health.view(0).resources[0].age_ms.is_some());
    let view = health.view(0).resources.remove(0);
    assert_eq!((view.pool_in_use, view.pool_size, view.hit_ratio), (Some(3), Some(10), None));
    assert!(health.view(0).components.is_empty());
}

#[test]
fn a_dropped_registry_stops_its_threads() {
    let health = Health::empty();
    let alive = Arc::new(());
    let of_check = Arc::clone(&alive);
    health.register("a", LONG, LONG, move || {
        let _ = &of_check;
        Ok(String::new())
    });
    drop(health);
    // The thread owns the closure: when it ends, only this test's reference is left.
    until(|| Arc::strong_count(&alive) == 1);
}
