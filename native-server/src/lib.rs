//! The outside of Nearfield: what a person or a network says, turned into calls of the core.
//!
//! Threads, clocks, sockets and terminals live here and never below. A library beside the binary, so
//! that tests and benchmarks use the same sample data and the same commands.
//!
//! | floor | modules |
//! |---|---|
//! | F10 | `sample` (data for demo, tests, benchmarks) |
//! | F11 | `cli` (the commands) |
//! | F12 | `main` (the binary `nearfield`) |

pub mod cli;
pub mod sample;
