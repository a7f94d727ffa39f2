//! Pages for people, which need no key to be loaded.

mod demo;
mod ui;

use self::ui::PAGE_TYPE;
use crate::http::{Access, Route, Verb};

/// What the OpenAPI document says of files of several types.
const ANY_TYPE: &str = "*/*";

/// The routes of the pages.
pub(super) const ROUTES: &[Route] = &[
    Route::once(Verb::Get, "/ui", Access::Public, "ui", |call| Box::pin(ui::page(call)))
        .says("A page for people that shows how the server is")
        .gives_typed(PAGE_TYPE),
    Route::once(Verb::Get, "/demo", Access::Public, "demo", |call| Box::pin(demo::door(call)))
        .says("The way to /demo/; 404 without --demo-dir")
        .gives_typed(PAGE_TYPE)
        .redirects(),
    Route::once(Verb::Get, "/demo/", Access::Public, "demo_page", |call| {
        Box::pin(demo::file(call))
    })
    .says("The page that searches .near files in the browser; 404 without --demo-dir")
    .gives_typed(PAGE_TYPE),
    Route::once(Verb::Get, "/demo/{file}", Access::Public, "demo_file", |call| {
        Box::pin(demo::file(call))
    })
    .says("What the page consists of, and its sample; byte ranges are answered by 206")
    .gives_typed(ANY_TYPE),
    Route::once(Verb::Get, "/demo/nearfield/{file}", Access::Public, "demo_package", |call| {
        Box::pin(demo::file(call))
    })
    .says("The package that the page uses")
    .gives_typed(ANY_TYPE),
];
