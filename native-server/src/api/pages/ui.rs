//! Handler of `/ui`: answers one static page, which asks for a key itself. Called by the route of `pages`.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::http::{self, Call, Result};

const PAGE: &str = include_str!("ui.html");
/// The type of a page.
pub(super) const PAGE_TYPE: &str = "text/html; charset=utf-8";

/// Runs the page's one script and one style and loads nothing else; no other page may frame it, and it
/// talks to its own server only.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let (script, style) = (hash("<script>", "</script>"), hash("<style>", "</style>"));
    let policy = format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("visible ASCII")
});

/// The hash by which a policy names what stands between two tags of the page.
fn hash(begin: &str, end: &str) -> String {
    let text = PAGE.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let (text, _) = text.expect("the page has one of each");
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// Answers the page.
pub(super) async fn page(_: Call) -> Result<Response<Body>> {
    let mut response = http::typed(StatusCode::OK, PAGE_TYPE, PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
