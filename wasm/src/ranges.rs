//! The methods of `NearFile` for a file in part: which bytes are present, which are missing, which to fetch next
//! (`stage_ranges`), and the supply of fetched ones. Called by `remote.js` and `resident.js`.

use std::ops::Range;
use std::sync::Arc;

use js_sys::Uint8Array;
use nearfield_engine::Stage;
use nearfield_segment::storage::{Blob, PIECE_BYTES, RangeBlob};
use wasm_bindgen::prelude::*;

use crate::error::Result;
use crate::file::{NearFile, Upload, memory_for};

fn flat(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<f64> {
    ranges.into_iter().flat_map(|range| [range.start as f64, range.end as f64]).collect()
}

impl NearFile {
    fn ranges(&self) -> &RangeBlob {
        self.ranges.as_ref().expect("JavaScript brings bytes to files in part only")
    }
}

#[wasm_bindgen]
impl NearFile {
    /// A file of `len` bytes, called `name` in errors, of which nothing is here.
    #[wasm_bindgen(constructor)]
    pub fn in_part(name: &str, len: f64) -> NearFile {
        let ranges = Arc::new(RangeBlob::new(name, len as u64));
        NearFile::new(name, Arc::<RangeBlob>::clone(&ranges), Some(ranges))
    }

    /// Brings bytes. They are copied piece by piece: in memory there is never a second copy of all.
    pub fn supply(&self, offset: f64, bytes: &Uint8Array) -> Result<()> {
        let (piece, len) = (PIECE_BYTES as u32, bytes.length());
        let mut buffer = memory_for(f64::from(len.min(piece)))?;
        for start in (0..len).step_by(piece as usize) {
            let end = start.saturating_add(piece).min(len);
            let copy = &mut buffer.as_mut_slice()[..(end - start) as usize];
            bytes.subarray(start, end).copy_to(copy);
            self.ranges().supply(offset as u64 + u64::from(start), copy)?;
        }
        Ok(())
    }

    /// What is here: start and end of each range.
    pub fn held(&self) -> Vec<f64> {
        flat(self.ranges().held())
    }

    /// The ranges that calls lacked since the last call of this: start and end of each.
    pub fn wanted(&self) -> Vec<f64> {
        flat(self.ranges().take_wanted())
    }

    /// Takes bytes out, so that they are wanted again.
    pub fn forget(&self, start: f64, end: f64) {
        self.ranges().forget(start as u64..end as u64);
    }

    /// Copies everything that is here.
    pub fn copy_to(&self, upload: &mut Upload) -> Result<()> {
        for held in self.ranges().held() {
            for start in held.clone().step_by(PIECE_BYTES as usize) {
                let end = (start + PIECE_BYTES).min(held.end);
                upload.put(start as usize, &self.ranges().read(start..end)?)?;
            }
        }
        Ok(())
    }

    /// Blocks of a complete upload that fail their checksum: start and end of each.
    pub fn damaged(&self, upload: &Upload) -> Vec<f64> {
        let export = self.export.iter();
        flat(export.flat_map(|export| export.damaged(upload.bytes())))
    }

    /// Bytes of a stage (`header`, `centroids`, `codes`, `rows`) that earlier ones lack: start and end of each
    /// range. Empty until `info` was answered.
    pub fn stage_ranges(&self, stage: &str) -> Vec<f64> {
        let stage = match stage {
            "header" => Stage::Header,
            "centroids" => Stage::ListTables,
            "codes" => Stage::Codes,
            _ => Stage::Rows,
        };
        flat(self.export.iter().flat_map(|export| export.stage_ranges(stage)))
    }
}
