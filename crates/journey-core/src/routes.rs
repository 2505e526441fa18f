//! The active routes together, and which stage a name means.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use crate::route::{MAX_OPEN_STAGES, Place, Route, RouteError, StageIndex};

/// The most routes that can be active at once.
const MAX_ROUTES: usize = 64;

/// The name of all stages that an open route learned too late.
const OTHER: &str = "other";

/// The active routes, and the stage names that open ones have learned.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Arc<Route>>,
    /// Per route: stage names learned so far; stays empty for a declared route.
    learned: Vec<RwLock<Vec<Arc<str>>>>,
    /// Every stage name, with all the stages it means.
    names: HashMap<String, Vec<StageRef>>,
}

/// Number of a route within [`Routes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteIndex(pub u8);

/// One stage of one active route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageRef {
    /// The route.
    pub route: RouteIndex,
    /// The stage of that route; of an open route, the number under which the tracker learned it.
    pub stage: StageIndex,
}

/// How a stage is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTexts {
    /// Short id, such as `T4`.
    pub id: String,
    /// Name, such as `db_stored`.
    pub name: String,
    /// Label, for people.
    pub label: String,
}

impl Routes {
    /// Takes routes that claim no name twice.
    ///
    /// # Errors
    ///
    /// No route, more than 64, two of one name, or two that claim one span name: such routes need spans that say which
    /// they mean, see [`Routes::told_apart_by_name`].
    pub fn new(routes: Vec<Route>) -> Result<Self, RouteError> {
        let routes = Self::told_apart_by_name(routes)?;
        let at = Place { file: None };
        for (name, stages) in &routes.names {
            if let [first, second, ..] = stages[..] {
                let problem = format!(
                    "is claimed by the routes `{}` and `{}` (rename one, or let spans say which by `journey.name` and turn \
                     on `journey_name_on_spans`)",
                    routes.get(first.route).name(),
                    routes.get(second.route).name()
                );
                return Err(at.error("stage", name, &problem));
            }
        }
        Ok(routes)
    }

    /// Takes routes that may claim a name together: spans of that name say which route by the field `journey.name`.
    ///
    /// # Errors
    ///
    /// No route, more than 64, or two of one name.
    pub fn told_apart_by_name(routes: Vec<Route>) -> Result<Self, RouteError> {
        let at = Place { file: None };
        if routes.is_empty() || routes.len() > MAX_ROUTES {
            return Err(at.error("routes", &routes.len().to_string(), "1 to 64 routes can be active"));
        }
        let mut names: HashMap<String, Vec<StageRef>> = HashMap::new();
        for (index, route) in routes.iter().enumerate() {
            if routes[..index].iter().any(|other| other.name() == route.name()) {
                return Err(at.error("route", route.name(), "is active twice"));
            }
            for (stage_index, stage) in route.stages().iter().enumerate() {
                let here = StageRef { route: RouteIndex(index as u8), stage: StageIndex(stage_index as u16) };
                for name in stage.names() {
                    let known = names.entry(name.to_owned()).or_default();
                    if !known.contains(&here) {
                        known.push(here);
                    }
                }
            }
        }
        let learned = routes.iter().map(|_| RwLock::default()).collect();
        Ok(Self { routes: routes.into_iter().map(Arc::new).collect(), learned, names })
    }

