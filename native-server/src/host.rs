//! The operating system's services: random bytes (`seed`), time, number of processors, thread priority, memory limit
//! (`cgroup`), the instruction set (`kernel`), a progress line on standard error. Called by all commands and workers.
//!
//! The core takes all of this by argument; here is where it comes from. Nothing else of this crate asks the
//! machine for time or chance.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod cgroup;
mod heap;

use nearfield_engine::{Error, Result};
use nearfield_segment::{Kernel, Pool};

pub(crate) use heap::{anonymous_bytes, set_up as set_up_heap, trim};

/// Environment variable that forces an instruction set.
const KERNEL_VARIABLE: &str = "NEARFIELD_KERNEL";

/// A seed that differs from call to call; the standard library draws it from the system.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Random bytes that cannot be guessed, from the system.
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
    Pool::new(threads.map_or_else(processors, NonZeroUsize::get))
}

/// The instructions named by `NEARFIELD_KERNEL`, or the fastest.
///
/// # Errors
/// `InvalidInput(Parameter)` listing what this processor has.
pub(crate) fn kernel() -> Result<Kernel> {
    let Some(name) = std::env::var_os(KERNEL_VARIABLE) else { return Ok(Kernel::detect()) };
    name.to_string_lossy().parse().map_err(|error: Error| error.context(KERNEL_VARIABLE))
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
        self.elapsed().as_secs_f64()
    }

    /// Never goes back; the hands of everything here that waits.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Locks `mutex`, also after a thread that held it panicked: no lock here is held while its value is inconsistent.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processors this process may use; at least 1.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Bytes of memory this process may use: the machine's, or less if its control group or one around that allows
/// less. `None` where the machine does not say.
pub(crate) fn memory_bytes() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo".as_ref()).and_then(|text| meminfo_bytes(&text));
    machine.into_iter().chain(cgroup::memory_bytes_max(&read)).min()
}

fn meminfo_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// How far a thread of background work steps back. There is no way forward again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Behind every other thread: about an eighth of a processor that others want too. A thread that wakes up may still
    /// wait for a time slice; pools that give way (`Pool::giving_way`) end theirs early.
    Requests,
    /// Behind everything on the machine: it runs only when no other thread wants the processor. Its reads and
    /// writes then come last as well: Linux derives the class of IO from this policy.
    Everything,
}

/// Makes the calling thread, and those it starts, step back. False if the system refuses or cannot.
#[cfg(target_os = "linux")]
pub(crate) fn lower_priority(behind: Behind) -> bool {
    use thread_priority::ThreadPriority;
    use thread_priority::unix::{
        NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id, thread_schedule_policy,
    };
    // The crate counts from 0 to 99; a quarter of that is a nice value of 9.
    let quarter = 24u8.try_into().map_or(ThreadPriority::Min, ThreadPriority::Crossplatform);
    let (policy, priority) = match behind {
        Behind::Requests => (NormalThreadSchedulePolicy::Other, quarter),
        Behind::Everything => (NormalThreadSchedulePolicy::Idle, ThreadPriority::Min),
    };
    let policy = ThreadSchedulePolicy::Normal(policy);
    let set = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    match behind {
        Behind::Requests => set.is_ok(),
        // It also sets the nice value, which a process that was started nicely may not; the policy counts.
        Behind::Everything => thread_schedule_policy().is_ok_and(|now| now == policy),
    }
}

/// Other systems have no such thing behind a safe call.
#[cfg(not(target_os = "linux"))]
pub(crate) fn lower_priority(_behind: Behind) -> bool {
    false
}

/// A line on standard error with the progress of a task, if it is a terminal.
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
    fn the_memory_of_a_machine_is_read_in_kibibytes() {
        assert_eq!(meminfo_bytes("MemTotal:   24 kB\nMemFree: 1 kB\n"), Some(24 * 1024));
        assert_eq!(meminfo_bytes("MemTotal: much\n"), None);
        assert_eq!(meminfo_bytes(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_can_lower_priority_behind_requests_alone() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux has it");
            let behind_the_name = stat.rsplit_once(") ").expect("as proc(5) says").1;
            behind_the_name.split(' ').nth(16).and_then(|nice| nice.parse::<i32>().ok())
        };
        let before = nice().expect("a number");
        let (done, after) = std::thread::scope(|scope| {
            let stepped_back = scope.spawn(|| (lower_priority(Behind::Requests), nice()));
            stepped_back.join().expect("no panic")
        });
        // A process that starts with a higher nice value keeps it.
        assert!(!done || after > Some(before.min(8)), "{before} {after:?}");
        assert_eq!(nice(), Some(before), "the others go on as before");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_and_those_it_starts_can_lower_priority() {
        use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let policy = || thread_priority::unix::thread_schedule_policy().expect("has one");
        std::thread::scope(|scope| {
            let stepped_back = scope.spawn(|| {
                assert!(lower_priority(Behind::Everything));
                let inherited = std::thread::scope(|inner| inner.spawn(policy).join());
                (policy(), inherited.expect("no panic"))
            });
            assert_eq!(stepped_back.join().expect("no panic"), (idle, idle));
        });
        assert_ne!(policy(), idle, "the others go on as before");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(seed(), seed());
    }
}
