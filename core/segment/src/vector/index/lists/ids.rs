//! The ids of a list's rows, one after the other, each as [`PointId::encode`] writes it: `starts` checks
//! them, `id_at` reads one. Called by `InvertedList`.

use crate::ids::PointId;
use crate::reader::ByteReader;
use crate::storage::Bytes;

/// Where each of `count` ids starts in `bytes`, which they fill; every one of them can be read.
pub(super) fn starts(bytes: &[u8], count: usize) -> Result<Vec<u32>, String> {
    let (mut starts, mut reader) = (Vec::with_capacity(count), ids(bytes));
    for index in 0..count {
        starts.push(reader.at() as u32);
        if PointId::decode(&mut reader).is_err() {
            return Err(format!("id {index} of {count} cannot be read"));
        }
    }
    match reader.left() {
        0 => Ok(starts),
        left => Err(format!("{left} bytes behind {count} ids")),
    }
}

/// The id at `at`, which is one of [`starts`].
pub(super) fn id_at(bytes: &Bytes, at: u32) -> PointId {
    PointId::decode(&mut ids(&bytes[at as usize..]))
        .expect("every id was read when the list was opened")
}

fn ids(bytes: &[u8]) -> ByteReader<'_> {
    ByteReader::new("list", "ids", bytes)
}
