//! Background work: decided by a pure function, done without the writer, finished by the writer.
//!
//! All work is one kind of task: merge some segments into one. A checkpoint merges what is in memory into
//! a level-0 file, a compaction merges files into a level-1 file, a full compaction does both at once.
//! Level 0 is written fast and scanned; graphs are built from level 1 on, so that the log behind a
//! checkpoint is soon free and no row is linked twice in its first minutes.

mod merge;
mod plan;

pub(crate) use merge::{MergeInput, Phase};
pub use merge::{MergeOutput, Progress, Step, Task};
pub(crate) use plan::worthwhile;
pub use plan::{Effort, SegmentFacts, Situation, Work, plan};
