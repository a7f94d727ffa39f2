//! The OpenAPI 3.1 document, made from the table of routes and the shapes in `describe`.
//!
//! Paths, methods, roles and status codes come from the same rows as the router; shapes from the types.
//! docs/openapi.json is this document (`nearfield openapi`), and a test compares them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::answer;
use super::call::Call;
use super::error::Result;
use super::routes::{Access, ROUTES, Route};
use super::shapes::Refused;

/// Adds the shape of a type, and of all it consists of; returns its name.
pub(super) type Shape = fn(&mut Shapes) -> String;

/// Shapes by name.
pub(super) type Shapes = BTreeMap<String, Value>;

/// The [`Shape`] of `T`.
pub(super) fn shape<T: ToSchema>(shapes: &mut Shapes) -> String {
    let mut parts = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut parts);
    for (name, schema) in parts {
        let schema = serde_json::to_value(schema).expect("schemas have string keys");
        shapes.insert(name, schema);
    }
    T::name().into_owned()
}

/// What the body of a request is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    Nothing,
    Json(Shape),
    /// JSON, or nothing.
    Perhaps(Shape),
    Arrow,
}

/// What the body of an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gives {
    /// `{"data": …}`.
    Data(Shape),
    /// Of another type.
    Typed(&'static str),
}

/// The document as it is sent. Made once: the route is public, and making it costs hundreds of times what an
/// answer costs.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().into());

/// Answers `GET openapi.json`.
#[expect(clippy::unused_async, reason = "handlers are async")]
pub(super) async fn get(_: Call) -> Result<Response<Body>> {
    Ok(answer::json(StatusCode::OK, sent()))
}

/// The document as it is sent: the same allocation every time.
fn sent() -> Bytes {
    TEXT.clone()
}

/// The document, indented, with a line feed at its end.
pub fn document() -> String {
    let (mut paths, mut shapes) = (Map::new(), Shapes::new());
    for route in ROUTES {
        for path in route.paths() {
            let operation = operation(route, &path, &mut shapes);
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[route.method.as_str().to_ascii_lowercase()] = operation;
        }
    }
    let refused = reference(&shape::<Refused>(&mut shapes));
    let failed = json!({
        "description": "What went wrong; docs/http.md lists the codes",
        "content": { "application/json": { "schema": refused } },
    });
    let late = json!({
        "description": "The deadline of --search-timeout-secs has passed: code deadline_exceeded; ask for less",
        "content": failed["content"],
    });
    let key = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "nfk_<id>.<secret>" });
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Nearfield",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
            "description": "Vector search over HTTP. Success is {\"data\": …}; x-request-id is echoed.",
        },
        "paths": paths,
        "components": {
            "schemas": shapes,
            "responses": { "failed": failed, "late": late },
            "securitySchemes": { "key": key },
        },
    });
    let text = serde_json::to_string_pretty(&document).expect("a value is writable");
    text + "\n"
}

fn operation(route: &Route, path: &str, shapes: &mut Shapes) -> Value {
    let below = path.starts_with("/v2/collections/{name}/");
    let id = format!("{}{}", route.action, if below { "_in" } else { "" });
    let mut operation = json!({
        "operationId": id,
        "summary": route.says,
        "responses": responses(route, shapes),
    });
    let parameters = parameters(route, path);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = |kind: &str, schema: Value, required: bool| json!({ "required": required, "content": { kind: { "schema": schema } } });
    match route.takes {
        Takes::Nothing => {}
        Takes::Json(shape) => {
            operation["requestBody"] = body("application/json", reference(&shape(shapes)), true);
        }
        Takes::Perhaps(shape) => {
            operation["requestBody"] = body("application/json", reference(&shape(shapes)), false);
        }
        Takes::Arrow => operation["requestBody"] = body(super::arrow::ARROW_TYPE, json!({}), true),
    }
    match route.access {
        Access::Public => {}
        Access::Health | Access::Metrics => operation["security"] = json!([{}, { "key": [] }]),
        Access::Role(role) => {
            operation["security"] = json!([{ "key": [] }]);
            operation["description"] = format!("Needs the role {}.", role.name()).into();
        }
    }
    operation
}

/// Every answer of a route by its status.
fn responses(route: &Route, shapes: &mut Shapes) -> Value {
    let data = |shape: Shape, shapes: &mut Shapes| {
        let data = reference(&shape(shapes));
        let schema =
            json!({ "type": "object", "required": ["data"], "properties": { "data": data } });
        json!({ "application/json": { "schema": schema } })
    };
    let success = match route.gives {
        Gives::Data(shape) => data(shape, shapes),
        Gives::Typed(kind) => json!({ kind: {} }),
    };
    let mut responses = json!({
        route.success.to_string(): { "description": "Done", "content": success },
        "default": { "$ref": "#/components/responses/failed" },
    });
    if route.has_deadline {
        responses["504"] = json!({ "$ref": "#/components/responses/late" });
    }
    for &(status, says, shape) in route.also {
        let content = data(shape, shapes);
        responses[status.to_string()] = json!({ "description": says, "content": content });
    }
    responses
}

fn parameters(route: &Route, path: &str) -> Vec<Value> {
    let mut parameters = Vec::new();
    for (name, most) in [("name", 255), ("id", 256), ("file", 255)] {
        if path.contains(&format!("{{{name}}}")) {
            let schema = json!({ "type": "string", "minLength": 1, "maxLength": most });
            parameters
                .push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
    }
    for &(name, says, values) in route.parameters {
        let schema = json!({ "type": "string", "enum": values });
        parameters.push(json!({
            "name": name, "in": "query", "required": false, "description": says, "schema": schema,
        }));
    }
    parameters
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_made_once() {
        let (one, other) = (sent(), sent());
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert_eq!(one, document().as_bytes());
    }
}
