//! Who is asked about stored events: an endpoint, or a store without any service.

use serde::de::DeserializeOwned;

use crate::{
    cli::From,
    client::{Client, DEFAULT_URL, Stream, URL_VARIABLE, plain, read_document},
    error::{CliError, Exit},
    local::{Local, STORE_VARIABLE},
};

/// What the command line and the environment say about where to ask.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    /// `--url`.
    pub(crate) url: Option<&'a str>,
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
}

/// Who answers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The endpoint of a service.
    Endpoint(Client),
    /// A store, opened here.
    Store(Local),
}

impl Access<'_> {
    /// The endpoint.
    ///
    /// # Errors
    ///
    /// Its address or token is not one.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let url = self.url().or_else(|| self.variable(URL_VARIABLE)).unwrap_or_else(|| DEFAULT_URL.to_owned());
        Client::resolve(&url, self.env)
    }

    /// Who is asked about stored events: `--store`, `--url`, the store of the environment, its endpoint.
    ///
    /// # Errors
    ///
    /// The endpoint's address or token is not one, or the store cannot be opened.
    pub(crate) fn source(&self, from: &From) -> Result<Source, CliError> {
        match self.place(from) {
            Some(place) => Local::open(&place).map(Source::Store),
            None => self.client().map(Source::Endpoint),
        }
    }

    /// The store that is asked in place of the endpoint, if any.
    pub(crate) fn place(&self, from: &From) -> Option<String> {
        let given = from.store.clone().filter(|place| !place.is_empty());
        given.or_else(|| if self.url().is_some() { None } else { self.variable(STORE_VARIABLE) })
    }

    /// `--url`, where it was given.
    pub(crate) fn url(&self) -> Option<String> {
        self.url.filter(|url| !url.is_empty()).map(str::to_owned)
    }

    /// A variable; an empty one counts as unset.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }
}

impl Source {
    /// Asks for a document and gives its text.
    ///
    /// # Errors
    ///
    /// Nobody answers, the thing is not there, or the question is wrong.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, CliError> {
        match self {
            Self::Endpoint(client) => client.get(path, query),
            Self::Store(local) => local.get(path, query),
        }
    }

    /// Asks for a document and reads it; `key` tells ours from any other JSON.
    ///
    /// # Errors
    ///
    /// As [`Source::get`], or the answer is not the document.
    pub(crate) fn fetch<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        key: &str,
    ) -> Result<T, CliError> {
        self.parse(&self.get(path, query)?, key)
    }

    /// Reads a document that was got from here.
    ///
    /// # Errors
    ///
    /// It is not the document.
    pub(crate) fn parse<T: DeserializeOwned>(&self, body: &str, key: &str) -> Result<T, CliError> {
        match self {
            Self::Endpoint(client) => client.parse(body, key),
            Self::Store(_) => read_document(body, key)
                .map_err(|why| CliError::new(Exit::Unexpected, format!("a bug: {}", plain(&why)))),
        }
    }

    /// Opens a stream of events. `None` where there is nothing more to say.
    ///
    /// # Errors
    ///
    /// As [`Source::get`].
    pub(crate) fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
        last_event_id: Option<&str>,
    ) -> Result<Option<Stream>, CliError> {
        match self {
            Self::Endpoint(client) => client.stream(path, query, last_event_id),
            Self::Store(local) => local.stream(path, last_event_id),
        }
    }

    /// Who answers, for people: an address, or a place without user and password.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Endpoint(client) => client.base(),
            Self::Store(local) => local.place(),
        }
    }
}
