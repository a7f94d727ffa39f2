//! `router`: matches a path to its `Route` (the tables of `api` in axum's matcher) and passes the request to
//! `gate`. Called by `Listener`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::header::ALLOW;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use nearfield_segment::shown;

use super::call::Call;
use super::error::{ApiError, Result};
use super::gate;
use super::route::{Access, Api, Route, handler};
use super::server::Server;
use crate::catalog::Role;

/// Stands in for all paths that no API has: a client without a key learns nothing about them.
static UNKNOWN: Route =
    Route::once(Method::GET, "", Access::Role(Role::Query), "unknown", handler!(unknown));

/// Stands in for the methods that a path does not have.
static WRONG_METHOD: Route =
    Route::once(Method::GET, "", Access::Role(Role::Query), "wrong_method", handler!(wrong_method));

/// The router over all APIs. A path that none of them has is answered as one of the first.
pub(super) fn router(server: &Arc<Server>, apis: &'static [Api]) -> Router {
    let mut all = Router::new();
    for api in apis {
        let mut router = Router::new();
        for route in api.tables.iter().copied().flatten() {
            let method = MethodFilter::try_from(route.method.clone());
            let method = method.expect("routes have methods of HTTP");
            for path in route.paths() {
                router = router.route(&path, on(method, handler(server, api, route)));
            }
        }
        all = all.merge(router.method_not_allowed_fallback(handler(server, api, &WRONG_METHOD)));
    }
    all.fallback(handler(server, &apis[0], &UNKNOWN))
}

/// What axum calls for a route.
fn handler(
    server: &Arc<Server>,
    api: &'static Api,
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
            gate::pass(api.conventions, route, server, Request::from_parts(head, body), named).await
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

async fn unknown(call: Call) -> Result<Response<Body>> {
    let (method, path) = (shown(call.head.method.as_str()), shown(call.head.uri.path()));
    let document = call.conventions.document_path;
    let message = format!("there is no route {method} {path}; see {document}");
    Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_route", message).closing())
}

async fn wrong_method(call: Call) -> Result<Response<Body>> {
    let (method, path) = (shown(call.head.method.as_str()), shown(call.head.uri.path()));
    let document = call.conventions.document_path;
    let message = format!("{path} has no method {method}; see {document}");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(ApiError::new(status, "method_not_allowed", message).closing())
}

#[cfg(test)]
mod tests;
