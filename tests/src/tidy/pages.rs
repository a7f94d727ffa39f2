//! The lines of pages: prose wraps at 120 characters.

use super::{Finding, Tree};

/// Most characters of a line of prose.
const LINE_CHARS_MAX: usize = 120;

/// Longer lines in `README.md` and below `docs/`, outside of tables and fenced code. A line without a space cannot be
/// wrapped, and is not found.
pub fn long_lines(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_page = |path: &str| path == "README.md" || path.starts_with("docs/");
    for page in tree.files.iter().filter(|file| is_page(&file.path) && file.extension() == "md") {
        let mut fenced = false;
        for (index, line) in page.text.lines().enumerate() {
            let text = line.trim_start();
            let is_fence = text.starts_with("```");
            fenced ^= is_fence;
            let chars = line.chars().count();
            let is_prose = !fenced && !is_fence && !text.starts_with('|') && text.contains(' ');
            if is_prose && chars > LINE_CHARS_MAX {
                let message = format!("{chars} characters, at most {LINE_CHARS_MAX}: wrap it");
                found.push(Finding::new(&page.path, index + 1, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_of_prose_are_found() {
        let words = |chars: usize| format!("é {}", "x".repeat(chars - 2));
        let long = words(121);
        let fine = format!("{}\n| {long} |\n```text not-run: {long}\n{long}\n```\n", words(120));
        let text = format!("{fine}{}\n{long}\n  * {long}\n", "x".repeat(130));
        let tree = Tree::of(&[("docs/a/b.md", &text), ("wasm/c.md", &long), ("README.md", &long)]);
        let places = long_lines(&tree).into_iter().map(|found| (found.path, found.line));
        let expected = [("docs/a/b.md", 7), ("docs/a/b.md", 8), ("README.md", 1)];
        assert!(places.eq(expected.map(|(path, line)| (path.to_owned(), line))));
    }
}
