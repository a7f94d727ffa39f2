//! The binary `nearfield`: reads the command line and calls one function. No logic lives here.

use clap::Parser;

/// A vector search engine: one index format for notebook, server and browser.
#[derive(Debug, Parser)]
#[command(name = "nearfield", version, arg_required_else_help = true)]
struct Arguments {}

fn main() {
    let Arguments {} = Arguments::parse();
}
