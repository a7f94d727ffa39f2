//! `nearfield audit`: prints the newest requests that a server answered or refused. `Audit::run`, called by
//! `cli::run`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::exit::Result;
use super::keys;
use crate::catalog::AuditEntry;
use crate::json::time;

#[derive(Debug, Args)]
pub struct Audit {
    /// Directory of the server's data
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// How many rows
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u64,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

impl Audit {
    /// Prints a line a row. A running server writes rows a quarter of a second late.
    ///
    /// # Errors
    /// `NotFound` without the directory; what opening returns.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        for entry in keys::open(&self.data_dir)?.audit_tail(self.limit)? {
            if self.json {
                writeln!(out, "{}", described(&entry))?;
            } else {
                line(out, &entry)?;
            }
        }
        Ok(())
    }
}

fn line(out: &mut dyn Write, entry: &AuditEntry) -> std::io::Result<()> {
    let at = time(entry.time_ms);
    if entry.rows_lost > 0 && entry.status == 0 {
        return writeln!(out, "{at}  {} rows were lost before this", entry.rows_lost);
    }
    let AuditEntry { action, status, latency_us, .. } = entry;
    let key = entry.key_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    // A client chose these two: nothing in them may steer a terminal.
    let collection = entry.collection.as_deref().unwrap_or("-").escape_debug();
    let request = entry.request_id.escape_debug();
    let address = entry.address.as_deref().unwrap_or("-");
    write!(
        out,
        "{at}  {key:20}  {status}  {latency_us:>8} µs  {action}  {collection}  {address}  {request}"
    )?;
    match entry.rows_lost {
        0 => writeln!(out),
        others => writeln!(out, "  and {others} like it before"),
    }
}

fn described(entry: &AuditEntry) -> Value {
    json!({
        "time": time(entry.time_ms),
        "key_id": entry.key_id.map(|id| id.to_string()),
        "action": entry.action,
        "collection": entry.collection,
        "address": entry.address,
        "status": entry.status,
        "latency_us": entry.latency_us,
        "request_id": entry.request_id,
        "rows_lost": entry.rows_lost,
    })
}
