//! Which events a client of the stream wants.

use journey_core::{CorrelationId, FeedEvent, Live};

use crate::{
    problem::Problem,
    query::{Params, wrong},
    summary::known_route,
};

/// What a client asked for; without any condition, everything.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    route: Option<String>,
    /// Ids (of open routes: names) that mean the stage.
    stages: Option<Vec<String>>,
    correlation_id: Option<String>,
}

impl Filter {
    pub(crate) fn read(live: &Live, params: &Params) -> Result<Self, Problem> {
        let correlation_id = match params.text("correlationId") {
            Some(id) => Some(
                CorrelationId::new(id)
                    .map_err(|invalid| Problem::bad_request(invalid.to_string()).with("parameter", "correlationId"))?,
            ),
            None => None,
        };
        let stages = match params.text("stage") {
            Some(stage) => Some(stages_named(live, stage)?),
            None => None,
        };
        Ok(Self {
            route: known_route(live, params)?.map(|(_, name)| name),
            stages,
            correlation_id: correlation_id.map(|id| id.as_str().to_owned()),
        })
    }

    pub(crate) fn lets_through(&self, event: &FeedEvent) -> bool {
        let (route, correlation_id) = match event {
            FeedEvent::Checkpoint(checkpoint) => (&checkpoint.route, &checkpoint.correlation_id),
            FeedEvent::Journey(journey) => (&journey.route, &journey.correlation_id),
            FeedEvent::Stuck(stuck) => (&stuck.route, &stuck.correlation_id),
        };
        let wanted = |stage: &String| self.stages.as_ref().is_none_or(|stages| stages.contains(stage));
        let stage_fits = match event {
            FeedEvent::Checkpoint(checkpoint) => wanted(&checkpoint.stage),
            // A finished journey concerns every stage it has.
            FeedEvent::Journey(journey) => {
                self.stages.is_none() || journey.checkpoints.iter().any(|checkpoint| wanted(&checkpoint.stage))
            }
            FeedEvent::Stuck(stuck) => wanted(&stuck.stage),
        };
        stage_fits
            && self.route.as_ref().is_none_or(|wanted| wanted == route)
            && self.correlation_id.as_ref().is_none_or(|wanted| wanted == correlation_id)
    }
}

/// The stage ids that a name means. An open route may learn the name later, so there it is taken as it is.
fn stages_named(live: &Live, name: &str) -> Result<Vec<String>, Problem> {
    let routes = live.routes();
    let mut ids: Vec<_> = routes.stages_named(name).iter().map(|stage| routes.stage_texts(*stage).id).collect();
    if routes.iter().any(|(_, route)| route.is_open()) {
        ids.push(name.to_owned());
    }
    if ids.is_empty() {
        return Err(wrong("stage", name, "is no stage of an active route (try `T4` or `db_stored`)"));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use journey_core::{
        CheckpointEvent,
        view::{CheckpointView, JourneyView, StuckView},
    };

    use super::*;

    #[test]
    fn every_kind_of_event_is_filtered_by_route_stage_and_id() {
        let events = |route: &str, stage: &str, id: &str| {
            let (route, stage, correlation_id) = (route.to_owned(), stage.to_owned(), id.to_owned());
            let checkpoints = vec![CheckpointView { stage: stage.clone(), ..CheckpointView::default() }];
            [
                FeedEvent::Checkpoint(CheckpointEvent {
                    route: route.clone(),
                    stage: stage.clone(),
                    correlation_id: correlation_id.clone(),
                    ..CheckpointEvent::default()
                }),
                FeedEvent::Journey(Box::new(JourneyView {
                    route: route.clone(),
                    checkpoints,
                    correlation_id: correlation_id.clone(),
                    ..JourneyView::default()
                })),
                FeedEvent::Stuck(StuckView { route, stage, correlation_id, ..StuckView::default() }),
            ]
        };
        let filter = Filter {
            route: Some("message".into()),
            stages: Some(vec!["T4".into()]),
            correlation_id: Some("msg_1".into()),
        };
        assert!(events("message", "T4", "msg_1").iter().all(|event| filter.lets_through(event)));
        for (route, stage, id) in [("other", "T4", "msg_1"), ("message", "T5", "msg_1"), ("message", "T4", "msg_2")] {
            assert!(!events(route, stage, id).iter().any(|event| filter.lets_through(event)), "{route} {stage} {id}");
        }
        assert!(events("x", "y", "z").iter().all(|event| Filter::default().lets_through(event)));
    }
}
