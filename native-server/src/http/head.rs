//! Checks the head of a request: what HTTP itself demands of it (`check`), and whether its host names this machine
//! (`names_this_machine`). Called by `gate`.
//!
//! hyper reads heads leniently. What two programs on the way of a request could understand differently is
//! refused here, before the key is looked at: where a request ends (RFC 9112, 6.1), and for which host it is
//! (RFC 9112, 3.2). Lines that end with a bare line feed are accepted, as RFC 9112, 2.2 allows.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Version};

use super::error::{ApiError, Result};

/// # Errors
/// `bad_request` if there is not exactly one Host, or the transfer coding is anything but `chunked`, once.
pub(super) fn check(head: &Parts) -> Result<()> {
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version >= Version::HTTP_11) {
        return Err(refused("exactly one header host", &format!("{hosts} of them")));
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if chunked(coding.as_bytes()) => Ok(()),
        _ => Err(refused("transfer-encoding: chunked, once", "another transfer coding")),
    }
}

fn refused(expected: &str, got: &str) -> ApiError {
    let message = format!("head: expected {expected}, got {got}");
    let error = ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message);
    error.with("expected", expected).with("got", got).closing()
}

/// Whether the Host is an address or a name below `localhost`: a page whose own name was made to resolve to a
/// loopback address (DNS rebinding) sends that name. Without a Host no browser is at the other end.
pub(super) fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map(|(address, _)| address.parse::<Ipv6Addr>());
        return address.is_some_and(|address| address.is_ok());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    fn head(version: Version, headers: &[(&'static str, &'static str)]) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.version = version;
        for (name, value) in headers {
            parts.headers.append(*name, HeaderValue::from_static(value));
        }
        parts
    }

    #[test]
    fn a_head_has_one_host_and_at_most_one_transfer_coding() {
        let host = ("host", "localhost");
        let coding = |value| ("transfer-encoding", value);
        let v11 = Version::HTTP_11;
        for good in [
            head(v11, &[host]),
            head(Version::HTTP_10, &[]),
            head(v11, &[host, coding("chunked")]),
            head(v11, &[host, coding(" Chunked ")]),
        ] {
            assert!(check(&good).is_ok(), "{good:?}");
        }
        for bad in [
            head(v11, &[]),
            head(v11, &[host, host]),
            head(Version::HTTP_10, &[host, host]),
            head(v11, &[host, coding("gzip, chunked")]),
            head(v11, &[host, coding("chunked, chunked")]),
            head(v11, &[host, coding("chunked"), coding("chunked")]),
            head(v11, &[host, coding("identity")]),
        ] {
            assert_eq!(check(&bad).expect_err("refused").status(), 400, "{bad:?}");
        }
    }

    #[test]
    fn addresses_and_localhost_name_this_machine() {
        let named = |host| names_this_machine(&head(Version::HTTP_11, &[("host", host)]).headers);
        for host in ["localhost", "LOCALHOST:8080", "a.localhost:1", "127.0.0.1:8080", "10.0.0.7"] {
            assert!(named(host), "{host}");
        }
        assert!(named("[::1]:8080") && named("[fe80::1]"));
        for host in
            ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "[x]"]
        {
            assert!(!named(host), "{host}");
        }
        assert!(names_this_machine(&HeaderMap::new()));
    }
}
