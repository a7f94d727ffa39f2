//! `Handle`: one collection of an open database with its `Store`; `view` reads, `change` writes. Held by the
//! class `Collection`; used by `upsert`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield_engine::{Collection, View};
use nearfield_segment::VectorSpec;
use pyo3::prelude::*;

use crate::error::{Failure, Result};
use crate::store::Store;

/// A collection and the store it is of.
pub(crate) struct Handle {
    pub(crate) store: Arc<Store>,
    pub(crate) engine: Arc<Collection>,
    closed: AtomicBool,
}

impl Handle {
    pub(crate) fn new(store: Arc<Store>, engine: Arc<Collection>) -> Handle {
        Handle { store, engine, closed: AtomicBool::new(false) }
    }

    /// Refuses further use.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The newest view, of an open collection.
    pub(crate) fn view(&self) -> Result<Arc<View>> {
        self.check()?;
        Ok(self.engine.view())
    }

    /// Refuses to go on if handle or database were closed, the collection was dropped, or in a forked child.
    pub(crate) fn check(&self) -> Result<()> {
        self.store.check()?;
        if self.closed.load(Ordering::Relaxed) {
            let name = self.engine.name();
            return Err(Failure::Closed(format!("this handle of collection {name:?} was closed")));
        }
        if self.store.has_dropped(&self.engine) {
            let name = self.engine.name();
            return Err(Failure::Closed(format!("collection {name:?} was dropped")));
        }
        Ok(())
    }

    /// The default vector field.
    pub(crate) fn spec(&self) -> VectorSpec {
        spec_of(&self.engine.view()).clone()
    }

    /// Carries out a change without the interpreter; upkeep looks for work afterwards.
    pub(crate) fn change<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Collection) -> nearfield_engine::Result<R> + Send,
    ) -> Result<R> {
        self.check()?;
        py.detach(|| self.store.with(|_| work(&self.engine)))
    }
}

/// The default vector field, the only one this package creates.
pub(crate) fn spec_of(view: &View) -> &VectorSpec {
    view.schema.default_field().expect("this package creates no other")
}
