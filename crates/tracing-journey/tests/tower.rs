//! The middleware, with `tower::service_fn` in the place of a real stack.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::{convert::Infallible, future::Future};

use http::{Request, Response, StatusCode};
use support::{builder, settle};
use tower::{Layer, Service, ServiceExt, service_fn};
use tracing_journey::{
    JourneyHandle, current_correlation_id,
    tower::{ClientLayer, RequestId, ServerLayer},
};
use tracing_subscriber::prelude::*;

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn request(path: &str, headers: &[(&'static str, &str)]) -> Request<String> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(String::new()).unwrap()
}

fn operation(journey: &JourneyHandle, name: &str) -> u64 {
    settle(journey);
    let summary = journey.summary();
    summary.operations.iter().find(|operation| operation.name == name).map_or(0, |operation| operation.stats.count)
}

#[test]
fn a_request_gets_an_id_a_span_and_a_measured_endpoint() {
    let (layer, journey) = builder().build().unwrap();
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    let service = ServerLayer::new().handle(&journey).layer(service_fn(|request: Request<String>| async move {
        let id = request.extensions().get::<RequestId>().unwrap().as_str().to_owned();
        assert_eq!(request.headers()["x-correlation-id"], id.as_str());
        assert_eq!(current_correlation_id().unwrap().as_str(), id);
        // A stage inside inherits the id of the request.
        tracing::info_span!("api_received").in_scope(|| {});
        Ok::<_, Infallible>(Response::new(id))
    }));
    let response = run(service.oneshot(request("/messages/42", &[("x-correlation-id", "msg_1")]))).unwrap();
    assert_eq!(response.headers()["x-correlation-id"], "msg_1");
    assert_eq!(response.body(), "msg_1");
    assert_eq!(operation(&journey, "GET /messages"), 1);
    assert_eq!(journey.get("msg_1").unwrap().checkpoints[0].stage, "T8");
}

#[test]
fn an_id_that_is_not_allowed_is_replaced_and_counted() {
    let (_layer, journey) = builder().build().unwrap();
    let service =
        ServerLayer::new().handle(&journey).layer(service_fn(|_| async { Ok::<_, Infallible>(Response::new(())) }));
    let response = run(service.oneshot(request("/", &[("x-correlation-id", "<script>")]))).unwrap();
    assert_eq!(response.headers()["x-correlation-id"].len(), 36);
    assert_eq!(journey.summary().accounting.dropped["invalid_id"], 1);
}

#[test]
fn a_header_that_the_service_set_stays() {
    let (_layer, journey) = builder().build().unwrap();
    let service = ServerLayer::new().handle(&journey).layer(service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::builder().header("x-correlation-id", "own").body(()).unwrap())
    }));
    let response = run(service.oneshot(request("/", &[("x-correlation-id", "theirs")]))).unwrap();
    assert_eq!(response.headers().get_all("x-correlation-id").iter().collect::<Vec<_>>(), ["own"]);
}

#[test]
fn endpoint_names_stay_few_whatever_is_asked_for() {
    let (_layer, journey) = builder().build().unwrap();
    let mut service = ServerLayer::new().handle(&journey).layer(service_fn(|request: Request<String>| async move {
        let status = if request.uri().path().starts_with("/x") { StatusCode::OK } else { StatusCode::NOT_FOUND };
        Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
    }));
    run(async {
        for number in 0..300 {
            service.ready().await.unwrap().call(request(&format!("/x{number}/{number}"), &[])).await.unwrap();
        }
        service.ready().await.unwrap().call(request("/nowhere/at/all", &[])).await.unwrap();
        let grpc = request("/chat.Chat/Send", &[("content-type", "application/grpc")]);
        service.ready().await.unwrap().call(grpc).await.unwrap();
    });
    settle(&journey);
    let summary = journey.summary();
    let names: Vec<_> = summary.operations.iter().map(|operation| operation.name.as_str()).collect();
    assert!(names.len() <= 130, "{names:?}");
    assert_eq!(operation(&journey, "other"), 300 - 128);
    assert_eq!(operation(&journey, "GET unmatched"), 2);
}

#[test]
fn names_can_be_given_and_dropped_requests_are_measured_too() {
    let (_layer, journey) = builder().build().unwrap();
    let named = ServerLayer::new().handle(&journey).endpoint(|method, uri, _| format!("{method} {}", uri.path()));
    let mut service =
        named.layer(service_fn(|_: Request<String>| std::future::pending::<Result<Response<()>, Infallible>>()));
    drop(service.call(request("/a/b", &[])));
    assert_eq!(operation(&journey, "GET /a/b"), 1);
}

#[test]
fn a_client_passes_the_id_of_the_current_span_on_and_overwrites_none() {
    let (layer, _journey) = builder().build().unwrap();
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    let sent = |headers: &[(&'static str, &str)]| {
        let client = ClientLayer::new().layer(service_fn(|request: Request<String>| async move {
            let header = request.headers().get("x-correlation-id");
            Ok::<_, Infallible>(Response::new(header.map(|value| value.to_str().unwrap().to_owned())))
        }));
        run(client.oneshot(request("/", headers))).unwrap().into_body()
    };
    assert_eq!(sent(&[]), None);
    tracing::info_span!("work", correlation_id = "msg_1").in_scope(|| {
        tracing::info_span!("inner").in_scope(|| {
            assert_eq!(sent(&[]).as_deref(), Some("msg_1"));
            assert_eq!(sent(&[("x-correlation-id", "own")]).as_deref(), Some("own"));
        });
    });
    tracing::info_span!("work", correlation_id = "not allowed").in_scope(|| assert_eq!(sent(&[]), None));
}
