//! `crc32c` and `crc32c_append` for WebAssembly: sixteen bytes at a time by sixteen tables (as in "slicing by
//! 8", Kounavis and Berry, 2005), made once. Re-exported by the crate there; elsewhere tests compare it with
//! the instruction.

use std::sync::OnceLock;

/// Castagnoli's polynomial, lowest power first.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const SLICES: usize = 16;

/// `tables[n][byte]` is the sum of `byte` followed by `n` zeros.
type Tables = [[u32; 256]; SLICES];

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Box<Tables>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut tables = Box::new([[0; 256]; SLICES]);
        for byte in 0..256 {
            let bits = (0..8).fold(byte as u32, |sum, _| (sum >> 1) ^ (POLYNOMIAL * (sum & 1)));
            tables[0][byte] = bits;
        }
        for slice in 1..SLICES {
            for byte in 0..256 {
                let before = tables[slice - 1][byte];
                tables[slice][byte] = (before >> 8) ^ tables[0][(before & 255) as usize];
            }
        }
        tables
    })
}

/// The checksum of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// The checksum of what has the checksum `crc`, followed by `bytes`.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    let tables = tables();
    let (pieces, rest) = bytes.as_chunks::<SLICES>();
    let mut sum = !crc;
    for piece in pieces {
        let word = (u128::from_le_bytes(*piece) ^ u128::from(sum)).to_le_bytes();
        let parts = tables.iter().rev().zip(word).map(|(table, byte)| table[usize::from(byte)]);
        sum = parts.fold(0, |sum, part| sum ^ part);
    }
    for &byte in rest {
        sum = (sum >> 8) ^ tables[0][usize::from(sum as u8 ^ byte)];
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_sum_of_nine_digits() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn every_length_and_every_cut_gives_the_sums_of_the_library() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| ((i * i * 31) >> 3) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc32c(&bytes[..len]), native::crc32c(&bytes[..len]), "{len} bytes");
            let (front, back) = bytes.split_at(len);
            assert_eq!(crc32c_append(crc32c(front), back), native::crc32c(&bytes), "cut at {len}");
        }
    }
}
