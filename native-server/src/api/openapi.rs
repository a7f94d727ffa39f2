//! The OpenAPI 3.1 document. Entry: `document` (tables of routes, structs of requests and answers → JSON),
//! called by the route `openapi.json` and by `nearfield openapi`; a test compares it with docs/openapi.json.
//!
//! Paths, methods, roles and status codes come from the same routes as the router; shapes from the types.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::v2::refused::Refused;
use crate::http::{self, Access, Call, Gives, Result, Route, Shape, Shapes, Takes, shape};

/// Answers `GET openapi.json`.
pub(super) async fn get(call: Call) -> Result<Response<Body>> {
    Ok(http::json(StatusCode::OK, call.server.document))
}

/// The document of all routes, indented, with a line feed at its end.
pub(super) fn document(tables: &[&[Route]]) -> String {
    let (mut paths, mut shapes) = (Map::new(), Shapes::new());
    for route in tables.iter().copied().flatten() {
        for path in route.paths() {
            let operation = operation(route, &path, &mut shapes);
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[route.method.as_str().to_ascii_lowercase()] = operation;
        }
    }
    let refused = reference(&shape::<Refused<'_>>(&mut shapes));
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
        Takes::Typed(kind) => operation["requestBody"] = body(kind, json!({}), true),
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
