//! `caught`: runs a decoder of another crate and turns its panic into a result, where bytes from outside can
//! cause one. Called by `ArrowRows` and `Parquet`.
//!
//! Those crates index and assert where bytes might still contradict each other. Such a panic costs its caller one
//! request or one file. It is not reported on standard error like a fault of this program: with a backtrace it
//! would be 30 KB for each message of a hostile client.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// A panic on this thread is caught and counted, so that it needs no report.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a step of a decoder; `None` if it panicked. The decoder must not be used again then.
pub(super) fn caught<T>(step: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |report| {
            if !CAUGHT.get() {
                usual(report);
            }
        }));
    });
    CAUGHT.set(true);
    let ended = catch_unwind(AssertUnwindSafe(step));
    CAUGHT.set(false);
    ended.ok()
}
