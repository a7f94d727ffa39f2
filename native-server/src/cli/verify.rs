//! `nearfield verify`: every byte read, every checksum compared; says which file is hurt, and where.
//!
//! Changes nothing. Damage to a part that can be rebuilt from others ends with 1, any other with 5.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use nearfield_engine::{Finding, VerifyReport, open_export, verify};
use nearfield_segment::format::Residence;
use serde_json::json;

use super::exit::{Exit, Result};
use super::store;

/// Read every byte and check it
#[derive(Debug, Args)]
pub struct Verify {
    /// Directory of a database, or a .near file
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Checks and prints one line per finding.
    ///
    /// # Errors
    /// `NotFound`, or a failure to read that says nothing about the data.
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit> {
        let report = if self.path.is_file() {
            verify_export(&self.path)?
        } else {
            verify_database(&self.path)?
        };
        if self.json {
            print_json(out, &report)?
        } else {
            print(out, &report)?
        }
        Ok(match report.findings.iter().map(|finding| finding.derived).min() {
            None => Exit::Ok,
            Some(true) => Exit::Findings,
            Some(false) => Exit::Damaged,
        })
    }
}

fn verify_database(dir: &Path) -> nearfield_engine::Result<VerifyReport> {
    match store::existing(dir) {
        Ok((storage, _)) => verify(&storage),
        Err(error) if Exit::of(error.kind()) == Exit::Damaged => {
            let message = error.message().to_owned();
            Ok(damaged(error.detail("file"), &message, dir))
        }
        Err(error) => Err(error),
    }
}

fn verify_export(path: &Path) -> nearfield_engine::Result<VerifyReport> {
    let (name, blob) = store::open_file(path)?;
    let mut report = VerifyReport { files: 1, bytes: blob.len(), ..VerifyReport::default() };
    let collections = match open_export(&name, &blob, Residence::InPlace) {
        Ok(collections) => collections,
        Err(error) if Exit::of(error.kind()) == Exit::Damaged => {
            return Ok(damaged(error.detail("file"), error.message(), path));
        }
        Err(error) => return Err(error),
    };
    report.collections = collections.len() as u64;
    for live in collections.iter().flat_map(|(_, view)| &view.segments) {
        for section in live.segment.sections() {
            if let Err(error) = section.verify() {
                let (file, message) = (name.clone(), error.message().to_owned());
                let derived = section.entry().kind.is_derived();
                report.findings.push(Finding { file, message, derived });
            }
        }
    }
    Ok(report)
}

/// A report of damage that hides everything behind it.
fn damaged(file: Option<&serde_json::Value>, message: &str, path: &Path) -> VerifyReport {
    let file = file.and_then(|file| file.as_str()).map(str::to_owned);
    let file = file.unwrap_or_else(|| path.display().to_string());
    let finding = Finding { file, message: message.to_owned(), derived: false };
    VerifyReport { findings: vec![finding], ..VerifyReport::default() }
}

fn print(out: &mut dyn Write, report: &VerifyReport) -> std::io::Result<()> {
    let VerifyReport { collections, files, bytes, log_batches, findings } = report;
    for finding in findings {
        let remedy = if finding.derived {
            "can be rebuilt: nearfield compact"
        } else {
            "restore from a snapshot"
        };
        // Most messages begin with a file: that of the finding, or one inside the directory it names.
        let within = finding.message.starts_with(finding.file.as_str());
        let file = if within { String::new() } else { format!("{}: ", finding.file) };
        writeln!(out, "DAMAGED {file}{} ({remedy})", finding.message)?;
    }
    let verdict = match findings.len() {
        0 => "everything is as it was written".to_owned(),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    writeln!(
        out,
        "{verdict}: {collections} collections, {files} files, {bytes} bytes, {log_batches} batches in the log"
    )
}

fn print_json(out: &mut dyn Write, report: &VerifyReport) -> std::io::Result<()> {
    let findings = report.findings.iter().map(|finding| {
        let Finding { file, message, derived } = finding;
        json!({ "file": file, "message": message, "derived": derived })
    });
    let document = json!({
        "clean": report.is_clean(), "collections": report.collections, "files": report.files,
        "bytes": report.bytes, "log_batches": report.log_batches,
        "findings": findings.collect::<Vec<_>>(),
    });
    writeln!(out, "{document}")
}
