//! Sizes: files of at most 600 lines, functions of at most 70. The aims are 250 and 25.

use super::rust::Function;
use super::{Finding, SourceFile, Tree, python};

/// Most lines of a source file.
pub const FILE_LINES_MAX: usize = 600;
/// Most lines of a function.
pub const FUNCTION_LINES_MAX: usize = 70;

const CODE_EXTENSIONS: [&str; 6] = ["rs", "py", "ts", "js", "mjs", "sh"];

fn code_files(tree: &Tree) -> impl Iterator<Item = &SourceFile> {
    tree.files.iter().filter(|file| CODE_EXTENSIONS.contains(&file.extension()))
}

fn functions(file: &SourceFile) -> Vec<Function> {
    match &file.rust {
        Some(rust) => rust.functions(),
        None if matches!(file.extension(), "py" | "pyi") => python::functions(&file.text),
        None => Vec::new(),
    }
}

/// Files longer than [`FILE_LINES_MAX`].
pub fn long_files(tree: &Tree) -> Vec<Finding> {
    let counted = code_files(tree).map(|file| (file, file.text.lines().count()));
    counted
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(file, lines)| {
            let message = format!("{lines} lines, at most {FILE_LINES_MAX}: one idea per file");
            Finding::new(&file.path, 0, message)
        })
        .collect()
}

/// Functions longer than [`FUNCTION_LINES_MAX`].
pub fn long_functions(tree: &Tree) -> Vec<Finding> {
    let each =
        code_files(tree).flat_map(|file| functions(file).into_iter().map(move |f| (file, f)));
    each.filter(|(_, function)| function.line_count > FUNCTION_LINES_MAX)
        .map(|(file, Function { name, line, line_count })| {
            let message = format!("`{name}` has {line_count} lines, at most {FUNCTION_LINES_MAX}");
            Finding::new(&file.path, line, message)
        })
        .collect()
}

/// Median and largest file, nine-tenths and largest function: one line to read.
pub fn report(tree: &Tree) -> String {
    let mut file_lines: Vec<_> =
        code_files(tree).map(|file| (file.text.lines().count(), file.path.clone())).collect();
    let mut function_lines: Vec<_> = code_files(tree)
        .flat_map(|file| {
            functions(file).into_iter().map(move |f| (f.line_count, f.name, &file.path))
        })
        .collect();
    file_lines.sort();
    function_lines.sort();
    let (Some(largest), Some(longest)) = (file_lines.last(), function_lines.last()) else {
        return "no code".to_owned();
    };
    format!(
        "{} files: median {} lines, max {} ({}); {} functions: p90 {} lines, max {} (`{}` in {})",
        file_lines.len(),
        file_lines[file_lines.len() / 2].0,
        largest.0,
        largest.1,
        function_lines.len(),
        function_lines[function_lines.len() * 9 / 10].0,
        longest.0,
        longest.1,
        longest.2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_601_lines_is_too_long_and_one_of_600_is_not() {
        let (long, fits) = ("x\n".repeat(601), "x\n".repeat(600));
        let tree = Tree::of(&[("a.py", &long), ("b.rs", &fits), ("c.md", &long)]);
        let found = long_files(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "a.py");
    }

    #[test]
    fn a_function_of_71_lines_is_too_long_and_one_of_70_is_not() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        let python = format!("def f():\n{}", "    x()\n".repeat(70));
        let tree = Tree::of(&[("a.rs", &body(71)), ("b.rs", &body(70)), ("c.py", &python)]);
        let paths: Vec<_> = long_functions(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["a.rs", "c.py"]);
    }
}
