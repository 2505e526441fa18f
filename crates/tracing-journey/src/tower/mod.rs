//! Middleware for HTTP and gRPC stacks built on `tower`: axum, tonic, hyper.
//!
//! [`ServerLayer`] gives every request a correlation id and a span, and measures each endpoint; [`ClientLayer`] passes the
//! id on. Both take any body and change none.

mod client;
mod id;
mod server;

pub use self::{
    client::{Client, ClientLayer},
    id::{CORRELATION_ID, RequestId},
    server::{Server, ServerFuture, ServerLayer},
};
