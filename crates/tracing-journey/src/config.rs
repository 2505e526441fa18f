//! What the environment and the settings file say, as text with its place; and how such texts are read.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use journey_core::closest;
use tracing_core::LevelFilter;

use crate::{
    error::{Kind, Place, SetupError},
    settings::{SETTINGS, setting},
};

/// A settings file is a few hundred bytes; what is larger is some other file.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The variables that settings are read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(HashMap<String, String>);

/// Environment and file together.
#[derive(Debug)]
pub(crate) struct Config {
    environment: Environment,
    file: Option<ConfigFile>,
}

#[derive(Debug)]
struct ConfigFile {
    path: String,
    /// By key, all as text.
    values: HashMap<&'static str, String>,
}

/// A text with the place it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) place: Place,
    example: &'static str,
}

impl Environment {
    /// The environment of the process. Names and values that are not Unicode cannot be settings.
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// The variables given and no others.
    pub(crate) fn of_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let value = self.0.get(name)?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// One sentence for each `JOURNEY_` variable that nobody reads.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let ours = self.0.keys().filter(|name| name.starts_with("JOURNEY_") && setting(name).is_none());
        let mut sentences: Vec<String> = ours
            .map(|name| {
                // Only the name: what stands in it may be a secret.
                let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                match closest(&name, SETTINGS.iter().map(|setting| setting.env)) {
                    Some(known) => {
                        format!("the variable `{name}` is not a setting and has no effect (did you mean `{known}`?)")
                    }
                    None => format!(
                        "the variable `{name}` is not a setting and has no effect (docs/configuration.md lists all)"
                    ),
                }
            })
            .collect();
        sentences.sort();
        sentences
    }
}

impl Config {
    /// Reads the file that `JOURNEY_CONFIG` names, if it does.
    pub(crate) fn read(environment: Environment) -> Result<Self, SetupError> {
        let file = environment.get("JOURNEY_CONFIG").map(|path| {
            let text = read_text("JOURNEY_CONFIG", Path::new(&path))?;
            ConfigFile::parse(&path, &text)
        });
        Ok(Self { environment, file: file.transpose()? })
    }

    /// What a setting says: the environment first, then the file.
    pub(crate) fn get(&self, env: &'static str) -> Option<Given> {
        let setting = setting(env)?;
        let example = setting.example;
        if let Some(text) = self.environment.get(env) {
            return Some(Given { text, place: Place::Variable(env), example });
        }
        let (file, key) = (self.file.as_ref()?, setting.key?);
        let text = file.values.get(key).filter(|text| !text.is_empty())?.clone();
        Some(Given { text, place: Place::File { path: file.path.clone(), key }, example })
    }

    /// A variable by any name, from the environment or, where it is a setting, the file.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| {
            let (file, key) = (self.file.as_ref()?, setting(name)?.key?);
            file.values.get(key).filter(|text| !text.is_empty()).cloned()
        })
    }

    pub(crate) fn unknown(&self) -> Vec<String> {
        self.environment.unknown()
    }

    pub(crate) fn duration(&self, env: &'static str) -> Result<Option<Duration>, SetupError> {
        let Some(given) = self.get(env) else { return Ok(None) };
        let duration = journey_core::parse_duration(&given.text).map_err(|_| given.wrong("is not a duration"))?;
        if duration.is_zero() {
            return Err(given.wrong("must be longer than zero"));
        }
        Ok(Some(duration))
    }

    pub(crate) fn count(&self, env: &'static str, min: usize, max: usize) -> Result<Option<usize>, SetupError> {
        let Some(given) = self.get(env) else { return Ok(None) };
        let count = given.text.replace('_', "").parse::<usize>().ok().filter(|count| (min..=max).contains(count));
        count.map(Some).ok_or_else(|| given.wrong(&format!("is not a whole number from {min} to {max}")))
    }

    pub(crate) fn switch(&self, env: &'static str) -> Result<Option<bool>, SetupError> {
        let Some(given) = self.get(env) else { return Ok(None) };
        match given.text.to_ascii_lowercase().as_str() {
            "on" | "true" | "1" | "yes" => Ok(Some(true)),
            "off" | "false" | "0" | "no" => Ok(Some(false)),
            _ => Err(given.wrong("is neither `on` nor `off`")),
        }
    }

    pub(crate) fn level(&self, env: &'static str) -> Result<Option<LevelFilter>, SetupError> {
        let Some(given) = self.get(env) else { return Ok(None) };
        let level = given.text.parse::<LevelFilter>().ok().filter(|level| *level != LevelFilter::OFF);
        level.map(Some).ok_or_else(|| given.wrong("is not a level"))
    }

    /// `Some(None)` stands for `off`.
    #[cfg(any(feature = "http", test))]
    pub(crate) fn address(&self, env: &'static str) -> Result<Option<Option<std::net::SocketAddr>>, SetupError> {
        let Some(given) = self.get(env) else { return Ok(None) };
        if given.text.eq_ignore_ascii_case("off") {
            return Ok(Some(None));
        }
        let addr = given.text.replace("localhost:", "127.0.0.1:").parse();
        addr.map(|addr| Some(Some(addr))).map_err(|_| given.wrong("is neither an address with a port nor `off`"))
    }

    /// Texts between commas, without empty ones.
    pub(crate) fn list(&self, env: &'static str) -> Option<(Vec<String>, Given)> {
        let given = self.get(env)?;
        let items = given.text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
        Some((items, given))
    }

    /// The trimmed text of a file that a setting names.
    pub(crate) fn secret_file(&self, env: &'static str) -> Result<Option<String>, SetupError> {
        let Some(given) = self.get(env) else { return Ok(None) };
        let text = read_text(env, Path::new(&given.text))?.trim().to_owned();
        if text.is_empty() {
            return Err(given.wrong("is a file without any text"));
        }
        Ok(Some(text))
    }
}

