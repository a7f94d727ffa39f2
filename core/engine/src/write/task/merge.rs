//! Runs a merge: `Task` gathers the live rows of its inputs, builds the indexes, and writes one segment file; the
//! result is a `MergeOutput`. Planned by `Writer::plan`, stepped by the server's background threads and by
//! `Collection`, committed by `Writer::finish`.
//!
//! A task owns what it reads, so it runs beside the writer and readers. It is stepped: between steps a
//! caller may pause, show progress or drop it; until [`crate::Writer::finish`] nothing refers to its file,
//! so dropping it at any moment changes nothing.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_segment::segment::{Base, Segment, SegmentBuilder, SegmentIndexing, SegmentOptions};
use nearfield_segment::storage::Bytes;
pub use nearfield_segment::vector::graph::Progress;
use nearfield_segment::{
    DeadRows, Encoding, Error, ErrorKind, FileId, Pool, Result, Schema, VectorSpec,
};

use crate::files::{CollectionPath, space};
use crate::manifest::{KeysEntry, SegmentEntry};
use crate::write::claim::Claim;
use crate::write::state::append_live;

/// A segment that goes in, with the rows that were dead at the task's checkpoint LSN.
#[derive(Debug)]
pub(crate) struct MergeInput {
    pub(crate) segment: Arc<Segment>,
    pub(crate) dead: DeadRows,
}

/// What a step did.
#[derive(Debug)]
pub enum Step {
    /// There is more to do.
    More(Progress),
    /// The file is written; hand this to [`crate::Writer::finish`].
    Done(Box<MergeOutput>),
}

/// A finished merge that no manifest names yet.
#[derive(Debug)]
pub struct MergeOutput {
    /// Which segments went in, and the new row of each of their rows (`u32::MAX` = was dead).
    pub(crate) inputs: Vec<(FileId, Vec<u32>)>,
    /// The file and the open segment; `None` if no row was live.
    pub(crate) output: Option<(SegmentEntry, Segment)>,
    /// The file of idempotency keys at the checkpoint LSN, if they changed since there was one.
    pub(crate) keys: Option<KeysEntry>,
    /// That of the task. Keeps the inputs busy and the files from vacuum.
    pub(crate) claim: Arc<Claim>,
}

/// A merge in progress. Dropping it frees its inputs for other tasks.
#[derive(Debug)]
pub struct Task {
    pub(crate) claim: Arc<Claim>,
    pub(crate) inputs: Vec<MergeInput>,
    /// The file of idempotency keys to write, with its bytes.
    pub(crate) keys: Option<(Vec<u8>, KeysEntry)>,
    pub(crate) level: u8,
    /// The position in `inputs` of the one whose graphs are added to.
    pub(crate) base: Option<usize>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) options: SegmentOptions,
    pub(crate) location: CollectionPath,
    pub(crate) phase: Phase,
}

/// Name of the file of a segment, below the collection's directory.
pub(crate) fn segment_file(id: FileId) -> String {
    format!("segments/{id}.seg")
}

/// What the next step does.
#[derive(Debug)]
pub(crate) enum Phase {
    Gather,
    Index(Box<SegmentIndexing>, Vec<Vec<u32>>),
    Done,
}

impl Task {
    /// Refuses at once what cannot be done: the vectors alone would not fit the disk.
    ///
    /// # Errors
    /// `StorageFull` saying how many bytes it takes at least.
    pub(crate) fn check_space(&self) -> Result<()> {
        let live = |input: &MergeInput| u64::from(input.segment.rows() - input.dead.count());
        let element_bytes = |spec: &VectorSpec| match spec.store {
            Encoding::F32 => 4,
            Encoding::F16 => 2,
        };
        let row_bytes: u64 = self
            .schema
            .vectors
            .values()
            .map(|spec| u64::from(spec.dim) * element_bytes(spec))
            .sum();
        let bytes = self.inputs.iter().map(live).sum::<u64>() * row_bytes;
        space::check(&*self.location.storage, bytes, "merging segments")
    }

    /// Level of the segment that comes out. Work of level 0 builds no graph and takes as long as the disk.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// True if it writes what is in memory.
    pub fn is_checkpoint(&self) -> bool {
        self.claim.checkpoint
    }

