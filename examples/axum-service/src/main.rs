//! cargo run -p axum-service
//!
//! An order service and a price service. The server layer takes the id of a request from its headers or makes one, the
//! stages inside find it there, and the client layer sends it on. Without arguments the service is asked for three orders
//! and ends; with `--serve 127.0.0.1:8080` it stays.
#![expect(clippy::print_stdout, reason = "an example says what happened")]

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{MatchedPath, Path, State},
    routing::{get, post},
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::{Layer as _, Service, ServiceExt as _};
use tracing::instrument;
use tracing_journey::{
    InstantRule, JourneyHandle, Route,
    tower::{self as journey_tower, ClientLayer, RequestId, ServerLayer},
};

type BoxError = Box<dyn Error + Send + Sync>;
type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// What the order service needs to ask for prices.
#[derive(Clone)]
struct Prices {
    client: journey_tower::Client<HttpClient>,
    address: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let route = Route::builder("order")
        .stage("O0", "order_received", |stage| stage.instant(InstantRule::Open))
        .stage("O1", "order_priced", |stage| stage)
        .stage("O2", "order_stored", |stage| stage)
        .leg("pricing", "order_received", "order_priced")
        .leg("storing", "order_priced", "order_stored")
        .segment("order", "order_received", "order_stored")
        .terminal("order_stored")
        .build()?;
    let builder = tracing_journey::builder().service("orders").route(route);

    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => {
            let journey = builder.no_http().install()?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            tokio::spawn(async move { axum::serve(listener, app(address)).await });
            ask(address, &journey).await
        }
        (Some("--serve"), Some(address)) => {
            let journey = builder.install()?;
            let listener = TcpListener::bind(&address).await?;
            let address = listener.local_addr()?;
            println!("try: curl -i -X POST -H 'X-Request-ID: req-1' http://{address}/orders/tea");
            if let Some(endpoint) = journey.http_addr() {
                println!("then: curl http://{endpoint}/api/v2/metrics/journey/req-1");
            }
            let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
            axum::serve(listener, app(address)).with_graceful_shutdown(stop).await?;
            println!("{}", journey.shutdown(Duration::from_secs(5)));
            Ok(())
        }
        _ => Err("usage: axum-service [--serve ADDRESS]".into()),
    }
}

fn app(address: SocketAddr) -> Router {
    let prices = Prices { client: ClientLayer::new().layer(http_client()), address };
    let layer = ServerLayer::new().endpoint(|method, _, extensions| {
        let path = extensions.get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
        format!("{method} {path}")
    });
    Router::new()
        .route("/orders/{item}", post(order))
        .route("/prices/{item}", get(price))
        .layer(layer)
        .with_state(prices)
}

#[instrument(name = "order_received", skip_all)]
async fn order(State(prices): State<Prices>, Path(item): Path<String>) -> Result<Json<Value>, StatusCode> {
    let price = ask_price(&prices, &item).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    store(&item).await;
    Ok(Json(json!({ "item": item, "price": price })))
}

/// Asks the price service, through the client layer: nobody here names the id.
#[instrument(name = "order_priced", skip(prices), err)]
async fn ask_price(prices: &Prices, item: &str) -> Result<Value, BoxError> {
    let request = Request::get(format!("http://{}/prices/{item}", prices.address)).body(Empty::new())?;
    let (_, body) = call(&prices.client, request).await?;
    Ok(serde_json::from_slice(&body)?)
}

#[instrument(name = "order_stored")]
async fn store(item: &str) {
    tokio::time::sleep(Duration::from_millis(8)).await; // a database somewhere else
}

/// The price service: tells under which id it was asked.
async fn price(Extension(id): Extension<RequestId>, Path(item): Path<String>) -> Json<Value> {
    Json(json!({ "cents": 90 * item.len(), "askedUnder": id.as_str() }))
}

/// Asks the service for orders, with ids and without, and shows what came of it.
async fn ask(address: SocketAddr, journey: &JourneyHandle) -> Result<(), BoxError> {
    for id in [Some("req-1"), Some("req-2"), None] {
        let mut request = Request::post(format!("http://{address}/orders/tea"));
        if let Some(id) = id {
            request = request.header("X-Request-ID", id);
        }
        let (response, body) = call(&http_client(), request.body(Empty::new())?).await?;
        let returned = response.headers().get("X-Correlation-ID").ok_or("no X-Correlation-ID came back")?.to_str()?;
        println!("sent X-Request-ID {}, got X-Correlation-ID {returned}", id.unwrap_or("none"));
        println!("  {}", String::from_utf8_lossy(&body));

        journey.flush(Duration::from_secs(1));
        let seen = journey.get(returned).ok_or("the journey was not seen")?;
        for leg in &seen.legs {
            println!("  {} took {:.1} ms", leg.name, leg.ms);
        }
    }
    Ok(())
}

fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn call<S>(client: &S, request: Request<Empty<Bytes>>) -> Result<(Response<()>, Bytes), BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<hyper::body::Incoming>, Error: Into<BoxError>> + Clone,
{
    let (head, body) = client.clone().oneshot(request).await.map_err(Into::into)?.into_parts();
    Ok((Response::from_parts(head, ()), body.collect().await?.to_bytes()))
}
