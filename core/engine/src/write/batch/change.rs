//! `Change`: one write of a caller, a batch or a filter whose points are deleted. Passed to
//! `Collection::apply_all`, for example by the server's committer.

use nearfield_segment::filter::Filter;

use super::Batch;

/// One change as a caller asks for it. What it leaves open (which points a filter means) is settled by the
/// writer before anything is logged, at the place of the change in the order of all changes.
#[derive(Debug, Clone)]
pub enum Change<'a> {
    /// Upserts and deletes.
    Batch(Batch<'a>),
    /// Deletes every point that passes.
    DeleteWhere(Filter),
}

impl Change<'_> {
    /// About how many bytes of log it takes, as far as that is known before it is settled.
    pub(crate) fn bytes_max(&self) -> u64 {
        match self {
            Change::Batch(batch) => batch.encoded_bytes_max() as u64,
            Change::DeleteWhere(_) => 0,
        }
    }
}

impl<'a> From<Batch<'a>> for Change<'a> {
    fn from(batch: Batch<'a>) -> Self {
        Change::Batch(batch)
    }
}
