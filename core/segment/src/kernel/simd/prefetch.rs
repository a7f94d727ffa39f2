//! Asking the memory for bytes before they are needed. A hint: it changes no result.

/// Lines asked for at most; beyond them the processor's own prefetcher has found the stride.
const LINES_MAX: usize = 64;

const LINE_BYTES: usize = 64;

/// Starts loading the first lines of a slice into the nearest cache.
#[inline(always)]
pub(crate) fn prefetch_slice<T>(slice: &[T]) {
    let start = slice.as_ptr().cast::<u8>();
    let lines = size_of_val(slice).div_ceil(LINE_BYTES).min(LINES_MAX);
    for line in 0..lines {
        prefetch_line(start.wrapping_add(line * LINE_BYTES));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_line(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: prefetching reads nothing the program can see and faults on no address; SSE is part
    // of x86-64. It exists because rows of a graph walk are random: the load takes as long as the sum.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch_line(_address: *const u8) {}
