//! Which store, for how long, with which precautions?

use std::path::PathBuf;

use journey_store::{Redaction, StoreOptions, StorePlace};

use crate::{
    config::Config,
    error::{Kind, SetupError},
    plan::Asked,
};

/// The room of a spill file where nothing else is said.
const SPILL_MIB: usize = 256;

/// Where events go, and how.
#[derive(Debug)]
pub(crate) struct EventsPlan {
    pub(super) place: StorePlace,
    pub(super) options: StoreOptions,
    pub(super) redaction: Redaction,
    /// File and bytes.
    pub(super) spill: Option<(PathBuf, u64)>,
    #[cfg(feature = "live")]
    pub(super) publish: Option<journey_bus::LiveConfig>,
}

impl EventsPlan {
    /// `None` where no store is named.
    pub(crate) fn resolve(asked: &Asked, config: &Config) -> Result<Option<Self>, SetupError> {
        let (file, variable) = (config.secret_file("JOURNEY_STORE_FILE")?, config.get("JOURNEY_STORE"));
        if asked.store.is_none() && file.is_some() && variable.is_some() {
            let sentence = "both `JOURNEY_STORE_FILE` and `JOURNEY_STORE` are set (keep the file)".to_owned();
            return Err(Kind::Settings(sentence).into());
        }
        let place = asked.store.clone().or(file).or(variable.map(|given| given.text));
        let Some(place) = place else { return Ok(None) };
        // The place may hold a password: the error names it without.
        let place = place.parse().map_err(|error| Kind::Settings(format!("`JOURNEY_STORE`: {error}")))?;
        let redaction = match config.switch("JOURNEY_STORE_REDACT")?.unwrap_or(true) {
            true => Redaction::default(),
            false => Redaction::off(),
        };
        let keys = config.list("JOURNEY_STORE_REDACT_KEYS").map(|(keys, _)| keys).unwrap_or_default();
        let spill_mib = config.count("JOURNEY_STORE_SPILL_MIB", 1, 1 << 20)?.unwrap_or(SPILL_MIB);
        let spill =
            config.get("JOURNEY_STORE_SPILL").map(|given| (PathBuf::from(given.text), (spill_mib as u64) << 20));
        Ok(Some(Self {
            place,
            options: StoreOptions {
                retention: config.duration("JOURNEY_STORE_RETENTION")?,
                power_loss: durability(config)?,
            },
            redaction: redaction.redact_keys(keys.iter().map(String::as_str)),
            spill,
            #[cfg(feature = "live")]
            publish: publish(config)?,
        }))
    }
}

fn durability(config: &Config) -> Result<Option<bool>, SetupError> {
    let Some(given) = config.get("JOURNEY_STORE_DURABILITY") else { return Ok(None) };
    match given.text.to_ascii_lowercase().as_str() {
        "normal" => Ok(Some(false)),
        "power_loss" => Ok(Some(true)),
        _ => Err(given.wrong("is neither `normal` nor `power_loss`")),
    }
}

#[cfg(feature = "live")]
fn publish(config: &Config) -> Result<Option<journey_bus::LiveConfig>, SetupError> {
    let address = match config.secret_file("JOURNEY_LIVE_FILE")? {
        Some(address) => Some(address),
        None => config.get("JOURNEY_LIVE").map(|given| given.text),
    };
    let Some(address) = address else { return Ok(None) };
    let parsed = journey_bus::LiveConfig::parse(&address);
    parsed.map(Some).map_err(|error| Kind::Settings(format!("`JOURNEY_LIVE`: {error}")).into())
}
