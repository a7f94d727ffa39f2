//! CRC-32C, the checksum of every file: by the processor's instruction, or by tables in a page.
//!
//! The library for processors has its tables in the binary, eight kilobytes that do not compress: a twentieth of
//! what a page loads. WebAssembly has no such instruction, so there the same tables are made at the first use.
//! Both give the same sums. Knows no files and no formats.

#[cfg(not(target_arch = "wasm32"))]
pub use native::{crc32c, crc32c_append};
#[cfg(target_arch = "wasm32")]
pub use tables::{crc32c, crc32c_append};

#[cfg(any(test, target_arch = "wasm32"))]
pub mod tables;
