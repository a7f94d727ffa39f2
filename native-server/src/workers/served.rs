//! One collection as requests see it: its newest view, and a door for changes.

use std::sync::Arc;

use nearfield_engine::batch::Batch;
use nearfield_engine::{Applied, Collection, Result, View};
use nearfield_segment::filter::Filter;
use nearfield_segment::{Kernel, Pool, Schema};

/// A change to a collection.
#[derive(Debug)]
pub enum Change {
    /// Points deleted, then points inserted or replaced.
    Batch(Batch<'static>),
    /// Every point that passes the filter when the change is carried out is deleted.
    DeleteWhere(Filter),
}

/// How a change was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It survives a power cut.
    Durable(Applied),
    /// It is checked and queued.
    Queued,
}

/// A collection that is served.
#[derive(Debug)]
pub struct Served {
    collection: Arc<Collection>,
}

impl Served {
    pub(crate) fn new(collection: Arc<Collection>) -> Served {
        Served { collection }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.collection.name()
    }

    /// The newest view: a pointer clone.
    pub fn view(&self) -> Arc<View> {
        self.collection.view()
    }

    /// Its vector fields.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.collection.view().schema)
    }

    /// The arithmetic of its searches.
    pub fn kernel(&self) -> Kernel {
        self.collection.kernel()
    }

    /// Writes a change. With `wait` the answer is [`Written::Durable`].
    ///
    /// # Errors
    /// Those of the engine; [`super::Code::ResourceExhausted`] without room, [`super::Code::ShuttingDown`].
    #[expect(clippy::unused_async, reason = "callers await the queue")]
    pub async fn write(&self, change: Change, wait: bool) -> Result<Written> {
        let applied = match change {
            Change::Batch(batch) => self.collection.apply(batch, &Pool::SERIAL),
            Change::DeleteWhere(filter) => self.collection.delete_where(&filter),
        }?;
        Ok(if wait { Written::Durable(applied) } else { Written::Queued })
    }
}
