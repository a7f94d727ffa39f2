//! `MemoryLog`: the log of `mode="memory"`, which counts LSNs and stores nothing. Made by recovery for in-memory
//! databases; used by `Writer` through the trait `Log`.

use nearfield_segment::{Error, ErrorKind, Fault, Lsn, Result};

use super::{BODY_BYTES_MAX, Log, Written};

/// Numbers batches and forgets them.
#[derive(Debug, Default)]
pub struct MemoryLog {
    last: Lsn,
    durable: Lsn,
}

impl MemoryLog {
    /// A log whose first batch gets the LSN after `last`.
    pub fn new(last: Lsn) -> Self {
        MemoryLog { last, durable: last }
    }
}

impl Log for MemoryLog {
    fn append(&mut self, body: &[u8]) -> Result<Lsn> {
        check_body(body)?;
        self.last = self.last.next();
        Ok(self.last)
    }

    fn sync(&mut self) -> Result<Lsn> {
        self.durable = self.last;
        Ok(self.durable)
    }

    fn is_open(&self) -> bool {
        false
    }

    fn last(&self) -> Lsn {
        self.last
    }

    fn durable(&self) -> Lsn {
        self.durable
    }

    fn poisoned(&self) -> Option<ErrorKind> {
        None
    }

    fn is_recoverable(&self) -> bool {
        false
    }

    fn size_bytes(&self) -> u64 {
        0
    }

    fn recovery_bytes(&self) -> u64 {
        0
    }

    fn written(&self) -> Written {
        Written::default()
    }

    fn rotate(&mut self) -> Result<()> {
        self.sync().map(drop)
    }

    fn archive_through(&mut self, _lsn: Lsn) -> Result<usize> {
        Ok(0)
    }
}

/// Refuses a body that would not fit a frame.
pub(crate) fn check_body(body: &[u8]) -> Result<()> {
    if body.len() <= BODY_BYTES_MAX {
        return Ok(());
    }
    Err(Error::invalid(
        Fault::Parameter,
        format!(
            "a batch has at most {BODY_BYTES_MAX} bytes, got {}: write it in smaller batches",
            body.len()
        ),
    )
    .with("expected", BODY_BYTES_MAX)
    .with("got", body.len()))
}
