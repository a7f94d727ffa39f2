//! The section of four-bit codes of a field: `StoredCodes` opens it, `CodesBuilder` makes it. Used by `VectorField`.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | version, 1 |
//! | 4 | 4 | rows |
//! | 8 | 4 | dim |
//! | 12 | 4 | candidates that a walk keeps beyond those of a walk by originals |
//! | 16 | 48 | zeros |
//! | 64 | 4 × dim | c, the mean of the rows, rotated; zeros to the next multiple of 64 |
//! | … | 4 × rows, for L2 8 × rows | by row: ‖r‖² / ⟨w, r⟩, for L2 also ‖r‖², f32; zeros to the next multiple of 64 |
//! | … | 64 × ⌈dim / 128⌉ × rows | by row: its code, as `kernel::nibbles` lays it out |

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Guard, Residence, Section};
use crate::ids::RowId;
use crate::kernel::Kernel;
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::schema::{VectorSpec, squared_norm};
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::originals::{VectorRows, cast};

use super::four_bit::{FourBitCodec, FourBitRows, code_bytes, factor_count};

const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
/// Where the number of extra candidates is.
const EXTRA: Range<usize> = 12..16;

/// What is where in the section.
#[derive(Debug, Clone)]
struct Layout {
    mean: Range<usize>,
    factors: Range<usize>,
    codes: Range<usize>,
}

impl Layout {
    fn new(metric: Metric, dim: usize, rows: usize) -> Layout {
        let mean = HEADER_BYTES..HEADER_BYTES + size_of::<f32>() * dim;
        let start = mean.end.next_multiple_of(64);
        let factors = start..start + size_of::<f32>() * factor_count(metric) * rows;
        let start = factors.end.next_multiple_of(64);
        Layout { mean, factors, codes: start..start + code_bytes(dim) * rows }
    }
}

/// The codes of a field in an opened file.
#[derive(Debug)]
pub(in crate::vector) struct StoredCodes {
    codec: FourBitCodec,
    rows: usize,
    extra_candidates: u32,
    layout: Layout,
    bytes: Bytes,
    /// Of a mapped file: codes are verified when they are first read.
    section: Option<Arc<Section>>,
}

impl StoredCodes {
    /// Opens the codes of `rows` rows. Of a mapped file it reads the front, else every byte.
    ///
    /// # Errors
    /// `Corrupt` if the section does not hold such codes, in this version of it; what the blob returns.
    pub(in crate::vector) fn open(
        section: &Arc<Section>,
        residence: Residence,
        spec: &VectorSpec,
        rows: u32,
    ) -> Result<StoredCodes> {
        let dim = spec.dim as usize;
        let layout = Layout::new(spec.metric, dim, rows as usize);
        let len = section.entry().len;
        if len != layout.codes.end as u64 {
            return Err(corrupt(len));
        }
        let front = section.read(0..layout.mean.end as u64)?;
        let field = |index: usize| u32::from_le_bytes(front.as_chunks().0[index]);
        if [0, 1, 2].map(field) != [VERSION, rows, spec.dim] {
            return Err(corrupt(len));
        }
        let mean = front[layout.mean.clone()].as_chunks().0.iter();
        let mean = mean.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let codec = FourBitCodec::with_rotated_mean(spec.metric, mean);
        let is_mapped = residence.is_mapped();
        let bytes = if is_mapped {
            section.read_unverified(0..len)?
        } else {
            section.read_all(residence)?
        };
        cast::<f32>("codes", &bytes[layout.factors.clone()])?;
        let extra_candidates = field(3);
        let section = is_mapped.then(|| Arc::clone(section));
        let rows = rows as usize;
        Ok(StoredCodes { codec, rows, extra_candidates, layout, bytes, section })
    }

    /// The rows.
    pub(in crate::vector) fn rows(&self) -> FourBitRows<'_> {
        FourBitRows {
            codec: &self.codec,
            codes: &self.bytes[self.layout.codes.clone()],
            factors: bytemuck::cast_slice(&self.bytes[self.layout.factors.clone()]),
        }
    }

    /// Candidates that a walk keeps beyond those of a walk by originals.
    pub(in crate::vector) fn extra_candidates(&self) -> usize {
        self.extra_candidates as usize
    }

    /// What a search verifies rows with, unless all of them were verified.
    pub(in crate::vector) fn guards(&self) -> [Option<Guard<'_>>; 2] {
        let Some(section) = &self.section else { return [None, None] };
        let Layout { factors, codes, .. } = &self.layout;
        [
            Guard::new(section, factors.start, factors.len() / self.rows.max(1)),
            Guard::new(section, codes.start, self.codec.code_bytes()),
        ]
    }

    /// True once a block of it was found damaged.
    pub(in crate::vector) fn is_damaged(&self) -> bool {
        self.section.as_ref().is_some_and(|section| section.is_damaged())
    }
}

