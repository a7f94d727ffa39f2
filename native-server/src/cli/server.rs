//! `ServerArguments`: the arguments that name a server (`--server`, the key), and the `Client` made from them. Used by
//! `export` and `import`.

use std::path::{Path, PathBuf};

use clap::Args;
use nearfield_engine::{Error, ErrorKind, Fault, Result};

use crate::client::Client;

/// Environment variable with the key, so that it need not stand on the command line for all to see.
const KEY_VARIABLE: &str = "NEARFIELD_KEY";

/// Which server to talk to.
#[derive(Debug, Args)]
pub(super) struct ServerArguments {
    /// A running server instead of a directory, as http://host:port
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Key for the server [default: the environment variable NEARFIELD_KEY]
    #[arg(long, requires = "server")]
    key: Option<String>,
}

/// What a command works on.
#[derive(Debug)]
pub(super) enum Place {
    /// A directory, or a file for commands that read one.
    Path(PathBuf),
    /// A server.
    Server(Client),
}

impl ServerArguments {
    /// The one place that was named: by position, by `--data-dir` or by `--server`.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` for none or several, or an address that is none.
    pub(super) fn place(
        &self,
        position: Option<PathBuf>,
        data_dir: Option<&PathBuf>,
    ) -> Result<Place> {
        match (position, data_dir, &self.server) {
            (Some(path), None, None) => Ok(Place::Path(path)),
            (None, Some(path), None) => Ok(Place::Path(path.clone())),
            (None, None, Some(url)) => {
                let variable = std::env::var(KEY_VARIABLE).ok();
                Client::of_url(url, self.key.as_ref().or(variable.as_ref()).map(String::as_str))
                    .map(Place::Server)
            }
            _ => {
                let expected = "one of a directory before the file, --data-dir and --server";
                let error = Error::invalid(Fault::Parameter, format!("expected {expected}"));
                Err(error.with("expected", expected))
            }
        }
    }
}

/// The server that has locked `dir`, if it is one.
///
/// # Errors
/// `locked` itself, if it is no lock or no server listens there.
pub(super) fn holder(dir: &Path, locked: Error) -> Result<Client> {
    if locked.kind() != ErrorKind::Locked {
        return Err(locked);
    }
    Client::beside(dir).map_err(|_| locked)
}

/// The path of a collection on a server; `below` begins with a slash or is empty.
pub(super) fn collection_path(name: &str, below: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let mut path = "/v2/collections/".to_owned();
    for byte in name.bytes() {
        match plain(byte) {
            true => path.push(char::from(byte)),
            false => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path + below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_the_path() {
        assert_eq!(collection_path("a.b-c_1", ""), "/v2/collections/a.b-c_1");
        assert_eq!(collection_path("ü/?", "/ingest"), "/v2/collections/%C3%BC%2F%3F/ingest");
    }
}
