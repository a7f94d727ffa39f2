//! Which module files a file names, whatever the spelling: `crate::…`, `super::…`, `self::…`, a child by its name,
//! nested lists, or a name that another module re-exports.
//!
//! A re-export is no import of its own: it is followed to the file that defines the name.

use std::collections::BTreeMap;

use crate::tidy::rust::{RustText, line_of, words};
use crate::tidy::{SourceFile, Tree};

/// Module files that one name may pass through.
const PASSES_MAX: usize = 16;

/// The module files of one crate outside tests, by module path (`log::frame`); the crate root is not among them.
#[derive(Debug)]
pub(super) struct Modules<'a> {
    files: BTreeMap<String, (&'a SourceFile, &'a RustText)>,
    /// Per module and name in it that a `use` brought there: the path the name stands for, from the crate root.
    names: BTreeMap<(String, String), Vec<String>>,
}

/// One import.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// Line, counted from 1.
    pub(super) line: usize,
    /// Module path of the imported file.
    pub(super) module: String,
}

/// The top-level module of a module path.
pub(super) fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

impl<'a> Modules<'a> {
    /// Reads the crate whose sources are at `src`.
    pub(super) fn of(tree: &'a Tree, src: &str) -> Self {
        let mut modules = Modules { files: BTreeMap::new(), names: BTreeMap::new() };
        let mut texts = Vec::new();
        for (file, rust) in tree.rust().filter(|(file, _)| !file.is_test()) {
            let Some(path) = file.path.strip_prefix(src).and_then(|path| path.strip_prefix('/'))
            else {
                continue;
            };
            match module_of(path) {
                Some(module) => {
                    texts.push((module.clone(), rust));
                    modules.files.insert(module, (file, rust));
                }
                None if path == "lib.rs" => texts.push((String::new(), rust)),
                None => {}
            }
        }
        for (module, rust) in texts {
            modules.read_uses(&module, rust);
        }
        modules
    }

    /// All modules with their files.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a SourceFile)> {
        self.files.iter().map(|(module, (file, _))| (module.as_str(), *file))
    }

    /// What the file of `module` imports of this crate, itself left out.
    pub(super) fn imports(&self, module: &str) -> Vec<Import> {
        let (_, rust) = self.files[module];
        let mut found = Vec::new();
        for (at, start) in self.roots(module, &rust.code) {
            let line = line_of(&rust.code, at);
            if rust.test_lines[line - 1] || is_reexport(&rust.code[..at]) {
                continue;
            }
            for path in paths(&rust.code[at..]) {
                let target = self.resolve(&[start.as_slice(), &path.segments].concat(), 0);
                let target = target.filter(|target| target != module);
                found.extend(target.map(|module| Import { line, module }));
            }
        }
        found
    }

    fn read_uses(&mut self, module: &str, rust: &RustText) {
        let mut names = Vec::new();
        for (at, start) in self.roots(module, &rust.code) {
            let is_use = statement(&rust.code[..at]).last() == Some(&"use");
            if !is_use || rust.test_lines[line_of(&rust.code, at) - 1] {
                continue;
            }
            for path in paths(&rust.code[at..]) {
                let full = [start.as_slice(), &path.segments].concat();
                names.push(((module.to_owned(), path.name), full));
            }
        }
        self.names.extend(names);
    }

    /// Where each path into this crate goes on after its prefix, and the module the prefix leads to.
    fn roots(&self, module: &str, code: &str) -> Vec<(usize, Vec<String>)> {
        let own: Vec<String> = segments(module);
        let mut roots = Vec::new();
        for (at, word) in words(code) {
            let before = &code[..at];
            let after = at + word.len();
            if before.ends_with(':') || before.ends_with('$') || !code[after..].starts_with("::") {
                continue;
            }
            let climb = code[at..].split("::").take_while(|part| *part == "super").count();
            match word {
                "crate" => roots.push((after + 2, Vec::new())),
                "self" => roots.push((after + 2, own.clone())),
                "super" if climb <= own.len() => {
                    roots.push((at + climb * "super::".len(), own[..own.len() - climb].to_vec()));
                }
                _ if self.files.contains_key(&join(&own, word)) => roots.push((at, own.clone())),
                _ => {}
            }
        }
        roots
    }

    /// The module of the file that defines what `path` names.
    fn resolve(&self, path: &[String], passes: usize) -> Option<String> {
        let mut module = Vec::new();
        for (index, segment) in path.iter().enumerate() {
            if self.files.contains_key(&join(&module, segment)) {
                module.push(segment.clone());
                continue;
            }
            let name = (module.join("::"), segment.clone());
            let passed_on = self.names.get(&name).filter(|_| passes < PASSES_MAX);
            if let Some(target) = passed_on {
                return self.resolve(&[target, &path[index + 1..]].concat(), passes + 1);
            }
            break;
        }
        (!module.is_empty()).then(|| module.join("::"))
    }
}

