//! `Npz`: reads `.npz` files, NumPy arrays in a zip archive, as rows. Opened by `rows::open`. The arrays are
//! recognised by name:
//!
//! | array | becomes |
//! |---|---|
//! | the one named by the caller, else `vectors`, else the only one of two dimensions | vectors |
//! | the one named by the caller, else `ids` or `id` | ids |
//! | `ids_are_numbers` (bool) beside ids of text | which of them are numbers |
//! | `metadata` (text) | whole JSON objects; empty means none |
//! | every other one-dimensional array | one key of the metadata; of datetime64, a declared one |
//!
//! All must have as many rows as the vectors; what does not fit is refused, not left out. Members are
//! decompressed a part at a time, side by side.

mod column;
mod member;

use std::path::Path;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::payload::FieldPath;
use nearfield_segment::{FieldKind, FieldKinds};
use serde_json::{Map, Value};

use super::arrow::ColumnNames;
use super::npy::Npy;
use super::npy_header::Header;
use super::{RowFile, Rows};
use column::Column;
use member::{Member, Source};

const VECTORS: &str = "vectors";
const IDS: [&str; 2] = ["ids", "id"];
pub(super) const IDS_ARE_NUMBERS: &str = "ids_are_numbers";
pub(super) const METADATA: &str = "metadata";
/// Bytes of the columns of a part: text is padded to the longest one in the file.
const PART_BYTES_MAX: usize = 32 << 20;

/// An open file.
#[derive(Debug)]
pub(super) struct Npz {
    vectors: Npy<Source>,
    ids: Option<Column<Source>>,
    numbers: Option<Column<Source>>,
    /// A column of whole documents.
    documents: Option<Column<Source>>,
    columns: Vec<Column<Source>>,
    /// Bytes of a row in all arrays.
    row_bytes: usize,
}

impl Npz {
    /// Reads the list of the archive and the headers of all arrays.
    ///
    /// # Errors
    /// `Corrupt` for a damaged archive or array; `InvalidInput` for arrays that do not fit together.
    pub(super) fn open(name: &str, path: &Path, names: &ColumnNames) -> Result<Npz> {
        let mut arrays = Vec::new();
        for member in member::list(path)? {
            let array = format!("{name}: {:?}", member.name);
            let header = Header::read(&array, &mut member.open(path)?, member.len)?;
            arrays.push((member, header));
        }
        let vectors = take_vectors(name, &mut arrays, names)?;
        let label = format!("{name}: {:?}", vectors.name);
        let vectors = Npy::new(label, vectors.open(path)?, vectors.len)?;
        let rows = vectors.rows().expect("an array has a shape");
        let (mut columns, mut row_bytes) = (Vec::new(), 4 * vectors.dim());
        for (member, header) in arrays {
            if header.shape != [rows] {
                let (shape, array) = (&header.shape, &member.name);
                let message = format!(
                    "{name}: {array:?}: expected an array of shape ({rows},), got {shape:?}"
                );
                return Err(Error::invalid(Fault::Dimension, message).with("expected", rows));
            }
            row_bytes = row_bytes.saturating_add(header.width);
            let mut source = member.open(path)?;
            let header = Header::read(&member.name, &mut source, member.len)?;
            columns.push(Column::new(member.name, header, source));
        }
        let id_names: Vec<&str> = names.id.as_deref().map_or(IDS.to_vec(), |name| vec![name]);
        let ids = take(&mut columns, |column| id_names.contains(&column.name.as_str()));
        if let (None, Some(wanted)) = (&ids, &names.id) {
            return Err(missing(name, wanted));
        }
        let numbers =
            take(&mut columns, |column| column.name == IDS_ARE_NUMBERS && column.is_bool());
        let documents = take(&mut columns, |column| column.name == METADATA && column.is_text());
        if let (Some(_), Some(other)) = (&documents, columns.first()) {
            let expected = "metadata in an array \"metadata\" or in arrays of their own";
            let message = format!("{name}: expected {expected}, found both ({:?})", other.name);
            return Err(Error::invalid(Fault::Metadata, message));
        }
        Ok(Npz { vectors, ids, numbers, documents, columns, row_bytes })
    }

    fn metadata(&mut self, count: usize) -> Result<Vec<Option<String>>> {
        if let Some(documents) = &mut self.documents {
            let texts = documents.json(count)?.into_iter();
            let text = |value: Option<Value>| Some(value?.as_str()?.to_owned());
            return Ok(texts.map(|value| text(value).filter(|text| !text.is_empty())).collect());
        }
        if self.columns.is_empty() {
            return Ok(Vec::new());
        }
        let mut objects = vec![Map::new(); count];
        for column in &mut self.columns {
            for (object, value) in objects.iter_mut().zip(column.json(count)?) {
                object.extend(value.map(|value| (column.name.clone(), value)));
            }
        }
        let text =
            |object: Map<_, _>| (!object.is_empty()).then(|| Value::Object(object).to_string());
        Ok(objects.into_iter().map(text).collect())
    }
}

fn take_vectors(
    name: &str,
    arrays: &mut Vec<(Member, Header)>,
    names: &ColumnNames,
) -> Result<Member> {
    let wanted = names.vector.as_deref();
    let by_name = |wanted: &str| arrays.iter().position(|(member, _)| member.name == wanted);
    let flat: Vec<usize> = (0..arrays.len()).filter(|&i| arrays[i].1.shape.len() == 2).collect();
    let found = match (wanted, flat.as_slice()) {
        (Some(wanted), _) => Some(by_name(wanted).ok_or_else(|| missing(name, wanted))?),
        (None, &[only]) => by_name(VECTORS).or(Some(only)),
        (None, _) => by_name(VECTORS),
    };
    let Some(found) = found else {
        let there: Vec<String> = arrays
            .iter()
            .map(|(member, header)| format!("{} {:?}", member.name, header.shape))
            .collect();
        let expected = "an array \"vectors\", or only one of two dimensions";
        let message = format!("{name}: expected {expected}, found {there:?}");
        return Err(Error::invalid(Fault::Parameter, message).with("expected", expected));
    };
    Ok(arrays.remove(found).0)
}

fn take<T>(from: &mut Vec<T>, wanted: impl Fn(&T) -> bool) -> Option<T> {
    from.iter().position(wanted).map(|position| from.remove(position))
}

fn missing(name: &str, wanted: &str) -> Error {
    let message = format!("{name}: expected an array {wanted:?}, found none of that name");
    Error::invalid(Fault::Parameter, message).with("expected", wanted)
}

impl RowFile for Npz {
    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn fields(&self) -> FieldKinds {
        let dates = self.columns.iter().filter(|column| column.is_datetime());
        let paths = dates.map(|column| FieldPath::from_keys([&column.name]).as_str().to_owned());
        paths.map(|path| (path, FieldKind::Datetime)).collect()
    }

    fn rows(&self) -> Option<u64> {
        self.vectors.rows()
    }

    fn progress(&self) -> (u64, u64) {
        self.vectors.progress()
    }

    fn next_rows(&mut self, count_max: usize) -> Result<Rows> {
        let fitting = (PART_BYTES_MAX / self.row_bytes.max(1)).max(1);
        let mut rows = self.vectors.next_rows(count_max.min(fitting))?;
        let marks = self.numbers.as_mut().map(|numbers| numbers.bytes(rows.count)).transpose()?;
        if let Some(ids) = &mut self.ids {
            rows.ids = ids.ids(rows.count, marks.as_deref())?;
        }
        rows.metadata = self.metadata(rows.count)?;
        Ok(rows)
    }
}
