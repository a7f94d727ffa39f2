//! `CollectionService`: one collection as requests see it: its newest view, and a method that queues a write
//! (`write`). Found by name in `Store`; used by the handlers through `Call`.

use std::sync::Arc;

use nearfield_engine::batch::Change;
use nearfield_engine::{Applied, View};
use nearfield_segment::{Kernel, Schema};
use tokio::sync::oneshot;

use super::budget::{Holder, Purpose};
use super::committer::{Committers, Waiting, change_bytes};
use super::error::StoreResult;
use super::managed::{Context, ManagedCollection};

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
pub struct CollectionService {
    pub(super) managed: Arc<ManagedCollection>,
    pub(super) context: Arc<Context>,
    pub(super) committers: Arc<Committers>,
}

impl CollectionService {
    /// Its name.
    pub fn name(&self) -> &str {
        self.managed.name()
    }

    /// The newest view: a pointer clone.
    pub fn view(&self) -> Arc<View> {
        self.managed.collection.view()
    }

    /// Its vector fields.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.view().schema)
    }

    /// The arithmetic of its searches.
    pub fn kernel(&self) -> Kernel {
        self.managed.collection.kernel()
    }

    /// Writes a change, together with others that wait. With `wait` the answer is [`Written::Durable`];
    /// without, the change is durable within `--flush-interval-ms` where the disk keeps up, or noted as lost
    /// on the health. Dropping the future before the change is taken from the queue takes it back.
    ///
    /// # Errors
    /// Those of the engine; [`super::StoreError::ResourceExhausted`] if there is no room for it or older changes wait,
    /// [`super::StoreError::ShuttingDown`], [`super::StoreError::NotWritten`], [`super::StoreError::Internal`].
    pub async fn write(&self, change: Change<'static>, wait: bool) -> StoreResult<Written> {
        let held = self.context.reserve(change_bytes(&change), Purpose::Write, Holder::Server)?;
        let managed = Arc::clone(&self.managed);
        if !wait {
            self.committers.push(Waiting { managed, change, answer: None, held })?;
            return Ok(Written::Queued);
        }
        let (sender, receiver) = oneshot::channel();
        self.committers.push(Waiting { managed, change, answer: Some(sender), held })?;
        match receiver.await {
            Ok(written) => Ok(Written::Durable(written?)),
            Err(_) => Err(self.committers.unanswered()),
        }
    }
}
