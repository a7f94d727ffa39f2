//! What the machine gives a command: chance, time, processors, the choice of instructions.
//!
//! The core takes all of this by argument; for the command line, here is where it comes from. Nothing
//! else in `cli` asks the machine for time or chance.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::{InstructionSet, Kernel, Pool};

/// Environment variable that forces an instruction set.
const KERNEL_VARIABLE: &str = "NEARFIELD_KERNEL";

/// A seed that differs from call to call; the standard library draws it from the system.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Bytes that nobody can guess, from the system.
///
/// # Errors
/// `Io` if the system has none.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::io("draw", "random bytes", std::io::Error::other(error)))?;
    Ok(bytes)
}

/// The line that others see in a lock this process holds.
pub(crate) fn owner(command: &str) -> String {
    format!("pid {} (nearfield {} {command})", std::process::id(), env!("CARGO_PKG_VERSION"))
}

/// As many threads as asked for, or as there are processors.
pub(crate) fn pool(threads: Option<NonZeroUsize>) -> Pool {
    let available = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Pool::new(threads.unwrap_or_else(available).get())
}

/// The instructions named by `NEARFIELD_KERNEL`, or the fastest.
///
/// # Errors
/// `InvalidInput(Parameter)` listing what this processor has.
pub(crate) fn kernel() -> Result<Kernel> {
    let Some(name) = std::env::var_os(KERNEL_VARIABLE) else { return Ok(Kernel::detect()) };
    named_kernel(&name.to_string_lossy())
}

fn named_kernel(name: &str) -> Result<Kernel> {
    let named = InstructionSet::ALL.into_iter().find(|set| set.name() == name);
    named.and_then(Kernel::forced).ok_or_else(|| {
        let there = InstructionSet::ALL.into_iter().filter(|&set| Kernel::forced(set).is_some());
        let there: Vec<&str> = there.map(InstructionSet::name).collect();
        let expected = there.join(", ");
        let message = format!("{KERNEL_VARIABLE}: expected one of {expected}, got {name:?}");
        Error::invalid(Fault::Parameter, message).with("expected", there).with("got", name)
    })
}

/// Time since something began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the one place of the command line with a clock")]
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// A line on standard error that says how far something is; nothing if nobody watches.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    what: &'static str,
    shown: Option<u64>,
    watched: bool,
}

impl ProgressLine {
    pub(crate) fn new(what: &'static str) -> Self {
        ProgressLine { what, shown: None, watched: std::io::stderr().is_terminal() }
    }

    /// Shows whole percents, each once. A terminal that cannot be written is not worth an error.
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
        if self.watched && self.shown != Some(percent) {
            self.shown = Some(percent);
            let mut terminal = std::io::stderr();
            let written = write!(terminal, "\r{} {percent:3} %", self.what);
            drop(written.and_then(|()| terminal.flush()));
        }
    }
}

impl Drop for ProgressLine {
    /// Wipes the line, so that what follows starts on a clean one.
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_instruction_set_is_refused_with_those_there_are() {
        assert_eq!(named_kernel("scalar").expect("everywhere").set(), InstructionSet::Scalar);
        let error = named_kernel("mmx").expect_err("not a set");
        assert!(error.message().contains("scalar") && error.message().contains("\"mmx\""));
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(seed(), seed());
    }
}
