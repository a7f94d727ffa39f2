//! `Server`: what all requests share, which is catalog, store, settings, and how far the start of the process is. Made
//! by `nearfield serve`; passed to every handler in its `Call`.
//!
//! The listener answers before the store is recovered: keys are checked from the first moment on, and what
//! needs the store says that it is not ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::http::StatusCode;
use nearfield_engine::Clock;

use super::error::{ApiError, Result};
use super::exports::Exports;

use crate::catalog::Catalog;
use crate::config::ServerConfig;
use crate::demo_files::DemoFiles;
use crate::metrics::GaugeGuard;
use crate::workers::{Readiness, Store};

/// The server as requests see it.
#[derive(Debug)]
pub struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) catalog: Arc<Catalog>,
    /// The OpenAPI document.
    pub(crate) document: &'static str,
    /// The demo page, with `--demo-dir`.
    pub(crate) demo: Option<DemoFiles>,
    store: OnceLock<Arc<Store>>,
    closing: AtomicBool,
    clock: Arc<dyn Clock>,
    pub(crate) exports: Arc<Exports>,
}

impl Server {
    /// A server that is described by this OpenAPI document, and whose store is not open yet.
    ///
    /// # Errors
    /// `InvalidInput`, `NotFound` or `Io` for the directory of the demo page.
    pub fn new(
        config: ServerConfig,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
        document: &'static str,
    ) -> nearfield_engine::Result<Arc<Server>> {
        let demo = config.demo_dir.as_deref().map(DemoFiles::load).transpose()?;
        let closing = AtomicBool::new(false);
        let (store, exports) = (OnceLock::new(), Arc::default());
        Ok(Arc::new(Server { config, catalog, document, demo, store, closing, clock, exports }))
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Counts a connection until the result is dropped.
    pub(crate) fn connected(&self) -> Option<GaugeGuard> {
        self.opened().map(|store| GaugeGuard::new(&store.metrics().active_connections))
    }

    /// The store is recovered: from here on it serves.
    pub fn ready(&self, store: Arc<Store>) {
        drop(self.store.set(store));
    }

    /// From here on requests that need the store are refused.
    pub fn closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// The store, once it is recovered.
    pub(crate) fn opened(&self) -> Option<&Arc<Store>> {
        self.store.get()
    }

    /// The store.
    ///
    /// # Errors
    /// `not_ready`, `shutting_down`.
    pub(crate) fn store(&self) -> Result<&Arc<Store>> {
        if self.closing.load(Ordering::Acquire) {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(ApiError::new(status, "shutting_down", "the server is shutting down"));
        }
        self.opened().ok_or_else(|| {
            let message = "the server is still recovering; health/ready says when it is done";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
        })
    }

    /// Whether everything can be served.
    pub(crate) fn readiness(&self) -> Readiness {
        let blocked = |blocker: &str| Readiness {
            live: true,
            ready: false,
            blockers: vec![blocker.to_owned()],
            report: blocker.to_owned(),
        };
        if self.closing.load(Ordering::Acquire) {
            return blocked("shutting down");
        }
        self.opened()
            .map_or_else(|| blocked("recovering: the log is read"), |store| store.readiness())
    }
}
