//! The endpoint described to machines: paths from the table of routes, schemas from the types.

use std::sync::OnceLock;

use journey_core::view::{JourneyView, ListView, SelfView, SummaryView};
use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

#[cfg(feature = "store")]
use crate::routes::Stored;
use crate::{
    document::MetricsDocument,
    health::HealthView,
    routes::{Access, Endpoint, ROUTES, Route},
};

/// OpenAPI 3.1, made once.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(build)
}

fn build() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Journey debug endpoint",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What happened to one message, and where the time goes. Every error is `application/problem+json` \
                            (RFC 9457). HEAD works wherever GET does. Answers carry `RateLimit` and `RateLimit-Policy`.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "description": "Needed where the endpoint was given a token.",
            } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let query = route.params.iter().map(|param| {
        let schema = json!({ "type": "string" });
        let schema = if param.repeats { json!({ "type": "array", "items": schema }) } else { schema };
        let mut parameter = json!({ "name": param.name, "in": "query", "required": false, "description": param.help, "schema": schema });
        if !param.example.is_empty() {
            parameter["example"] = if param.repeats { json!([param.example]) } else { param.example.into() };
        }
        parameter
    });
    let path = path_parameters(route.path).map(|name| {
        let (description, example) = match name {
            "id" => ("A trace id (32 hex digits), or a correlation id: its trace with the newest event.", "msg_abc123"),
            "kind" => ("`failures`, `stages`, `compensations` or `decisions`.", "failures"),
            _ => ("1 to 128 bytes, percent-encoded.", "msg_abc123"),
        };
        json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": "string" }, "example": example })
    });
    let problem = json!({ "description": "What is wrong, and what to do.", "content": { "application/problem+json": { "schema": reference("Problem") } } });
    let mut responses = json!({ "200": { "description": route.help, "content": content(route.endpoint) } });
    let mut refusals = vec!["400", "403"];
    if path_parameters(route.path).next().is_some() {
        refusals.push("404");
    }
    #[cfg(feature = "store")]
    if matches!(route.endpoint, Endpoint::Stored(_)) {
        refusals.extend(["501", "503"]);
    }
    if route.access == Access::Token {
        refusals.push("401");
    }
    if route.access != Access::Probe {
        refusals.push("429");
    }
    if route.endpoint == Endpoint::Stream {
        refusals.push("503");
    }
    for status in refusals {
        responses[status] = problem.clone();
    }
    if matches!(route.endpoint, Endpoint::Health | Endpoint::Readyz) {
        responses["503"] = json!({ "description": "Something is down, or the process is ending.", "content": content(route.endpoint) });
    }
    let mut operation = json!({
        "operationId": operation_id(route.endpoint),
        "summary": route.help,
        "parameters": path.chain(query).collect::<Vec<_>>(),
        "responses": responses,
    });
    if route.access == Access::Token {
        operation["security"] = json!([{ "bearer": [] }]);
    }
    operation
}

fn operation_id(endpoint: Endpoint) -> String {
    match endpoint {
        #[cfg(feature = "store")]
        Endpoint::Stored(stored) => format!("Stored{stored:?}"),
        other => format!("{other:?}"),
    }
}

/// Names between braces.
fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

fn content(endpoint: Endpoint) -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let json_of = |name: &str| json!({ "application/json": { "schema": reference(name) } });
    match endpoint {
        Endpoint::Index => json!({ "text/plain": text, "text/html": text }),
        Endpoint::Livez | Endpoint::Readyz => json!({ "text/plain": text }),
        Endpoint::Stream => json!({ "text/event-stream": text }),
        Endpoint::Prometheus => json!({
            "text/plain": text,
            "application/openmetrics-text": text,
            "application/vnd.google.protobuf": { "schema": { "type": "string", "format": "binary" } },
        }),
        Endpoint::Journey => json_of(&JourneyView::name()),
        Endpoint::Journeys => json_of(&ListView::name()),
        Endpoint::Summary => json_of(&SummaryView::name()),
        Endpoint::SelfView => json_of(&SelfView::name()),
        Endpoint::Document => json_of(&MetricsDocument::name()),
        Endpoint::Health => json_of(&HealthView::name()),
        Endpoint::OpenApi => json!({ "application/json": { "schema": { "type": "object" } } }),
        #[cfg(feature = "store")]
        Endpoint::Stored(stored) => match stored {
            Stored::Traces => json_of(&crate::TracesView::name()),
            Stored::Trace => json_of(&crate::StoredTraceView::name()),
            Stored::TraceEvents | Stored::Events => json_of(&crate::EventsView::name()),
            Stored::TraceStream | Stored::EventStream => json!({ "text/event-stream": text }),
            Stored::Daily => json_of(&crate::DailyView::name()),
            Stored::Analytics => json_of(&journey_store::AnalyticsView::name()),
        },
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// The schemas of all types; one stands there as often as it is used.
fn types() -> Vec<(String, RefOr<Schema>)> {
    let mut all = Vec::new();
    add::<JourneyView>(&mut all);
    add::<ListView>(&mut all);
    add::<SummaryView>(&mut all);
    add::<SelfView>(&mut all);
    add::<MetricsDocument>(&mut all);
    add::<HealthView>(&mut all);
    #[cfg(feature = "store")]
    {
        add::<crate::TracesView>(&mut all);
        add::<crate::StoredTraceView>(&mut all);
        add::<crate::EventsView>(&mut all);
        add::<crate::DailyView>(&mut all);
        add::<journey_store::AnalyticsView>(&mut all);
    }
    all
}

fn schemas() -> Map<String, Value> {
    let mut schemas: Map<String, Value> =
        types().into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect();
    schemas.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "description": "RFC 9457; further members depend on the problem.",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string", "format": "uri-reference" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
            },
        }),
    );
    schemas
}

fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
    all.push((T::name().into_owned(), T::schema()));
    T::schemas(all);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => {
                into.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, into));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }

    #[test]
    fn the_document_is_openapi_and_every_reference_leads_somewhere() {
        let document = document();
        let mut readable = document.clone();
        // utoipa writes "any value" as `{}` and cannot read that back; both forms mean the same.
        let parts = "/components/schemas/SelfView/properties/parts/additionalProperties";
        *readable.pointer_mut(parts).unwrap() = true.into();
        let parsed: utoipa::openapi::OpenApi = serde_json::from_value(readable).unwrap();
        assert_eq!(parsed.paths.paths.len(), ROUTES.len());
        let mut found = BTreeSet::new();
        references(document, &mut found);
        assert!(found.len() > 15, "{found:?}");
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn two_types_never_share_a_name() {
        let mut known = std::collections::BTreeMap::new();
        for (name, schema) in types() {
            let schema = serde_json::to_value(schema).unwrap();
            assert_eq!(known.entry(name.clone()).or_insert_with(|| schema.clone()), &schema, "{name}");
        }
    }

    #[test]
    fn schemas_have_the_keys_of_the_json() {
        let schemas = &document()["components"]["schemas"];
        let properties = schemas["JourneyView"]["properties"].as_object().unwrap();
        let view = serde_json::to_value(JourneyView::default()).unwrap();
        let keys: BTreeSet<_> = view.as_object().unwrap().keys().collect();
        assert_eq!(properties.keys().collect::<BTreeSet<_>>(), keys);
        assert!(schemas["ErrorView"]["properties"]["type"].is_object());
    }
}
