//! Adds what operations have in common: errors, ways to prove who calls, shared parameters, and
//! examples.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, Object, OpenApi, Ref, RefOr, Required, Response, Server, Type};

use super::{errors, examples};

/// What a parameter needs to be defined once: this many operations that have it.
const SHARED: usize = 3;
/// The path parameter of everything within a project.
const PROJECT: &str = "{project}";

/// Completes the document of a server at this base path.
pub(super) fn complete(api: &mut OpenApi, base: &str) {
    api.servers = Some(vec![Server::new(if base.is_empty() { "/" } else { base })]);
    let mut examples = examples::read();
    let components = api.components.get_or_insert_with(Components::new);
    errors::define(components);
    define_credentials(components);
    for (path, item) in &mut api.paths.paths {
        for operation in operations(item) {
            describe(operation, path, components);
            examples::add(operation, &mut examples);
        }
    }
    share_parameters(api);
}

/// The operations of a path.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

/// The ways to prove who calls.
fn define_credentials(components: &mut Components) {
    let bearer = |about| {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(String::from(about));
        SecurityScheme::Http(scheme)
    };
    let session = ApiKeyValue::with_description(
        "guard_session",
        "The cookie of a person who signed in by `POST /api/v1/session`.",
    );
    let key = ApiKeyValue::with_description("X-API-Key", "The API key of a project, `fg_...`.");
    for (name, scheme) in [
        ("token", bearer("The token of a program, `gt_...`.")),
        ("session", SecurityScheme::ApiKey(ApiKey::Cookie(session))),
        ("key", SecurityScheme::ApiKey(ApiKey::Header(key))),
        (
            "key_as_bearer",
            bearer("The API key of a project, `fg_...`."),
        ),
    ] {
        components.add_security_scheme(name, scheme);
    }
}

/// Who may call an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Callers {
    Everybody,
    Agents,
    /// People and programs.
    Principals,
}

/// Completes an operation.
fn describe(operation: &mut Operation, path: &str, components: &Components) {
    operation.summary = operation.summary.take().map(|it| it.replace('\n', " "));
    if path.contains(PROJECT) {
        let parameters = operation.parameters.get_or_insert_default();
        parameters.insert(0, RefOr::T(project()));
    }
    let callers = complete_security(operation);
    let names = error_names(operation, path, callers);
    errors::add(&mut operation.responses, &names);
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = about(response, status, components);
        }
    }
}

fn project() -> Parameter {
    ParameterBuilder::new()
        .name("project")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The name of the project."))
        .schema(Some(Object::with_type(Type::String)))
        .example(Some("default".into()))
        .build()
}

/// Handlers name one way to prove who calls. Adds the other.
fn complete_security(operation: &mut Operation) -> Callers {
    let security = operation.security.get_or_insert_default();
    let named = serde_json::to_value(&*security).unwrap_or_default();
    let first = named.get(0).and_then(Value::as_object);
    let Some((scheme, roles)) = first.and_then(|it| it.iter().next()) else {
        security.clear();
        return Callers::Everybody;
    };
    match scheme.as_str() {
        "key" => {
            security.push(SecurityRequirement::new("key_as_bearer", [""; 0]));
            Callers::Agents
        }
        "token" => {
            let roles = roles.as_array().into_iter().flatten();
            let roles: Vec<_> = roles.filter_map(Value::as_str).collect();
            security.push(SecurityRequirement::new("session", roles));
            Callers::Principals
        }
        _ => Callers::Principals,
    }
}

/// The errors that an operation has because of what it is.
fn error_names(operation: &Operation, path: &str, callers: Callers) -> Vec<&'static str> {
    let is_about_server = operation.tags.as_deref() == Some(&["Server".to_owned()]);
    let has_body = operation.request_body.is_some();
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    [
        (has_body || !parameters.is_empty(), "BadRequest"),
        (callers != Callers::Everybody, "Unauthorized"),
        (callers != Callers::Everybody || has_body, "Forbidden"),
        (path.contains('{'), "NotFound"),
        (has_body, "Timeout"),
        (has_body, "TooLarge"),
        (
            has_body && callers == Callers::Agents,
            "UnsupportedEncoding",
        ),
        (
            callers == Callers::Principals || !is_about_server,
            "TooManyRequests",
        ),
        (
            callers != Callers::Everybody || !is_about_server,
            "Unavailable",
        ),
    ]
    .into_iter()
    .filter_map(|(applies, name)| applies.then_some(name))
    .collect()
}

/// What an answer is, from the description of its body.
fn about(response: &Response, status: &str, components: &Components) -> String {
    let body = match response.content.values().next() {
        Some(RefOr::T(content)) => content.schema.as_ref(),
        _ => None,
    };
    let schema = match body {
        Some(RefOr::Ref(schema)) => {
            let name = schema.ref_location.rsplit('/').next();
            name.and_then(|name| components.schemas.get(name))
        }
        inline => inline,
    };
    let described = schema.and_then(|it| serde_json::to_value(it).ok());
    let described = described.as_ref().and_then(|it| it["description"].as_str());
    match (described, status) {
        (Some(about), _) => about.to_owned(),
        (None, "204") => "Done. The answer has no body.".to_owned(),
        (None, _) => "Success.".to_owned(),
    }
}

/// Defines each parameter once that several operations have.
fn share_parameters(api: &mut OpenApi) {
    let mut counts = BTreeMap::<(String, String), (usize, Parameter)>::new();
    let mut each = |change: &mut dyn FnMut(&mut RefOr<Parameter>)| {
        for item in api.paths.paths.values_mut() {
            let operations = operations(item);
            let parameters = operations.filter_map(|it| it.parameters.as_mut());
            parameters.flatten().for_each(&mut *change);
        }
    };
    let key = |parameter: &Parameter| {
        let written = serde_json::to_string(parameter).unwrap_or_default();
        (parameter.name.clone(), written)
    };
    each(&mut |parameter| {
        if let RefOr::T(parameter) = parameter {
            let first = || (0, parameter.clone());
            counts.entry(key(parameter)).or_insert_with(first).0 += 1;
        }
    });
    // Of parameters with the same name, the most frequent one.
    let mut shared = BTreeMap::<String, (usize, Parameter)>::new();
    for ((name, _), found) in counts {
        let most = shared.get(&name).map_or(SHARED - 1, |(most, _)| *most);
        if found.0 > most {
            shared.insert(name, found);
        }
    }
    each(&mut |parameter| {
        if let RefOr::T(it) = parameter
            && let Some((_, common)) = shared.get(&it.name)
            && key(common) == key(it)
        {
            let location = format!("#/components/parameters/{}", it.name);
            *parameter = RefOr::Ref(Ref::new(location));
        }
    });
    let components = api.components.get_or_insert_with(Components::new);
    let shared = shared.into_iter();
    components.parameters = shared.map(|(name, (_, it))| (name, RefOr::T(it))).collect();
}
