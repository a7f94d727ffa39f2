//! What a reader meets first: the page of a module, and the name of its file.

use super::{Finding, Tree};

/// `.rs` files that do not open with `//!`.
pub fn missing_pages(tree: &Tree) -> Vec<Finding> {
    let bare = tree.rust().filter(|(file, _)| !file.text.starts_with("//! "));
    bare.map(|(file, _)| {
        Finding::new(&file.path, 1, "open with `//!`: what for, which invariant, what not")
    })
    .collect()
}

/// Files and directories whose name says nothing about what is inside.
pub fn empty_names(tree: &Tree) -> Vec<Finding> {
    const BANNED: [&str; 8] =
        ["utils", "util", "common", "types", "helpers", "helper", "manager", "misc"];
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.ends_with(".md")) {
        for part in file.path.split('/') {
            let stem = part.split('.').next().unwrap_or(part).to_lowercase();
            if BANNED.contains(&stem.as_str()) {
                let message = format!("`{part}` names no idea; use the noun of what is inside");
                found.push(Finding::new(&file.path, 0, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_page_is_found() {
        let tree = Tree::of(&[
            ("a.rs", "//! Words.\nuse b;\n"),
            ("b.rs", "use c;\n//! late\n"),
            ("c.rs", "// no page\n"),
            ("d.py", "x\n"),
        ]);
        let paths: Vec<_> = missing_pages(&tree).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["b.rs", "c.rs"]);
    }

    #[test]
    fn names_that_say_nothing_are_found_as_files_and_directories() {
        let tree =
            Tree::of(&[("src/utils.rs", ""), ("src/common/a.rs", ""), ("src/typeset.rs", "")]);
        let paths: Vec<_> = empty_names(&tree).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["src/utils.rs", "src/common/a.rs"]);
    }
}
