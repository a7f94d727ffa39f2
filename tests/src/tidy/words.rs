//! Words that must not stay: marks of unfinished work, `unwrap` where a caller could be hurt, and pronouns that
//! leave open which part of the system is meant.

use super::rust::words;
use super::{Finding, Tree};

/// Marks of work left undone, in code or comments (not between quotes, for Rust).
pub fn unfinished(tree: &Tree) -> Vec<Finding> {
    const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];
    let mut found = Vec::new();
    for file in &tree.files {
        let texts = match &file.rust {
            Some(rust) => vec![&rust.code, &rust.comments],
            None if matches!(file.extension(), "py" | "pyi" | "ts" | "js" | "mjs" | "sh") => {
                vec![&file.text]
            }
            None => continue,
        };
        for (index, line) in texts.iter().flat_map(|text| text.lines().enumerate()) {
            if words(line).any(|(_, word)| MARKS.contains(&word)) {
                let message = "decide it, or write it down as an issue";
                found.push(Finding::new(&file.path, index + 1, message));
            }
        }
    }
    found
}

/// Macros that stand for code not written.
pub fn placeholders(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, rust) in tree.rust() {
        for (index, line) in rust.code.lines().enumerate() {
            let stands = |(at, word): (usize, &str)| {
                matches!(word, "todo" | "unimplemented") && line[at + word.len()..].starts_with('!')
            };
            if words(line).any(stands) {
                found.push(Finding::new(&file.path, index + 1, "write the code, or leave it out"));
            }
        }
    }
    found
}

/// `.unwrap()` outside tests: say why it holds with `expect`, or return an error.
pub fn unwraps(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, rust) in tree.rust().filter(|(file, _)| !file.is_test()) {
        for (line, _) in rust.product_lines().filter(|(_, text)| text.contains(".unwrap()")) {
            found.push(Finding::new(&file.path, line, "`expect(\"why this holds\")` or an error"));
        }
    }
    found
}

/// Words without a noun: name the client, the caller, the reader, the writer, the process.
const VAGUE: [&str; 12] = [
    "who",
    "whom",
    "whoever",
    "whomever",
    "somebody",
    "nobody",
    "anybody",
    "everybody",
    "he",
    "him",
    "his",
    "told",
];

/// Pronouns that leave the subject open, in code, comments, messages and documentation.
pub fn vague(tree: &Tree) -> Vec<Finding> {
    let is_text = |extension| {
        matches!(
            extension,
            "rs" | "md" | "py" | "pyi" | "js" | "mjs" | "ts" | "html" | "sh" | "toml" | "ipynb"
        )
    };
    let mut found = Vec::new();
    // This file has the list.
    let files = tree.files.iter().filter(|file| !file.path.ends_with("tidy/words.rs"));
    for file in files.filter(|file| is_text(file.extension())) {
        for (index, line) in file.text.lines().enumerate() {
            let lower = line.to_lowercase();
            if let Some((_, word)) = words(&lower).find(|(_, word)| VAGUE.contains(word)) {
                let message = format!("{word:?}: name the part of the system or the person");
                found.push(Finding::new(&file.path, index + 1, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(found: Vec<Finding>) -> Vec<(String, usize)> {
        found.into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn marks_are_found_in_comments_and_code_but_not_in_strings_or_longer_words() {
        let rust = "let TODOS = \"TODO\";\n// FIXME: later\nlet XXX = 1;\n";
        let tree = Tree::of(&[("a.rs", rust), ("b.py", "x = 1  # TODO\n"), ("c.md", "TODO\n")]);
        let expected = [("a.rs".to_owned(), 3), ("a.rs".to_owned(), 2), ("b.py".to_owned(), 1)];
        assert_eq!(lines(unfinished(&tree)), expected);
    }

    #[test]
    fn placeholder_macros_are_found() {
        let tree =
            Tree::of(&[("a.rs", "fn f() { todo!() }\nfn todo() {}\nunimplemented!(\"x\");\n")]);
        assert_eq!(lines(placeholders(&tree)), [("a.rs".to_owned(), 1), ("a.rs".to_owned(), 3)]);
    }

    #[test]
    fn unwrap_is_allowed_in_tests_only() {
        let text = "fn f() { g().unwrap() }\n// .unwrap()\n#[cfg(test)]\nmod t {\n x.unwrap() }\n";
        let tree = Tree::of(&[("src/a.rs", text), ("src/tests.rs", text), ("benches/b.rs", text)]);
        assert_eq!(lines(unwraps(&tree)), [("src/a.rs".to_owned(), 1)]);
    }

    #[test]
    fn vague_words_are_found_in_any_case_and_not_in_longer_words() {
        let rust =
            "// Whoever reads\nlet whole = this; // told\nlet x = \"hear him\";\n// the reader\n";
        let tree = Tree::of(&[("a.rs", rust), ("b.md", "the one who\nthis\n"), ("c.csv", "who\n")]);
        let expected = [("a.rs", 1), ("a.rs", 2), ("a.rs", 3), ("b.md", 1)];
        assert_eq!(lines(vague(&tree)), expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
