//! Calls inside a stage.

use journey_core::{Routes, Within, WithinKind};
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

use super::{Seen, pass_time};

fn record(work: impl FnOnce()) -> Seen {
    let (layer, seen) = Seen::layer(Routes::default(), true, None);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    assert_eq!(seen.open_spans(), 0);
    seen
}

#[test]
fn calls_are_summed_into_the_nearest_stage_around() {
    let seen = record(|| {
        info_span!("query", db.system.name = "sqlite").in_scope(|| ());
        let _outer = info_span!("T3", correlation_id = "m").entered();
        let _stage = info_span!("T4").entered();
        let _helper = info_span!("helper").entered();
        info_span!("query", db.system.name = "sqlite").in_scope(pass_time);
        info_span!("query", db.system = "sqlite").in_scope(pass_time);
        info_span!("GET", http.request.method = "GET").in_scope(pass_time);
        // A call over another call is one call.
        info_span!("Say", rpc.system = "grpc").in_scope(|| {
            info_span!("POST", http.request.method = "POST").in_scope(pass_time);
        });
    });
    let checkpoints = seen.checkpoints();
    let kinds = |within: &Vec<Within>| within.iter().map(|calls| (calls.kind, calls.count)).collect::<Vec<_>>();
    let within = checkpoints[0].within.as_ref().unwrap();
    assert_eq!(kinds(within), [(WithinKind::Db, 2), (WithinKind::Http, 1), (WithinKind::Rpc, 1)]);
    assert!(within[0].nanos >= 2_000_000, "{within:?}");
    assert!(within.iter().map(|calls| calls.nanos).sum::<u64>() <= u64::from(checkpoints[0].busy_us + 1) * 1_000);
    assert_eq!((checkpoints.len(), &checkpoints[1].within), (2, &None));
}

#[test]
fn without_the_setting_calls_are_foreign() {
    let (layer, seen) = Seen::layer(Routes::default(), false, None);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _stage = info_span!("T4", correlation_id = "m").entered();
        let _query = info_span!("query", db.system.name = "sqlite").entered();
        assert_eq!(seen.open_spans(), 1);
    });
    assert_eq!(seen.only().within, None);
}
