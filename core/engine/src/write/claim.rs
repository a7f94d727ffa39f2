//! What running tasks hold: segments that no other task may take, names that vacuum must spare, memory.
//!
//! **Invariant.** A claim lives as long as its task or the output of it. Dropping a task, on whatever thread and for
//! whatever reason, frees its inputs and nothing else; no call is needed, so none can be forgotten. Files that
//! a dropped task has written are then orphans like any other.
//!
//! Knows nothing of merging: the writer fills claims in and asks them.

use std::sync::{Arc, Weak};

use nearfield_segment::{FileId, Lsn};

/// One task's claim: what there is to know of the task while it or its output lives.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The segment that it makes.
    pub(crate) id: FileId,
    /// What it makes contains exactly the effects of batches up to here.
    pub(crate) checkpoint_lsn: Lsn,
    /// Of the writer that planned it.
    pub(crate) incarnation: u64,
    /// Files that it writes and no manifest names yet, below the collection's directory.
    pub(crate) files: Vec<String>,
    /// It takes what is in memory, and moves the checkpoint LSN.
    pub(crate) checkpoint: bool,
    /// Memory that it holds, in bytes, without what a checkpoint of rows in memory takes; an estimate.
    pub(crate) bytes: u64,
}

/// A segment's side of a claim.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claimed(Weak<Claim>);

impl Claimed {
    pub(crate) fn by(claim: &Arc<Claim>) -> Claimed {
        Claimed(Arc::downgrade(claim))
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

    /// Claims of tasks that are under way.
    pub(crate) fn live(&self) -> impl Iterator<Item = Arc<Claim>> + '_ {
        self.made.iter().filter_map(Weak::upgrade)
    }

    /// True if no task is under way.
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
        let [one, two] = [&first, &second].map(Claimed::by);
        assert!(one.is_busy() && two.is_busy() && !Claimed::default().is_busy());
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
