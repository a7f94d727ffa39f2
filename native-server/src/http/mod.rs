//! Transport: from the bytes of a connection to a call of a handler, and back. Entry: `Listener`, started by
//! `nearfield serve` with the routes of `api`, where the meaning of requests is.
//!
//! *Invariants.* No handler sees a request whose key was not checked for its route, and no byte of a body is
//! read before that. Headers, body, time, depth and counts are bounded before memory is taken for them.
//!
//! | file | what |
//! |---|---|
//! | `listener`, `connection_slots`, `pace` | sockets and connections: timeouts, limits, an orderly end |
//! | `route`, `router` | what a route is; from a path to its route |
//! | `gate` | the steps of every request: id, key, handler, audit |
//! | `conventions` | where the requests of an API carry a key, how its errors are written |
//! | `head` | what HTTP demands of a request before its key is looked at |
//! | `call` | what a handler reads from a request: body, parameters |
//! | `request`, `cursor`, `floats` | JSON read once, straight into the struct of a request and into arrays |
//! | `answer`, `stream`, `error` | answers held in memory; answers sent while they are made; the one table of errors |
//! | `server`, `exports` | what all requests share; how many exports are read at once |
//!
//! Async code is here, in `api` and in `client` only; whatever takes long is awaited from `workers`.

mod answer;
mod call;
mod connection_slots;
mod conventions;
mod cursor;
mod error;
mod exports;
mod floats;
mod gate;
mod head;
mod listener;
mod pace;
mod request;
mod route;
mod router;
mod server;
mod stream;

pub(crate) use answer::{Growing, data, json, ok, typed};
pub(crate) use call::{Call, at_length};
pub use conventions::Conventions;
pub(crate) use conventions::KeyHeader;
pub(crate) use cursor::Cursor;
pub(crate) use error::{ApiError, Result};
pub(crate) use listener::CONTROL_SOCKET;
pub use listener::{Limits, Listener, Stop};
pub(crate) use request::{FromJson, request};
pub(crate) use route::{
    Access, Also, Gives, Handler, Parameter, Shape, Shapes, Takes, handler, shape,
};
pub use route::{Api, Route};
pub use server::Server;
pub(crate) use stream::streamed;
