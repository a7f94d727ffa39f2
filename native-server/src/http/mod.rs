//! The network side: bytes of a request to one call of `workers` or `catalog`, and back.
//!
//! *Invariants.* No handler sees a request whose key was not checked for its route, and no byte of a body is
//! read before that. Everything a client sends is bounded before memory is taken for it: headers, body, time,
//! depth, counts. Handlers translate; they decide nothing about data.
//!
//! | file | what |
//! |---|---|
//! | `listener`, `places`, `pace` | sockets and connections: timeouts, limits, an orderly end |
//! | `routes` | the table of all routes, with who may call each |
//! | `gate` | what happens to every request: id, key, handler, audit |
//! | `head` | what HTTP demands of a request before its key is looked at |
//! | `call` | what a handler reads from a request: body, parameters |
//! | `error` | the one table from errors to answers |
//! | `cursor`, `floats` | reading JSON once, straight into arrays |
//! | `answer`, `point` | writing JSON |
//! | `search` `write` `points` `arrow` `collections` `admin` `health` `ui` `demo` | the handlers |
//! | `describe`, `shapes`, `words`, `openapi` | shapes of requests and answers; the OpenAPI document |
//! | `server`, `exports` | what all requests share; how many exports are read at once |
//!
//! Async code is here and in `client` only; whatever takes long is awaited from `workers`.

mod admin;
mod answer;
mod arrow;
mod call;
mod collections;
mod cursor;
mod demo;
mod describe;
mod error;
mod exports;
mod floats;
mod gate;
mod head;
mod health;
mod listener;
mod near;
mod openapi;
mod pace;
mod places;
mod point;
mod points;
mod router;
mod routes;
mod search;
mod server;
mod shapes;
mod ui;
mod words;
mod write;

pub(crate) use listener::CONTROL_SOCKET;
pub use listener::{Limits, Listener, Stop};
pub use openapi::document;
pub use server::Server;
