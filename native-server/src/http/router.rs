//! From a path to its route: the table of `routes` in axum's matcher.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodFilter, on};

use super::call::Call;
use super::error::{ApiError, Result};
use super::gate;
use super::routes::{Access, ROUTES, Route, Verb};
use super::server::Server;
use crate::catalog::Role;

/// Stands in for all paths that are not in the table: who has no key learns nothing about them.
static UNKNOWN: Route = Route::once(Verb::Get, "", Access::Role(Role::Query), "unknown", |call| {
    Box::pin(async { unknown(call) })
});

/// Stands in for the methods that a path of the table does not have.
static WRONG_METHOD: Route =
    Route::once(Verb::Get, "", Access::Role(Role::Query), "wrong_method", |call| {
        Box::pin(async { wrong_method(call) })
    });

/// The router over the table.
pub(super) fn router(server: &Arc<Server>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
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
            // Paths without parameters, and those whose parameters are no UTF-8, have none.
            let found = RawPathParams::from_request_parts(&mut head, &()).await;
            let named = found.iter().flatten();
            let named = named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            gate::pass(route, server, Request::from_parts(head, body), named).await
        })
    }
}

fn filter(verb: Verb) -> MethodFilter {
    MethodFilter::try_from(verb.method()).expect("the table has methods of HTTP")
}

fn unknown(call: Call) -> Result<Response<Body>> {
    let path: String = call.head.uri.path().chars().take(256).collect();
    let message = format!("there is no route {} {path}; see /v2/openapi.json", call.head.method);
    Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_route", message).closing())
}

fn wrong_method(call: Call) -> Result<Response<Body>> {
    let path: String = call.head.uri.path().chars().take(256).collect();
    let message = format!("{path} has no method {}; see /v2/openapi.json", call.head.method);
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(ApiError::new(status, "method_not_allowed", message).closing())
}
