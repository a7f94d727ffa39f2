//! Handlers of `/demo/`: they serve the page that searches `.near` files in the browser, as static files from
//! `DemoFiles`. The routes are in the table of `pages`.
//!
//! Byte ranges are answered, since that is how the page reads its sample.

use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_SECURITY_POLICY, LOCATION, RANGE,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::ui::PAGE_TYPE;
use crate::http::{self, ApiError, Call, Result};

/// `GET /demo`: relative addresses of the page need the slash.
pub(super) async fn door(call: Call) -> Result<Response<Body>> {
    call.server.demo.as_ref().ok_or_else(not_served)?;
    let mut response = http::typed(StatusCode::PERMANENT_REDIRECT, PAGE_TYPE, "");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/demo/"));
    Ok(guarded(response))
}

/// `GET /demo/…`: a file, or the bytes of it that are asked for.
pub(super) async fn file(call: Call) -> Result<Response<Body>> {
    let demo = call.server.demo.as_ref().ok_or_else(not_served)?;
    let found = demo.find(call.head.uri.path()).ok_or_else(|| {
        let message = "the demo page has no such file; it begins at /demo/";
        ApiError::new(StatusCode::NOT_FOUND, "no_such_file", message)
    })?;
    let len = found.bytes.len();
    let mut response = match asked(&call.head.headers, len) {
        Asked::Whole => http::typed(StatusCode::OK, found.kind, found.bytes.clone()),
        Asked::Part(range) => {
            let says = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            let part = found.bytes.slice(range);
            ranged(http::typed(StatusCode::PARTIAL_CONTENT, found.kind, part), says)
        }
        Asked::Nothing => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            ranged(http::typed(status, found.kind, ""), format!("bytes */{len}"))
        }
    };
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(guarded(response))
}

fn not_served() -> ApiError {
    let message = "the demo page is not served here; make it with `cargo run -p xtask -- wasm` and \
                   `cargo run -p xtask -- demo`, then start the server with --demo-dir wasm/dist/demo";
    ApiError::new(StatusCode::NOT_FOUND, "no_demo", message)
}

fn ranged(mut response: Response<Body>, says: String) -> Response<Body> {
    let says = HeaderValue::try_from(says).expect("digits and signs");
    response.headers_mut().insert(CONTENT_RANGE, says);
    response
}

/// What the page's own policy (in its head) cannot say.
fn guarded(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static("frame-ancestors 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Which bytes a request is about.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<usize>),
    /// A range that begins behind the end.
    Nothing,
}

/// Reads `range: bytes=a-b` and `bytes=a-`; other forms may be ignored (RFC 9110, 14.2), and are.
fn asked(headers: &HeaderMap, len: usize) -> Asked {
    let value = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let range = value.and_then(|value| value.strip_prefix("bytes=")?.split_once('-'));
    let Some((Ok(first), last)) = range.map(|(first, last)| (first.parse::<usize>(), last)) else {
        return Asked::Whole;
    };
    let last = if last.is_empty() { Ok(usize::MAX) } else { last.parse() };
    match last {
        Ok(last) if last < first => Asked::Whole,
        Ok(_) if first >= len => Asked::Nothing,
        Ok(last) => Asked::Part(first..last.saturating_add(1).min(len)),
        Err(_) => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static(value));
        asked(&headers, 10)
    }

    #[test]
    fn ranges_are_cut_to_the_file_and_strange_ones_ignored() {
        assert_eq!(of("bytes=2-4"), Asked::Part(2..5));
        assert_eq!(of("bytes=2-"), Asked::Part(2..10));
        assert_eq!(of("bytes=0-18446744073709551615"), Asked::Part(0..10));
        assert_eq!(of("bytes=10-11"), Asked::Nothing);
        for ignored in
            ["bytes=-3", "bytes=4-2", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes="]
        {
            assert_eq!(of(ignored), Asked::Whole, "{ignored}");
        }
    }
}
