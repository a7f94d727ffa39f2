//! `Meter`: reserves the memory that the rows of a record batch take, before it is taken. Made by `ArrowRows`
//! and `Parquet`, charged by `table`. Only the server's ingest limits; for files there is always room.
//!
//! A batch can become far more rows than its bytes suggest: a dictionary or a view repeats one text in every
//! row. So the sum is kept while rows are copied, not once they are.

use nearfield_engine::Result;

/// Bytes reserved at a time.
const STEP_BYTES: u64 = 64 << 10;

/// Hears how many bytes are needed in all; an error stops the reading.
pub(crate) type Reserve<'r> = &'r mut dyn FnMut(u64) -> Result<()>;

/// The running sum of one batch.
pub(crate) struct Meter<'r> {
    reserve: Reserve<'r>,
    taken: u64,
    reserved: u64,
}

impl<'r> Meter<'r> {
    /// Begins with `base` bytes, which are reserved already.
    pub(crate) fn new(reserve: Reserve<'r>, base: u64) -> Self {
        Meter { reserve, taken: base, reserved: base }
    }

    /// To be called before `bytes` more bytes are taken.
    ///
    /// # Errors
    /// What the reservation returns.
    pub(super) fn take(&mut self, bytes: usize) -> Result<()> {
        self.taken = self.taken.saturating_add(bytes as u64);
        if self.taken > self.reserved {
            self.reserved = self.taken.saturating_add(STEP_BYTES);
            (self.reserve)(self.reserved)?;
        }
        Ok(())
    }
}
