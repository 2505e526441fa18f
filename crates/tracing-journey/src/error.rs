//! Why Journey could not be set up.

use std::{error::Error, fmt, path::PathBuf};

use journey_core::RouteError;

/// Why Journey could not be set up: names the thing, its value, and what to do.
///
/// Nothing is left half started where this is returned.
pub struct SetupError(Box<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    /// A setting that does not fit.
    Setting { place: Place, value: String, problem: String, example: &'static str },
    /// Two settings that exclude each other, or a key nobody knows.
    Settings(String),
    /// A file that a setting names.
    File { setting: &'static str, path: PathBuf, error: std::io::Error },
    /// A route that does not fit.
    Route(RouteError),
    /// The process has a global subscriber already.
    Installed,
    /// A thread could not be started.
    Thread(std::io::Error),
    /// The debug endpoint could not be started.
    #[cfg(feature = "http")]
    Http(journey_http::HttpError),
    /// The debug endpoint is configured in a way that cannot work.
    #[cfg(feature = "http")]
    HttpConfig(journey_http::HttpError),
    /// The store of events could not be opened: where, and why.
    #[cfg(feature = "store")]
    Store(String, journey_store::StoreError),
    /// The way into the store could not be started.
    #[cfg(feature = "store")]
    Emitter(journey_store::StartError),
    /// The exporter could not be set up.
    #[cfg(feature = "otlp")]
    Export(journey_otlp::ConfigError),
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An environment variable.
    Variable(&'static str),
    /// A key of the file that `JOURNEY_CONFIG` names.
    File { path: String, key: &'static str },
    /// A method of the builder.
    Code(&'static str),
}

impl SetupError {
    /// Whether another subscriber was there first; the application can go on without this one.
    pub fn is_already_installed(&self) -> bool {
        matches!(*self.0, Kind::Installed)
    }

    /// Whether a setting, file or route is wrong, so that trying again gives the same error.
    pub fn is_configuration(&self) -> bool {
        match &*self.0 {
            Kind::Setting { .. } | Kind::Settings(_) | Kind::File { .. } | Kind::Route(_) => true,
            Kind::Installed | Kind::Thread(_) => false,
            #[cfg(feature = "http")]
            Kind::HttpConfig(_) => true,
            #[cfg(feature = "http")]
            Kind::Http(_) => false,
            #[cfg(feature = "store")]
            Kind::Store(..) | Kind::Emitter(_) => false,
            #[cfg(feature = "otlp")]
            Kind::Export(_) => true,
        }
    }

    /// Whether the debug endpoint could not listen on its address.
    pub fn is_http(&self) -> bool {
        #[cfg(feature = "http")]
        return matches!(*self.0, Kind::Http(_));
        #[cfg(not(feature = "http"))]
        false
    }
}

impl From<Kind> for SetupError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<RouteError> for SetupError {
    fn from(error: RouteError) -> Self {
        Kind::Route(error).into()
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Setting { place, value, problem, example } => {
                let shown: String = value.chars().take(80).collect();
                write!(f, "{place} is `{}`, which {problem} (try `{example}`)", shown.escape_debug())
            }
            Kind::Settings(sentence) => f.write_str(sentence),
            Kind::File { setting, path, .. } => {
                write!(f, "`{setting}` names the file `{}`, which cannot be read", path.display())
            }
            // The route's own message is all there is to say, so it is not a source as well.
            Kind::Route(error) => write!(f, "{error}"),
            Kind::Installed => f.write_str(
                "this process has a global tracing subscriber already (call `install` or `init` once and before any \
                 other subscriber, or use `builder().build()` and add the layer to that subscriber)",
            ),
            Kind::Thread(_) => f.write_str("a thread for the tracker cannot be started"),
            #[cfg(feature = "http")]
            Kind::Http(error) => write!(f, "{error}; `JOURNEY_HTTP_ADDR=off` starts none"),
            #[cfg(feature = "http")]
            Kind::HttpConfig(error) => write!(f, "{error}"),
            #[cfg(feature = "store")]
            Kind::Store(place, error) => write!(f, "the store of events `{place}` cannot be opened: {error}"),
            #[cfg(feature = "store")]
            Kind::Emitter(error) => write!(f, "{error}"),
            #[cfg(feature = "otlp")]
            Kind::Export(error) => write!(f, "{error}"),
        }
    }
}

/// The message with its causes: what a `main` that returns this error shows.
impl fmt::Debug for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for SetupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Kind::File { error, .. } | Kind::Thread(error) => Some(error),
            // Their own message is shown above, so only what is behind it is a cause.
            #[cfg(feature = "http")]
            Kind::Http(error) | Kind::HttpConfig(error) => error.source(),
            #[cfg(feature = "store")]
            Kind::Emitter(error) => error.source(),
            #[cfg(feature = "otlp")]
            Kind::Export(error) => error.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "`{name}`"),
            Self::File { path, key } => write!(f, "{}: `{key}`", path.escape_debug()),
            Self::Code(method) => write!(f, "`{method}`"),
        }
    }
}
