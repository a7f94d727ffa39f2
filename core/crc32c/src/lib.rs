//! CRC-32C, the checksum of every file: `crc32c` (bytes → sum) and `crc32c_append`. By the processor's
//! instruction, or by tables in a page; both give the same sums. Called by `nearfield_segment` and
//! `nearfield_engine` where bytes are written or checked.
//!
//! The library for processors has its tables in the binary, eight kilobytes that do not compress: a twentieth
//! of what a page loads. WebAssembly has no such instruction, so there tables are made at the first use.

#[cfg(not(target_arch = "wasm32"))]
pub use native::{crc32c, crc32c_append};
#[cfg(target_arch = "wasm32")]
pub use tables::{crc32c, crc32c_append};

#[cfg(any(test, target_arch = "wasm32"))]
pub mod tables;