/// The module of a path below `src/`; none for the roots of a library or binary.
fn module_of(path: &str) -> Option<String> {
    let path = path.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let is_root = matches!(path.split('/').next(), Some("lib" | "main" | "bin"));
    (!is_root).then(|| path.replace('/', "::"))
}

fn segments(module: &str) -> Vec<String> {
    module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn join(module: &[String], name: &str) -> String {
    module.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::")
}

/// Whether a path behind `before` belongs to a `pub use` or `pub(…) use`.
fn is_reexport(before: &str) -> bool {
    let words = statement(before);
    words.contains(&"pub") && words.last() == Some(&"use")
}

/// The words of the statement at the end of `before`, without those of the path that begins there.
fn statement(before: &str) -> Vec<&str> {
    let head = before.trim_end_matches(|c: char| c.is_alphanumeric() || "_:".contains(c));
    let statement = head.rsplit([';', '{', '}']).next().unwrap_or(head);
    words(statement).map(|(_, word)| word).collect()
}

/// A path of a use tree, or of an expression.
#[derive(Debug)]
struct UsePath {
    segments: Vec<String>,
    /// What it is called where it is used.
    name: String,
}

/// The path at the front of `text`, or each path of the list there.
fn paths(text: &str) -> Vec<UsePath> {
    let mut found = Vec::new();
    read_tree(text, &[], &mut found);
    found
}

/// Adds the paths of the use tree at the front of `text`, each behind `prefix`. Returns what follows the tree.
fn read_tree<'t>(text: &'t str, prefix: &[String], found: &mut Vec<UsePath>) -> &'t str {
    let mut rest = text.trim_start();
    if let Some(list) = rest.strip_prefix('{') {
        rest = list.trim_start();
        while !rest.is_empty() && !rest.starts_with('}') {
            rest = read_tree(rest, prefix, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        return rest.get(1..).unwrap_or("");
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    if word.is_empty() {
        found.push(UsePath { segments: prefix.to_vec(), name: String::new() });
        // A glob, or no path at all.
        return rest.get(rest.find(',').unwrap_or(rest.len())..).unwrap_or("");
    }
    let mut path = prefix.to_vec();
    path.extend((word != "self").then(|| word.to_owned()));
    if let Some(deeper) = behind.strip_prefix("::") {
        return read_tree(deeper, &path, found);
    }
    let alias = behind.trim_start().strip_prefix("as ").and_then(|alias| words(alias).next());
    let own = path.last().cloned().unwrap_or_default();
    let name = alias.map_or(own, |(_, alias)| alias.to_owned());
    found.push(UsePath { segments: path, name });
    if alias.is_none() {
        return behind;
    }
    &behind[behind.find([',', '}', ';']).unwrap_or(behind.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        paths(text).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn a_list_is_read_to_its_end() {
        assert_eq!(
            names("{a, b::{c, d},\n e::f as g, h::*, i::{self, j}, }; x"),
            ["a", "b::c", "b::d", "e::f", "h", "i", "i::j"]
        );
        assert_eq!(names("a::b, c"), ["a::b"]);
        assert_eq!(names("a::b(c::d)"), ["a::b"]);
    }

    #[test]
    fn names_lead_to_the_file_that_defines_them() {
        let tree = Tree::of(&[
            ("x/src/lib.rs", "pub use a::{B, c::D as E};\n"),
            ("x/src/a/mod.rs", "pub(crate) use self::c::F;\npub struct B;\n"),
            ("x/src/a/c.rs", "use super::B;\n"),
            ("x/src/g.rs", "use crate::{B, E};\nfn f() { crate::a::F::new() }\nuse crate::a::c;\n"),
            ("x/src/h/mod.rs", "mod i;\nfn f() { i::g() }\npub use i::J;\n"),
            ("x/src/h/i.rs", "#[cfg(test)]\nmod tests {\n    use super::super::F;\n}\n"),
        ]);
        let modules = Modules::of(&tree, "x/src");
        let of = |module| -> Vec<String> {
            modules.imports(module).into_iter().map(|import| import.module).collect()
        };
        assert_eq!(of("g"), ["a", "a::c", "a::c", "a::c"]);
        assert_eq!(of("a::c"), ["a"]);
        assert_eq!(of("a"), [""; 0]);
        assert_eq!(of("h"), ["h::i"]);
        assert_eq!(of("h::i"), [""; 0]);
    }
}
