//! Middleware: the steps of every request, whatever its route. Entry: `pass`, called by the router. In this order: the
//! request gets an id; its key is checked, before the body is read; its handler runs, and a panic in it becomes a 500;
//! the response gets the id; for requests that carry a valid key or come over the control socket an audit row is
//! queued, and the response is not delayed. Refusals without a valid key share audit rows.
//!
//! Each route names the access it needs ([`Access`]); a route without it cannot be registered.

use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use tracing::error;

use super::call::Call;
use super::connection_slots::ConnectionSlot;
use super::conventions::{Conventions, KeyHeader};
use super::error::{ApiError, Result};
use super::head;
use super::route::{Access, ResponseFuture, Route};
use super::server::Server;
use crate::catalog::{AuditRow, KeyId, Refusal, Role};
use crate::host::{self, Stopwatch};
use crate::metrics::GaugeGuard;

/// Name of the header that identifies a request.
const REQUEST_ID: &str = "x-request-id";
/// Longest id taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Where a request came from; the listener marks each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client at this address.
    Network(IpAddr),
    /// The control socket: a process that may open it owns the files anyway.
    ControlSocket,
}

/// The key of a request, and how the request is recorded in the audit.
struct Admitted {
    /// None for the public routes, for the control socket, and without a good key.
    key_id: Option<KeyId>,
    audit: Audit,
    /// Names, sizes and reasons may be in the answer.
    may_name: bool,
}

/// How a request is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audit {
    Never,
    /// A row of its own.
    Row,
    /// Any client can send any number of such requests, so one row stands for many.
    Together,
}

/// Why a client may not call a route, and its key if that is good.
struct NotAdmitted {
    key_id: Option<KeyId>,
    error: ApiError,
}

impl From<ApiError> for NotAdmitted {
    fn from(error: ApiError) -> NotAdmitted {
        NotAdmitted { key_id: None, error }
    }
}

/// Takes a request through all steps. `parameters` are those of its path, or why they cannot be read.
pub(super) async fn pass(
    conventions: &'static Conventions,
    route: &'static Route,
    server: Arc<Server>,
    request: axum::http::Request<Body>,
    parameters: Result<Vec<(String, String)>>,
) -> Response<Body> {
    let watch = Stopwatch::start();
    let (head, body) = request.into_parts();
    let request_id = request_id(&head.headers);
    if let Err(error) = head::check(&head) {
        return named(error.into_response(conventions), request_id);
    }
    let slot = head.extensions.get::<Arc<ConnectionSlot>>().cloned();
    let _counted =
        server.opened().map(|store| GaugeGuard::new(&store.metrics().active_http_requests));
    let reads = route.access != Access::Role(Role::Ingest);
    let mut call = Call::new(Arc::clone(&server), conventions, head, body, reads);
    let unreadable = name_parameters(&mut call, parameters).err();
    let (collection, pending) = (call.collection.clone(), Arc::clone(&call.pending));
    let default = route.is_of_collection() && collection.is_none() && unreadable.is_none();
    let address = address(&call.head);
    let (admitted, answered) = match admit(&server, conventions, route.access, &call.head) {
        Ok(admitted) => {
            (call.key, call.may_name) = (admitted.key_id, admitted.may_name);
            let in_slot = slot.map_or(Ok(()), |slot| check_slot(&slot, route.access, &admitted));
            let answered = match (in_slot, unreadable) {
                (Ok(()), None) => guarded(&server, (route.handler)(call)).await,
                (Ok(()), Some(error)) => Err(error),
                (Err(error), _) => Err(error.closing()),
            };
            (admitted, answered)
        }
        Err(NotAdmitted { key_id, error }) => {
            if let Some(store) = server.opened() {
                store.metrics().auth_failures.inc();
            }
            let audit = if key_id.is_some() { Audit::Row } else { Audit::Together };
            // A connection without a good key is closed.
            (Admitted { key_id, audit, may_name: false }, Err(error.closing()))
        }
    };
    if let Err(error) = &answered {
        show_damage(&server, collection.as_deref(), error);
    }
    let response = answered.unwrap_or_else(|error| {
        // Said, since a client that keeps the connection would find it closed in its next request.
        let unread = pending.load(Ordering::Relaxed);
        if unread { error.closing() } else { error }.into_response(conventions)
    });
    let row = || AuditRow {
        time_ms: server.now_ms(),
        key_id: admitted.key_id,
        action: route.action,
        collection: collection.or_else(|| default.then(|| server.config.collection.clone())),
        address,
        status: response.status().as_u16(),
        latency_us: (watch.seconds() * 1e6) as u64,
        request_id: request_id.to_str().unwrap_or_default().to_owned(),
    };
    match admitted.audit {
        Audit::Never => {}
        Audit::Row => server.catalog.audit(row()),
        Audit::Together => server.catalog.audit_refusal(row()),
    }
    named(response, request_id)
}

