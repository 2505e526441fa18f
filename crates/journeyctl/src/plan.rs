//! What is known of a route beyond one journey: the stages it has not reached, segment labels, usual latencies.

use journey_core::{
    Route,
    view::{JourneyView, RouteSummaryView, SummaryView},
};

/// The plan behind a journey, as far as it is known here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Stages in the order of the route; empty where it is not known.
    pub(crate) stages: Vec<PlanStage>,
    legs: Vec<PlanLeg>,
    segments: Vec<PlanSegment>,
    /// The window that `p95_ms` of the legs is of.
    pub(crate) window: String,
}

/// One stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PlanStage {
    /// Stage id.
    pub(crate) id: String,
    /// Stage name.
    pub(crate) name: String,
    /// Stage label.
    pub(crate) label: String,
}

#[derive(Clone, Debug, PartialEq)]
struct PlanLeg {
    name: String,
    from: String,
    to: String,
    p95_ms: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
struct PlanSegment {
    name: String,
    label: String,
    from: String,
    to: String,
}

impl Plan {
    /// Learns the route of a journey from a summary, or, without one, from the built-in route where it is that one.
    pub(crate) fn of(view: &JourneyView, summary: Option<&SummaryView>) -> Self {
        let built_in = Route::message();
        let known = view.checkpoints.iter().all(|seen| {
            built_in.find(&seen.stage).is_some_and(|at| built_in.stage(at).is_some_and(|stage| stage.name == seen.name))
        });
        let same = view.route == built_in.name() && known;
        let built_in = if same { Self::of_route(&built_in) } else { Self::default() };
        let summarized =
            summary.and_then(|all| Some((all, all.routes.iter().find(|route| route.route == view.route)?)));
        match summarized {
            Some((all, route)) => Self::of_summary(route, &all.window, &built_in),
            None => built_in,
        }
    }

    fn of_route(route: &Route) -> Self {
        let id = |at| route.stage(at).map_or_else(String::new, |stage| stage.id.clone());
        Self {
            stages: route
                .stages()
                .iter()
                .map(|stage| PlanStage { id: stage.id.clone(), name: stage.name.clone(), label: stage.label.clone() })
                .collect(),
            legs: route
                .legs()
                .iter()
                .map(|leg| PlanLeg { name: leg.name.clone(), from: id(leg.from), to: id(leg.to), p95_ms: None })
                .collect(),
            segments: route
                .segments()
                .iter()
                .map(|segment| PlanSegment {
                    name: segment.name.clone(),
                    label: segment.label.clone(),
                    from: id(segment.from),
                    to: id(segment.to),
                })
                .collect(),
            window: String::new(),
        }
    }

    fn of_summary(route: &RouteSummaryView, window: &str, built_in: &Self) -> Self {
        let mut stages: Vec<PlanStage> = Vec::new();
        let mut add = |id: &str, name: &str| {
            if !id.is_empty() && !stages.iter().any(|known| known.id == id) {
                let label = built_in.stage(id).map_or_else(|| label_of(name), |stage| stage.label.clone());
                stages.push(PlanStage { id: id.to_owned(), name: name.to_owned(), label });
            }
        };
        let name = |id: &str| {
            let listed = route.active_by_stage.iter().find(|stage| stage.stage == id).map(|stage| stage.name.clone());
            listed.or_else(|| built_in.stage(id).map(|stage| stage.name.clone())).unwrap_or_else(|| id.to_owned())
        };
        let listed = |id: &String| route.active_by_stage.iter().any(|stage| stage.stage == *id);
        // The list of stages is in the order of the route; it is only trusted for that where it is whole.
        if route.legs.iter().all(|leg| listed(&leg.from) && listed(&leg.to)) {
            route.active_by_stage.iter().for_each(|stage| add(&stage.stage, &stage.name));
        }
        for leg in &route.legs {
            add(&leg.from, &name(&leg.from));
            add(&leg.to, &name(&leg.to));
        }
        Self {
            // Without legs it is an open route: its stages have no order of their own.
            stages: if route.legs.is_empty() { Vec::new() } else { stages },
            legs: route
                .legs
                .iter()
                .map(|leg| PlanLeg {
                    name: leg.name.clone(),
                    from: leg.from.clone(),
                    to: leg.to.clone(),
                    p95_ms: leg.stats.p95_ms,
                })
                .collect(),
            segments: route
                .segments
                .iter()
                .map(|segment| PlanSegment {
                    name: segment.name.clone(),
                    label: segment.label.clone(),
                    from: segment.from.clone(),
                    to: segment.to.clone(),
                })
                .collect(),
            window: window.to_owned(),
        }
    }

