//! `Route`: the method and path of a route, its access, its handler, and its description in the OpenAPI document.
//! `Api` is a table of routes with its conventions. Defined in `api`; used by `router`, `gate` and `openapi`.
//!
//! The router, the document and the test that walks all routes are made from tables of routes. A route cannot be
//! written without its [`Access`].

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use axum::body::Body;
use axum::http::Method;
use axum::response::Response;
use serde_json::Value;
use utoipa::ToSchema;

use super::call::Call;
use super::conventions::Conventions;
use super::error::Result;
use crate::catalog::Role;

/// The future that answers a call.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>>> + Send>>;

/// The function that answers the calls of a route.
pub(crate) type Handler = fn(Call) -> ResponseFuture;

/// The [`Handler`] that calls an `async fn` of a [`Call`].
macro_rules! handler {
    ($answer:path) => {
        |call| Box::pin($answer(call))
    };
}

pub(crate) use handler;

/// A parameter behind the `?`: its name, its description, its values.
pub(crate) type Parameter = (&'static str, &'static str, &'static [&'static str]);

/// A further answer: its status, its description, its shape.
pub(crate) type Also = (u16, &'static str, Shape);

/// Shapes of the OpenAPI document by name.
pub(crate) type Shapes = BTreeMap<String, Value>;

/// Adds the shape of a type, and of all it consists of; returns its name.
pub(crate) type Shape = fn(&mut Shapes) -> String;

/// The [`Shape`] of `T`.
pub(crate) fn shape<T: ToSchema>(shapes: &mut Shapes) -> String {
    let mut parts = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut parts);
    for (name, schema) in parts {
        let schema = serde_json::to_value(schema).expect("schemas have string keys");
        shapes.insert(name, schema);
    }
    T::name().into_owned()
}

/// What a client needs to call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Every client.
    Public,
    /// Every client; how much a client without the role `query` learns depends on `--public-health-metrics`.
    Health,
    /// Clients with the role `admin`, and every client as far as `--public-health-metrics` says.
    Metrics,
    /// Clients with the role.
    Role(Role),
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    Nothing,
    Json(Shape),
    /// JSON, or nothing.
    Perhaps(Shape),
    /// Of another type.
    Typed(&'static str),
}

/// The body of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gives {
    /// `{"data": …}`.
    Data(Shape),
    /// Of another type.
    Typed(&'static str),
}

/// An API: its conventions and its tables of routes.
#[derive(Debug)]
pub struct Api {
    pub(crate) conventions: &'static Conventions,
    pub(crate) tables: &'static [&'static [Route]],
}

/// One route.
#[derive(Debug)]
pub struct Route {
    pub(crate) method: Method,
    /// What may stand before its path.
    bases: &'static [&'static str],
    path: &'static str,
    pub(crate) access: Access,
    /// Its word in the audit, and the operation's name in the OpenAPI document.
    pub(crate) action: &'static str,
    pub(super) handler: Handler,
    /// Its purpose, in a line.
    pub(crate) says: &'static str,
    pub(crate) takes: Takes,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) success: u16,
    pub(crate) gives: Gives,
    pub(crate) also: &'static [Also],
    /// Whether `--search-timeout-secs` can end a request: it is answered with 504 then.
    pub(crate) has_deadline: bool,
}

impl Route {
    /// A route with one path.
    pub(crate) const fn once(
        method: Method,
        path: &'static str,
        access: Access,
        action: &'static str,
        handler: Handler,
    ) -> Route {
        Route::below(&[""], method, path, access, action, handler)
    }

    /// A route with one path below each of `bases`.
    pub(crate) const fn below(
        bases: &'static [&'static str],
        method: Method,
        path: &'static str,
        access: Access,
        action: &'static str,
        handler: Handler,
    ) -> Route {
        Route {
            method,
            bases,
            path,
            access,
            action,
            handler,
            says: "",
            takes: Takes::Nothing,
            parameters: &[],
            success: 200,
            gives: Gives::Typed("application/json"),
            also: &[],
            has_deadline: false,
        }
    }

    /// Whether it is about one collection: the default one, where the path names none.
    pub(super) fn is_of_collection(&self) -> bool {
        self.bases.len() > 1
    }

    pub(crate) const fn says(mut self, line: &'static str) -> Route {
        self.says = line;
        self
    }

    pub(crate) const fn takes(mut self, takes: Takes) -> Route {
        self.takes = takes;
        self
    }

    pub(crate) const fn parameters(mut self, parameters: &'static [Parameter]) -> Route {
        self.parameters = parameters;
        self
    }

    pub(crate) const fn gives(mut self, success: u16, shape: Shape) -> Route {
        self.success = success;
        self.gives = Gives::Data(shape);
        self
    }

    pub(crate) const fn also(mut self, answers: &'static [Also]) -> Route {
        self.also = answers;
        self
    }

    pub(crate) const fn gives_typed(mut self, kind: &'static str) -> Route {
        self.gives = Gives::Typed(kind);
        self
    }

    pub(crate) const fn with_deadline(mut self) -> Route {
        self.has_deadline = true;
        self
    }

    pub(crate) const fn redirects(mut self) -> Route {
        self.success = 308;
        self
    }

    /// All paths it is found at, with `{name}`, `{id}` and `{file}` where they vary.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        self.bases.iter().map(|base| format!("{base}{}", self.path))
    }
}
