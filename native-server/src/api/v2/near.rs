//! Handler of `export.near`: one collection as a `.near` file, sent while it is made by `stream_export`.
//! Called by the routes of `v2`.
//!
//! Nothing is written to disk, so nothing is left there by a crash or a client that disconnects. Memory for
//! what an export computes is reserved before it begins. Inverted lists are computed before the first byte is
//! sent, for minutes where there are millions of rows; a client that disconnects ends that too.

use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use nearfield_engine::{ErrorKind, export_memory_bytes, stream_export};
use nearfield_segment::Pool;
use nearfield_segment::cancel::GoOn;

use crate::http::{Call, Result, streamed};

/// Content type of a `.near` file.
pub(super) const NEAR_TYPE: &str = "application/octet-stream";

/// Answers `GET export.near`.
pub(super) async fn export(call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let slot = call.server.exports.begin(call.key)?;
    let named = [(served.name().to_owned(), served.view())];
    let held = call.store()?.reserve_for_reading(call.key, export_memory_bytes(&named))?;
    let (kernel, cancelled) = (served.kernel(), call.store()?.metrics().exports_cancelled.clone());
    let fill = move |out: &mut dyn Write, go_on: GoOn<'_>| {
        let _held = held;
        let name = format!("{}.near", named[0].0);
        let sent = stream_export(out, &name, &named, kernel, &Pool::SERIAL, go_on);
        if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled) {
            cancelled.inc();
        }
        sent.map(drop)
    };
    streamed(slot, NEAR_TYPE, fill).await
}
