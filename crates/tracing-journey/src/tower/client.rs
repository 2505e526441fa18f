//! Outgoing requests carry the correlation id of the journey they belong to.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::id::{CORRELATION_ID, RequestId};

/// Puts `X-Correlation-ID` on outgoing requests: the id of the current span, or of the nearest span around it that has
/// one.
///
/// A request that has the header already keeps it. An id that no server would take (anything but 1 to 128 of
/// `[A-Za-z0-9._~:+/=-]`) is not sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientLayer(());

/// The service of [`ClientLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Client<S> {
    inner: S,
}

impl ClientLayer {
    /// The layer; it has nothing to configure.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;

    fn layer(&self, inner: S) -> Client<S> {
        Client { inner }
    }
}

impl<S, B> Service<Request<B>> for Client<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let headers = request.headers_mut();
        if !headers.contains_key(CORRELATION_ID)
            && let Some(id) = crate::current_correlation_id().and_then(|id| RequestId::new(id.as_str()))
        {
            headers.insert(CORRELATION_ID, id.header());
        }
        self.inner.call(request)
    }
}
