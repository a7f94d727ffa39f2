//! The outside of Nearfield: what a person or a network says, turned into calls of the core.
//!
//! Threads, clocks, sockets and terminals live here and never below. A library beside the binary, so
//! that tests and benchmarks use the same sample data and the same commands.
//!
//! | floor | modules |
//! |---|---|
//! | F10 | `host` (time, chance, processors) · `json` · `sample` (data for demo, tests, benchmarks) · `rows` (files of vectors, and streams of them) |
//! | F10 | `config` (flags of the server) · `catalog` (keys, audit, jobs) · `metrics` · `pacing` (background writing within a budget) |
//! | F11 | `workers` (threads around the engine) · `http` (routes, connections) · `client` (of a server) · `cli` (the commands) |
//! | F12 | `main` (the binary `nearfield`) |

pub mod catalog;
pub mod cli;
mod client;
pub mod config;
mod host;
pub mod http;
mod json;
pub mod metrics;
pub mod pacing;
mod rows;
pub mod sample;
pub mod workers;
