//! cargo run -p tonic-service
//!
//! The order service again, over gRPC. The same layers as for HTTP carry the id, here in metadata: the server layer takes
//! it in, the client layer sends it on.
#![expect(clippy::print_stdout, reason = "an example says what happened")]

mod orders;

use std::{error::Error, net::SocketAddr, time::Duration};

use orders::{Order, Orders, OrdersClient, OrdersServer, Placed};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, Uri},
};
use tower::Layer as _;
use tracing::instrument;
use tracing_journey::{
    InstantRule, JourneyHandle, Route,
    tower::{Client, ClientLayer, RequestId, ServerLayer},
};

type BoxError = Box<dyn Error + Send + Sync>;
type ShopClient = OrdersClient<Client<Channel>>;

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
    let journey = tracing_journey::builder().service("orders").route(route).no_http().install()?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder()
        .layer(ServerLayer::new())
        .add_service(OrdersServer::new(Shop))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            let _ = stopped.await;
        });
    let server = tokio::spawn(server);
    ask(address, &journey).await?;
    let _ = stop.send(());
    Ok(server.await??)
}

struct Shop;

impl Orders for Shop {
    #[instrument(name = "order_received", skip_all)]
    async fn place(&self, request: Request<Order>) -> Result<Response<Placed>, Status> {
        let id = request.extensions().get::<RequestId>().cloned();
        let order = request.into_inner();
        let Some(cents) = find_price(&order.item).await else {
            // Nothing more will happen to this order, which nobody could know from its stages.
            if let (Some(journey), Some(id)) = (tracing_journey::handle(), id) {
                journey.fail(id.as_str(), "out of stock");
            }
            return Err(Status::not_found("there is only tea"));
        };
        store(&order).await;
        Ok(Response::new(Placed { cents: u64::from(order.count) * cents }))
    }
}

#[instrument(name = "order_priced")]
async fn find_price(item: &str) -> Option<u64> {
    tokio::time::sleep(Duration::from_millis(3)).await; // a price list somewhere else
    (item == "tea").then_some(450)
}

#[instrument(name = "order_stored", skip_all)]
async fn store(order: &Order) {
    tokio::time::sleep(Duration::from_millis(8)).await; // a database somewhere else
    tracing::debug!(order.count, "stored");
}

/// Places orders, each under an id, and shows what came of them.
async fn ask(address: SocketAddr, journey: &JourneyHandle) -> Result<(), BoxError> {
    let origin: Uri = format!("http://{address}").parse()?;
    let channel = Endpoint::from(origin.clone()).connect().await?;
    let mut client = OrdersClient::with_origin(ClientLayer::new().layer(channel), origin);
    for (id, item) in [("grpc-1", "tea"), ("grpc-2", "coffee")] {
        let order = Order { item: item.to_owned(), count: 2 };
        match check_out(&mut client, id, order).await {
            Ok(placed) => println!("{id}: {item} for {} cents", placed.into_inner().cents),
            Err(status) => println!("{id}: {}", status.message()),
        }
        journey.flush(Duration::from_secs(1));
        let seen = journey.get(id).ok_or("the journey was not seen")?;
        println!("  the journey is {}", seen.reason.map_or(seen.status, |reason| format!("failed: {reason}")));
        for leg in &seen.legs {
            println!("  {} took {:.1} ms", leg.name, leg.ms);
        }
    }
    Ok(())
}

/// The caller's own work has the id on a span; from there the client layer puts it into the metadata of the call.
#[instrument(name = "check_out", skip_all, fields(correlation_id = id))]
async fn check_out(client: &mut ShopClient, id: &str, order: Order) -> Result<Response<Placed>, Status> {
    client.place(Request::new(order)).await
}
