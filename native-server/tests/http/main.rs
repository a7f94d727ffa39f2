//! The server over real sockets, in the process of the test: keys and connections, the answers to bad
//! bodies, the effects of good ones.
//!
//! Each test has a server of its own on a free port of loopback, and a directory of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bodies;
mod demo;
mod doors;
mod flows;
mod patience;
mod running;
mod shapes;
mod streams;
