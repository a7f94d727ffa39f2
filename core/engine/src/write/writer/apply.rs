//! `Writer::apply_all`, the group commit: applies changes in order, makes them durable with one sync, and
//! shows them together in one new view. Called by `Collection::apply_all`: for the server's committer, and
//! through `Collection::apply` and `delete_where` for Python and the browser.
//!
//! Each change is settled against the state that the changes before it lead to, logged and applied, still
//! unseen; readers get the new view, and callers their answers, only once the log is synced. If it cannot
//! be, the writer is poisoned and recovery builds the state anew. A log file that fills up within a group is
//! synced before the next one is begun, but its changes share the fate of the group: none of them is seen
//! before the end, so none is answered as done before it.

use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::{Error, Lsn, PointId, Result};

use super::{Health, UNKNOWN, Writer};
use crate::write::batch::{Applied, Batch, Change, Draft, RowOutcome, split_ids};

impl Writer {
    /// Applies changes in order, makes them durable with one sync, and shows them together in one new view. Each is
    /// one atomic batch, except a delete by filter whose ids take more than `deletes_bytes_max`: of its batches a
    /// crash may leave the first ones. Points without ids get theirs here. One answer for each change, in order.
    /// O(rows) plus one fsync.
    ///
    /// A batch whose key is known, also from an earlier one of the group, is not done again but answered as
    /// the first time; a row whose key is known is left out.
    ///
    /// `InvalidInput` (a key of another batch, ids cannot be assigned, a declared field holds something else, a filter
    /// names an unknown field): that change alone is not logged. `StorageFull` or `Io` poison the writer: of every
    /// change that was logged it is then unknown whether it is durable, until recovery, and none is seen. What only
    /// repeats earlier changes is answered anyway.
    pub fn apply_all(&mut self, changes: Vec<Change<'_>>) -> Vec<Result<Applied>> {
        let seen = self.log.durable();
        let mut answers: Vec<Result<Applied>> =
            changes.into_iter().map(|change| self.log_and_apply(change)).collect();
        if self.health == Health::Writable {
            match self.log.sync() {
                Ok(_) => self.publish(),
                Err(error) => drop(self.poison(error)),
            }
        }
        if let Some((kind, cause)) = self.health.cause() {
            let in_doubt = |answer: &&mut Result<Applied>| {
                answer.as_ref().is_ok_and(|applied| applied.lsn > seen)
            };
            for answer in answers.iter_mut().filter(in_doubt) {
                *answer = Err(Error::new(kind, format!("{UNKNOWN}: {cause}")));
            }
        }
        answers
    }

    fn log_and_apply(&mut self, change: Change<'_>) -> Result<Applied> {
        self.check_writable()?;
        let mut batch = match change {
            Change::Batch(batch) => batch,
            Change::DeleteWhere(filter) => return self.delete_where(&filter),
        };
        if let Some(answer) = self.state.keys.answer(&batch)? {
            return Ok(answer);
        }
        let known = self.state.keys.known_rows(&batch);
        if known.is_empty() {
            return self.log_new(batch);
        }
        let (rows, known_ids): (Vec<usize>, Vec<PointId>) = known.into_iter().unzip();
        let mut marked = vec![false; batch.rows()];
        rows.into_iter().for_each(|row| marked[row] = true);
        batch.leave_out(&marked);
        let applied = match batch.is_empty() {
            true => Applied { lsn: self.state.lsn, ..Applied::default() },
            false => self.log_new(batch)?,
        };
        let mut written = applied.rows.iter();
        let outcome = |marked: &bool| match marked {
            true => RowOutcome::Repeated,
            false => *written.next().expect("every row that was not left out was written"),
        };
        let rows = marked.iter().map(outcome).collect();
        Ok(Applied { rows, known_ids, ..applied })
    }

    /// Deletes what passes a filter now, by as many batches as the length of the ids takes: one, unless they have
    /// more than half a GiB. Readers see all of them at once; a crash before the answer may leave the first ones.
    fn delete_where(&mut self, filter: &Filter) -> Result<Applied> {
        let mut total = Applied::default();
        for batch in self.deletes_of(filter)? {
            let applied = self.log_new(batch)?;
            total = Applied { deleted: total.deleted + applied.deleted, ..applied };
        }
        Ok(total)
    }

    /// The batches that delete what passes a filter now; at least one.
    fn deletes_of(&self, filter: &Filter) -> Result<Vec<Batch<'static>>> {
        let view = self.state.view(self.manifest.document.number);
        let rows = view.matching(filter, &never_cancelled)?;
        let found = view.segments.iter().zip(&rows);
        let mut ids: Vec<PointId> = Vec::new();
        for (live, rows) in found {
            let table = live.segment.ids()?;
            ids.extend(rows.iter().map(|row| table.id(row)));
        }
        let time_ms = self.clock.now_ms();
        let batch = |deletes| {
            let draft = Draft { deletes, time_ms, ..Draft::default() };
            Batch::new(draft, &self.state.schema)
        };
        split_ids(ids.into_iter(), self.deletes_bytes_max).into_iter().map(batch).collect()
    }

    /// Logs and applies a batch that repeats nothing.
    fn log_new(&mut self, mut batch: Batch<'_>) -> Result<Applied> {
        batch.settle_fields(&self.state.schema.fields)?;
        if !batch.fields().is_empty() {
            self.state.check_declared(&batch)?;
        }
        let mut next_id = self.state.next_id;
        batch.assign_ids(&mut next_id)?;
        let ready = self.state.prepare(&batch)?;
        let lsn = self.log_batch(&batch).map_err(|error| self.poison(error))?;
        self.state.install(lsn, &batch, ready).map_err(|error| self.poison(error))
    }

    fn log_batch(&mut self, batch: &Batch<'_>) -> Result<Lsn> {
        let mut body = Vec::new();
        batch.encode_into(&mut body);
        self.log.append(&body)
    }
}
