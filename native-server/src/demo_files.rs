//! `DemoFiles`: the static files of the demo page, read (`load`) when the server starts. Held by `Server`;
//! `api::pages::demo` looks them up (`find`).
//!
//! They are looked up by their exact names: no request ever makes a path, so there is none it could escape by. What
//! changes on disk later is seen after a restart.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use nearfield_engine::{Error, Fault, Result};

/// Where the page begins.
const INDEX: &str = "index.html";
/// The one directory below: the package.
const PACKAGE: &str = "nearfield";
/// All files together; they are held in memory.
const BYTES_MAX: u64 = 64 << 20;

/// The page's files by the part of their path behind `/demo/`.
#[derive(Debug)]
pub(crate) struct DemoFiles {
    files: BTreeMap<String, DemoFile>,
}

#[derive(Debug)]
pub(crate) struct DemoFile {
    /// Its content type.
    pub(crate) kind: &'static str,
    pub(crate) bytes: Bytes,
}

impl DemoFiles {
    /// Reads the page that `cargo run -p xtask -- demo` made.
    ///
    /// # Errors
    /// `NotFound` or `Io` naming the directory, `InvalidInput(Parameter)` if it holds no page or too much.
    pub(crate) fn load(dir: &Path) -> Result<DemoFiles> {
        let mut files = BTreeMap::new();
        read(dir, "", &mut files)?;
        let package = dir.join(PACKAGE);
        if package.is_dir() {
            read(&package, &format!("{PACKAGE}/"), &mut files)?;
        }
        if !files.contains_key(INDEX) {
            return Err(unfit(dir, &format!("a directory with {INDEX}"), "one without"));
        }
        Ok(DemoFiles { files })
    }

    /// The file of a request, by the path as it was sent.
    pub(crate) fn find(&self, path: &str) -> Option<&DemoFile> {
        let name = path.strip_prefix("/demo/")?;
        self.files.get(if name.is_empty() { INDEX } else { name })
    }
}

/// Reads the visible files of one directory; `prefix` comes before their names.
fn read(dir: &Path, prefix: &str, files: &mut BTreeMap<String, DemoFile>) -> Result<()> {
    let shown = dir.display().to_string();
    let failed = |error| Error::io("read", &shown, error);
    let mut held: u64 = files.values().map(|file| file.bytes.len() as u64).sum();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let about = path.metadata().map_err(failed)?;
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !about.is_file() || name.starts_with('.') {
            continue;
        }
        held += about.len();
        if held > BYTES_MAX {
            let expected = format!("at most {BYTES_MAX} bytes of files");
            return Err(unfit(dir, &expected, "more"));
        }
        let bytes = Bytes::from(fs::read(&path).map_err(failed)?);
        files.insert(format!("{prefix}{name}"), DemoFile { kind: kind_of(name), bytes });
    }
    Ok(())
}

fn unfit(dir: &Path, expected: &str, got: &str) -> Error {
    let dir = dir.display();
    let message = format!(
        "--demo-dir {dir}: expected {expected}, got {got}; `cargo run -p xtask -- demo` makes it"
    );
    Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", got)
}

/// The type of a file by its name. Browsers run scripts and modules only under theirs.
fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}
