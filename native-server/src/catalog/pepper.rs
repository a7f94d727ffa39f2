//! `Pepper`: the server's own secret, under which the secrets of keys are hashed (`Digest`, HMAC-SHA256); without it
//! the digests in the catalog are of no use to a thief. Loaded by `Catalog` and `Ledger`; used by `KeyRing`.
//!
//! A text of at least 16 bytes, from the environment or from the file `pepper` in the data directory,
//! which is made durable before the first key is stored. The file's text in the environment means the same.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use nearfield_engine::{Error, Fault, Result};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::private;
use super::token::Secret;
use crate::host;

/// Environment variable with the pepper; it wins over the file.
pub const PEPPER_VARIABLE: &str = "NEARFIELD_API_PEPPER";
/// File in the data directory.
const FILE: &str = "pepper";
const LEN_MIN: usize = 16;
const GENERATED_BYTES: usize = 32;

/// HMAC-SHA256 of a secret under the pepper: what the catalog stores instead of the secret.
#[derive(Clone, Copy)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl Digest {
    /// Not the digest of any known secret.
    pub(super) const OF_NOTHING: Digest = Digest([0; 32]);

    /// In a time that does not depend on where they differ.
    pub(super) fn matches(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(hidden)")
    }
}

/// A pepper, as the state of the HMAC after its key: two blocks of SHA-256 fewer per check.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl Pepper {
    /// # Errors
    /// `InvalidInput(Parameter)` under 16 bytes, not counting white space at the ends.
    pub fn new(text: &str) -> Result<Pepper> {
        let text = text.trim();
        if text.len() < LEN_MIN {
            let message =
                format!("the pepper: expected at least {LEN_MIN} bytes, got {}", text.len());
            return Err(Error::invalid(Fault::Parameter, message)
                .with("expected", LEN_MIN)
                .with("got", text.len()));
        }
        Ok(Pepper(Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes keys of any length")))
    }

    /// That of [`PEPPER_VARIABLE`], if it is set.
    ///
    /// # Errors
    /// As [`Pepper::new`]; the message never shows the value.
    pub fn from_environment() -> Result<Option<Pepper>> {
        let Some(text) = std::env::var_os(PEPPER_VARIABLE) else { return Ok(None) };
        let pepper = text
            .to_str()
            .map(Pepper::new)
            .unwrap_or_else(|| Err(Error::invalid(Fault::Parameter, "the pepper: expected UTF-8")));
        pepper.map(Some).map_err(|error| error.context(PEPPER_VARIABLE))
    }

    /// That of the file in `dir`, if there is one.
    ///
    /// # Errors
    /// `Io`; `InvalidInput` for a file that is too short.
    pub(super) fn load(dir: &Path) -> Result<Option<Pepper>> {
        let path = dir.join(FILE);
        let name = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(text) => Pepper::new(&text).map(Some).map_err(|error| error.context(name)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &name, error)),
        }
    }

    /// Draws one and writes the file, durable when this returns. The caller keeps other processes from
    /// doing the same.
    ///
    /// # Errors
    /// `StorageFull`, `Io`.
    pub(super) fn generate(dir: &Path) -> Result<Pepper> {
        let bytes: [u8; GENERATED_BYTES] = host::random_bytes()?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        write_durably(dir, &text)?;
        Pepper::new(&text)
    }

    /// What is stored for `secret`.
    pub(super) fn digest(&self, secret: &Secret) -> Digest {
        self.of(secret.bytes())
    }

    /// Tells this pepper from another without being one of its digests of a secret.
    pub(super) fn fingerprint(&self) -> Digest {
        self.of(b"nearfield: which pepper is it?")
    }

    fn of(&self, message: &[u8]) -> Digest {
        Digest(self.0.clone().chain_update(message).finalize().into_bytes().into())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(hidden)")
    }
}

/// A temporary file of mode 0600, written, synced, renamed, its directory synced.
fn write_durably(dir: &Path, text: &str) -> Result<()> {
    let (path, temporary) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
    let name = path.display().to_string();
    let failed = |action: &'static str| {
        let name = name.clone();
        move |error| Error::io(action, &name, error)
    };
    // Left by a process that was killed; if it cannot be removed, creating it says why.
    drop(fs::remove_file(&temporary));
    let mut file = private::create_new(&temporary).map_err(failed("create"))?;
    writeln!(file, "{text}").map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    fs::rename(&temporary, &path).map_err(failed("rename"))?;
    private::sync_directory(dir)
}
