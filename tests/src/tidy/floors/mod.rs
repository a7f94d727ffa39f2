//! What may import what: a file imports from lower floors only, and neither modules nor files in a circle.
//!
//! `table.rs` says which floor a top-level module stands on. A module of a listed crate without a floor is a
//! finding, so the table stays whole. Parts under `#[cfg(test)]` and test files may import anything.

mod crates;
mod imports;
mod table;

use std::collections::{BTreeMap, BTreeSet};

pub use crates::wrong_dependencies;

use super::{Finding, Tree};
use imports::{Modules, top};
use table::{CRATES, CrateFloors};

/// Modules that import from their own or a higher floor, and modules without a floor.
pub fn upward_imports(tree: &Tree) -> Vec<Finding> {
    CRATES.iter().flat_map(|floors| upward_imports_of(tree, floors)).collect()
}

fn upward_imports_of(tree: &Tree, floors: &CrateFloors) -> Vec<Finding> {
    let mut found = Vec::new();
    let modules = Modules::of(tree, floors.src);
    for (module, file) in modules.iter() {
        let here = top(module);
        let Some(own) = floors.height(here) else {
            let message =
                format!("`{here}` has no floor: add it to tests/src/tidy/floors/table.rs");
            found.push(Finding::new(&file.path, 0, message));
            continue;
        };
        for import in modules.imports(module) {
            let there = top(&import.module);
            let Some(other) = floors.height(there) else { continue };
            if there != here && other >= own {
                let message = format!(
                    "`{here}` ({}) may not import `{there}` ({})",
                    floors.name(own),
                    floors.name(other)
                );
                found.push(Finding::new(&file.path, import.line, message));
            }
        }
    }
    found
}

/// Top-level modules of any crate that import each other in a circle.
pub fn module_cycles(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for src in crates(tree) {
        let mut arrows = Arrows::new();
        let modules = Modules::of(tree, &src);
        for (module, _) in modules.iter() {
            let imports = modules.imports(module).into_iter();
            let others = imports.map(|import| top(&import.module).to_owned());
            let others = others.filter(|other| other != top(module));
            arrows.entry(top(module).to_owned()).or_default().extend(others);
        }
        for circle in circles(&arrows) {
            let message = format!("modules in a circle: {}", circle.join(", "));
            found.push(Finding::new(&format!("{src}/lib.rs"), 0, message));
        }
    }
    found
}

/// Files of any crate that import each other in a circle, also inside a module.
pub fn file_cycles(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for src in crates(tree) {
        for circle in all_file_cycles(tree, &src) {
            let message = format!("files in a circle: {}", circle.join(", "));
            found.push(Finding::new(&format!("{src}/lib.rs"), 0, message));
        }
    }
    found
}

fn all_file_cycles(tree: &Tree, src: &str) -> Vec<Vec<String>> {
    let modules = Modules::of(tree, src);
    let imports = |module: &str| modules.imports(module).into_iter().map(|import| import.module);
    circles(
        &modules.iter().map(|(module, _)| (module.to_owned(), imports(module).collect())).collect(),
    )
}

/// Per crate, its modules at the root and its circles of files.
pub fn report(tree: &Tree) -> String {
    let mut lines = Vec::new();
    for src in crates(tree) {
        let modules = Modules::of(tree, &src);
        let roots: BTreeSet<&str> = modules.iter().map(|(module, _)| top(module)).collect();
        let cycles = all_file_cycles(tree, &src).len();
        lines.push(format!("{src}: {} root modules, {cycles} file cycles", roots.len()));
    }
    lines.join("\n")
}

/// The source directories of the libraries.
fn crates(tree: &Tree) -> Vec<String> {
    let roots = tree.files.iter().filter_map(|file| file.path.strip_suffix("/lib.rs"));
    roots.filter(|src| src.ends_with("/src")).map(str::to_owned).collect()
}

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The sets of names that reach each other, each of two names or more.
fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|name| (name.as_str(), reached_from(arrows, name))).collect();
    let mut found = BTreeSet::new();
    for (name, others) in &reached {
        let back = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(name));
        let circle: Vec<String> =
            others.iter().filter(back).map(|other| (*other).to_owned()).collect();
        found.extend((circle.len() > 1).then_some(circle));
    }
    found.into_iter().collect()
}

