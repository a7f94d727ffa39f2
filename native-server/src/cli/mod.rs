//! The commands: each checks its arguments, calls the engine, and prints what came back. `Command` is the
//! enum of all commands; `main` parses it and calls `run` (command and writer → `Exit`).
//!
//! Data is printed to the writer that is passed in, as text or (`--json`) as one JSON document; progress
//! and warnings go to standard error. Commands that only read take no lock a writer would notice.
//! No algorithm lives here, and nothing here is used by the library bindings.

mod audit;
mod compact;
mod demo;
mod exit;
mod export;
mod import;
mod info;
mod keys;
mod log;
mod migrate;
mod printable;
mod replay;
mod search;
mod serve;
mod server;
mod snapshot;
mod store;
mod verify;

pub use exit::{Exit, Failure, Result};
pub use log::log_to_stderr;

use std::io::Write;

use clap::Subcommand;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what it does: ingest, search, filter, be killed, reopen, measure
    Demo(demo::Demo),
    /// The process that the demo kills
    #[command(hide = true)]
    DemoWriter(demo::DemoWriter),
    /// Read vectors from a file into a collection of a directory or a server
    Import(import::Import),
    /// Find the points nearest to a vector or to another point
    Search(search::Search),
    /// Say what is in a database or an export
    Info(info::Info),
    /// Read every byte and check it
    Verify(verify::Verify),
    /// Serve a database over HTTP
    #[command(name = "serve-v2", alias = "serve")]
    Serve(Box<serve::Serve>),
    /// Print the OpenAPI document of the server
    #[command(name = "openapi")]
    OpenApi(serve::OpenApi),
    /// Write collections to one .near file, or a collection to a file for others
    Export(export::Export),
    /// Write a snapshot below the database's own directory
    SnapshotCreate(snapshot::SnapshotCreate),
    /// Put the collections of a snapshot in the place of those of the same names, after checking it
    SnapshotRestore(snapshot::SnapshotRestore),
    /// Take a collection back to an earlier LSN; the state before is kept
    ReplayToLsn(replay::ReplayToLsn),
    /// Merge a collection into one segment in its final form
    Compact(compact::Compact),
    /// Write the files of older formats anew in the present one
    Migrate(migrate::Migrate),
    /// Remove files that neither the present nor the history to be kept needs
    Vacuum(compact::Vacuum),
    /// Make a key and show its token, this once
    KeyCreate(keys::KeyCreate),
    /// Revoke a key; it takes effect at once in a running server
    KeyRevoke(keys::KeyRevoke),
    /// Show the keys; their tokens cannot be shown
    KeyList(keys::KeyList),
    /// Show the audit of a server
    Audit(audit::Audit),
}

/// Carries out a command; data goes to `out`.
///
/// # Errors
/// What the core refused, or a failure to write to `out`.
pub fn run(command: Command, out: &mut dyn Write) -> Result<Exit> {
    match command {
        Command::Demo(command) => command.run(out).map(|()| Exit::Ok),
        Command::DemoWriter(command) => command.run(out).map(|()| Exit::Ok),
        Command::Import(command) => command.run(out).map(|()| Exit::Ok),
        Command::Search(command) => command.run(out).map(|()| Exit::Ok),
        Command::Info(command) => command.run(out),
        Command::Verify(command) => command.run(out),
        Command::Serve(command) => command.run(out).map(|()| Exit::Ok),
        Command::OpenApi(command) => command.run(out).map(|()| Exit::Ok),
        Command::Export(command) => command.run(out).map(|()| Exit::Ok),
        Command::SnapshotCreate(command) => command.run(out).map(|()| Exit::Ok),
        Command::SnapshotRestore(command) => command.run(out).map(|()| Exit::Ok),
        Command::ReplayToLsn(command) => command.run(out).map(|()| Exit::Ok),
        Command::Compact(command) => command.run(out).map(|()| Exit::Ok),
        Command::Migrate(command) => command.run(out).map(|()| Exit::Ok),
        Command::Vacuum(command) => command.run(out).map(|()| Exit::Ok),
        Command::KeyCreate(command) => command.run(out).map(|()| Exit::Ok),
        Command::KeyRevoke(command) => command.run(out).map(|()| Exit::Ok),
        Command::KeyList(command) => command.run(out).map(|()| Exit::Ok),
        Command::Audit(command) => command.run(out).map(|()| Exit::Ok),
    }
}
