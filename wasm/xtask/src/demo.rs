//! `assemble`: the demo page as a directory of static files: the page, the package it uses, and its sample.
//! Called by `cargo run -p xtask -- demo`.
//!
//! Files are copied, the sample is written by the program of this checkout (`nearfield demo --sample`), and a
//! list of all files is left for the page's service worker.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::steps::{copy_scripts, empty_directory, output};

/// The sample, by the name the page knows.
const SAMPLE: &str = "digits.near";
/// Names a program to write the sample with, instead of the one that cargo builds.
const BINARY_VARIABLE: &str = "NEARFIELD_BINARY";

/// Fills `dist/demo`.
///
/// # Errors
/// When the package was not built yet, the program cannot write the sample, or those of the disk.
pub(crate) fn assemble(root: &Path, dist: &Path) -> Result<()> {
    if !dist.join("index.js").exists() {
        return Err(format!("{}: no package; `cargo run -p xtask -- wasm` first", dist.display()));
    }
    let page = dist.join("demo");
    empty_directory(&page)?;
    let package = page.join("nearfield");
    empty_directory(&package)?;
    copy_scripts(&root.join("wasm/demo"), &page)?;
    copy_scripts(dist, &package)?;
    list(&page)?;
    write_sample(root, &page.join(SAMPLE))
}

/// Writes the names of all files of the page, so that they can be kept for a time without network.
fn list(page: &Path) -> Result<()> {
    let mut names = Vec::new();
    for (dir, prefix) in [(page.to_owned(), ""), (page.join("nearfield"), "nearfield/")] {
        let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // The browser asks for the worker itself; of the package it loads scripts and modules only.
            let is_loaded = name.ends_with(".js") || name.ends_with(".wasm");
            let is_kept = if prefix.is_empty() { name != "sw.js" } else { is_loaded };
            if entry.path().is_file() && is_kept {
                names.push(format!("{prefix}{name}"));
            }
        }
    }
    names.sort();
    let text = serde_json::to_string_pretty(&names).expect("texts can be written") + "\n";
    let file = page.join("files.json");
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn write_sample(root: &Path, file: &Path) -> Result<()> {
    let mut command = if let Some(program) = std::env::var_os(BINARY_VARIABLE) {
        Command::new(program)
    } else {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["run", "--quiet", "--locked", "--bin", "nearfield", "--"]);
        cargo
    };
    let said = output(command.current_dir(root).args(["demo", "--sample"]).arg(file))?;
    eprint!("{said}");
    Ok(())
}
