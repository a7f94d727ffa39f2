//! Writes `.fvecs`, JSON lines, and lines of ids. Called by `rows::write`.

use std::io::Write;

use nearfield_engine::Result;
use nearfield_segment::PointId;

use super::super::row_file::{RowFile, Rows};
use super::passes::{PART_ROWS, Reported, failed, unfit};
use crate::json;

/// Vectors, each after its dimension.
pub(super) fn write_fvecs(rows: &mut Reported<'_>, out: &mut dyn Write) -> Result<()> {
    let dim = rows.dim();
    while let Some(part) = rows.next()? {
        let mut bytes = Vec::with_capacity(part.count * (4 + 4 * dim));
        for vector in part.vectors.chunks_exact(dim) {
            bytes.extend((dim as u32).to_le_bytes());
            bytes.extend(vector.iter().flat_map(|element| element.to_le_bytes()));
        }
        out.write_all(&bytes).map_err(failed)?;
    }
    Ok(())
}

/// `{"id": …, "vector": […], "metadata": {…}}`, metadata as it was given.
pub(super) fn write_json_lines(rows: &mut Reported<'_>, out: &mut dyn Write) -> Result<()> {
    let dim = rows.dim();
    while let Some(part) = rows.next()? {
        let mut text = String::new();
        for (row, vector) in part.vectors.chunks_exact(dim).enumerate() {
            push_line(&mut text, &part, row, vector);
        }
        out.write_all(text.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

fn push_line(text: &mut String, part: &Rows, row: usize, vector: &[f32]) {
    text.push('{');
    if let Some(id) = part.ids.get(row) {
        text.push_str(&format!("\"id\":{},", json::id(id)));
    }
    text.push_str("\"vector\":[");
    for (index, element) in vector.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // The shortest digits that read back as the same f32.
        text.push_str(&format!("{comma}{element:?}"));
    }
    text.push(']');
    if let Some(Some(metadata)) = part.metadata.get(row) {
        text.push_str(",\"metadata\":");
        // A line is a point: white space between tokens may hold line ends, strings cannot.
        text.extend(metadata.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    }
    text.push_str("}\n");
}

/// An id a line.
pub(super) fn write_ids(rows: &mut dyn RowFile, out: &mut dyn Write) -> Result<()> {
    loop {
        let part = rows.next_rows(PART_ROWS)?;
        if part.count == 0 {
            return Ok(());
        }
        let mut text = String::new();
        for id in &part.ids {
            text.push_str(&line(id)?);
            text.push('\n');
        }
        out.write_all(text.as_bytes()).map_err(failed)?;
    }
}

fn line(id: &PointId) -> Result<String> {
    let text = id.to_string();
    match id {
        PointId::I64(_) | PointId::U64(_) | PointId::Uuid(_) => Ok(text),
        PointId::Str(_) if PointId::from_digits(&text).is_some() => {
            Err(unfit(id, "a line of digits would be read as a number; use .jsonl or .npz"))
        }
        PointId::Str(_) if text.contains(['\n', '\r']) => {
            Err(unfit(id, "it has several lines; use .jsonl or .npz"))
        }
        PointId::Str(_) => Ok(text),
    }
}
