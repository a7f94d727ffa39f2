//! `Exports`: limits how many exports are read at once, in all and by one key, so that a key whose exports are left
//! unread does not keep the others waiting. The handlers of exports call `begin`, which gives an `ExportSlot`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;

use super::error::{ApiError, Result};
use crate::catalog::KeyId;
use crate::host::lock;

/// Exports at a time.
const EXPORTS_MAX: usize = 16;
/// Of them, those of one key; requests without a key share one place in this count.
const EXPORTS_PER_KEY_MAX: usize = 4;

/// Exports under way, by key.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    by_key: Mutex<HashMap<Option<KeyId>, usize>>,
}

impl Exports {
    /// Counts one more export of `key` until the result is dropped.
    ///
    /// # Errors
    /// `resource_exhausted`.
    pub(crate) fn begin(self: &Arc<Self>, key: Option<KeyId>) -> Result<ExportSlot> {
        let mut by_key = lock(&self.by_key);
        let own = by_key.get(&key).copied().unwrap_or(0);
        if own >= EXPORTS_PER_KEY_MAX {
            let message = format!("this key reads {own} exports; try again when one has ended");
            return Err(refused(message, EXPORTS_PER_KEY_MAX));
        }
        if by_key.values().sum::<usize>() >= EXPORTS_MAX {
            let message = format!("{EXPORTS_MAX} exports are being read; try again later");
            return Err(refused(message, EXPORTS_MAX));
        }
        by_key.insert(key, own + 1);
        drop(by_key);
        Ok(ExportSlot { exports: Arc::clone(self), key })
    }
}

fn refused(message: String, most: usize) -> ApiError {
    let status = StatusCode::TOO_MANY_REQUESTS;
    ApiError::new(status, "resource_exhausted", message).with("expected", format!("at most {most}"))
}

/// One export under way.
#[derive(Debug)]
pub(crate) struct ExportSlot {
    exports: Arc<Exports>,
    key: Option<KeyId>,
}

impl Drop for ExportSlot {
    fn drop(&mut self) {
        let mut by_key = lock(&self.exports.by_key);
        if let Some(count) = by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}
