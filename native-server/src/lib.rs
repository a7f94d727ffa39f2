//! The outside of Nearfield: commands and requests, turned into calls of the core. Entry: `cli::run`, called
//! by `main`. Threads, clocks, sockets and terminals live here and never below. A library beside the binary,
//! so that tests and benchmarks use the same sample data and the same commands.
//!
//! | floor | modules |
//! |---|---|
//! | F10 | `host` (time, chance, processors) · `json` · `sample` (data for demo, tests, benchmarks) · `demo_files` (of the demo page) · `rows` (files of vectors, and streams of them) |
//! | F10 | `config` (flags of the server) · `catalog` (keys, audit, jobs) · `metrics` · `pacing` (background writing within a budget) |
//! | F11 | `workers` (threads around the engine) · `http` (transport: connections, limits, keys) · `api` (what requests mean) · `client` (of a server) · `cli` (the commands) |
//! | F12 | `main` (the binary `nearfield`) |

pub mod api;
pub mod catalog;
pub mod cli;
mod client;
pub mod config;
mod demo_files;
mod host;
pub mod http;
mod json;
pub mod metrics;
pub mod pacing;
mod rows;
pub mod sample;
pub mod workers;
