//! `nearfield verify`: reads every byte, compares every checksum (`verify` of the engine), and prints which
//! file is damaged and where. Entry: `Verify::run`, called by `cli::run`.
//!
//! Changes nothing. A server that holds the directory is notified of damage: it reads the database itself and shows
//! what it finds. Damage to a part that can be rebuilt, or to the past alone, ends with 1, any other with 5.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nearfield_engine::{VerifyReport, verify, verify_export};
use nearfield_segment::storage::{Storage, open_existing_directory};
use serde_json::json;
use tracing::warn;

use super::exit::{Exit, Result};
use super::store;
use crate::client::Client;

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
        let report = check(&self.path)?;
        if !report.is_clean() {
            tell_server(&self.path);
        }
        if self.json {
            let mut document = json!(report);
            document["clean"] = json!(report.is_clean());
            writeln!(out, "{document}")?;
        } else {
            print(out, &report)?
        }
        Ok(match report.findings.iter().map(|finding| finding.derived || finding.past).min() {
            None => Exit::Ok,
            Some(true) => Exit::Findings,
            Some(false) => Exit::Damaged,
        })
    }
}

fn check(path: &Path) -> nearfield_engine::Result<VerifyReport> {
    if path.is_file() {
        let (name, blob) = store::open_file(path)?;
        return verify_export(&name, &blob);
    }
    let storage: Arc<dyn Storage> = Arc::new(open_existing_directory(path)?);
    verify(&storage, None, &|| true).map_err(|error| error.context(path.display()))
}

/// Has the server beside a damaged database verify it too.
fn tell_server(path: &Path) {
    let Ok(client) = Client::beside(path) else { return };
    if let Err(error) = client.post("/v2/admin/verify", &json!({})) {
        warn!(%error, "the server that holds this directory could not be notified of the damage");
    }
}

fn print(out: &mut dyn Write, report: &VerifyReport) -> std::io::Result<()> {
    let VerifyReport { collections, files, bytes, log_batches, findings } = report;
    for finding in findings {
        let remedy = match (finding.past, finding.derived) {
            (true, _) => "only earlier moments are lost: nearfield vacuum --history-hours 0",
            (false, true) => "can be rebuilt: nearfield compact",
            (false, false) => "restore a snapshot: nearfield snapshot-restore",
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
