//! The exporter from outside: journeys are finished in a tracker, a collector says what it got.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod grpc;
mod http;
mod support;
