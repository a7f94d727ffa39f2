//! `prefetch_slice` asks the memory for bytes before they are needed. A hint: it changes no result. Called by
//! the SIMD loops, and by the graph search for rows and lists of neighbours.
//!
//! x86 has an instruction for it. WebAssembly has none, so there the lines are read and thrown away.

use crate::kernel::Element;

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

/// Reads one byte of each line of a slice, for machines without a prefetch instruction.
///
/// A processor looks ahead over some hundred instructions: less than the sum of one row, but many rows of
/// these reads, so that their misses are waited for together (decision 0037).
#[inline(always)]
pub(crate) fn read_lines<E: Element>(slice: &[E]) {
    const UNROLLED: usize = 8;
    let start = slice.as_ptr().cast::<u8>();
    let read = |line: usize| {
        // SAFETY: the line begins inside the slice, so the byte is one of it; elements are numbers, without
        // padding. Volatile, because the compiler would drop a read without a use.
        unsafe { start.add(line * LINE_BYTES).read_volatile() };
    };
    let lines = size_of_val(slice).div_ceil(LINE_BYTES).min(LINES_MAX);
    let mut line = 0;
    // Eight by name: the module is compiled for size, and the loop's own steps would fill the look-ahead.
    while line + UNROLLED <= lines {
        read(line);
        read(line + 1);
        read(line + 2);
        read(line + 3);
        read(line + 4);
        read(line + 5);
        read(line + 6);
        read(line + 7);
        line += UNROLLED;
    }
    while line < lines {
        read(line);
        line += 1;
    }
}
