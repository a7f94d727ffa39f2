//! Background work (`Task`, `MergeOutput`): decided by a pure function (`plan`), done without the writer (`merge`),
//! committed by `Writer::finish`. Used by `Writer`, and by the threads of `Collection` and the server.
//!
//! All work is one kind of task: merge some segments into one. A checkpoint merges what is in memory, and
//! small flat files, into a level-0 file; a compaction merges files into a level-1 file. Level 0 is written
//! fast and scanned; graphs are built from level 1 on, so that the log behind a checkpoint is soon free and no row is
//! linked twice in its first minutes. A merge adds rows to the graph of its largest input.
//!
//! Tasks over disjoint inputs run at the same time, and each is committed onto the manifest of its moment. Only
//! checkpoints move the checkpoint LSN, and one of them is under way at most.

mod merge;
mod plan;

pub(crate) use merge::{MergeInput, Phase, segment_file};
pub use merge::{MergeOutput, Progress, Step, Task};
pub(crate) use plan::SMALL_MERGE_PART;
pub use plan::{MergeScope, SegmentFacts, Situation, Work, plan};
