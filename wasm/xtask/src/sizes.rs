//! What a page downloads, raw and gzipped, and the limit it is held to.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Result;

/// Most bytes, gzipped, of the module and all scripts together.
const GZIP_BYTES_MAX: usize = 200_000;

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
    let sum = |ending: &str| -> usize {
        lines.iter().filter(|(name, ..)| name.ends_with(ending)).map(|(_, _, gzip)| gzip).sum()
    };
    let total = sum("");
    let mut out = std::io::stdout().lock();
    for (name, raw, gzip) in &lines {
        writeln!(out, "{raw:9} {gzip:8} gz  {name}").map_err(failed)?;
    }
    writeln!(
        out,
        "module {} + scripts {} = {total} bytes gzipped, at most {GZIP_BYTES_MAX}",
        sum(".wasm"),
        sum(".js")
    )
    .map_err(failed)?;
    if total > GZIP_BYTES_MAX {
        return Err(format!("{total} bytes are more than {GZIP_BYTES_MAX}"));
    }
    Ok(())
}

fn gzipped(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
