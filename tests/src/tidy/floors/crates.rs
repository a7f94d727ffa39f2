//! Which crates may know each other: the core knows no other crate, bindings and server know the core only.

use crate::tidy::{Finding, Tree};

/// Per package directory, the packages of this workspace it may depend on.
const TABLE: [(&str, &[&str]); 7] = [
    ("core/segment", &[]),
    ("core/engine", &["nearfield-segment"]),
    ("native-server", &["nearfield-segment", "nearfield-engine"]),
    ("python", &["nearfield-segment", "nearfield-engine"]),
    ("wasm", &["nearfield-segment", "nearfield-engine"]),
    ("wasm/xtask", &[]),
    ("tests", &["nearfield-segment", "nearfield-engine", "nearfield-server"]),
];

/// Packages that depend on one they may not know, in any section of their manifest.
pub fn wrong_dependencies(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (directory, allowed) in TABLE {
        let Some(manifest) = tree.get(&format!("{directory}/Cargo.toml")) else { continue };
        let mut in_dependencies = false;
        for (index, line) in manifest.text.lines().enumerate() {
            if let Some(section) = line.strip_prefix('[') {
                in_dependencies = section.contains("dependencies");
            }
            let name = line.split(['=', '.', ' ']).next().unwrap_or("");
            if in_dependencies && name.starts_with("nearfield") && !allowed.contains(&name) {
                let message = format!("{directory} may not know `{name}`");
                found.push(Finding::new(&manifest.path, index + 1, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_that_knows_the_server_is_found() {
        let text = "[package]\nname = \"nearfield-python\"\n[dependencies]\n\
                    nearfield-engine.workspace = true\nnearfield-server = { path = \"x\" }\n\
                    [dev-dependencies]\nnearfield-tests.workspace = true\n";
        let tree = Tree::of(&[("python/Cargo.toml", text)]);
        let lines: Vec<_> = wrong_dependencies(&tree).into_iter().map(|found| found.line).collect();
        assert_eq!(lines, [5, 7]);
    }
}
