//! The files of a checkout, read once: what git tracks, or a walk where there is no git.
//!
//! Text that is not UTF-8 (data, images) is kept as a length only.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::rust::RustText;

/// What a walk leaves out: things that were built, and hidden directories of tools.
fn is_skipped(directory: &str) -> bool {
    match directory {
        "target" | "node_modules" | "__pycache__" | "nearfield_data" | "vibrato_data" => true,
        ".ci" | ".github" | ".config" | ".cargo" => false,
        name => name.starts_with('.'),
    }
}

/// One file.
#[derive(Debug)]
pub struct SourceFile {
    /// Path from the root, with `/`.
    pub path: String,
    /// Content; empty if it is not UTF-8.
    pub text: String,
    /// Length on disk.
    pub len_bytes: u64,
    /// Code and comments apart, for `.rs` files.
    pub rust: Option<RustText>,
}

impl SourceFile {
    /// A file of text at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs").then(|| RustText::split(text));
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
            len_bytes: text.len() as u64,
            rust,
        }
    }

    /// The name's last part without the dot, `sh` for shell scripts without one, else `""`.
    pub fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => extension,
            _ if self.text.starts_with("#!") && self.first_line().contains("sh") => "sh",
            _ => "",
        }
    }

    fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or("")
    }

    /// Whether the whole file is test, benchmark or example code.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        let in_directory = |directory: &str| {
            self.path.starts_with(&format!("{directory}/"))
                || self.path.contains(&format!("/{directory}/"))
        };
        name == "tests.rs" || ["tests", "benches", "examples"].into_iter().any(in_directory)
    }
}

/// All files of a checkout, sorted by path.
#[derive(Debug)]
pub struct Tree {
    /// The files.
    pub files: Vec<SourceFile>,
}

impl Tree {
    /// A tree of `(path, text)`, for tests of rules.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Tree { files: files.iter().map(|(path, text)| SourceFile::new(path, text)).collect() }
    }

    /// Reads the checkout at `root`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut paths = match git_files(root) {
            Some(paths) => paths,
            None => walk(root, "")?,
        };
        paths.sort();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let full = root.join(&path);
            // Removed in the working tree but not yet in the index, or a link to elsewhere.
            if !full.is_file() {
                continue;
            }
            let bytes = fs::read(&full)?;
            let len_bytes = bytes.len() as u64;
            let text = String::from_utf8(bytes).unwrap_or_default();
            files.push(SourceFile { len_bytes, ..SourceFile::new(&path, &text) });
        }
        Ok(Tree { files })
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The `.rs` files with their code and comments apart.
    pub fn rust(&self) -> impl Iterator<Item = (&SourceFile, &RustText)> {
        self.files.iter().filter_map(|file| file.rust.as_ref().map(|rust| (file, rust)))
    }
}

/// Tracked files, and new ones that are not ignored; nothing without git.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> = names.split_terminator('\0').map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

fn walk(root: &Path, directory: &str) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path =
            if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
        if !entry.file_type()?.is_dir() {
            paths.push(path);
        } else if !is_skipped(name) {
            paths.extend(walk(root, &path)?);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_finds_what_git_finds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut walked = walk(root, "").expect("the package is readable");
        walked.retain(|path| path.ends_with(".rs"));
        walked.sort();
        assert!(walked.iter().any(|path| path == "src/tidy/tree.rs"), "{walked:?}");
        if let Some(mut tracked) = git_files(root) {
            tracked.retain(|path| path.ends_with(".rs"));
            tracked.sort();
            assert_eq!(walked, tracked);
        }
    }

    #[test]
    fn the_walk_leaves_out_what_tools_made_and_keeps_our_hidden_directories() {
        for skipped in ["target", ".venv", ".git", ".pytest_cache", "__pycache__"] {
            assert!(is_skipped(skipped), "{skipped}");
        }
        assert!(!is_skipped(".ci") && !is_skipped("core"));
    }

    #[test]
    fn scripts_without_an_extension_are_known_by_their_first_line() {
        assert_eq!(SourceFile::new("tests/run", "#!/usr/bin/env bash\n").extension(), "sh");
        assert_eq!(SourceFile::new(".gitignore", "target\n").extension(), "");
        assert_eq!(SourceFile::new("a/b.tar.gz", "").extension(), "gz");
    }

    #[test]
    fn test_code_is_known_by_its_place() {
        for path in
            ["tests/src/data.rs", "core/segment/src/log/tests.rs", "core/segment/benches/a.rs"]
        {
            assert!(SourceFile::new(path, "").is_test(), "{path}");
        }
        assert!(!SourceFile::new("core/segment/src/contests.rs", "").is_test());
    }
}
