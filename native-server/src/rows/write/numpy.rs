//! Writes `.npy` and `.npz` files, with the headers that NumPy writes. Called by `rows::write`.

use std::io::Write;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::PointId;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::super::npz::{IDS_ARE_NUMBERS, METADATA};
use super::super::row_file::{IdKind, RowFile, Rows};
use super::passes::{Census, PART_ROWS, Pass, Passes, Reported, failed, unfit};

/// NumPy aligns the elements to this.
const ALIGNMENT: usize = 64;
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// Vectors as one array, nothing else.
pub(super) fn write_array(
    census: &Census,
    rows: &mut Reported<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    let shape = format!("({}, {})", census.rows, rows.dim());
    out.write_all(&header("<f4", &shape)).map_err(failed)?;
    while let Some(part) = rows.next()? {
        out.write_all(&little_endian(&part.vectors)).map_err(failed)?;
    }
    Ok(())
}

/// Vectors, ids and metadata as arrays `vectors`, `ids`, `metadata`, each a pass over the rows. Vectors
/// are not compressed: it takes long and gains little.
pub(super) fn write_vectors_of_archive(
    census: &Census,
    rows: &mut Reported<'_>,
    out: &mut dyn Write,
    passes: Passes<'_>,
) -> Result<()> {
    let mut zip = ZipWriter::new_stream(out);
    let how = SimpleFileOptions::default().large_file(true);
    let zipped = |error: zip::result::ZipError| failed(error.into());
    zip.start_file("vectors.npy", how.compression_method(CompressionMethod::Stored))
        .map_err(zipped)?;
    write_array(census, rows, &mut zip)?;
    let how = how.compression_method(CompressionMethod::Deflated);
    if census.ids != IdKind::None {
        zip.start_file("ids.npy", how).map_err(zipped)?;
        write_id_array(census, &mut *passes(Pass::Census)?, &mut zip)?;
    }
    if census.ids == IdKind::Mixed {
        zip.start_file(format!("{IDS_ARE_NUMBERS}.npy"), how).map_err(zipped)?;
        zip.write_all(&header("|b1", &format!("({},)", census.rows))).map_err(failed)?;
        each_part(&mut *passes(Pass::Census)?, &mut |part| {
            let number = |id: &PointId| u8::from(matches!(id, PointId::U64(_)));
            let marks: Vec<u8> = part.ids.iter().map(number).collect();
            zip.write_all(&marks).map_err(failed)
        })?;
    }
    if census.with_metadata > 0 {
        zip.start_file(format!("{METADATA}.npy"), how).map_err(zipped)?;
        let (descr, width) = text_type(census.metadata_chars);
        zip.write_all(&header(&descr, &format!("({},)", census.rows))).map_err(failed)?;
        each_part(&mut *passes(Pass::Census)?, &mut |part| {
            part.metadata.iter().try_for_each(|text| {
                let text = text.as_deref().unwrap_or_default();
                zip.write_all(&padded(text, width)).map_err(failed)
            })
        })?;
    }
    zip.finish().map(drop).map_err(zipped)
}

/// Ids as an array of their own.
pub(super) fn write_ids(
    census: &Census,
    rows: &mut dyn RowFile,
    out: &mut dyn Write,
) -> Result<()> {
    if census.ids == IdKind::Mixed {
        let expected = "ids that are all numbers or all text (an .npz file holds both)";
        return Err(Error::invalid(Fault::Id, format!("array of ids: expected {expected}")));
    }
    write_id_array(census, rows, out)
}

fn write_id_array(census: &Census, rows: &mut dyn RowFile, out: &mut dyn Write) -> Result<()> {
    let shape = format!("({},)", census.rows);
    let number_type = match census.ids {
        IdKind::Numbers | IdKind::Large => Some("<u8"),
        IdKind::Signed => Some("<i8"),
        IdKind::None | IdKind::Text | IdKind::Mixed => None,
    };
    if let Some(descr) = number_type {
        out.write_all(&header(descr, &shape)).map_err(failed)?;
        return each_part(rows, &mut |part| {
            let number = |id: &PointId| match id {
                PointId::I64(number) => number.to_le_bytes(),
                PointId::U64(number) => number.to_le_bytes(),
                PointId::Uuid(_) | PointId::Str(_) => unreachable!("the census found numbers only"),
            };
            let numbers: Vec<[u8; 8]> = part.ids.iter().map(number).collect();
            out.write_all(numbers.as_flattened()).map_err(failed)
        });
    }
    let (descr, width) = text_type(census.id_chars);
    out.write_all(&header(&descr, &shape)).map_err(failed)?;
    each_part(rows, &mut |part| {
        part.ids.iter().try_for_each(|id| {
            let text = id.to_string();
            if text.ends_with('\0') {
                return Err(unfit(id, "NumPy cannot hold a text that ends with a zero"));
            }
            out.write_all(&padded(&text, width)).map_err(failed)
        })
    })
}

fn each_part(rows: &mut dyn RowFile, take: &mut dyn FnMut(Rows) -> Result<()>) -> Result<()> {
    loop {
        let part = rows.next_rows(PART_ROWS)?;
        if part.count == 0 {
            return Ok(());
        }
        take(part)?;
    }
}

/// Version 1.0, padded so that the elements are aligned.
fn header(descr: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let len = (MAGIC.len() + 2 + text.len() + 1).next_multiple_of(ALIGNMENT);
    let text_len = (len - MAGIC.len() - 2) as u16;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(text_len.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.resize(len - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// Type and bytes of an array of texts of at most so many characters.
fn text_type(chars: usize) -> (String, usize) {
    let chars = chars.max(1);
    (format!("<U{chars}"), 4 * chars)
}

fn padded(text: &str, width: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    bytes.resize(width, 0);
    bytes
}

fn little_endian(elements: &[f32]) -> Vec<u8> {
    elements.iter().flat_map(|element| element.to_le_bytes()).collect()
}