    /// Finds a stage of a route by any of its names; an open route learns the name.
    ///
    /// The 257th name and all later ones of an open route are one stage `other`. `None` where a declared route has no
    /// such stage, or the name is empty, longer than 64 bytes or has control characters.
    pub fn stage(&self, route: RouteIndex, name: &str) -> Option<StageRef> {
        let declared = self.get(route);
        if !declared.is_open() {
            return declared.find(name).map(|stage| StageRef { route, stage });
        }
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return None;
        }
        let learned = &self.learned[usize::from(route.0)];
        let known = |names: &[Arc<str>]| names.iter().position(|known| **known == *name);
        let known_before = known(&learned.read());
        let index = known_before.unwrap_or_else(|| {
            let mut names = learned.write();
            known(&names).unwrap_or_else(|| {
                if names.len() < MAX_OPEN_STAGES {
                    names.push(name.into());
                    return names.len() - 1;
                }
                MAX_OPEN_STAGES
            })
        });
        Some(StageRef { route, stage: StageIndex(index as u16) })
    }

    /// Id, name and label of a stage; of an open route all three are the learned name.
    pub fn stage_texts(&self, at: StageRef) -> StageTexts {
        let route = self.get(at.route);
        if let Some(stage) = route.stage(at.stage) {
            return StageTexts { id: stage.id.clone(), name: stage.name.clone(), label: stage.label.clone() };
        }
        let learned = self.learned[usize::from(at.route.0)].read();
        let name = learned.get(usize::from(at.stage.0)).map_or_else(|| OTHER.to_owned(), |name| (**name).to_owned());
        StageTexts { id: name.clone(), label: name.clone(), name }
    }

    /// How many stages a route has by now.
    pub fn stage_count(&self, route: RouteIndex) -> usize {
        let declared = self.get(route);
        if !declared.is_open() {
            return declared.stages().len();
        }
        // One more for `other`, once every name is taken.
        let learned = self.learned[usize::from(route.0)].read().len();
        if learned == MAX_OPEN_STAGES { MAX_OPEN_STAGES + 1 } else { learned }
    }

    /// All routes, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (RouteIndex, &Arc<Route>)> {
        self.routes.iter().enumerate().map(|(index, route)| (RouteIndex(index as u8), route))
    }

    /// How many routes are active.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one route")]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// A route by its index.
    ///
    /// # Panics
    ///
    /// The index is of another set of routes.
    pub fn get(&self, index: RouteIndex) -> &Arc<Route> {
        &self.routes[usize::from(index.0)]
    }

    /// A route by its name.
    pub fn find(&self, name: &str) -> Option<RouteIndex> {
        self.iter().find(|(_, route)| route.name() == name).map(|(index, _)| index)
    }

    /// Every stage that a span name (id, name, alias, timings key) means: none, one, or one per route that claims it.
    pub fn stages_named(&self, name: &str) -> &[StageRef] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Default for Routes {
    /// The built-in `message` route alone.
    fn default() -> Self {
        Self::new(vec![Route::message()]).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, stage: &str) -> Route {
        Route::builder(name).stage("A", stage, |s| s).terminal("A").build().unwrap()
    }

    #[test]
    fn two_routes_that_claim_one_name_are_refused_unless_spans_say_which() {
        let error = Routes::new(vec![route("one", "x"), route("two", "y")]).unwrap_err().to_string();
        assert!(error.contains("`A` is claimed by the routes `one` and `two`"), "{error}");
        let routes = Routes::told_apart_by_name(vec![route("one", "x"), route("two", "y")]).unwrap();
        assert_eq!(routes.stages_named("A").len(), 2);
        assert_eq!(routes.stages_named("y").len(), 1);
        assert_eq!(routes.stages_named("z"), []);
    }

    #[test]
    fn an_open_route_learns_256_names_and_then_one_other() {
        let routes = Routes::new(vec![Route::open("flow")]).unwrap();
        let flow = RouteIndex(0);
        for number in 0..300 {
            routes.stage(flow, &format!("step_{number}")).unwrap();
        }
        assert_eq!(routes.stage(flow, "step_7").unwrap().stage, StageIndex(7));
        let late = routes.stage(flow, "step_299").unwrap();
        assert_eq!(late, routes.stage(flow, "anything").unwrap());
        assert_eq!(routes.stage_texts(late).name, "other");
        assert_eq!(routes.stage_count(flow), 257);
        assert_eq!(routes.stage(flow, "a\n"), None);
    }

    #[test]
    fn a_route_is_active_once() {
        let error = Routes::told_apart_by_name(vec![route("one", "x"), route("one", "y")]).unwrap_err().to_string();
        assert_eq!(error, "route: `one` is active twice");
        assert!(Routes::new(vec![]).is_err());
    }
}
