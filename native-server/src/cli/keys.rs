//! `nearfield key-create`, `key-revoke` and `key-list`: the keys of a server, with or without a running
//! server, through `Catalog` or `Ledger`. Entry: `KeyCreate::run`, called by `cli::run`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nearfield_engine::{Clock, Error, ErrorKind, SystemClock};
use serde_json::{Value, json};

use super::exit::Result;
use crate::catalog::{Catalog, KeyInfo, Ledger, NewKey, Roles};
use crate::json::time;

const DAY_MS: u64 = 86_400_000;

#[derive(Debug, Args)]
pub struct KeyCreate {
    /// Directory of the server's data; made if missing
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// What to call it
    #[arg(long)]
    name: String,
    /// What it may do: query, ingest, admin, several with commas; admin may do all
    #[arg(long, value_parser = |text: &str| text.parse::<Roles>())]
    roles: Roles,
    /// Days until it opens nothing any more [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    expires_days: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl KeyCreate {
    /// Stores the key, then prints the token.
    ///
    /// # Errors
    /// `InvalidInput` for a name that spoils a line; `Conflict` without the pepper; what opening returns.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let expires_ms = self.expires_days.map(|days| clock.now_ms() + u64::from(days) * DAY_MS);
        let catalog = Catalog::open(&self.data_dir, clock)?;
        let NewKey { info, token } = catalog.create_key(&self.name, self.roles, expires_ms)?;
        if self.json {
            let mut shown = described(&info, info.created_ms);
            shown["token"] = json!(token.reveal());
            return Ok(writeln!(out, "{shown}")?);
        }
        writeln!(out, "key id   {}", info.id)?;
        writeln!(out, "token    {}", token.reveal())?;
        writeln!(out, "name     {}", info.name)?;
        writeln!(out, "roles    {}", info.roles)?;
        writeln!(out, "expires  {}", or_word(info.expires_ms, "never"))?;
        Ok(writeln!(out, "The token is shown this once and cannot be read back: store it now.")?)
    }
}

#[derive(Debug, Args)]
pub struct KeyRevoke {
    /// Directory of the server's data
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Id of the key, as key-list shows it
    #[arg(long, value_name = "ID")]
    key_id: String,
}

impl KeyRevoke {
    /// Revokes it for good.
    ///
    /// # Errors
    /// `NotFound` naming near ids; what opening returns.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let info = open(&self.data_dir)?.revoke_key(&self.key_id)?;
        let revoked = or_word(info.revoked_ms, "now");
        Ok(writeln!(out, "key {} ({}) is revoked since {revoked}", info.id, info.name)?)
    }
}

#[derive(Debug, Args)]
pub struct KeyList {
    /// Directory of the server's data
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl KeyList {
    /// Prints a line a key, oldest first.
    ///
    /// # Errors
    /// `NotFound` without the directory; what opening returns.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (keys, now_ms) = (open(&self.data_dir)?.list_keys()?, SystemClock.now_ms());
        if self.json {
            let keys: Vec<Value> = keys.iter().map(|key| described(key, now_ms)).collect();
            return Ok(writeln!(out, "{}", json!({ "keys": keys }))?);
        }
        if keys.is_empty() {
            return Ok(writeln!(out, "no keys; `nearfield key-create` makes one")?);
        }
        let head = ["key id", "state", "roles", "last used", "expires", "name"];
        let rows = keys.iter().map(|key| {
            let (used, expires) =
                (or_word(key.last_used_ms, "never"), or_word(key.expires_ms, "never"));
            let (id, roles) = (key.id.to_string(), key.roles.to_string());
            [id, state(key, now_ms).to_owned(), roles, used, expires, key.name.clone()]
        });
        for [id, state, roles, used, expires, name] in
            [head.map(str::to_owned)].into_iter().chain(rows)
        {
            writeln!(out, "{id:20}  {state:7}  {roles:18}  {used:24}  {expires:24}  {name}")?;
        }
        Ok(())
    }
}

/// The catalog of a data directory that exists: a mistyped one is not made.
///
/// # Errors
/// `NotFound` without the directory; what opening returns.
pub(super) fn open(dir: &Path) -> nearfield_engine::Result<Ledger> {
    if !dir.is_dir() {
        let message = format!("there is no directory {}", dir.display());
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    Ledger::open(dir, Arc::new(SystemClock))
}

fn state(key: &KeyInfo, now_ms: u64) -> &'static str {
    match (key.revoked_ms, key.is_usable(now_ms)) {
        (Some(_), _) => "revoked",
        (None, true) => "active",
        (None, false) => "expired",
    }
}

fn described(key: &KeyInfo, now_ms: u64) -> Value {
    json!({
        "key_id": key.id.to_string(),
        "name": key.name,
        "roles": key.roles.names(),
        "state": state(key, now_ms),
        "created": time(key.created_ms),
        "last_used": key.last_used_ms.map(time),
        "expires": key.expires_ms.map(time),
        "revoked": key.revoked_ms.map(time),
    })
}

fn or_word(ms: Option<u64>, word: &str) -> String {
    ms.map_or_else(|| word.to_owned(), time)
}
