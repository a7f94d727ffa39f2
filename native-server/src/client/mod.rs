//! `Client`: a blocking client of a Nearfield server, HTTP/1.1 over TCP or over the control socket in a data
//! directory. Used by the commands `import`, `export`, `snapshot-create`, `verify` and `demo`.
//!
//! Each call opens a connection, waits, and closes it. Bodies are streamed both ways. No wait is endless.
//! Errors of the server come back as the engine's, with the server's code in the detail `code`. No TLS, no
//! redirects, no proxies: over an open network, put a proxy of your own between.

mod answer;
mod body;
mod patience;
mod target;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use nearfield_engine::{Error, ErrorKind, Fault, Result};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;

use body::Outgoing;
use patience::{IDLE_TIME_MAX, broken, next_piece, patiently};
use target::Target;

use crate::http::CONTROL_SOCKET;

/// Until a connection stands.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Until an answer begins: some are given when the work is done.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(600);

const JSON: &str = "application/json";

/// A server, and the key to use there.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    authorization: Option<HeaderValue>,
    runtime: Runtime,
}

/// What a request carries.
struct Call<'a> {
    method: Method,
    path: &'a str,
    content_type: &'a str,
    body: Outgoing,
}

impl Client {
    /// The server at `http://host:port`. `key` is sent with each request.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` for another kind of address or an impossible key.
    pub(crate) fn of_url(url: &str, key: Option<&str>) -> Result<Client> {
        let authorization = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                Error::invalid(Fault::Parameter, "key: expected visible ASCII characters only")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Client::new(Target::of_url(url)?, authorization.transpose()?)
    }

    /// The server that has the database in `data_dir` open, as its administrator.
    ///
    /// # Errors
    /// `NotFound` if there is no socket; the first call finds out whether a server listens.
    pub(crate) fn beside(data_dir: &Path) -> Result<Client> {
        let path = data_dir.join(CONTROL_SOCKET);
        if !path.exists() {
            let message = format!("no server listens in {}", data_dir.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Client::new(Target::Socket(path), None)
    }

    fn new(target: Target, authorization: Option<HeaderValue>) -> Result<Client> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| Error::io("start", "the client's runtime", error))?;
        Ok(Client { target, authorization, runtime })
    }

    /// What stands under `data` in the answer to a `GET`.
    ///
    /// # Errors
    /// What the server answered; `Io` if it cannot be reached or does not answer in time.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, Outgoing::nothing())
    }

    /// What stands under `data` in the answer to a `POST` of JSON.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) fn post(&self, path: &str, json: &Value) -> Result<Value> {
        self.ask(Method::POST, path, Outgoing::whole(json.to_string()))
    }

    fn ask(&self, method: Method, path: &str, body: Outgoing) -> Result<Value> {
        self.runtime.block_on(async {
            let call = Call { method, path, content_type: JSON, body };
            let response = patiently(ANSWER_TIME_MAX, self.send(call)).await??;
            answer::data(response).await
        })
    }

    /// `POST`s a body that `produce` makes piece by piece, `None` at its end, and returns what stands
    /// under `data` in the answer. An answer that comes earlier ends the sending.
    ///
    /// # Errors
    /// As [`Client::get`]; what `produce` returned, after cutting the connection.
    pub(crate) fn upload(
        &self,
        path: &str,
        content_type: &str,
        produce: &mut dyn FnMut() -> Result<Option<Bytes>>,
    ) -> Result<Value> {
        self.runtime.block_on(async {
            let (sender, body) = Outgoing::fed();
            let call = Call { method: Method::POST, path, content_type, body };
            let sent = self.send(call);
            tokio::pin!(sent);
            let early = tokio::select! {
                response = &mut sent => Some(response?),
                fed = feed(sender, produce) => { fed?; None }
            };
            let response = match early {
                Some(response) => response,
                None => patiently(ANSWER_TIME_MAX, sent).await??,
            };
            answer::data(response).await
        })
    }

    /// `POST`s JSON, or `GET`s a file, and hands the answer to `consume` piece by piece. Returns its length in bytes.
    ///
    /// # Errors
    /// As [`Client::get`]; what `consume` returned. An answer that is cut off is an error.
    pub(crate) fn download(
        &self,
        path: &str,
        json: Option<&Value>,
        consume: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        let (method, body) = match json {
            Some(json) => (Method::POST, Outgoing::whole(json.to_string())),
            None => (Method::GET, Outgoing::nothing()),
        };
        self.runtime.block_on(async {
            let call = Call { method, path, content_type: JSON, body };
            let response = patiently(ANSWER_TIME_MAX, self.send(call)).await??;
            if !response.status().is_success() {
                return Err(answer::refusal(response).await);
            }
            let (mut body, mut len) = (response.into_body(), 0);
            while let Some(piece) = next_piece(&mut body).await? {
                len += piece.len() as u64;
                consume(&piece)?;
            }
            Ok(len)
        })
    }

    async fn send(&self, call: Call<'_>) -> Result<Response<Incoming>> {
        match &self.target {
            Target::Tcp { authority } => {
                let opened = patiently(CONNECT_TIME_MAX, TcpStream::connect(authority)).await?;
                let stream = opened.map_err(|error| self.unreachable(error))?;
                drop(stream.set_nodelay(true));
                self.exchange(TokioIo::new(stream), call).await
            }
            Target::Socket(path) => {
                let opened = patiently(CONNECT_TIME_MAX, UnixStream::connect(path)).await?;
                let stream = opened.map_err(|error| self.unreachable(error))?;
                self.exchange(TokioIo::new(stream), call).await
            }
        }
    }

    async fn exchange<S: Read + Write + Unpin + Send + 'static>(
        &self,
        stream: S,
        call: Call<'_>,
    ) -> Result<Response<Incoming>> {
        let opened = http1::handshake(stream).await;
        let (mut sender, connection) = opened.map_err(|error| broken(&error))?;
        // Driven beside the call; its errors reach the call through `sender` and the body.
        self.runtime.spawn(connection);
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(HOST, self.target.host())
            .header(CONTENT_TYPE, call.content_type);
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let request = request.body(call.body).map_err(|error| {
            Error::invalid(Fault::Parameter, format!("request {:?}: {error}", call.path))
        })?;
        sender.send_request(request).await.map_err(|error| broken(&error))
    }

    fn unreachable(&self, error: std::io::Error) -> Error {
        let message = format!("no server answers at {}: {error}", self.target);
        Error::new(ErrorKind::Io, message).with("server", self.target.to_string())
    }
}

/// Sends what `produce` makes; waits where the server does not take it.
async fn feed(
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    produce: &mut dyn FnMut() -> Result<Option<Bytes>>,
) -> Result<()> {
    loop {
        let piece = match produce() {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(()),
            Err(error) => {
                // An end would look like a whole body; an error cuts the connection.
                let cut = std::io::Error::other("the sender gave up");
                drop(timeout(IDLE_TIME_MAX, sender.send(Err(cut))).await);
                return Err(error);
            }
        };
        let sent = patiently(IDLE_TIME_MAX, sender.send(Ok(piece))).await?;
        if sent.is_err() {
            // The connection is gone or has its answer; the caller waits for the answer and finds out.
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
