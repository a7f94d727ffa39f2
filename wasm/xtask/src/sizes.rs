//! `check`: prints what a page downloads, raw and gzipped, and compares it with the limit. Called by `main`
//! after a build.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Result;

/// A module, and the most bytes, gzipped, of it and all scripts together.
const LIMITS: [(&str, usize); 2] = [("nearfield_wasm", 192_000), ("nearfield_store", 343_000)];

/// Prints the sizes of everything in `dist` that a page loads.
///
/// # Errors
/// When they are over the limit, or cannot be read.
pub(crate) fn check(dist: &Path) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", dist.display());
    let mut lines = Vec::new();
    for entry in fs::read_dir(dist).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".js") || name.ends_with(".wasm") {
            let bytes = fs::read(&path).map_err(failed)?;
            lines.push((name, bytes.len(), gzipped(&bytes).map_err(failed)?));
        }
    }
    lines.sort();
    let mut out = std::io::stdout().lock();
    for (name, raw, gzip) in &lines {
        writeln!(out, "{raw:9} {gzip:8} gz  {name}").map_err(failed)?;
    }
    let mut too_large = Vec::new();
    for (module, most) in LIMITS {
        let others = |name: &str| {
            LIMITS.iter().any(|(other, _)| *other != module && name.starts_with(other))
        };
        let loaded = lines.iter().filter(|(name, ..)| !others(name));
        let total: usize = loaded.map(|(_, _, gzip)| gzip).sum();
        writeln!(out, "{total:9} bytes gzipped of {most}: {module} and all scripts")
            .map_err(failed)?;
        if total > most {
            too_large.push(module);
        }
    }
    if too_large.is_empty() { Ok(()) } else { Err(format!("too large: {}", too_large.join(", "))) }
}

fn gzipped(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
