//! Query parameters: only the declared ones, each at most once.

use std::{fmt::Display, str::FromStr};

use axum::extract::Query;
use http::Uri;

use crate::{
    problem::{Problem, shown},
    routes::Route,
};

/// The longest text that can be a cursor of ours.
const MAX_CURSOR_BYTES: usize = 1_024;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a request to `route`.
    ///
    /// An unknown parameter is an error: a mistyped filter that is ignored lists everything.
    pub(crate) fn read(route: &Route, uri: &Uri) -> Result<Self, Problem> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Problem::bad_request(
                "the query string cannot be read (a right one: `?window=5m&route=message`)",
            ));
        };
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !route.params.iter().any(|param| param.name == name) {
                return Err(unknown(route, name));
            }
            let may_repeat = route.params.iter().any(|param| param.name == name && param.repeats);
            if !may_repeat && pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(Problem::bad_request(format!("the parameter `{name}` is there twice"))
                    .with("parameter", name.as_str()));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may repeat.
    #[cfg(feature = "store")]
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Where the page before ended; an empty text is none.
    pub(crate) fn cursor(&self) -> Result<Option<String>, Problem> {
        match self.text("cursor").filter(|cursor| !cursor.is_empty()) {
            Some(cursor) if cursor.len() > MAX_CURSOR_BYTES => {
                let detail = format!("the parameter `cursor` has {} bytes, which none of ours has", cursor.len());
                Err(Problem::bad_request(detail).with("parameter", "cursor"))
            }
            cursor => Ok(cursor.map(str::to_owned)),
        }
    }

    /// Whether a parameter is there; its value does not matter.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A parameter that is a yes or no.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(other) => Err(wrong(name, other, "is neither `true` nor `false`")),
        }
    }

    /// A number within a range.
    pub(crate) fn number<T: FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        least: T,
        most: T,
        example: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<T>() {
            Ok(number) if least <= number && number <= most => Ok(Some(number)),
            _ => Err(wrong(name, text, &format!("is not a number from {least} to {most} (try `{example}`)"))),
        }
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => Err(wrong(name, text, &format!("is not one of {}", listed(words.iter().map(|(word, _)| *word))))),
        }
    }
}

/// A parameter whose value cannot be used.
pub(crate) fn wrong(name: &str, value: &str, problem: &str) -> Problem {
    Problem::bad_request(format!("the parameter `{name}` is `{}`, which {problem}", shown(value)))
        .with("parameter", name)
}

/// Words for people: `a`, `b` or `c`.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn unknown(route: &Route, name: &str) -> Problem {
    let takes = match route.params {
        [] => "takes no parameters".to_owned(),
        params => format!("takes {}", listed(params.iter().map(|param| param.name))),
    };
    let detail = format!("`{}` is not a parameter of `{}`, which {takes}", shown(name), route.path);
    Problem::bad_request(detail).with("parameter", shown(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, query: &str) -> Result<Params, Problem> {
        let uri: Uri = format!("{path}?{query}").parse().unwrap();
        Params::read(Route::of_path(path).unwrap(), &uri)
    }

    fn detail(problem: Problem) -> String {
        format!("{problem:?}")
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_the_right_ones() {
        let text = detail(read("/api/v2/metrics/summary", "windw=5m").unwrap_err());
        assert!(text.contains("`windw` is not a parameter") && text.contains("takes `window` or `route`"), "{text}");
        let text = detail(read("/metrics", "x=%1b").unwrap_err());
        assert!(text.contains("takes no parameters"), "{text}");
    }

    #[test]
    fn values_are_decoded_and_checked() {
        let params = read("/api/v2/journeys", "stage=T4%2Fx+y&limit=7&minMs=1.5&stuck").unwrap();
        assert_eq!(params.text("stage"), Some("T4/x y"));
        assert_eq!(params.number("limit", 1, 1000, "50").unwrap(), Some(7));
        assert_eq!(params.number("minMs", 0.0, 1e12, "2000").unwrap(), Some(1.5));
        assert!(params.flag("stuck").unwrap());
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit="] {
            let text = detail(read("/api/v2/journeys", query).unwrap().number("limit", 1, 1000, "50").unwrap_err());
            assert!(text.contains("1 to 1000 (try `50`)"), "{text}");
        }
        for query in ["minMs=NaN", "minMs=-1", "minMs=inf"] {
            assert!(read("/api/v2/journeys", query).unwrap().number("minMs", 0.0, 1e12, "2000").is_err(), "{query}");
        }
        assert!(read("/api/v2/journeys", "stuck=maybe").unwrap().flag("stuck").is_err());
        assert!(detail(read("/api/v2/journeys", "limit=1&limit=2").unwrap_err()).contains("twice"));
    }
}