/// The parameters of the path, as parts of the call.
fn name_parameters(call: &mut Call, parameters: Result<Vec<(String, String)>>) -> Result<()> {
    for (name, value) in parameters? {
        if name == "id" { call.id = Some(value) } else { call.collection = Some(value) }
    }
    Ok(())
}

/// The answer with the id of its request.
fn named(mut response: Response<Body>, request_id: HeaderValue) -> Response<Body> {
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

/// Has the board, the metrics and the log show damage that a request met.
fn show_damage(server: &Server, collection: Option<&str>, error: &ApiError) {
    if let (Some(store), Some(met)) = (server.opened(), error.damage()) {
        store.met_damage(collection, met);
    }
}

/// Where a request came from; `None` for the control socket.
fn address(head: &Parts) -> Option<IpAddr> {
    match head.extensions.get::<Origin>() {
        Some(Origin::Network(address)) => Some(*address),
        Some(Origin::ControlSocket) | None => None,
    }
}

/// Runs a handler; a panic becomes `internal`.
async fn guarded(server: &Server, mut handler: ResponseFuture) -> Result<Response<Body>> {
    poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            error!("a request handler panicked");
            if let Some(store) = server.opened() {
                store.metrics().panics.inc();
            }
            let message = "the server made a mistake; its log says more";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Poll::Ready(Err(ApiError::new(status, "internal", message)))
        })
    })
    .await
}

/// Marks the slot of a connection whose request has a good key. In a slot of the reserve only health and metrics are
/// answered.
fn check_slot(slot: &ConnectionSlot, access: Access, admitted: &Admitted) -> Result<()> {
    if admitted.key_id.is_some() {
        slot.has_key();
    }
    if !slot.is_reserve() || matches!(access, Access::Health | Access::Metrics) {
        return Ok(());
    }
    let message =
        "all connections are answering requests; only health and metrics are answered now";
    let status = StatusCode::TOO_MANY_REQUESTS;
    Err(ApiError::new(status, "resource_exhausted", message))
}

/// Decides whether the sender of `head` may call a route.
fn admit(
    server: &Server,
    conventions: &Conventions,
    access: Access,
    head: &Parts,
) -> std::result::Result<Admitted, NotAdmitted> {
    let local = head.extensions.get::<Origin>() == Some(&Origin::ControlSocket);
    if local {
        return Ok(Admitted { key_id: None, audit: Audit::Row, may_name: true });
    }
    let public = server.config.public_health_metrics;
    let open = public.unwrap_or_else(|| {
        server.config.host.is_loopback() && head::names_this_machine(&head.headers)
    });
    // Probes of orchestrators carry no key. Whether the process is alive and ready they may know.
    let key = conventions.key(&head.headers);
    let bare = public.is_none() && key.is_none();
    let role = match access {
        Access::Public => None,
        Access::Health if open || bare => None,
        Access::Metrics if open => None,
        Access::Health => Some(Role::Query),
        Access::Metrics => Some(Role::Admin),
        Access::Role(role) => Some(role),
    };
    let Some(role) = role else {
        return Ok(Admitted { key_id: None, audit: Audit::Never, may_name: open });
    };
    let (header, token) = key.ok_or_else(|| without_key(conventions))?;
    let identity = server.catalog.authenticate(token).map_err(|why| refused(why, header))?;
    if identity.allows(role) {
        let (key_id, may_name) = (Some(identity.key_id), identity.allows(Role::Query));
        return Ok(Admitted { key_id, audit: Audit::Row, may_name });
    }
    let message = format!("this key lacks the role {}", role.name());
    let error = ApiError::new(StatusCode::FORBIDDEN, "forbidden", message);
    Err(NotAdmitted { key_id: Some(identity.key_id), error: error.with("expected", role.name()) })
}

fn without_key(conventions: &Conventions) -> ApiError {
    let KeyHeader { name, prefix } = &conventions.key_headers[0];
    let message = format!("expected a header {name}: {prefix}nfk_…");
    ApiError::new(StatusCode::UNAUTHORIZED, "missing_authorization", message)
}

fn refused(refusal: Refusal, header: &KeyHeader) -> ApiError {
    let (status, code, message) = match refusal {
        Refusal::Malformed => {
            let KeyHeader { name, prefix } = header;
            let message = format!("the header {name}: expected {prefix}nfk_<id>.<secret>");
            return ApiError::new(StatusCode::UNAUTHORIZED, "invalid_authorization", message);
        }
        Refusal::Unknown => (StatusCode::UNAUTHORIZED, "unauthorized", "there is no such key"),
        Refusal::Revoked => (StatusCode::FORBIDDEN, "revoked", "this key was revoked"),
        Refusal::Expired => (StatusCode::FORBIDDEN, "expired", "this key has expired"),
    };
    ApiError::new(status, code, message)
}

/// The id the client gave, if it is usable, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| {
        let bytes = id.as_bytes();
        let visible = |byte: &u8| byte.is_ascii_graphic();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(visible)
    });
    given.cloned().unwrap_or_else(|| {
        let made = format!("req_{:016x}", host::seed());
        HeaderValue::try_from(made).expect("letters and digits")
    })
}