impl Given {
    /// An error that names this place and value.
    pub(crate) fn wrong(&self, problem: &str) -> SetupError {
        let Self { text, place, example } = self;
        let problem = problem.to_owned();
        Kind::Setting { place: place.clone(), value: text.clone(), problem, example }.into()
    }
}

impl ConfigFile {
    fn parse(path: &str, text: &str) -> Result<Self, SetupError> {
        let problem =
            |sentence: String| SetupError::from(Kind::Settings(format!("{}: {sentence}", path.escape_debug())));
        let table: toml::Table =
            toml::from_str(text).map_err(|error| problem(format!("is not TOML: {}", error.to_string().trim_end())))?;
        let mut values = HashMap::new();
        for (key, value) in table {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == Some(key.as_str())) else {
                let known = SETTINGS.iter().filter_map(|setting| setting.key);
                let advice = match closest(&key, known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "docs/configuration.md lists all".to_owned(),
                };
                return Err(problem(format!("`{}` is not a setting ({advice})", key.escape_debug())));
            };
            let Some(text) = as_text(&value) else {
                let Some(key) = setting.key else { continue };
                let place = Place::File { path: path.to_owned(), key };
                let given = Given { text: value.to_string(), place, example: setting.example };
                return Err(given.wrong("is not one value"));
            };
            if let Some(key) = setting.key {
                values.insert(key, text.trim().to_owned());
            }
        }
        Ok(Self { path: path.to_owned(), values })
    }
}

/// A value of the file in the form it has in the environment.
fn as_text(value: &toml::Value) -> Option<String> {
    Some(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(on) => if *on { "on" } else { "off" }.to_owned(),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            items?.join(",")
        }
        toml::Value::Table(_) | toml::Value::Datetime(_) => return None,
    })
}

