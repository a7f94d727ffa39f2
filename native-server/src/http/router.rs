//! From a path to its route: the tables of routes in axum's matcher.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use nearfield_segment::shown;

use super::call::Call;
use super::error::{ApiError, Result};
use super::gate;
use super::route::{Access, Route, Verb};
use super::server::Server;
use crate::catalog::Role;

/// Stands in for all paths that no table has: a client without a key learns nothing about them.
static UNKNOWN: Route = Route::once(Verb::Get, "", Access::Role(Role::Query), "unknown", |call| {
    Box::pin(async { unknown(call) })
});

/// Stands in for the methods that a path does not have.
static WRONG_METHOD: Route =
    Route::once(Verb::Get, "", Access::Role(Role::Query), "wrong_method", |call| {
        Box::pin(async { wrong_method(call) })
    });

/// The router over all tables.
pub(super) fn router(server: &Arc<Server>, tables: &'static [&'static [Route]]) -> Router {
    let mut router = Router::new();
    for route in tables.iter().copied().flatten() {
        for path in route.paths() {
            router = router.route(&path, on(filter(route.method), handler(server, route)));
        }
    }
    router
        .fallback(handler(server, &UNKNOWN))
        .method_not_allowed_fallback(handler(server, &WRONG_METHOD))
}

/// What axum calls for a route.
fn handler(
    server: &Arc<Server>,
    route: &'static Route,
) -> impl Fn(Request) -> std::pin::Pin<Box<dyn Future<Output = Response<Body>> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let server = Arc::clone(server);
    move |request| {
        let server = Arc::clone(&server);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let named = parameters(&mut head).await;
            gate::pass(route, server, Request::from_parts(head, body), named).await
        })
    }
}

/// The parameters of the path by name; none for a path without.
///
/// # Errors
/// `bad_request` for one that is not UTF-8: it must not pass for a path without parameters, which means the
/// default collection.
async fn parameters(head: &mut Parts) -> Result<Vec<(String, String)>> {
    match RawPathParams::from_request_parts(head, &()).await {
        Ok(found) => {
            Ok(found.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }
        Err(RawPathParamsRejection::MissingPathParams(_)) => Ok(Vec::new()),
        Err(_) => {
            let expected = "names and ids in UTF-8, percent-encoded";
            let message = format!("path: expected {expected}");
            let error = ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message);
            Err(error.with("expected", expected))
        }
    }
}

/// An answer as it leaves: only a 405, which needs a key, says which methods a path has.
pub(super) fn leaving(mut response: Response<Body>) -> Response<Body> {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().remove(ALLOW);
    }
    response
}

fn filter(verb: Verb) -> MethodFilter {
    MethodFilter::try_from(verb.method()).expect("routes have methods of HTTP")
}

fn unknown(call: Call) -> Result<Response<Body>> {
    let (method, path) = (shown(call.head.method.as_str()), shown(call.head.uri.path()));
    let message = format!("there is no route {method} {path}; see /v2/openapi.json");
    Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_route", message).closing())
}

fn wrong_method(call: Call) -> Result<Response<Body>> {
    let (method, path) = (shown(call.head.method.as_str()), shown(call.head.uri.path()));
    let message = format!("{path} has no method {method}; see /v2/openapi.json");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(ApiError::new(status, "method_not_allowed", message).closing())
}
