//! The APIs: what requests mean, and what is answered. A directory for each API; [`APIS`] lists them with
//! their routes, and `nearfield serve` gives it to `http`, the transport below.
//!
//! | module | what |
//! |---|---|
//! | `v2` | the API of Nearfield, under `/v2` |
//! | `probes` | health and metrics, under `/v2` and where probes look for them |
//! | `pages` | the status page and the demo page |
//! | `openapi` | the OpenAPI document, made from the tables of routes |
//!
//! *Where another API finds its place.* An API is a directory beside `v2`, and an [`Api`] in [`APIS`]: its table of
//! routes, with the headers that carry its keys and the function that writes its errors. Its handlers take a `Call`,
//! whose key was checked and whose collection the path names, read the body by structs of their own (`request!`), call
//! `workers`, and write their own answers. They import from `http` and `workers`, never from another API.

mod openapi;
mod pages;
mod probes;
mod v2;

use std::sync::LazyLock;

use crate::http::{Api, Conventions, KeyHeader, Route};

/// All APIs.
pub static APIS: &[Api] = &[Api { conventions: &NEARFIELD, tables: ROUTES }];

/// The API of Nearfield.
static NEARFIELD: Conventions = Conventions {
    key_headers: &[KeyHeader { name: "authorization", prefix: "Bearer " }],
    challenge: "Bearer realm=\"nearfield\"",
    error_body: v2::refused::error_body,
    document_path: "/v2/openapi.json",
};

/// Its routes.
const ROUTES: &[&[Route]] = &[v2::ROUTES, probes::ROUTES, pages::ROUTES];

/// Its OpenAPI document. Made once: it is public, and making it costs hundreds of times what an answer costs.
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi::document(ROUTES));
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_made_once() {
        let (one, other) = (document(), document());
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert_eq!(one, openapi::document(ROUTES));
    }
}
