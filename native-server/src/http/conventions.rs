//! `Conventions`: where the requests of an API carry a key, and how its errors are written. Defined in `api`;
//! read by `gate` and by `ApiError`.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

/// How requests of an API carry a key, and how its errors are written.
#[derive(Debug)]
pub struct Conventions {
    /// Where the key is: the first of these headers that a request has.
    pub(crate) key_headers: &'static [KeyHeader],
    /// The value of `www-authenticate` in an answer with status 401.
    pub(crate) challenge: &'static str,
    /// The body of an error in JSON: code, message, details, and at most 256 bytes more.
    pub(crate) error_body: fn(&str, &str, Map<String, Value>) -> String,
    /// The path of the OpenAPI document, which errors name where a path has no route.
    pub(crate) document_path: &'static str,
}

/// A header that carries a key.
#[derive(Debug)]
pub(crate) struct KeyHeader {
    /// In lower case.
    pub(crate) name: &'static str,
    /// What stands before the key, in any case.
    pub(crate) prefix: &'static str,
}

impl Conventions {
    /// The header of a request that carries its key, and the key; that is empty if the header has another form.
    pub(super) fn key<'h>(&self, headers: &'h HeaderMap) -> Option<(&KeyHeader, &'h str)> {
        self.key_headers.iter().find_map(|header| {
            let text = headers.get(header.name)?.to_str().unwrap_or_default();
            let (prefix, key) = text.split_at_checked(header.prefix.len()).unwrap_or_default();
            let is_good = prefix.eq_ignore_ascii_case(header.prefix);
            Some((header, if is_good { key.trim() } else { "" }))
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_key_is_in_the_first_header_that_a_request_has() {
        let conventions = Conventions {
            key_headers: &[
                KeyHeader { name: "api-key", prefix: "" },
                KeyHeader { name: "authorization", prefix: "Bearer " },
            ],
            challenge: "",
            error_body: |_, _, _| String::new(),
            document_path: "",
        };
        let key = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (name.parse().expect("a name"), HeaderValue::from_static(value))
            });
            let headers: HeaderMap = pairs.collect();
            conventions.key(&headers).map(|(header, key)| (header.name, key.to_owned()))
        };
        let found = |name, key: &str| Some((name, key.to_owned()));
        assert_eq!(key(&[("host", "a")]), None);
        assert_eq!(key(&[("api-key", "k")]), found("api-key", "k"));
        for good in ["Bearer k", "bearer k", "BEARER   k "] {
            assert_eq!(key(&[("authorization", good)]), found("authorization", "k"), "{good}");
        }
        for bad in ["Basic k", "Bearer", "Bearerk", "k", ""] {
            assert_eq!(key(&[("authorization", bad)]), found("authorization", ""), "{bad}");
        }
        let both = [("authorization", "Bearer k"), ("api-key", "other")];
        assert_eq!(key(&both), found("api-key", "other"));
    }
}
