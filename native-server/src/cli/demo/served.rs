//! Fourth part of `nearfield demo`: serves the same database over HTTP and prints three commands to paste.
//! Entry: `show`, called by `Demo`.
//!
//! The server is this program again, on a free loopback port, with a key of its own that may query. It ends when its
//! input does, so it never outlives the demo. Each line is printed with the answer that the same request got here.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nearfield_engine::{Error, ErrorKind, SystemClock};
use serde_json::{Value, json};

use super::database::broken;
use super::digits::SHOWN;
use crate::catalog::{Catalog, Role};
use crate::cli::exit::Result;
use crate::client::Client;
use crate::host::Stopwatch;
use crate::sample::Digits;

/// The server ends after this even if Enter was not pressed.
const STAY: Duration = Duration::from_secs(600);
const READY_SECONDS_MAX: f64 = 60.0;
/// Characters of an answer that are shown.
const ANSWER_SHOWN: usize = 110;

/// Shows the lines; keeps serving at a terminal, or with `keep`.
pub(super) fn show(out: &mut dyn Write, dir: &Path, keep: bool) -> Result {
    let catalog = Catalog::open(dir, Arc::new(SystemClock))?;
    let key = catalog.create_key("demo", Role::Query.into(), None)?;
    let server = Serving::start(dir)?;
    let token = key.token.reveal();
    let client = Client::of_url(&server.address, Some(token))?;
    wait_until_ready(&client)?;
    writeln!(
        out,
        "{} serves the same directory; for this run there is a key that may query.",
        server.address
    )?;
    for request in requests() {
        writeln!(out, "\n  {}", request.line(&server.address, token))?;
        writeln!(out, "    {}", shortened(&request.ask(&client)?))?;
    }
    let watched = io::stdin().is_terminal() && io::stdout().is_terminal();
    if keep || watched {
        writeln!(
            out,
            "\nThe server runs until you press Enter{}.",
            if keep { "" } else { ", at most ten minutes" }
        )?;
        out.flush()?;
        wait_for_enter(if keep { None } else { Some(STAY) })?;
    } else {
        writeln!(out, "\nThere is no terminal, so the server ends now; demo --serve keeps it.")?;
    }
    server.end()?;
    // The key is not needed any more.
    catalog.revoke_key(&key.info.id.to_string())?;
    Ok(writeln!(out, "The server ended with a checkpoint; the key is revoked.")?)
}

/// One line to paste.
struct Request {
    path: &'static str,
    /// Of a POST.
    body: Option<Value>,
}

fn requests() -> [Request; 3] {
    let image = Digits::load().image(SHOWN).to_vec();
    let pixels: Vec<u8> = image.iter().map(|&pixel| pixel as u8).collect();
    let near = json!({"vector": pixels, "k": 3, "filter": {"label": {"ne": 3}}});
    let count = json!({"filter": {"label": 3}});
    [
        Request { path: "/v2/health/ready", body: None },
        Request { path: "/v2/collections/digits/count", body: Some(count) },
        Request { path: "/v2/collections/digits/query", body: Some(near) },
    ]
}

impl Request {
    fn line(&self, address: &str, token: &str) -> String {
        let target = format!("curl -s {address}{} -H 'Authorization: Bearer {token}'", self.path);
        match &self.body {
            None => target,
            Some(body) => format!("{target} -H 'Content-Type: application/json' -d '{body}'"),
        }
    }

    fn ask(&self, client: &Client) -> Result<Value> {
        Ok(match &self.body {
            None => client.get(self.path)?,
            Some(body) => client.post(self.path, body)?,
        })
    }
}

fn shortened(answer: &Value) -> String {
    let text = answer.to_string();
    if text.chars().count() <= ANSWER_SHOWN {
        return text;
    }
    text.chars().take(ANSWER_SHOWN).chain(['…']).collect()
}

/// The server's process.
struct Serving {
    child: Child,
    input: Option<ChildStdin>,
    address: String,
}

impl Serving {
    fn start(dir: &Path) -> Result<Serving> {
        let program = std::env::current_exe().map_err(failed("find the program of"))?;
        let mut command = Command::new(program);
        command.arg("serve-v2").arg("--data-dir").arg(dir).args([
            "--port",
            "0",
            "--ends-with-input",
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if std::env::var_os("RUST_LOG").is_none() {
            // Its log would stand between the lines of the demo.
            command.env("RUST_LOG", "warn");
        }
        let mut child = command.spawn().map_err(failed("start"))?;
        let input = child.stdin.take();
        let printed = BufReader::new(child.stdout.take().expect("the pipe was asked for"));
        let mut serving = Serving { child, input, address: String::new() };
        for line in printed.lines() {
            let line = line.map_err(failed("read from"))?;
            if let Some(address) = line.strip_prefix("listening on ") {
                address.clone_into(&mut serving.address);
                return Ok(serving);
            }
        }
        Err(broken("the server ended before it listened".to_owned()))
    }

    /// Ends it as an operator would; it must say that all went well.
    fn end(mut self) -> Result {
        drop(self.input.take());
        let ended = self.child.wait().map_err(failed("wait for"))?;
        if ended.success() { Ok(()) } else { Err(broken(format!("the server ended with {ended}"))) }
    }
}

impl Drop for Serving {
    /// After an error: what was acknowledged is safe without a graceful end.
    fn drop(&mut self) {
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::io(action, "the server's process", error)
}

fn wait_until_ready(client: &Client) -> Result {
    let clock = Stopwatch::start();
    loop {
        match client.get("/v2/health/ready") {
            Ok(_) => return Ok(()),
            Err(error) if clock.seconds() > READY_SECONDS_MAX => return Err(error.into()),
            Err(error) if error.kind() == ErrorKind::Corrupt => return Err(error.into()),
            Err(_) => thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// Returns after a line or the end of the input, or after `patience`.
fn wait_for_enter(patience: Option<Duration>) -> Result {
    let (sender, pressed) = mpsc::channel();
    let read = move || {
        let mut line = String::new();
        drop(io::stdin().read_line(&mut line).map(|_| sender.send(())));
    };
    // Detached: a read of a terminal cannot be given up.
    thread::Builder::new().name("enter".to_owned()).spawn(read).map_err(failed("wait beside"))?;
    match patience {
        None => drop(pressed.recv()),
        Some(patience) => drop(pressed.recv_timeout(patience)),
    }
    Ok(())
}
