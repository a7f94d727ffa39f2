//! Writes Parquet and Arrow files, with the columns of `Layout`. Called by `rows::write`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use nearfield_engine::{Error, ErrorKind, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::super::arrow::{Layout, TableWriter};
use super::passes::{Reported, failed};
use crate::host::lock;

/// Bytes of a row group that is gathered in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Arrow IPC, as a file or a stream.
pub(super) fn write_table(
    mut table: TableWriter<&mut dyn Write>,
    rows: &mut Reported<'_>,
) -> Result<()> {
    while let Some(part) = rows.next()? {
        table.write(part)?;
    }
    table.finish()
}

/// Parquet with Zstandard, in row groups of about 64 MiB.
pub(super) fn write_parquet(
    layout: &Layout,
    rows: &mut Reported<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .build();
    let spool = Spool::default();
    let table = Arc::clone(layout.table());
    let mut writer =
        ArrowWriter::try_new(spool.clone(), table, Some(properties)).map_err(encoded)?;
    while let Some(part) = rows.next()? {
        writer.write(&layout.batch(part)?).map_err(encoded)?;
        if writer.in_progress_size() > ROW_GROUP_BYTES {
            writer.flush().map_err(encoded)?;
        }
        spool.drain(out)?;
    }
    writer.close().map_err(encoded)?;
    spool.drain(out)
}

fn encoded(error: ParquetError) -> Error {
    Error::new(ErrorKind::Io, format!("write a Parquet file: {error}"))
}

/// What the parquet crate has written: it wants to own a writer that may go to another thread, and ours
/// is borrowed.
#[derive(Debug, Clone, Default)]
struct Spool(Arc<Mutex<Vec<u8>>>);

impl Spool {
    fn drain(&self, out: &mut dyn Write) -> Result<()> {
        let mut bytes = lock(&self.0);
        out.write_all(&bytes).map_err(failed)?;
        bytes.clear();
        Ok(())
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