    /// Memory that it holds while it runs, in bytes, beside its inputs; an estimate from their size. What writing rows in
    /// memory takes is not counted again here: it is in [`CollectionStats`](crate::CollectionStats) from the moment they
    /// are written.
    pub fn memory_bytes(&self) -> u64 {
        self.claim.bytes
    }

    /// Does a bounded piece of the work.
    ///
    /// # Errors
    /// `Corrupt` if an input is damaged, `StorageFull` or `Io` if the file cannot be written.
    ///
    /// # Panics
    /// If called again after `Done` or an error.
    pub fn step(&mut self, pool: &Pool) -> Result<Step> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Gather => self.gather(pool),
            Phase::Index(mut indexing, maps) => {
                if indexing.step(pool) {
                    let (done, total) = indexing.progress();
                    self.phase = Phase::Index(indexing, maps);
                    return Ok(Step::More(Progress { done, total }));
                }
                let bytes = indexing.finish(pool)?;
                self.write(bytes, maps)
            }
            Phase::Done => panic!("a finished task has no steps"),
        }
    }

    /// Steps to the end. `watch` is called between steps: it may pause, or stop the task.
    ///
    /// # Errors
    /// As [`Task::step`]; `Cancelled` if `watch` breaks. Nothing has changed then.
    pub fn run(
        mut self,
        pool: &Pool,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<MergeOutput> {
        loop {
            match self.step(pool)? {
                Step::Done(output) => return Ok(*output),
                Step::More(progress) => {
                    if watch(progress).is_break() {
                        return Err(Error::new(ErrorKind::Cancelled, "the task was asked to stop"));
                    }
                }
            }
        }
    }

    fn gather(&mut self, pool: &Pool) -> Result<Step> {
        let live = |input: &MergeInput| (input.segment.rows() - input.dead.count()) as usize;
        let rows = self.inputs.iter().map(live).sum();
        let mut builder = SegmentBuilder::new(self.claim.id, &self.schema, rows);
        let mut maps = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let map = append_live(&mut builder, &input.segment, &input.dead, pool);
            // After the rows were copied: damage to them must not get a new checksum.
            input.segment.verify_rows()?;
            maps.push(map?);
        }
        if rows == 0 {
            return self.done(maps, None);
        }
        let indexing = builder.index(&self.options, self.base(&maps));
        // The total of all further steps; without a graph there are none.
        let (done, total) = indexing.progress();
        let total = if total == 0 { rows as u64 } else { total };
        self.phase = Phase::Index(Box::new(indexing), maps);
        Ok(Step::More(Progress { done, total }))
    }

    fn base<'a>(&'a self, maps: &'a [Vec<u32>]) -> Option<Base<'a>> {
        let position = self.base?;
        Some(Base { segment: &self.inputs[position].segment, new_rows: &maps[position] })
    }

    fn write(&self, bytes: Bytes, maps: Vec<Vec<u32>>) -> Result<Step> {
        let CollectionPath { storage, residence, .. } = &self.location;
        let file = segment_file(self.claim.id);
        let path = self.location.path(&file);
        storage.put_new(&path, &bytes)?;
        let len = bytes.len() as u64;
        drop(bytes);
        let segment = Segment::open(&path, storage.open(&path)?, *residence)?;
        let entry = SegmentEntry {
            id: self.claim.id,
            file,
            len,
            crc: segment.front().crc,
            rows: segment.rows(),
            level: self.level,
            deletes: Vec::new(),
            unknown: BTreeMap::new(),
        };
        self.done(maps, Some((entry, segment)))
    }

    fn done(&self, maps: Vec<Vec<u32>>, output: Option<(SegmentEntry, Segment)>) -> Result<Step> {
        let keys = self.write_keys()?;
        let inputs = self.inputs.iter().map(|input| input.segment.id()).zip(maps).collect();
        let claim = Arc::clone(&self.claim);
        Ok(Step::Done(Box::new(MergeOutput { inputs, output, keys, claim })))
    }

    fn write_keys(&self) -> Result<Option<KeysEntry>> {
        let Some((bytes, entry)) = &self.keys else { return Ok(None) };
        let path = self.location.path(&entry.file);
        // An attempt that failed may have left one of this name, which is this one.
        self.location.storage.put(&path, &mut |out| {
            out.write_all(bytes).map_err(|error| Error::io("write", &path, error))
        })?;
        Ok(Some(entry.clone()))
    }
}
