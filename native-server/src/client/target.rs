//! `Target`: the address of a server as an argument names it (a URL or a data directory), and the connection to it.
//! Used by `Client`.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use nearfield_engine::{Error, Fault, Result};

/// Port of an address without one.
const PORT: u16 = 8080;

/// Where a server listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `host:port`.
    Tcp { authority: String },
    /// A Unix socket.
    Socket(PathBuf),
}

impl Target {
    /// Reads `http://host[:port]`.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` saying what is wrong, and what to do instead of https.
    pub(super) fn of_url(url: &str) -> Result<Target> {
        let refused = |found: &str| {
            let message = format!("server: expected http://host:port, {found}");
            Err(Error::invalid(Fault::Parameter, message).with("expected", "http://host:port"))
        };
        let Ok(uri) = url.parse::<Uri>() else { return refused(&format!("got {url:?}")) };
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return refused(
                    "got https: this client has no TLS; give it a local proxy that has, or a tunnel \
                     (ssh -L 8080:localhost:8080 host)",
                );
            }
            Some(_) | None => return refused(&format!("got {url:?}")),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return refused(&format!("without a path, got {url:?}"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@'))
        else {
            return refused("without a user; give the key with --key or NEARFIELD_KEY");
        };
        let port = authority.port_u16().unwrap_or(PORT);
        Ok(Target::Tcp { authority: format!("{}:{port}", authority.host()) })
    }

    /// Value of the `host` header.
    pub(super) fn host(&self) -> &str {
        match self {
            Target::Tcp { authority } => authority,
            Target::Socket(_) => "localhost",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp { authority } => write!(f, "http://{authority}"),
            Target::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_others_refused_with_advice() {
        let target = |url: &str| Target::of_url(url).map(|target| target.to_string());
        for (url, read) in [
            ("http://127.0.0.1:7000", "http://127.0.0.1:7000"),
            ("http://localhost/", "http://localhost:8080"),
            ("http://[::1]:9", "http://[::1]:9"),
        ] {
            assert_eq!(target(url).expect(url), read);
        }
        for (url, advice) in [
            ("https://host", "ssh -L"),
            ("localhost:80", "http://host:port"),
            ("http://a@host", "--key"),
            ("http://host/v2", "without a path"),
            ("ftp://host", "http://host:port"),
            ("", "http://host:port"),
        ] {
            let message = target(url).expect_err(url).message().to_owned();
            assert!(message.contains(advice), "{url}: {message}");
        }
    }
}
