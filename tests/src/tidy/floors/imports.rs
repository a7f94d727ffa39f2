//! Which top-level modules a file names, whatever the spelling: `crate::…`, `super::…`, nested lists,
//! or a name that `lib.rs` re-exports.

use std::collections::BTreeMap;

use crate::tidy::Tree;
use crate::tidy::rust::{RustText, line_of, words};

/// Where a file stands in its crate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModuleFile {
    /// The top-level module it belongs to.
    pub(super) top: String,
    /// How many `super::` lead to the crate root.
    depth: usize,
}

/// The module of a path below `src/`; none for the roots of a library or binary.
pub(super) fn module_of(path: &str) -> Option<ModuleFile> {
    let path = path.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let top = path.split('/').next().filter(|top| !matches!(*top, "lib" | "main" | "bin"))?;
    Some(ModuleFile { top: top.to_owned(), depth: path.split('/').count() })
}

/// Names that `lib.rs` re-exports, with the module each comes from.
#[derive(Debug, Default)]
pub(super) struct Reexports(BTreeMap<String, String>);

impl Reexports {
    /// Reads the `pub use` lines of the crate whose sources are at `src`.
    pub(super) fn of(tree: &Tree, src: &str) -> Self {
        let mut names = BTreeMap::new();
        let root = tree.get(&format!("{src}/lib.rs")).and_then(|file| file.rust.as_ref());
        let code = root.map_or("", |rust| rust.code.as_str());
        for statement in code.split(';') {
            let Some((_, path)) = statement.split_once("use ") else { continue };
            let path = path.trim_start_matches("crate::").trim_start_matches("self::");
            let mut parts = words(path).map(|(_, word)| word);
            let Some(module) = parts.next() else { continue };
            names.extend(parts.map(|name| (name.to_owned(), module.to_owned())));
        }
        Reexports(names)
    }
}

/// Line and top-level module of everything the file names outside tests.
pub(super) fn of(
    rust: &RustText,
    module: &ModuleFile,
    reexports: &Reexports,
) -> Vec<(usize, String)> {
    let code = &rust.code;
    let mut found = Vec::new();
    for (at, end) in roots(code, module.depth) {
        let line = line_of(code, at);
        if rust.test_lines[line - 1] {
            continue;
        }
        for name in heads(&code[end..]) {
            let target = reexports.0.get(name).map_or(name, String::as_str);
            found.push((line, target.to_owned()));
        }
    }
    found
}

/// Start and end of each path prefix that leads to the crate root.
fn roots(code: &str, depth: usize) -> Vec<(usize, usize)> {
    let climb = "super::".repeat(depth);
    let is_whole =
        |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
    let of =
        |prefix: &'static str| code.match_indices(prefix).map(|(at, text)| (at, at + text.len()));
    let climbs = code.match_indices(&climb).map(|(at, text)| (at, at + text.len()));
    of("crate::").chain(climbs).filter(|(at, _)| is_whole(*at)).collect()
}

/// The first names of the path, or of each path of the list, at the front of `rest`.
fn heads(rest: &str) -> Vec<&str> {
    let Some(list) = rest.strip_prefix('{') else {
        return words(rest)
            .next()
            .filter(|(at, _)| *at == 0)
            .map(|(_, word)| word)
            .into_iter()
            .collect();
    };
    let mut heads = Vec::new();
    let mut nesting = 0;
    let mut expects_head = true;
    for (at, character) in list.char_indices() {
        match character {
            '{' => nesting += 1,
            '}' if nesting == 0 => break,
            '}' => nesting -= 1,
            ',' if nesting == 0 => expects_head = true,
            c if expects_head && !c.is_whitespace() => {
                heads.extend(words(&list[at..]).next().map(|(_, word)| word));
                expects_head = false;
            }
            _ => {}
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_of_a_file_is_the_first_part_of_its_path() {
        let module = |path| module_of(path).map(|module| (module.top, module.depth));
        assert_eq!(module("log/mod.rs"), Some(("log".into(), 1)));
        assert_eq!(module("log/frame.rs"), Some(("log".into(), 2)));
        assert_eq!(module("clock.rs"), Some(("clock".into(), 1)));
        assert_eq!(module("lib.rs"), None);
    }

    #[test]
    fn a_list_is_read_to_its_end() {
        assert_eq!(heads("{a, b::{c, d},\n e::f as g, }; x"), ["a", "b", "e"]);
        assert_eq!(heads("a::b, c"), ["a"]);
        assert_eq!(heads("*;"), [""; 0]);
    }

    #[test]
    fn reexported_names_lead_to_their_module() {
        let lib = "mod a;\npub use a::{B, c::D};\npub use e::F;\n";
        let Reexports(names) = Reexports::of(&Tree::of(&[("x/src/lib.rs", lib)]), "x/src");
        assert_eq!((&*names["B"], &*names["D"], &*names["F"]), ("a", "a", "e"));
    }
}