/// Reads a file that a setting names, up to a size that no file of that kind exceeds.
pub(crate) fn read_text(env: &'static str, path: &Path) -> Result<String, SetupError> {
    use std::io::Read;
    let failed = |error| SetupError::from(Kind::File { setting: env, path: PathBuf::from(path), error });
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let too_long = format!("has more than {MAX_FILE_BYTES} bytes");
        return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, too_long)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::read(Environment::of_pairs(pairs)).unwrap()
    }

    fn with_file(text: &str, pairs: &[(&str, &str)]) -> Config {
        let mut config = config(pairs);
        config.file = Some(ConfigFile::parse("journey.toml", text).unwrap());
        config
    }

    #[test]
    fn the_environment_comes_before_the_file_and_empty_is_not_set() {
        let file =
            "ttl = \"10m\"\nretention = \"1m\"\nmax_active = 500\nwithin = true\nroutes = [\"message\", \"a.toml\"]";
        let config = with_file(file, &[("JOURNEY_TTL", "2m"), ("JOURNEY_RETENTION", " ")]);
        assert_eq!(config.duration("JOURNEY_TTL").unwrap(), Some(Duration::from_secs(120)));
        assert_eq!(config.duration("JOURNEY_RETENTION").unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(config.count("JOURNEY_MAX_ACTIVE", 1, 1000).unwrap(), Some(500));
        assert_eq!(config.switch("JOURNEY_WITHIN").unwrap(), Some(true));
        assert_eq!(config.list("JOURNEY_ROUTES").unwrap().0, ["message", "a.toml"]);
        assert_eq!(config.duration("JOURNEY_GRACE").unwrap(), None);
        assert_eq!(config.variable("JOURNEY_MAX_ACTIVE").as_deref(), Some("500"));
    }

    #[test]
    fn every_error_names_place_value_and_a_right_example() {
        let wrong = config(&[
            ("JOURNEY_TTL", "soon"),
            ("JOURNEY_GRACE", "0s"),
            ("JOURNEY_QUEUE", "1"),
            ("JOURNEY_WITHIN", "maybe"),
            ("JOURNEY_LEVEL", "loud"),
            ("JOURNEY_HTTP_ADDR", "7117"),
            ("JOURNEY_HTTP_TOKEN_FILE", "/nowhere/token"),
        ]);
        let errors = [
            wrong.duration("JOURNEY_TTL").unwrap_err(),
            wrong.duration("JOURNEY_GRACE").unwrap_err(),
            wrong.count("JOURNEY_QUEUE", 64, 1024).unwrap_err(),
            wrong.switch("JOURNEY_WITHIN").unwrap_err(),
            wrong.level("JOURNEY_LEVEL").unwrap_err(),
            wrong.address("JOURNEY_HTTP_ADDR").unwrap_err(),
            wrong.secret_file("JOURNEY_HTTP_TOKEN_FILE").unwrap_err(),
        ];
        let errors: Vec<String> = errors.iter().map(SetupError::to_string).collect();
        assert_eq!(
            errors.join("\n"),
            "`JOURNEY_TTL` is `soon`, which is not a duration (try `10m`)\n\
             `JOURNEY_GRACE` is `0s`, which must be longer than zero (try `2s`)\n\
             `JOURNEY_QUEUE` is `1`, which is not a whole number from 64 to 1024 (try `65536`)\n\
             `JOURNEY_WITHIN` is `maybe`, which is neither `on` nor `off` (try `on`)\n\
             `JOURNEY_LEVEL` is `loud`, which is not a level (try `debug`)\n\
             `JOURNEY_HTTP_ADDR` is `7117`, which is neither an address with a port nor `off` (try `127.0.0.1:0`)\n\
             `JOURNEY_HTTP_TOKEN_FILE` names the file `/nowhere/token`, which cannot be read"
        );
        let in_file = with_file("ttl = \"soon\"", &[]).duration("JOURNEY_TTL").unwrap_err();
        assert_eq!(in_file.to_string(), "journey.toml: `ttl` is `soon`, which is not a duration (try `10m`)");
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused_with_the_key_that_was_meant() {
        let error = |text| ConfigFile::parse("journey.toml", text).unwrap_err().to_string();
        assert_eq!(error("retenton = \"1m\""), "journey.toml: `retenton` is not a setting (did you mean `retention`?)");
        assert!(
            error("http_token = \"secret\"").contains("`http_token` is not a setting"),
            "a token is not for this file"
        );
        assert!(error("ttl = { a = 1 }").contains("which is not one value"));
        assert!(error("ttl = ").contains("line 1"));
    }

    #[test]
    fn unknown_variables_are_named_without_their_value() {
        let config = config(&[("JOURNEY_RETENTON", "hunter2"), ("JOURNEY_TTL", "1m"), ("HOME", "/")]);
        assert_eq!(
            config.unknown(),
            ["the variable `JOURNEY_RETENTON` is not a setting and has no effect (did you mean `JOURNEY_RETENTION`?)"]
        );
    }

    #[test]
    fn an_address_is_a_socket_address_or_off() {
        let config = config(&[("JOURNEY_HTTP_ADDR", "OFF")]);
        assert_eq!(config.address("JOURNEY_HTTP_ADDR").unwrap(), Some(None));
        let config = self::config(&[("JOURNEY_HTTP_ADDR", "localhost:0")]);
        assert_eq!(config.address("JOURNEY_HTTP_ADDR").unwrap(), Some(Some(([127, 0, 0, 1], 0).into())));
    }
}
