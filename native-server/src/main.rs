//! The binary `nearfield`: parses the command line, calls `cli::run`, and turns the result into an exit code.
//!
//! Data goes to standard output, everything else (progress, warnings, errors) to standard error.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use nearfield_server::cli::{self, Command};

/// A vector search engine: one index format for notebook, command line and what comes next.
///
/// Exit codes: 0 ok, 1 findings or a failure of the system, 2 usage, 3 not found, 4 locked, 5 damaged.
/// NEARFIELD_KERNEL=avx512|avx2|neon|scalar chooses the instructions, RUST_LOG what is logged (default: info for
/// serve-v2, warn for other commands).
#[derive(Debug, Parser)]
#[command(name = "nearfield", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    cli::log_to_stderr(&command);
    let mut out = BufWriter::new(io::stdout().lock());
    let ended = cli::run(command, &mut out);
    let flushed = out.flush().map_err(cli::Failure::from);
    match ended.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("error: {message}");
            }
            ExitCode::from(failure.exit().code())
        }
    }
}
