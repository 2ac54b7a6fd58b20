//! The errors that operations have in common.

use serde_json::json;
use utoipa::PartialSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{
    Components, Content, Object, Ref, RefOr, Response, ResponseBuilder, Responses, Type,
};

use crate::http::error::ErrorAnswer;

/// An error: its name in the document, its status, what it means, and an example of its body as
/// detail, code and field.
struct Common {
    name: &'static str,
    status: &'static str,
    about: &'static str,
    example: (&'static str, &'static str, Option<&'static str>),
}

const COMMON: [Common; 9] = [
    Common {
        name: "BadRequest",
        status: "400",
        about: "A parameter or the body is not valid. `field` names it.",
        example: (
            "limit is \"0\"; give 1 to 1000",
            "invalid_limit",
            Some("limit"),
        ),
    },
    Common {
        name: "Unauthorized",
        status: "401",
        about: "There is no valid session, token or key.",
        example: (
            "Sign in, or send a token as Authorization: Bearer gt_...",
            "sign_in_needed",
            None,
        ),
    },
    Common {
        name: "Forbidden",
        status: "403",
        about: "The credential is valid but not for this operation: the role is too low \
                (`role_needed`), it is the key of an agent (`agent_key`) or not the key of one \
                (`not_an_agent`), the project does not accept the request, or it comes from \
                another site (`cross_site`).",
        example: (
            "This needs the role operator; token:ci has the role viewer",
            "role_needed",
            None,
        ),
    },
    Common {
        name: "NotFound",
        status: "404",
        about: "There is no such object, or no such project among those of the caller.",
        example: (
            "There is no such project among yours; see GET /api/v1/session",
            "no_such_project",
            None,
        ),
    },
    Common {
        name: "Timeout",
        status: "408",
        about: "The body took too long to arrive.",
        example: ("The body took more than 30 s to arrive", "timeout", None),
    },
    Common {
        name: "TooLarge",
        status: "413",
        about: "The body is larger than the limit.",
        example: ("Payload exceeds 65536 bytes", "too_large", None),
    },
    Common {
        name: "UnsupportedEncoding",
        status: "415",
        about: "The body is encoded otherwise than by gzip.",
        example: (
            "Content-Encoding is neither gzip nor identity",
            "unsupported_encoding",
            None,
        ),
    },
    Common {
        name: "TooManyRequests",
        status: "429",
        about: "Too many calls, records or wrong passwords: try again after `Retry-After` seconds.",
        example: (
            "More than 6000 calls in a minute; call again in 2 s",
            "too_many_requests",
            None,
        ),
    },
    Common {
        name: "Unavailable",
        status: "503",
        about: "The server cannot do it now: try again after `Retry-After` seconds.",
        example: (
            "The store is busy; send the request again later",
            "unavailable",
            None,
        ),
    },
];

/// Defines the errors in the document.
pub(super) fn define(components: &mut Components) {
    let schema = ErrorAnswer::schema();
    components.schemas.insert("ErrorAnswer".to_owned(), schema);
    for common in &COMMON {
        let response = RefOr::T(common.response());
        components
            .responses
            .insert(common.name.to_owned(), response);
    }
}

/// Adds the errors of these names to what an operation answers, unless it describes them itself.
pub(super) fn add(responses: &mut Responses, names: &[&str]) {
    for common in COMMON.iter().filter(|it| names.contains(&it.name)) {
        let reference = Ref::from_response_name(common.name);
        let entry = responses.responses.entry(common.status.to_owned());
        entry.or_insert(RefOr::Ref(reference));
    }
}

impl Common {
    fn response(&self) -> Response {
        let mut content = Content::new(Some(Ref::from_schema_name("ErrorAnswer")));
        let (detail, code, field) = self.example;
        content.example = Some(json!({ "detail": detail, "code": code, "field": field }));
        let response = ResponseBuilder::new()
            .description(self.about)
            .content("application/json", content);
        let text = |about| {
            HeaderBuilder::new()
                .schema(Some(Object::with_type(Type::String)))
                .description(Some(about))
                .build()
        };
        match self.status {
            "401" => response.header("WWW-Authenticate", text("`Bearer`")),
            "429" | "503" => response.header("Retry-After", text("Seconds until the next try.")),
            _ => response,
        }
        .build()
    }
}
