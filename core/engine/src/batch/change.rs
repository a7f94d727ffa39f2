//! What a caller may ask of a collection: a batch, or a rule that the writer turns into one.

use nearfield_segment::filter::Filter;

use super::Batch;

/// One atomic change as asked for. What it leaves open (which points a filter means) is settled by the
/// writer before anything is logged, at the place of the change in the order of all changes.
#[derive(Debug, Clone)]
pub enum Change<'a> {
    /// Upserts and deletes.
    Batch(Batch<'a>),
    /// Deletes every point that passes.
    DeleteWhere(Filter),
}

impl<'a> From<Batch<'a>> for Change<'a> {
    fn from(batch: Batch<'a>) -> Self {
        Change::Batch(batch)
    }
}
