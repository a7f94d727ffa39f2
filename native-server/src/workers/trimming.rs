//! `Trimming`: the thread that gives freed memory back to the system, after it has grown. Started by
//! `opening`, stopped by `Store`.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nearfield_engine::{Error, Result};

use crate::host;

/// Time between two looks at the memory of the process.
const INTERVAL: Duration = Duration::from_millis(500);
/// Growth since the last time after which memory is given back.
const GROWN_BYTES: u64 = 8 << 20;

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Trimming {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Trimming {
    /// Starts the thread.
    ///
    /// # Errors
    /// `Io` if the system has no more threads.
    pub(super) fn start() -> Result<Trimming> {
        let shared = Arc::<Shared>::default();
        let thread = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("memory".to_owned());
        let started = builder.spawn(move || thread.run());
        started.map_err(|error| Error::io("start", "a thread for memory", error))?;
        Ok(Trimming { shared })
    }
}

impl Shared {
    fn run(&self) {
        let mut least_bytes = host::anonymous_bytes().unwrap_or(u64::MAX);
        let mut stopped = host::lock(&self.stopped);
        while !*stopped {
            let waited = self.stop.wait_timeout(stopped, INTERVAL);
            (stopped, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let Some(bytes) = host::anonymous_bytes() else { return };
            if bytes > least_bytes.saturating_add(GROWN_BYTES) {
                host::trim();
                least_bytes = host::anonymous_bytes().unwrap_or(bytes);
            } else {
                least_bytes = least_bytes.min(bytes);
            }
        }
    }
}

impl Drop for Trimming {
    fn drop(&mut self) {
        *host::lock(&self.shared.stopped) = true;
        self.shared.stop.notify_all();
    }
}
