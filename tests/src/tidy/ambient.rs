//! What the core must be given and may not take: files, threads, time, environment, output.

use super::{Finding, Tree};

/// A path of the standard library, and where below `core/` it may be named.
struct Ambient {
    path: &'static str,
    allowed: &'static [&'static str],
}

const TABLE: [Ambient; 8] = [
    Ambient { path: "std::fs", allowed: &["core/segment/src/storage/"] },
    Ambient { path: "std::os", allowed: &["core/segment/src/storage/"] },
    Ambient { path: "std::thread", allowed: &["core/segment/src/parallel.rs"] },
    Ambient { path: "SystemTime", allowed: &["core/engine/src/clock"] },
    Ambient { path: "Instant", allowed: &["core/engine/src/clock"] },
    Ambient { path: "std::env", allowed: &[] },
    Ambient { path: "std::net", allowed: &[] },
    Ambient { path: "println!", allowed: &[] },
];

/// Product code of the core that names one of them elsewhere.
pub fn taken(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let core = |path: &str| path.starts_with("core/") && path.contains("/src/");
    for (file, rust) in tree.rust().filter(|(file, _)| core(&file.path) && !file.is_test()) {
        for (line, text) in rust.product_lines() {
            for Ambient { path, allowed } in &TABLE {
                let allowed_here = allowed.iter().any(|prefix| file.path.starts_with(prefix));
                if !allowed_here && text.contains(path) {
                    let message = format!("`{path}` reaches the core by argument only");
                    found.push(Finding::new(&file.path, line, message));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_threads_and_time_are_found_outside_their_place() {
        let text = "use std::fs;\nfn f() { std::thread::yield_now() }\n// std::env\n\
                    #[cfg(test)]\nmod tests {\n    use std::env;\n}\n";
        let tree = Tree::of(&[
            ("core/segment/src/storage/disk.rs", text),
            ("core/engine/src/log/mod.rs", text),
            ("core/engine/src/clock.rs", "use std::time::SystemTime;\n"),
            ("native-server/src/main.rs", text),
        ]);
        let found: Vec<_> =
            taken(&tree).into_iter().map(|found| (found.path, found.line)).collect();
        let log = "core/engine/src/log/mod.rs".to_owned();
        let disk = "core/segment/src/storage/disk.rs".to_owned();
        assert_eq!(found, [(disk, 2), (log.clone(), 1), (log, 2)]);
    }
}
