//! `shop.Orders/Place`, written by hand so that the example needs no protoc. With one, `tonic-prost-build` writes this:
//!
//! ```proto
//! package shop;
//! service Orders { rpc Place(Order) returns (Placed); }
//! message Order { string item = 1; uint32 count = 2; }
//! message Placed { uint64 cents = 1; }
//! ```

use std::{convert::Infallible, sync::Arc};

use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service, StdError, http},
    server::{NamedService, UnaryService},
};

const PLACE: &str = "/shop.Orders/Place";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Order {
    #[prost(string, tag = "1")]
    pub(crate) item: String,
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Placed {
    #[prost(uint64, tag = "1")]
    pub(crate) cents: u64,
}

/// What the service does.
pub(crate) trait Orders: Send + Sync + 'static {
    fn place(&self, request: Request<Order>) -> impl Future<Output = Result<Response<Placed>, Status>> + Send;
}

/// The server's side.
#[derive(Debug)]
pub(crate) struct OrdersServer<T>(Arc<T>);

/// The client's side.
#[derive(Clone, Debug)]
pub(crate) struct OrdersClient<T>(tonic::client::Grpc<T>);

impl<T> OrdersServer<T> {
    pub(crate) fn new(orders: T) -> Self {
        Self(Arc::new(orders))
    }
}

impl<T> Clone for OrdersServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for OrdersServer<T> {
    const NAME: &'static str = "shop.Orders";
}

impl<T: Orders> Service<http::Request<Body>> for OrdersServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let orders = Arc::clone(&self.0);
        Box::pin(async move {
            if request.uri().path() != PLACE {
                return Ok(Status::unimplemented("only Place is there").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(tonic_prost::ProstCodec::default());
            Ok(grpc.unary(Place(orders), request).await)
        })
    }
}

struct Place<T>(Arc<T>);

impl<T: Orders> UnaryService<Order> for Place<T> {
    type Response = Placed;
    type Future = BoxFuture<Response<Placed>, Status>;

    fn call(&mut self, request: Request<Order>) -> Self::Future {
        let orders = Arc::clone(&self.0);
        Box::pin(async move { orders.place(request).await })
    }
}

impl<T> OrdersClient<T>
where
    T: tonic::client::GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<StdError> + Send,
{
    pub(crate) fn with_origin(inner: T, origin: http::Uri) -> Self {
        Self(tonic::client::Grpc::with_origin(inner, origin))
    }

    pub(crate) async fn place(&mut self, request: Request<Order>) -> Result<Response<Placed>, Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.into().to_string()))?;
        let path = http::uri::PathAndQuery::from_static(PLACE);
        self.0.unary(request, path, tonic_prost::ProstCodec::<Order, Placed>::default()).await
    }
}