fn reached_from<'a>(arrows: &'a Arrows, start: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        for next in arrows.get(name).into_iter().flatten() {
            if seen.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "core/segment/src/lib.rs";

    fn upward(path: &str, text: &str) -> usize {
        let page = "pub use segment::Segment;\n";
        let others = ["error", "storage", "format", "vector", "segment", "search", "rowset"];
        let others = others.map(|module| format!("core/segment/src/{module}/mod.rs"));
        let others = others.iter().map(|path| (path.as_str(), ""));
        let files: Vec<_> = others.chain([(PAGE, page), (path, text)]).collect();
        upward_imports(&Tree::of(&files)).len()
    }

    #[test]
    fn imports_from_above_are_found_in_every_spelling() {
        let kernel = "core/segment/src/kernel/scalar.rs";
        for bad in [
            "use crate::vector::Graph;",
            "use crate::{error::Result, search::plan};",
            "fn f(x: &crate::segment::Segment) {}",
            "use crate::Segment;",
            "use super::super::vector::Rows;",
            "use crate::storage::Blob;",
            "use crate::{\n    error::{Error, Result},\n    format::{\n        A,\n    },\n};",
        ] {
            assert_eq!(upward(kernel, bad), 1, "{bad}");
        }
    }

    #[test]
    fn imports_from_below_from_the_own_module_and_in_tests_are_fine() {
        let graph = "core/segment/src/vector/index/graph/mod.rs";
        for fine in [
            "use crate::rowset::{Rows, segment};",
            "use crate::vector::flat;",
            "use super::Candidate;",
            "// use crate::search::x;",
            "#[cfg(test)]\nmod tests {\n    use crate::search::x;\n}",
        ] {
            assert_eq!(upward(graph, fine), 0, "{fine}");
        }
        assert_eq!(upward("core/segment/src/vector/tests.rs", "use crate::search::x;"), 0);
    }

    #[test]
    fn a_module_without_a_floor_is_found() {
        assert_eq!(upward("core/segment/src/extra.rs", ""), 1);
    }

    #[test]
    fn a_circle_is_found_and_a_line_is_not() {
        let lib = ("wasm/src/lib.rs", "");
        let a = ("wasm/src/a.rs", "use crate::b::B;");
        let b = ("wasm/src/b/mod.rs", "use super::c::C;");
        let line = Tree::of(&[lib, a, b, ("wasm/src/c.rs", "")]);
        assert_eq!((module_cycles(&line), file_cycles(&line)), (vec![], vec![]));
        let circle = Tree::of(&[lib, a, b, ("wasm/src/c.rs", "fn f() { crate::a::f() }")]);
        for found in [module_cycles(&circle), file_cycles(&circle)] {
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].message.ends_with("a, b, c"), "{found:?}");
        }
    }

    #[test]
    fn a_circle_of_files_inside_a_module_is_found() {
        let lib = ("wasm/src/lib.rs", "");
        let page = ("wasm/src/a/mod.rs", "mod b;\nmod c;\npub use b::B;\npub use c::C;\n");
        let c = ("wasm/src/a/c.rs", "use super::B;");
        let fine = Tree::of(&[lib, page, ("wasm/src/a/b.rs", ""), c]);
        assert_eq!(file_cycles(&fine), []);
        let circle = Tree::of(&[lib, page, ("wasm/src/a/b.rs", "use crate::a::C;"), c]);
        let found = file_cycles(&circle);
        assert_eq!((found.len(), module_cycles(&circle)), (1, vec![]), "{found:?}");
        assert!(found[0].message.ends_with("a::b, a::c"), "{found:?}");
    }
}
