//! Who may import whom: a file imports from lower floors only, and modules never in a circle.
//!
//! `table.rs` says which floor a module stands on. A module of a listed crate without a floor is a
//! finding, so the table stays whole. Parts under `#[cfg(test)]` and test files may import anything.

mod crates;
mod imports;
mod table;

use std::collections::{BTreeMap, BTreeSet};

pub use crates::wrong_dependencies;

use super::rust::RustText;
use super::{Finding, SourceFile, Tree};
use imports::{ModuleFile, Reexports, module_of};
use table::{CRATES, CrateFloors};

/// Modules that import from their own or a higher floor, and modules without a floor.
pub fn upward_imports(tree: &Tree) -> Vec<Finding> {
    CRATES.iter().flat_map(|floors| upward_imports_of(tree, floors)).collect()
}

fn upward_imports_of(tree: &Tree, floors: &CrateFloors) -> Vec<Finding> {
    let mut found = Vec::new();
    let reexports = Reexports::of(tree, floors.src);
    for (file, rust, module) in modules(tree, floors.src) {
        let Some(own) = floors.height(&module.top) else {
            let message =
                format!("`{}` has no floor: add it to tests/src/tidy/floors/table.rs", module.top);
            found.push(Finding::new(&file.path, 0, message));
            continue;
        };
        for (line, target) in imports::of(rust, &module, &reexports) {
            let Some(other) = floors.height(&target) else { continue };
            if target != module.top && other >= own {
                let (here, there) = (floors.name(own), floors.name(other));
                let message =
                    format!("`{}` ({here}) may not import `{target}` ({there})", module.top);
                found.push(Finding::new(&file.path, line, message));
            }
        }
    }
    found
}

/// Top-level modules of any crate that import each other in a circle.
pub fn cycles(tree: &Tree) -> Vec<Finding> {
    let lib_files = tree.files.iter().filter_map(|file| file.path.strip_suffix("/src/lib.rs"));
    lib_files.flat_map(|root| cycles_of(tree, &format!("{root}/src"))).collect()
}

fn cycles_of(tree: &Tree, src: &str) -> Vec<Finding> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let reexports = Reexports::of(tree, src);
    for (_, rust, module) in modules(tree, src) {
        let targets = imports::of(rust, &module, &reexports).into_iter().map(|(_, target)| target);
        let others = targets.filter(|target| *target != module.top).collect::<Vec<_>>();
        edges.entry(module.top).or_default().extend(others);
    }
    let circular = edges.keys().filter(|module| reaches_itself(&edges, module));
    let names: Vec<&str> = circular.map(String::as_str).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let message = format!("modules in a circle: {}", names.join(", "));
    vec![Finding::new(&format!("{src}/lib.rs"), 0, message)]
}

fn reaches_itself(edges: &BTreeMap<String, BTreeSet<String>>, start: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(module) = open.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if next == start {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

/// The product files of the crate at `src`, without `lib.rs` and `main.rs`, which see everything.
fn modules<'a>(
    tree: &'a Tree,
    src: &'a str,
) -> impl Iterator<Item = (&'a SourceFile, &'a RustText, ModuleFile)> {
    tree.rust().filter(|(file, _)| !file.is_test()).filter_map(move |(file, rust)| {
        let inside = file.path.strip_prefix(src)?.strip_prefix('/')?;
        Some((file, rust, module_of(inside)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "core/segment/src/lib.rs";

    fn upward(path: &str, text: &str) -> usize {
        upward_imports(&Tree::of(&[(PAGE, "pub use segment::Segment;\n"), (path, text)])).len()
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
        let line =
            Tree::of(&[lib, a, ("wasm/src/b/mod.rs", "use super::c::C;"), ("wasm/src/c.rs", "")]);
        assert_eq!(cycles(&line), []);
        let circle = ("wasm/src/c.rs", "fn f() { crate::a::f() }");
        let circle = Tree::of(&[lib, a, ("wasm/src/b/mod.rs", "use super::c::C;"), circle]);
        let found = cycles(&circle);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.ends_with("a, b, c"), "{found:?}");
    }
}
