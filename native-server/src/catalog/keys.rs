//! The SQLite table of keys: insert, list, revoke, and the `Credential` of each key. Used by `Catalog`,
//! `Ledger` and `KeyRing`, which decides about tokens.

use nearfield_engine::{Error, ErrorKind, Fault, Result};
use nearfield_segment::filter::near_names;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, Transaction, params};

use super::pepper::Digest;
use super::role::Roles;
use super::sqlite::Done;
use super::token::{KeyId, Token};

/// Most bytes of a key's name.
const NAME_LEN_MAX: usize = 128;
/// Characters of an unknown id that an error repeats: what was given may be a secret.
const SHOWN_CHARS_MAX: usize = 20;

/// What may be known about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it; need not be unique.
    pub name: String,
    /// What it may do.
    pub roles: Roles,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// From when on it is refused.
    pub expires_ms: Option<u64>,
    /// A time of its use, about a minute older than the last one at most.
    pub last_used_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
}

impl KeyInfo {
    /// Whether it opens anything at `now_ms`.
    pub fn is_usable(&self, now_ms: u64) -> bool {
        self.revoked_ms.is_none() && self.expires_ms.is_none_or(|end| now_ms < end)
    }
}

/// A key that was just made: the only moment its token can be read.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What stays known.
    pub info: KeyInfo,
    /// What does not.
    pub token: Token,
}

/// What the key ring needs of a key.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) id: KeyId,
    pub(super) digest: Digest,
    pub(super) roles: Roles,
    pub(super) expires_ms: Option<u64>,
    pub(super) is_revoked: bool,
}

/// Refuses names that would spoil a line of output.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = (1..=NAME_LEN_MAX).contains(&name.len());
    if fits && !name.contains(char::is_control) && name.trim() == name {
        return Ok(());
    }
    let message = format!(
        "name of a key: expected 1 to {NAME_LEN_MAX} bytes without control characters or spaces at the ends"
    );
    Err(Error::invalid(Fault::Parameter, message).with("got", name.len()))
}

/// Refuses a key that would be of no use.
pub(super) fn check_expiry(expires_ms: Option<u64>, now_ms: u64) -> Result<()> {
    match expires_ms {
        Some(end) if end <= now_ms || i64::try_from(end).is_err() => {
            let message = "expiry of a key: expected a time to come, in milliseconds since 1970";
            Err(Error::invalid(Fault::Parameter, message).with("got", end))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn insert(change: &Transaction<'_>, info: &KeyInfo, digest: &Digest) -> Done<()> {
    let text = "INSERT INTO keys (id, name, roles, digest, created_ms, expires_ms)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let KeyInfo { id, name, roles, created_ms, expires_ms, .. } = info;
    let values = params![id, name, roles.to_string(), digest.0, created_ms, expires_ms];
    change.execute(text, values)?;
    Ok(())
}

/// Marks a key as revoked; one that is already keeps its time.
pub(super) fn revoke(change: &Transaction<'_>, id: &str, now_ms: u64) -> Done<KeyInfo> {
    let text = "UPDATE keys SET revoked_ms = coalesce(revoked_ms, ?2) WHERE id = ?1";
    change.execute(text, params![id, now_ms])?;
    let keys = list(change)?;
    let found = keys.iter().find(|key| key.id.to_string() == id).cloned();
    found.ok_or_else(|| unknown(id, &keys).into())
}

fn unknown(id: &str, keys: &[KeyInfo]) -> Error {
    let ids: Vec<String> = keys.iter().map(|key| key.id.to_string()).collect();
    let near = near_names(id, ids.iter().map(String::as_str));
    let shown: String = id.chars().take(SHOWN_CHARS_MAX).collect();
    let advice = if near.is_empty() {
        "`key-list` shows those there are".to_owned()
    } else {
        format!("near: {}", near.join(", "))
    };
    let message = format!("there is no key {shown:?}; {advice}");
    Error::new(ErrorKind::NotFound, message).with("near", near)
}

/// All keys, oldest first.
pub(super) fn list(connection: &Connection) -> Done<Vec<KeyInfo>> {
    let text = "SELECT id, name, roles, created_ms, expires_ms, last_used_ms, revoked_ms
                FROM keys ORDER BY number";
    let mut statement = connection.prepare(text)?;
    let rows = statement.query_map([], info)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn info(row: &Row<'_>) -> rusqlite::Result<KeyInfo> {
    Ok(KeyInfo {
        id: row.get(0)?,
        name: row.get(1)?,
        roles: row.get(2)?,
        created_ms: row.get(3)?,
        expires_ms: row.get(4)?,
        last_used_ms: row.get(5)?,
        revoked_ms: row.get(6)?,
    })
}

/// What every key opens.
pub(super) fn credentials(connection: &Connection) -> Done<Vec<Credential>> {
    let text = "SELECT id, digest, roles, expires_ms, revoked_ms IS NOT NULL FROM keys";
    let mut statement = connection.prepare(text)?;
    let rows = statement.query_map([], |row| {
        Ok(Credential {
            id: row.get(0)?,
            digest: Digest(row.get(1)?),
            roles: row.get(2)?,
            expires_ms: row.get(3)?,
            is_revoked: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Counts the changes of what keys open, over all processes.
pub(super) fn generation(connection: &Connection) -> Done<i64> {
    let text = "SELECT value FROM facts WHERE name = 'key_generation'";
    Ok(connection.prepare_cached(text)?.query_row([], |row| row.get(0))?)
}

/// Writes down when keys were used.
pub(super) fn note_used(change: &Transaction<'_>, used: &[(KeyId, u64)]) -> Done<()> {
    let text = "UPDATE keys SET last_used_ms = max(coalesce(last_used_ms, 0), ?2) WHERE id = ?1";
    for (id, used_ms) in used {
        change.prepare_cached(text)?.execute(params![id, used_ms])?;
    }
    Ok(())
}

impl ToSql for KeyId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for KeyId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<KeyId> {
        KeyId::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Roles {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Roles> {
        value.as_str()?.parse().map_err(|_| FromSqlError::InvalidType)
    }
}
