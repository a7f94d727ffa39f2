//! The only place in the core that starts threads. `Pool` is passed by the engine to graph builds, merges, searches of
//! many queries and exports; its size is a number. `Pool::giving_way` is a pool that lets other work run first.
//!
//! Results never depend on the number of threads: work is a list of items, each written to its own
//! place. Threads live for one call (scoped), so nothing outlives its caller.

use std::num::NonZeroUsize;
use std::sync::Mutex;

/// How many threads a call may use. On wasm32 every pool runs on the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    threads: NonZeroUsize,
    gives_way: bool,
}

impl Pool {
    /// The calling thread only.
    pub const SERIAL: Pool = Pool { threads: NonZeroUsize::MIN, gives_way: false };

    /// Up to `threads` threads, the caller among them; 0 counts as 1.
    pub fn new(threads: usize) -> Self {
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        Pool { threads, gives_way: false }
    }

    /// The same for background work: after each chunk its threads offer their processor to others, so that
    /// those wait for a chunk and not for a time slice.
    #[must_use]
    pub fn giving_way(self) -> Self {
        Pool { gives_way: true, ..self }
    }

    /// Offers the processor to others, if that is this pool's way: for long work that has no chunks.
    pub fn give_way(&self) {
        if self.gives_way {
            std::thread::yield_now();
        }
    }

    /// Threads in use during a call.
    pub fn threads(&self) -> usize {
        if cfg!(target_arch = "wasm32") { 1 } else { self.threads.get() }
    }

    /// Calls `work(state, offset, chunk)` for consecutive chunks of `items` of at most `chunk_len`;
    /// `offset` is the index of the chunk's first item. Each thread makes one `state` with `init`.
    ///
    /// # Panics
    /// If `chunk_len` is 0, or with the panic of a worker.
    pub fn for_each_chunk<T: Send, S>(
        &self,
        items: &mut [T],
        chunk_len: usize,
        init: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, usize, &mut [T]) + Sync,
    ) {
        let threads = self.threads().min(items.len().div_ceil(chunk_len));
        let queue = Mutex::new(items.chunks_mut(chunk_len).enumerate());
        let run = || {
            let mut state = init();
            loop {
                let next = queue.lock().expect("a worker panicked").next();
                let Some((index, chunk)) = next else { break };
                work(&mut state, index * chunk_len, chunk);
                self.give_way();
            }
        };
        if threads <= 1 {
            return run();
        }
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(run);
            }
            run();
        });
    }

    /// `items.map(work)`, in order, one item a step.
    pub fn map<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let mut slots: Vec<Option<R>> = items.iter().map(|_| None).collect();
        self.for_each_chunk(
            &mut slots,
            1,
            || (),
            |(), index, slot| slot[0] = Some(work(&items[index])),
        );
        slots.into_iter().map(|slot| slot.expect("every chunk was visited")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_the_same_for_any_number_of_threads() {
        let items: Vec<u64> = (0..1000).collect();
        let expected: Vec<u64> = items.iter().map(|x| x * x).collect();
        for threads in [0, 1, 2, 5] {
            assert_eq!(Pool::new(threads).map(&items, |x| x * x), expected);
        }
    }

    #[test]
    fn empty_work_calls_nothing() {
        Pool::new(4).for_each_chunk(&mut [0u8; 0], 8, || (), |(), _, _| panic!("no items"));
    }
}
