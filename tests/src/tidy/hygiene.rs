//! The small things: line ends, spaces, sizes of files in git, tests that are switched off in silence.

use super::{Finding, Tree};

const BYTES_MAX: u64 = 1 << 20;
/// Files that may be larger, with the reason beside each.
const LARGE_ALLOWED: [&str; 0] = [];

const TEXT_EXTENSIONS: [&str; 12] =
    ["rs", "py", "pyi", "ts", "js", "mjs", "sh", "md", "toml", "json", "yaml", "yml"];

/// Trailing spaces, a missing or doubled last line break, tabs in Rust, carriage returns.
pub fn spaces(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let texts = tree.files.iter().filter(|file| TEXT_EXTENSIONS.contains(&file.extension()));
    for file in texts.filter(|file| !file.text.is_empty()) {
        let mut report = |line, message: &str| found.push(Finding::new(&file.path, line, message));
        for (index, line) in file.text.split('\n').enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                report(index + 1, "space at the end of the line");
            }
            if file.rust.is_some() && line.contains('\t') {
                report(index + 1, "tab");
            }
        }
        if !file.text.ends_with('\n') || file.text.ends_with("\n\n") {
            report(0, "ends with exactly one line break");
        }
    }
    found
}

/// Files larger than 1 MiB that are not in the allow-list.
pub fn large_files(tree: &Tree) -> Vec<Finding> {
    let large = tree.files.iter().filter(|file| file.len_bytes > BYTES_MAX);
    large
        .filter(|file| !LARGE_ALLOWED.contains(&file.path.as_str()))
        .map(|file| {
            let message =
                format!("{} bytes, at most {BYTES_MAX}: make it by a command", file.len_bytes);
            Finding::new(&file.path, 0, message)
        })
        .collect()
}

/// Tests switched off without a reason, in Rust or Python.
pub fn silent_skips(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut report = |path: &str, index: usize| {
        found.push(Finding::new(path, index + 1, "say why the test does not run"));
    };
    for file in &tree.files {
        if let Some(rust) = &file.rust {
            let bare = |line: &&str| line.replace(' ', "").contains("#[ignore]");
            let lines = rust.code.lines().enumerate();
            lines.filter(|(_, line)| bare(line)).for_each(|(index, _)| report(&file.path, index));
        }
        if file.extension() == "py" {
            let lines: Vec<&str> = file.text.lines().collect();
            for (index, line) in lines.iter().enumerate() {
                let statement = lines[index..lines.len().min(index + 4)].join(" ");
                if line.trim_start().starts_with("@pytest.mark.skip")
                    && !statement.contains("reason=")
                {
                    report(&file.path, index);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::SourceFile;

    #[test]
    fn spaces_and_line_ends_are_found() {
        let tree = Tree::of(&[
            ("a.rs", "x \n\ty\n"),
            ("b.md", "no end"),
            ("c.py", "two\n\n"),
            ("d.toml", "dos\r\n"),
            ("e.csv", "free \n\n"),
            ("f.rs", "fine\n"),
        ]);
        let found: Vec<_> =
            spaces(&tree).into_iter().map(|found| (found.path, found.line)).collect();
        let expected = [("a.rs", 1), ("a.rs", 2), ("b.md", 0), ("c.py", 0), ("d.toml", 1)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn a_file_over_one_mebibyte_is_found() {
        let mut tree = Tree::of(&[("a.bin", ""), ("b.bin", "")]);
        tree.files[0] = SourceFile { len_bytes: BYTES_MAX + 1, ..SourceFile::new("a.bin", "") };
        tree.files[1].len_bytes = BYTES_MAX;
        assert_eq!(large_files(&tree).len(), 1);
    }

    #[test]
    fn a_test_switched_off_without_a_reason_is_found() {
        let rust = "#[test]\n#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}\n// #[ignore]\n";
        let python = "@pytest.mark.skip\ndef a(): pass\n\n\n\n\n\
                      @pytest.mark.skipif(\n    X,\n    reason=\"no X\",\n)\n";
        let tree = Tree::of(&[("a.rs", rust), ("b.py", python)]);
        let found: Vec<_> = silent_skips(&tree).into_iter().map(|f| (f.path, f.line)).collect();
        assert_eq!(found, [("a.rs".to_owned(), 2), ("b.py".to_owned(), 1)]);
    }
}
