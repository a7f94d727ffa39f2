//! Log lines on standard error: time, level, message and fields.
//!
//! `RUST_LOG` chooses what is logged. Without it a server logs what an operator needs to follow an incident to its
//! end (`info`), any other command only what is wrong (`warn`).

use std::env;
use std::fmt;

use nearfield_engine::{Clock, SystemClock};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::Command;
use crate::json;

/// RFC 3339 in UTC, with milliseconds.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&json::time(SystemClock.now_ms()))
    }
}

/// Sends the log of `command` to standard error. For the start of a process.
pub fn log_to_stderr(command: &Command) {
    let level = if matches!(command, Command::Serve(_)) { "info" } else { "warn" };
    let chosen = env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let filter = EnvFilter::try_new(chosen.as_deref().unwrap_or(level));
    let problem = filter.as_ref().err().map(ToString::to_string);
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new(level)))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_timer(Utc)
        .init();
    if let Some(problem) = problem {
        tracing::warn!(problem, level, "RUST_LOG is not a filter; the default level is used");
    }
}