    /// A stage by its id or name.
    pub(crate) fn stage(&self, id: &str) -> Option<&PlanStage> {
        self.stages.iter().find(|stage| stage.id == id || stage.name == id)
    }

    /// The narrowest segment around the leg that ends at a stage; for a first stage, around the leg that starts there.
    pub(crate) fn segment_of_stage(&self, id: &str) -> Option<&str> {
        let leg = self.legs.iter().find(|leg| leg.to == id).or_else(|| self.legs.iter().find(|leg| leg.from == id))?;
        let place = |id: &str| self.stages.iter().position(|stage| stage.id == id);
        let (from, to) = (place(&leg.from)?, place(&leg.to)?);
        let around = self.segments.iter().filter_map(|segment| {
            let (start, end) = (place(&segment.from)?, place(&segment.to)?);
            (start <= from && to <= end).then_some((end - start, segment))
        });
        around.min_by_key(|(stages, _)| *stages).map(|(_, segment)| segment.name.as_str())
    }

    /// The label of a segment.
    pub(crate) fn segment_label(&self, name: &str) -> Option<&str> {
        self.segments.iter().find(|segment| segment.name == name).map(|segment| segment.label.as_str())
    }

    /// The usual p95 of a leg.
    pub(crate) fn p95_ms(&self, leg: &str) -> Option<f64> {
        self.legs.iter().find(|known| known.name == leg)?.p95_ms
    }
}

/// A label for a name that comes without one: `agent_notified` is `Agent notified`.
pub(crate) fn label_of(name: &str) -> String {
    let spaced = name.replace(['_', '-'], " ");
    let mut rest = spaced.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use journey_core::view::{CheckpointView, LegStatsView, SegmentStatsView, StageCountView};

    use super::*;

    #[test]
    fn the_built_in_route_needs_no_summary() {
        let view = JourneyView { route: "message".into(), ..JourneyView::default() };
        let plan = Plan::of(&view, None);
        assert_eq!(plan.stages.len(), 12);
        assert_eq!(plan.stage("db_stored").map(|stage| stage.label.as_str()), Some("DB stored"));
        for (stage, segment) in [("T0", "inbound"), ("T6", "inbound"), ("T7", "agent"), ("T8", "outbound")] {
            assert_eq!(plan.segment_of_stage(stage), Some(segment), "{stage}");
        }
    }

    #[test]
    fn another_route_that_took_the_name_is_not_mistaken_for_the_built_in_one() {
        let own = CheckpointView { stage: "A".into(), name: "own".into(), ..CheckpointView::default() };
        let view = JourneyView { route: "message".into(), checkpoints: vec![own], ..JourneyView::default() };
        assert_eq!(Plan::of(&view, None), Plan::default());
    }

    #[test]
    fn a_summary_tells_stages_segments_and_usual_latencies_of_any_route() {
        let stage = |id: &str, name: &str| StageCountView { stage: id.into(), name: name.into(), ..Default::default() };
        let mut leg = LegStatsView { name: "pick".into(), from: "P0".into(), to: "P1".into(), ..Default::default() };
        leg.stats.p95_ms = Some(41.0);
        let whole = SegmentStatsView {
            name: "all".into(),
            label: "All".into(),
            from: "P0".into(),
            to: "P1".into(),
            ..Default::default()
        };
        let route = RouteSummaryView {
            route: "publish".into(),
            legs: vec![leg],
            segments: vec![whole],
            active_by_stage: vec![stage("P0", "listed"), stage("P1", "file_picked")],
            ..Default::default()
        };
        let summary = SummaryView { window: "5m".into(), routes: vec![route], ..Default::default() };
        let view = JourneyView { route: "publish".into(), ..JourneyView::default() };
        let plan = Plan::of(&view, Some(&summary));
        assert_eq!(plan.stage("P1").map(|stage| stage.label.as_str()), Some("File picked"));
        assert_eq!(plan.segment_of_stage("P1"), Some("all"));
        assert_eq!((plan.p95_ms("pick"), plan.window.as_str()), (Some(41.0), "5m"));
    }
}
