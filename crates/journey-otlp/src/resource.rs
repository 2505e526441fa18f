//! Who exports: the attributes of the OTLP resource.

use journey_core::Source;

use crate::{config::OtlpConfig, model::Attribute};

/// The attributes, each key once.
///
/// One process is one resource, also where stages were seen by several services: Jaeger adjusts and warns about spans
/// of one trace that come from different hosts. `host.id` is always there, since Jaeger takes an absent one for a
/// different host.
pub(crate) fn resource(own: &Source, config: &OtlpConfig) -> Vec<Attribute<'static>> {
    let host = if own.clock_domain.is_empty() { &own.instance } else { &own.clock_domain };
    let host = if host.is_empty() { "unknown" } else { host };
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let known = [
        ("service.name", own.service.as_str()),
        ("service.version", own.version.as_str()),
        ("service.instance.id", own.instance.as_str()),
        ("host.id", host),
    ];
    let configured = config.resource.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let name = config.service_name.as_deref().map(|name| ("service.name", name));
    for (key, value) in known.into_iter().chain(configured).chain(name) {
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some(pair) => pair.1 = value,
            None => pairs.push((key, value)),
        }
    }
    // What the specification asks for where nobody gave a name.
    let named = |(key, value): (&'static str, &'static str)| Attribute::new(key, value);
    let mut attributes: Vec<Attribute<'static>> = pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| Attribute::new(key.to_owned(), value.to_owned()))
        .collect();
    if !attributes.iter().any(|attribute| attribute.key == "service.name") {
        attributes.insert(0, named(("service.name", "unknown_service")));
    }
    attributes
}

/// `service.name` among the attributes.
pub(crate) fn service_name(resource: &[Attribute<'_>]) -> String {
    let found = resource.iter().find(|attribute| attribute.key == "service.name");
    match found.map(|attribute| &attribute.value) {
        Some(crate::model::Value::Text(name)) => name.clone().into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Source {
        Source {
            service: "gateway".into(),
            version: "1.2".into(),
            instance: "gateway-1".into(),
            clock_domain: "boot".into(),
        }
    }

    fn shown(own: &Source, config: &OtlpConfig) -> String {
        resource(own, config).iter().map(|a| format!("{}={:?} ", a.key, a.value)).collect()
    }

    #[test]
    fn the_process_then_the_attributes_then_the_service_name_count() {
        let config = OtlpConfig::empty()
            .resource_attribute("service.name", "from-attributes")
            .resource_attribute("team", "chat");
        let text = shown(&own(), &config);
        assert_eq!(
            text,
            "service.name=Text(\"from-attributes\") service.version=Text(\"1.2\") service.instance.id=Text(\"gateway-1\") \
             host.id=Text(\"boot\") team=Text(\"chat\") "
        );
        let config = config.service_name("named");
        assert_eq!(service_name(&resource(&own(), &config)), "named");
    }

    #[test]
    fn a_host_and_a_name_are_always_there() {
        let text = shown(&Source::default(), &OtlpConfig::empty());
        assert_eq!(text, "service.name=Text(\"unknown_service\") host.id=Text(\"unknown\") ");
    }
}
