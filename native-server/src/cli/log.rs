//! `log_to_stderr`: log lines on standard error, with time, level, message and fields. Called by `main` once.
//!
//! `RUST_LOG` chooses what is logged, as `level` or `target=level,...` (spans and patterns of values would cost the build
//! a library of regular expressions). Without it a server logs what an operator needs to follow an incident to its
//! end (`info`), any other command only what is wrong (`warn`).

use std::env;
use std::fmt;

use nearfield_engine::{Clock, SystemClock};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::prelude::*;

use super::Command;
use crate::json;

/// Writes the time as RFC 3339 in UTC, with milliseconds.
fn write_time(writer: &mut Writer<'_>) -> fmt::Result {
    writer.write_str(&json::time(SystemClock.now_ms()))
}

/// Sends the log of `command` to standard error. For the start of a process.
pub fn log_to_stderr(command: &Command) {
    let level = if matches!(command, Command::Serve(_)) { Level::INFO } else { Level::WARN };
    let chosen = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter: Result<Targets, _> = chosen.as_deref().unwrap_or(level.as_str()).parse();
    let problem = filter.as_ref().err().map(ToString::to_string);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_timer(write_time as fn(&mut Writer<'_>) -> fmt::Result)
        .with_filter(filter.unwrap_or_else(|_| Targets::new().with_default(level)));
    tracing_subscriber::registry().with(lines).init();
    if let Some(problem) = problem {
        tracing::warn!(problem, %level, "RUST_LOG is not a filter; the default level is used");
    }
}
