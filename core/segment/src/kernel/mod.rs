//! Arithmetic over lists of rows: inner products and squared distances, the same bits everywhere. `Kernel` is
//! chosen once (`Kernel::detect`) and passed as an argument to every search, build and merge;
//! `InstructionSet` names the choice. `scalar` is the plain implementation, `simd` the one in registers,
//! `codes` works on bytes, `nibbles` on half bytes, `element` converts f32 and halves.
//!
//! Every sum runs in [`LANES`] virtual lanes (element i in lane i mod 32), multiplies and then adds (never fused),
//! and ends in one fixed tree: lane j += lane j+16, then +8, +4, +2, +1. A register of any width holds a whole number
//! of lanes, so AVX-512, AVX2, NEON, wasm SIMD and plain loops agree in every bit. Rows and queries are padded with
//! zeros to a multiple of [`PADDING`] elements; a zero adds +0.0 to a lane, which changes nothing.
//!
//! This module knows no metric and no norms: those are one multiplication a row, and belong to `codec`.

mod codes;
mod comparison;
mod element;
mod nibbles;
mod scalar;
mod simd;
#[cfg(test)]
mod tests;

pub(crate) use codes::{CodeProducts, Quantise, Quantised};
pub(crate) use comparison::{Comparison, LANES, Measure, padded};
pub(crate) use element::{Element, half_from_f32, half_to_f32};
pub(crate) use nibbles::{BLOCK, BLOCK_BYTES, NibbleProducts};
pub(crate) use simd::prefetch_slice;

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::names::{self, names};

/// Families of vector instructions the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// 512-bit registers (x86-64-v4).
    Avx512,
    /// 256-bit registers (x86-64-v3).
    Avx2,
    /// 128-bit registers of 64-bit ARM.
    Neon,
    /// WebAssembly's fixed-width SIMD.
    Simd128,
    /// Plain loops; the reference for the others.
    Scalar,
}

// Fastest first.
names!(
    InstructionSet,
    "instruction set",
    Avx512 = "avx512",
    Avx2 = "avx2",
    Neon = "neon",
    Simd128 = "simd128",
    Scalar = "scalar"
);

/// The instructions to compute with. The choice changes speed, never a bit of a result.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    set: InstructionSet,
    token: Token,
}

/// Proof that the processor has the instructions, as pulp hands it out.
#[derive(Debug, Clone, Copy)]
enum Token {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4, Option<nibbles::vnni::Vnni>),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128(pulp::wasm::Simd128),
    Scalar,
}

impl Kernel {
    /// The fastest set this processor has.
    pub fn detect() -> Self {
        InstructionSet::ALL
            .into_iter()
            .find_map(Kernel::forced)
            .expect("plain loops run on every processor")
    }

    /// The named set, if this processor (and this build) has it.
    pub fn forced(set: InstructionSet) -> Option<Self> {
        let token = match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => pulp::x86::V4::try_new()
                .map(|token| Token::Avx512(token, nibbles::vnni::Vnni::detect())),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => pulp::x86::V3::try_new().map(Token::Avx2),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => pulp::aarch64::Neon::try_new().map(Token::Neon),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            InstructionSet::Simd128 => pulp::wasm::Simd128::try_new().map(Token::Simd128),
            InstructionSet::Scalar => Some(Token::Scalar),
            // Sets of other architectures.
            _ => None,
        };
        token.map(|token| Kernel { set, token })
    }

    /// The set in use.
    pub fn set(self) -> InstructionSet {
        self.set
    }

    /// All sets that this processor (and this build) has, fastest first.
    pub fn available() -> impl Iterator<Item = InstructionSet> {
        InstructionSet::ALL.into_iter().filter(|&set| Kernel::forced(set).is_some())
    }

    /// Runs one comparison of a query with a list of rows. One dispatch a call.
    pub(crate) fn run<E: Element>(self, comparison: Comparison<'_, E>) {
        comparison.check();
        match self.set() {
            InstructionSet::Scalar => scalar::compare(comparison),
            InstructionSet::Avx512
            | InstructionSet::Avx2
            | InstructionSet::Neon
            | InstructionSet::Simd128 => self.vectorize(comparison),
        }
    }

    /// Multiplies rows of half bytes with a query. One dispatch a call.
    pub(crate) fn nibble_products(self, products: NibbleProducts<'_>) {
        match self.token {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_, Some(vnni)) => vnni.nibble_products(products),
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(token, None) => nibbles::avx2::nibble_products(*token, products),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(token) => nibbles::avx2::nibble_products(token, products),
            #[cfg(target_arch = "aarch64")]
            Token::Neon(token) => nibbles::neon::nibble_products(token, products),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Token::Simd128(_) | Token::Scalar => nibbles::simd128::nibble_products(products),
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Token::Scalar => pulp::Simd::vectorize(pulp::Scalar::new(), products),
        }
    }

    /// Runs plain loops that are compiled for each set. One dispatch a call. A module of the browser has them once: all of
    /// it is compiled with its instructions, and a second copy would be a larger download.
    pub(crate) fn vectorize<C: pulp::WithSimd>(self, code: C) -> C::Output {
        match self.token {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(token, _) => pulp::Simd::vectorize(token, code),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(token) => pulp::Simd::vectorize(token, code),
            #[cfg(target_arch = "aarch64")]
            Token::Neon(token) => pulp::Simd::vectorize(token, code),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Token::Simd128(token) => pulp::Simd::vectorize(token, code),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Token::Scalar => match pulp::wasm::Simd128::try_new() {
                Some(token) => pulp::Simd::vectorize(token, code),
                None => unreachable!("the module is compiled with these instructions"),
            },
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Token::Scalar => pulp::Simd::vectorize(pulp::Scalar::new(), code),
        }
    }
}

/// By the name of an instruction set; `InvalidInput(Parameter)` for any that this processor does not have.
impl FromStr for Kernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let available: Vec<_> = Kernel::available().collect();
        let known: Vec<&str> = available.iter().map(|set| set.name()).collect();
        let set = available[names::find("instruction set", &known, name)?];
        Ok(Kernel::forced(set).expect("it is among those available"))
    }
}