/// Makes the section, in pieces.
#[derive(Debug)]
pub(in crate::vector) struct CodesBuilder {
    codec: FourBitCodec,
    layout: Layout,
    buffer: AlignedBuffer,
    /// Rows encoded.
    done: usize,
}

/// Rows encoded by one step.
const STEP_ROWS: usize = 1 << 15;
/// Rows that a thread takes at a time.
const CHUNK_ROWS: usize = 256;

impl CodesBuilder {
    /// For these rows, which every call is given. Reads all of them: O(rows × dim).
    pub(in crate::vector) fn new(rows: &VectorRows<'_>, kernel: Kernel) -> CodesBuilder {
        let codec = FourBitCodec::new(kernel, rows.metric(), mean(rows));
        let layout = Layout::new(rows.metric(), rows.dim(), rows.len() as usize);
        let mut buffer = AlignedBuffer::zeroed(layout.codes.end);
        let header = [VERSION, rows.len(), rows.dim() as u32].map(u32::to_le_bytes);
        let bytes = buffer.as_mut_slice();
        bytes[..size_of_val(&header)].copy_from_slice(header.as_flattened());
        let places = bytes[layout.mean.clone()].as_chunks_mut().0;
        for (place, value) in places.iter_mut().zip(codec.rotated_mean()) {
            *place = value.to_le_bytes();
        }
        CodesBuilder { codec, layout, buffer, done: 0 }
    }

    /// Encodes some rows; false when all are.
    pub(in crate::vector) fn step(
        &mut self,
        rows: &VectorRows<'_>,
        kernel: Kernel,
        pool: &Pool,
    ) -> bool {
        let (codec, first) = (&self.codec, self.done);
        let count = STEP_ROWS.min(rows.len() as usize - first);
        let (front, codes) = self.buffer.as_mut_slice().split_at_mut(self.layout.codes.start);
        let codes = &mut codes[first * codec.code_bytes()..][..count * codec.code_bytes()];
        let factor_count = factor_count(rows.metric());
        let factors: &mut [f32] = bytemuck::cast_slice_mut(&mut front[self.layout.factors.clone()]);
        let factors = &mut factors[first * factor_count..][..count * factor_count];
        let code_chunks = codes.chunks_mut(CHUNK_ROWS * codec.code_bytes());
        let mut chunks: Vec<_> =
            factors.chunks_mut(CHUNK_ROWS * factor_count).zip(code_chunks).collect();
        let values = || vec![0.0; rows.dim()];
        pool.for_each_chunk(&mut chunks, 1, values, |values, index, chunk| {
            for (factors, codes) in chunk {
                let codes = codes.chunks_mut(codec.code_bytes());
                let places = factors.chunks_mut(factor_count).zip(codes);
                for (row, (factors, code)) in (first + index * CHUNK_ROWS..).zip(places) {
                    rows.decode(RowId(row as u32), values);
                    codec.encode(kernel, values, code, factors);
                }
            }
        });
        self.done += count;
        self.done < rows.len() as usize
    }

    /// The rows encoded so far, all of them in the end.
    pub(in crate::vector) fn rows(&self) -> FourBitRows<'_> {
        FourBitRows {
            codec: &self.codec,
            codes: &self.buffer[self.layout.codes.clone()],
            factors: bytemuck::cast_slice(&self.buffer[self.layout.factors.clone()]),
        }
    }

    /// The bytes of the section. A walk by these codes keeps `extra_candidates` more than one by originals.
    pub(in crate::vector) fn finish(mut self, extra_candidates: u32) -> AlignedBuffer {
        self.buffer.as_mut_slice()[EXTRA].copy_from_slice(&extra_candidates.to_le_bytes());
        self.buffer
    }
}

/// The mean of the rows, for cosine at length one; summed in their order.
fn mean(rows: &VectorRows<'_>) -> Vec<f32> {
    let mut sums = vec![0.0f64; rows.dim()];
    let mut values = vec![0.0; rows.dim()];
    for row in (0..rows.len()).map(RowId) {
        rows.decode(row, &mut values);
        let squares = if rows.metric() == Metric::Cosine { squared_norm(&values) } else { 1.0 };
        let scale = if squares > 0.0 { 1.0 / squares.sqrt() } else { 0.0 };
        sums.iter_mut().zip(&values).for_each(|(sum, &value)| *sum += f64::from(value) * scale);
    }
    let count = f64::from(rows.len().max(1));
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

fn corrupt(len: u64) -> Error {
    let message = format!("codes: not of this dim and these rows, in {len} bytes");
    Error::new(ErrorKind::Corrupt, message)
}
