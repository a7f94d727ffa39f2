//! Pages for people, which need no key to be loaded: `ROUTES` is their table, with the handlers of `ui` and
//! `demo`. Part of the table of `api`.

mod demo;
mod ui;

use axum::http::Method;

use self::ui::PAGE_TYPE;
use crate::http::{Access, Route, handler};

/// What the OpenAPI document says of files of several types.
const ANY_TYPE: &str = "*/*";

/// The routes of the pages.
pub(super) const ROUTES: &[Route] = &[
    Route::once(Method::GET, "/ui", Access::Public, "ui", handler!(ui::page))
        .says("A page for people that shows how the server is")
        .gives_typed(PAGE_TYPE),
    Route::once(Method::GET, "/demo", Access::Public, "demo", handler!(demo::door))
        .says("The way to /demo/; 404 without --demo-dir")
        .gives_typed(PAGE_TYPE)
        .redirects(),
    Route::once(Method::GET, "/demo/", Access::Public, "demo_page", handler!(demo::file))
        .says("The page that searches .near files in the browser; 404 without --demo-dir")
        .gives_typed(PAGE_TYPE),
    Route::once(Method::GET, "/demo/{file}", Access::Public, "demo_file", handler!(demo::file))
        .says("What the page consists of, and its sample; byte ranges are answered by 206")
        .gives_typed(ANY_TYPE),
    Route::once(
        Method::GET,
        "/demo/nearfield/{file}",
        Access::Public,
        "demo_package",
        handler!(demo::file),
    )
    .says("The package that the page uses")
    .gives_typed(ANY_TYPE),
];
