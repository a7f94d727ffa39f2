//! `Progress` and `Signals`: between the steps of a long call they call the caller's `progress` function and check for
//! Ctrl-C. Used by `collection`, `database` and `upsert`.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::error::{Failure, Result};
use crate::json::describe;

/// How progress is reported to the caller.
pub(crate) struct Progress {
    callback: Option<Py<PyAny>>,
    failed: Option<PyErr>,
    /// Of the last step.
    total: u64,
}

impl Progress {
    /// `False` or nothing: silent; `True`: a line on stderr; else called with `(done, total)`.
    pub(crate) fn new(value: Option<&Bound<'_, PyAny>>, what: &str) -> Result<Progress> {
        let Some(value) = value else {
            return Ok(Progress { callback: None, failed: None, total: 0 });
        };
        let callback = match value.cast::<PyBool>() {
            Ok(flag) if !flag.is_true() => None,
            Ok(_) => {
                Some(value.py().import("nearfield._progress")?.getattr("Bar")?.call1((what,))?)
            }
            Err(_) if value.is_callable() => Some(value.clone()),
            Err(_) => {
                let expected = "True, False or a callable of (done, total)";
                return Err(Failure::wrong_type("progress", expected, &describe(value)));
            }
        };
        Ok(Progress { callback: callback.map(Bound::unbind), failed: None, total: 0 })
    }

    /// Between steps, attached: raises what Ctrl-C or the callback raises.
    pub(crate) fn report(&self, py: Python<'_>, done: u64, total: u64) -> PyResult<()> {
        py.check_signals()?;
        match &self.callback {
            Some(callback) => callback.call1(py, (done, total)).map(drop),
            None => Ok(()),
        }
    }

    /// Between steps, detached: breaks instead of raising, and keeps the exception.
    pub(crate) fn step(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        self.total = total;
        match Python::attach(|py| self.report(py, done, total)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// After the last step that was reported, attached: all is done.
    pub(crate) fn finished(&self, py: Python<'_>) -> PyResult<()> {
        if self.total == 0 { Ok(()) } else { self.report(py, self.total, self.total) }
    }

    /// The exception that broke, rather than the engine's account of being stopped.
    pub(crate) fn or_failure<T>(&mut self, result: nearfield_engine::Result<T>) -> Result<T> {
        match self.failed.take() {
            Some(error) => Err(Failure::Python(error)),
            None => result.map_err(Failure::Engine),
        }
    }
}

/// Asked by detached work whether to go on: sees Ctrl-C, and keeps what it raised.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    raised: Mutex<Option<PyErr>>,
}

impl Signals {
    fn raised(&self) -> MutexGuard<'_, Option<PyErr>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False from the first Ctrl-C on.
    pub(crate) fn go_on(&self) -> bool {
        let mut raised = self.raised();
        if raised.is_none() {
            *raised = Python::attach(|py| py.check_signals()).err();
        }
        raised.is_none()
    }

    /// Between steps, detached: breaks from the first Ctrl-C on.
    pub(crate) fn step(&self) -> ControlFlow<()> {
        if self.go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// What Ctrl-C raised, rather than the account of being stopped.
    pub(crate) fn or_failure<T>(&self, result: Result<T>) -> Result<T> {
        match self.raised().take() {
            Some(error) => Err(Failure::Python(error)),
            None => result,
        }
    }
}
