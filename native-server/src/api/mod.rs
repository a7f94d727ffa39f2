//! The APIs: what requests mean, and what is answered. A directory for each API; `http` is the transport below them.
//!
//! | module | what |
//! |---|---|
//! | `v2` | the API of Nearfield, under `/v2` |
//! | `probes` | health and metrics, under `/v2` and where probes look for them |
//! | `pages` | the status page and the demo page |
//! | `openapi` | the OpenAPI document, made from the tables of routes |
//!
//! *Where another API finds its place.* An API is a directory beside `v2` with a table of routes, and a line in
//! [`ROUTES`]. Its handlers take a `Call`, whose key was checked and whose collection the path names, read the body by
//! structs of their own (`request!`), call `workers`, and write their own answers. They import from `http` and
//! `workers`, never from another API. An API whose errors look different turns an `ApiError` into its own answer at the
//! end of each handler; the gate words only what it refuses before a handler runs.

mod openapi;
mod pages;
mod probes;
mod v2;

use std::sync::LazyLock;

use crate::http::Route;

/// All routes, a table for each API.
pub static ROUTES: &[&[Route]] = &[v2::ROUTES, probes::ROUTES, pages::ROUTES];

/// The OpenAPI document of all routes. Made once: it is public, and making it costs hundreds of times what an answer
/// costs.
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
