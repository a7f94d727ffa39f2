//! The trait `Codec`: how a vector becomes bytes, and how rows are compared with a query. Implemented by
//! `OriginalCodec`, `ListCodec` and the approximations; used by `VectorField` and the inverted lists.
//!
//! A [`Codec`] turns each row into a code of fixed length and a few numbers, the factors of the row; [`EncodedRows`]
//! holds those of many rows. `originals` is the codec of the stored values, `codes` has those of fewer bytes. What a
//! codec makes of a query and a code differs: an exact distance, a distance that is near, or a bound.

use crate::error::Result;
use crate::storage::AlignedBuffer;

/// A way to encode rows. A value of it has what encoding depends on: dimension, metric, instruction set.
pub trait Codec {
    /// What is kept of a row beside its code, for example a length.
    type Factors: Copy;
    /// A query, prepared once for any number of rows.
    type Query;

    /// Bytes of a code.
    fn code_bytes(&self) -> usize;

    /// Writes the code of a vector to `code`, which has [`code_bytes`](Codec::code_bytes) bytes. O(dim).
    ///
    /// # Errors
    /// `InvalidInput(NonFinite)` if an element is beyond what codes can hold; `code` is then unspecified.
    fn encode(&self, values: &[f32], code: &mut [u8]) -> Result<Self::Factors>;

    /// Prepares a query. O(dim).
    fn query(&self, values: &[f32]) -> Self::Query;
}

/// Rows in one encoding.
#[derive(Debug)]
pub struct EncodedRows<C: Codec> {
    codec: C,
    codes: AlignedBuffer,
    factors: Vec<C::Factors>,
}

impl<C: Codec> EncodedRows<C> {
    /// No rows, with memory for the codes of `capacity` rows.
    pub fn with_capacity(codec: C, capacity: usize) -> Self {
        let codes = AlignedBuffer::zeroed(capacity * codec.code_bytes());
        EncodedRows { codec, codes, factors: Vec::with_capacity(capacity) }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// As [`Codec::encode`].
    ///
    /// # Panics
    /// If the capacity is used up.
    pub fn push(&mut self, values: &[f32]) -> Result<()> {
        let code_bytes = self.codec.code_bytes();
        let code = &mut self.codes.as_mut_slice()[self.factors.len() * code_bytes..][..code_bytes];
        let encoded = self.codec.encode(values, code);
        self.factors.push(encoded.map_err(|error| error.with("row", self.factors.len()))?);
        Ok(())
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.factors.len()
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.factors.is_empty()
    }

    /// How the rows are encoded.
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// The codes of all rows, one after the other.
    pub(crate) fn codes(&self) -> &[u8] {
        &self.codes[..self.factors.len() * self.codec.code_bytes()]
    }

    /// The factors of all rows.
    pub(crate) fn factors(&self) -> &[C::Factors] {
        &self.factors
    }

    /// The codes and factors of all rows.
    pub(crate) fn into_parts(mut self) -> (AlignedBuffer, Vec<C::Factors>) {
        self.codes.truncate(self.factors.len() * self.codec.code_bytes());
        (self.codes, self.factors)
    }

    /// Bytes of memory of codes and factors.
    pub(crate) fn bytes(&self) -> u64 {
        (self.codes.len() + size_of_val(&*self.factors)) as u64
    }
}
