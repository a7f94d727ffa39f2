//! `unsafe` only where it was argued for: in few places, each with its reason right above.

use super::rust::words;
use super::{Finding, Tree};

/// Where `unsafe` may stand.
const ALLOWED: [&str; 6] = [
    "core/segment/src/kernel/simd/",
    "core/segment/src/kernel/nibbles/avx2.rs",
    "core/segment/src/kernel/nibbles/neon.rs",
    "core/segment/src/kernel/nibbles/vnni.rs",
    "core/segment/src/storage/",
    "native-server/src/host/heap.rs",
];

/// Lines with the keyword, of every `.rs` file.
fn places(tree: &Tree) -> Vec<(&str, usize, &str, &str)> {
    let mut places = Vec::new();
    for (file, rust) in tree.rust() {
        for (index, line) in rust.code.lines().enumerate() {
            if words(line).any(|(_, word)| word == "unsafe") {
                places.push((&*file.path, index, &*rust.code, &*rust.comments));
            }
        }
    }
    places
}

/// `unsafe` outside the directories that may have it.
pub fn misplaced(tree: &Tree) -> Vec<Finding> {
    let places = places(tree).into_iter();
    places
        .filter(|(path, ..)| !ALLOWED.iter().any(|prefix| path.starts_with(prefix)))
        .map(|(path, index, ..)| {
            Finding::new(path, index + 1, format!("unsafe only in {}", ALLOWED.join(" and ")))
        })
        .collect()
}

/// `unsafe` without `// SAFETY:` (or a `# Safety` section) on its line or right above its statement.
pub fn unargued(tree: &Tree) -> Vec<Finding> {
    let places = places(tree).into_iter();
    places
        .filter(|(_, index, code, comments)| !is_argued(*index, code, comments))
        .map(|(path, index, ..)| Finding::new(path, index + 1, "needs `// SAFETY:` right above"))
        .collect()
}

fn is_argued(index: usize, code: &str, comments: &str) -> bool {
    let code: Vec<&str> = code.lines().map(str::trim).collect();
    let comments: Vec<&str> = comments.lines().map(str::trim).collect();
    let argues = |line: usize| {
        comments[line].contains("SAFETY:") || comments[line].trim_end().ends_with("# Safety")
    };
    if argues(index) {
        return true;
    }
    for line in (0..index).rev() {
        if argues(line) {
            return true;
        }
        let text = code[line];
        let is_comment = text.is_empty() && !comments[line].is_empty();
        let is_attribute = text.starts_with("#[") || text.starts_with(")]");
        let goes_on = !text.is_empty() && !text.ends_with([';', '{', '}']);
        if !is_comment && !is_attribute && !goes_on {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_outside_its_places_is_found() {
        let text = "// SAFETY: x\nunsafe { f() }\n#![deny(unsafe_code)]\nlet s = \"unsafe\";\n";
        let tree = Tree::of(&[("core/segment/src/storage/a.rs", text), ("python/src/a.rs", text)]);
        let found = misplaced(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].path, found[0].line), ("python/src/a.rs", 2));
    }

    #[test]
    fn an_argument_stands_on_the_line_or_right_above_the_statement() {
        for argued in [
            "// SAFETY: checked above,\n// at length.\nlet x = unsafe { f() };",
            "// SAFETY: x\nlet x =\n    unsafe { f() };",
            "/// Reads.\n///\n/// # Safety\n/// `p` is valid.\n#[inline]\npub unsafe fn f(p: *const u8) {}",
            "unsafe { f() } // SAFETY: x",
            "// SAFETY: x\nunsafe impl Send for T {}",
        ] {
            assert_eq!(unargued(&Tree::of(&[("a.rs", argued)])), [], "{argued}");
        }
        for bare in [
            "unsafe { f() }",
            "// SAFETY: of another\nf();\nunsafe { f() }",
            "// SAFETY: too far away\n\nunsafe { f() }",
            "// Fast.\npub unsafe fn f() {}",
            "let s = \"SAFETY:\";\nunsafe impl Send for T {}",
        ] {
            assert_eq!(unargued(&Tree::of(&[("a.rs", bare)])).len(), 1, "{bare}");
        }
    }
}
