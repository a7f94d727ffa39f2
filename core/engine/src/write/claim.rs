//! Claims of running merge tasks: segments that no other task may take, names of output files that vacuum must spare,
//! and the memory the task needs. `Claims` is the list of one writer: `Writer::plan` adds a claim for the task it
//! starts, `Writer::finish` ends it (`end`) when the task has succeeded, `Writer::tidy` removes those of dropped tasks
//! (`forget_dropped`).
//!
//! **Invariant.** A claim lives as long as its `Task`, then its `MergeOutput`. Dropping a task, on any thread and for
//! any reason, releases the claim; it does not delete files the task wrote, which become orphans. No call is needed,
//! so none can be forgotten.
//!
//! Not here: which segments are merged (`task::plan`), and the merge (`task::merge`).

use std::sync::{Arc, Weak};

use nearfield_segment::{FileId, Lsn};

/// One task's claim: what there is to know of the task while it or its output lives.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The segment that the task writes.
    pub(crate) id: FileId,
    /// The output contains exactly the effects of batches up to here.
    pub(crate) checkpoint_lsn: Lsn,
    /// The incarnation of the writer that planned the task.
    pub(crate) incarnation: u64,
    /// Files that the task writes and no manifest names yet, below the collection's directory.
    pub(crate) files: Vec<String>,
    /// The task merges the memtable, and advances the checkpoint LSN.
    pub(crate) checkpoint: bool,
    /// An estimate of the memory of the task, in bytes; for inputs in memory, only what exceeds `checkpoint_bytes_of`.
    pub(crate) bytes: u64,
}

/// A segment's reference to the claim of the task that takes it, if there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClaimRef(Weak<Claim>);

impl ClaimRef {
    pub(crate) fn by(claim: &Arc<Claim>) -> ClaimRef {
        ClaimRef(Arc::downgrade(claim))
    }

    /// True while the task that claimed the segment lives.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The claims of one writer.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    made: Vec<Weak<Claim>>,
}

impl Claims {
    /// Enters the claim of a task.
    pub(crate) fn add(&mut self, claim: Claim) -> Arc<Claim> {
        let claim = Arc::new(claim);
        self.made.push(Arc::downgrade(&claim));
        claim
    }

    /// Ends the claim of a task that has succeeded.
    pub(crate) fn end(&mut self, claim: &Claim) {
        self.made.retain(|made| !std::ptr::eq(made.as_ptr(), claim));
    }

    /// Forgets tasks that were dropped. True if there were some: they may have left files.
    pub(crate) fn forget_dropped(&mut self) -> bool {
        let before = self.made.len();
        self.made.retain(|claim| claim.strong_count() > 0);
        self.made.len() < before
    }

    /// Claims of running tasks.
    pub(crate) fn live(&self) -> impl Iterator<Item = Arc<Claim>> + '_ {
        self.made.iter().filter_map(Weak::upgrade)
    }

    /// True if no task is running.
    pub(crate) fn is_empty(&self) -> bool {
        self.live().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(id: u128) -> Claim {
        let files = vec!["segments/a.seg".to_owned()];
        let (id, checkpoint_lsn) = (FileId(id), Lsn(1));
        Claim { id, checkpoint_lsn, incarnation: 0, files, checkpoint: false, bytes: 1 }
    }

    #[test]
    fn a_task_that_is_dropped_frees_its_inputs_alone_and_is_noticed_once() {
        let mut claims = Claims::default();
        let [first, second] = [1, 2].map(|id| claims.add(claim(id)));
        let [one, two] = [&first, &second].map(ClaimRef::by);
        assert!(one.is_busy() && two.is_busy() && !ClaimRef::default().is_busy());
        drop(first);
        assert!(!one.is_busy() && two.is_busy());
        assert_eq!(claims.live().count(), 1);
        assert!(claims.forget_dropped());
        assert!(!claims.forget_dropped());
        claims.end(&second);
        drop(second);
        assert!(!claims.forget_dropped(), "it has succeeded");
        assert!(claims.is_empty());
    }
}
