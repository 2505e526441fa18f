//! The subscriber of the process, in the order that works: registry, journey, further layers, log.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tracing_core::{Dispatch, Subscriber, dispatcher};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use crate::{
    builder::Stack,
    error::{Kind, SetupError},
    handle::JourneyHandle,
    plan::Plan,
    start::{Started, publish},
};

/// How long the parts of a start that failed may take to end; nothing was recorded, so they have nothing to send.
const UNDO: Duration = Duration::from_secs(1);

/// An `install` of ours succeeded.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// The log on stderr, where there is one.
#[derive(Default)]
pub(crate) struct Log {
    #[cfg(feature = "fmt")]
    on: Option<Format>,
}

#[cfg(feature = "fmt")]
struct Format {
    json: bool,
    colour: bool,
    filter: tracing_subscriber::EnvFilter,
}

/// Says early that a second install cannot succeed, before it would find its port taken by the first.
pub(crate) fn check_first() -> Result<(), SetupError> {
    if INSTALLED.load(Ordering::Acquire) { Err(Kind::Installed.into()) } else { Ok(()) }
}

/// Makes the subscriber and puts it in place; what was started ends again where that fails.
pub(crate) fn install(
    started: Started,
    layers: Option<Box<dyn Layer<Stack> + Send + Sync>>,
    log: Log,
) -> Result<JourneyHandle, SetupError> {
    let Started { layer, handle, check, .. } = started;
    let registry = tracing_subscriber::registry();
    let done = match (layers, log.is_on()) {
        (None, false) => put_in_place(registry.with(layer.alone())),
        (None, true) => put_in_place(log.around(registry.with(layer))),
        (Some(layers), false) => put_in_place(registry.with(layer).with(layers)),
        (Some(layers), true) => put_in_place(log.around(registry.with(layer).with(layers))),
    };
    if let Err(error) = done.and_then(|()| handle.watch(check)) {
        handle.shutdown(UNDO);
        return Err(error);
    }
    INSTALLED.store(true, Ordering::Release);
    publish(&handle);
    Ok(handle)
}

// Not `try_init`: where some crate turns on the `tracing-log` feature, that fails because of a logger, which is no
// subscriber.
fn put_in_place(subscriber: impl Into<Dispatch>) -> Result<(), SetupError> {
    dispatcher::set_global_default(subscriber.into()).map_err(|_| Kind::Installed.into())
}

#[cfg(feature = "fmt")]
pub(crate) fn log(plan: &Plan) -> Result<Log, SetupError> {
    use std::io::IsTerminal;
    let directives = plan.log_filter.as_deref().unwrap_or("info");
    let filter = tracing_subscriber::EnvFilter::builder().parse(directives).map_err(|error| {
        let problem = format!("is not a filter: {error}");
        let place = crate::error::Place::Variable("RUST_LOG");
        SetupError::from(Kind::Setting { place, value: directives.to_owned(), problem, example: "info,my_crate=debug" })
    })?;
    let colour = !plan.no_colour && std::io::stderr().is_terminal();
    Ok(Log { on: Some(Format { json: plan.log_json, colour, filter }) })
}

#[cfg(not(feature = "fmt"))]
pub(crate) fn log(_plan: &Plan) -> Result<Log, SetupError> {
    Ok(Log::default())
}

impl Log {
    fn is_on(&self) -> bool {
        #[cfg(feature = "fmt")]
        return self.on.is_some();
        #[cfg(not(feature = "fmt"))]
        false
    }

    /// Puts the log outside of all other layers.
    #[cfg(feature = "fmt")]
    fn around<S>(self, inner: S) -> Dispatch
    where
        S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    {
        let Some(Format { json, colour, filter }) = self.on else { return Dispatch::new(inner) };
        // Errors of stderr are not worth an `eprintln!`, which panics where stderr is closed.
        let layer =
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).log_internal_errors(false);
        if json {
            Dispatch::new(inner.with(layer.json().with_filter(filter)))
        } else {
            Dispatch::new(inner.with(layer.compact().with_filter(filter)))
        }
    }

    #[cfg(not(feature = "fmt"))]
    fn around<S: Subscriber + Send + Sync>(self, inner: S) -> Dispatch {
        Dispatch::new(inner)
    }
}
