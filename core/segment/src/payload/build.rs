//! Builds the metadata sections of a segment: `PayloadBuilder` takes the JSON of rows in order and returns
//! `PayloadBytes`, the columns section and the texts section. Called by `SegmentBuilder`.
//!
//! Each path seen gets its columns; the text of each row is kept byte for byte. Paths beyond
//! [`PATHS_MAX`] in order of appearance get no columns (filters on them read the texts: correct, slow);
//! `tags`, `entity_id` and `sequence_ts` always get theirs. The bytes depend on the rows and their order
//! only. Nothing is compressed beyond the choice of widths.

use std::collections::BTreeMap;

use super::instant::parse_instant;
use super::layout::{self, ColumnKind, FORM_ALL, FORM_ROWS, FORM_WORDS, Part, Writer};
use super::path::FieldPath;
use super::raw::RawWriter;
use super::scalar::{Number, Scalar};
use super::walk::{self, KEY_BYTES_MAX, ROOT, Sink};
use crate::error::Result;
use crate::ids::RowId;
use crate::kinds::{FieldKind, FieldKinds};
use crate::rowset::RowSet;

/// Paths of one segment that get columns.
pub const PATHS_MAX: usize = 1024;
const ALWAYS_COLUMNS: [&str; 3] = [walk::TAGS, "entity_id", "sequence_ts"];

/// The two sections a segment keeps its metadata in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadBytes {
    /// Typed columns: small, read by filters.
    pub columns: Vec<u8>,
    /// The JSON texts as given, read for results only: in pieces, which follow one another in the section.
    pub raw: Vec<Vec<u8>>,
}

/// Gathers rows; see the module.
#[derive(Debug)]
pub struct PayloadBuilder {
    tree: Tree,
    raw: RawWriter,
}

impl PayloadBuilder {
    /// No rows yet; texts of the fields of `kinds` that are dates become instants.
    pub fn new(kinds: &FieldKinds) -> Self {
        let root = Node::new(FieldPath::from_keys([""]), None);
        let (nodes, kinds) = (vec![root], kinds.clone());
        let tree = Tree { nodes, kinds, row: 0, is_incomplete: false };
        PayloadBuilder { tree, raw: RawWriter::new() }
    }

    /// Adds the next row: a JSON object, or none.
    ///
    /// # Errors
    /// `InvalidInput(Metadata)` as [`validate`](super::validate), after which the builder is of no more
    /// use; or if a segment would get 2^32 rows.
    pub fn push(&mut self, json: Option<&str>) -> Result<()> {
        let row = self.tree.row;
        layout::count_u32(row as usize + 1, "rows")?;
        if let Some(json) = json {
            walk::walk(json, row as usize, &mut self.tree)?;
        }
        self.raw.push(json);
        self.tree.row += 1;
        Ok(())
    }

    /// The sections. O(values log strings).
    ///
    /// # Errors
    /// `InvalidInput(Metadata)` if a column has more than 2^32 values or a dictionary 2^32 bytes.
    pub fn finish(self) -> Result<PayloadBytes> {
        let Tree { nodes, row: rows, is_incomplete, .. } = self.tree;
        let mut nodes: Vec<Node> = nodes.into_iter().skip(1).collect();
        nodes.sort_by(|a, b| a.path.cmp(&b.path));
        let mut writer = Writer::default();
        for node in nodes {
            node.write(rows, &mut writer)?;
        }
        let flags = if is_incomplete { layout::INCOMPLETE } else { 0 };
        Ok(PayloadBytes { columns: writer.finish(rows, flags), raw: self.raw.finish(rows) })
    }
}

/// The paths seen so far, as a tree of keys. Node 0 is the row itself.
#[derive(Debug)]
struct Tree {
    nodes: Vec<Node>,
    kinds: FieldKinds,
    row: u32,
    is_incomplete: bool,
}

impl Sink for Tree {
    fn child(&mut self, parent: u32, key: &str) -> Option<u32> {
        if let Some(node) = self.nodes[parent as usize].children.get(key) {
            return Some(*node);
        }
        let is_always = parent == ROOT && ALWAYS_COLUMNS.contains(&key);
        if self.nodes.len() > PATHS_MAX && !is_always {
            self.is_incomplete = true;
            return None;
        }
        let path = match parent {
            ROOT => FieldPath::from_keys([key]),
            _ => self.nodes[parent as usize].path.child(key),
        };
        let node = self.nodes.len() as u32;
        let kind = self.kinds.get(path.as_str());
        self.nodes.push(Node::new(path, kind));
        self.nodes[parent as usize].children.insert(key.into(), node);
        Some(node)
    }

    fn exists(&mut self, node: u32) {
        push_row(&mut self.nodes[node as usize].exists, self.row);
    }

    fn null(&mut self, node: u32) {
        push_row(&mut self.nodes[node as usize].null, self.row);
    }

    fn empty(&mut self, node: u32) {
        push_row(&mut self.nodes[node as usize].empty, self.row);
    }

    fn value(&mut self, node: u32, value: Scalar<'_>) {
        let node = &mut self.nodes[node as usize];
        if let Some(instant) = node.instant(value) {
            return node.instants.push((self.row, instant as u64));
        }
        let (column, bits) = match value {
            Scalar::Number(Number::Int(value)) => (&mut node.ints, value as u64),
            Scalar::Number(Number::Uint(value)) => (&mut node.uints, value),
            Scalar::Number(Number::Float(value)) => (&mut node.floats, value.to_bits()),
            Scalar::Bool(value) => (&mut node.bools, u64::from(value)),
            Scalar::Text(text) if text.len() > KEY_BYTES_MAX => {
                return push_row(&mut node.long, self.row);
            }
            Scalar::Text(text) => {
                let next = node.dictionary.len() as u32;
                let code = match node.dictionary.get(text) {
                    Some(code) => *code,
                    None => *node.dictionary.entry(text.into()).or_insert(next),
                };
                (&mut node.keywords, u64::from(code))
            }
        };
        column.push((self.row, bits));
    }
}

/// Adds `row` to an ascending list that may hold it already.
fn push_row(rows: &mut Vec<u32>, row: u32) {
    if rows.last() != Some(&row) {
        rows.push(row);
    }
}

/// What is known of one path. Values are (row, bits), ascending by row.
#[derive(Debug)]
struct Node {
    path: FieldPath,
    kind: Option<FieldKind>,
    children: BTreeMap<Box<str>, u32>,
    exists: Vec<u32>,
    null: Vec<u32>,
    empty: Vec<u32>,
    long: Vec<u32>,
    ints: Vec<(u32, u64)>,
    uints: Vec<(u32, u64)>,
    floats: Vec<(u32, u64)>,
    bools: Vec<(u32, u64)>,
    keywords: Vec<(u32, u64)>,
    instants: Vec<(u32, u64)>,
    /// Codes in order of appearance; sorted when written.
    dictionary: BTreeMap<Box<str>, u32>,
}

impl Node {
    fn new(path: FieldPath, kind: Option<FieldKind>) -> Self {
        Node {
            path,
            kind,
            children: BTreeMap::new(),
            exists: Vec::new(),
            null: Vec::new(),
            empty: Vec::new(),
            long: Vec::new(),
            ints: Vec::new(),
            uints: Vec::new(),
            floats: Vec::new(),
            bools: Vec::new(),
            keywords: Vec::new(),
            instants: Vec::new(),
            dictionary: BTreeMap::new(),
        }
    }

    /// The moment that a value of a declared field names.
    fn instant(&self, value: Scalar<'_>) -> Option<i64> {
        match (self.kind?, value) {
            (FieldKind::Datetime, Scalar::Text(text)) => parse_instant(text),
            (FieldKind::Datetime, Scalar::Number(_) | Scalar::Bool(_)) => None,
        }
    }

    fn write(mut self, rows: u32, writer: &mut Writer) -> Result<()> {
        writer.path(self.path.as_str());
        write_set(writer, Part::Exists, 0, &self.exists, rows);
        write_set(writer, Part::Null, 0, &self.null, rows);
        write_set(writer, Part::Empty, 0, &self.empty, rows);
        write_set(writer, Part::Long, 0, &self.long, rows);
        let smallest_int = smallest(&self.ints);
        let smallest_uint = self.uints.iter().map(|(_, bits)| *bits).min().unwrap_or(0);
        write_column(writer, ColumnKind::Int, &self.ints, smallest_int as u64, rows)?;
        write_column(writer, ColumnKind::Uint, &self.uints, smallest_uint, rows)?;
        write_column(writer, ColumnKind::Float, &self.floats, 0, rows)?;
        write_column(writer, ColumnKind::Bool, &self.bools, 0, rows)?;
        let mut sorted_codes = vec![0; self.dictionary.len()];
        for (sorted, code) in self.dictionary.values().enumerate() {
            sorted_codes[*code as usize] = sorted as u64;
        }
        for (_, code) in &mut self.keywords {
            *code = sorted_codes[*code as usize];
        }
        write_column(writer, ColumnKind::Keyword, &self.keywords, 0, rows)?;
        write_dictionary(writer, &self.dictionary)?;
        let smallest_instant = smallest(&self.instants);
        write_column(writer, ColumnKind::Datetime, &self.instants, smallest_instant as u64, rows)
    }
}

/// The smallest of values whose bits are those of an i64.
fn smallest(values: &[(u32, u64)]) -> i64 {
    values.iter().map(|(_, bits)| *bits as i64).min().unwrap_or(0)
}

fn write_set(writer: &mut Writer, part: Part, kind: u8, members: &[u32], rows: u32) {
    if members.is_empty() {
        return;
    }
    if members.len() == rows as usize {
        return writer.block(part, kind, FORM_ALL, 0, &[]);
    }
    if members.len() * 32 < rows as usize {
        return writer.block(part, kind, FORM_ROWS, 0, bytemuck::cast_slice(members));
    }
    let mut set = RowSet::empty(rows);
    for row in members {
        set.insert(RowId(*row));
    }
    writer.block(part, kind, FORM_WORDS, 0, &set.to_bytes());
}

/// Writes a column dense or listed, whichever takes fewer bytes; a list in any row makes it listed.
fn write_column(
    writer: &mut Writer,
    kind: ColumnKind,
    values: &[(u32, u64)],
    base: u64,
    rows: u32,
) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    layout::count_u32(values.len(), "values of one field")?;
    let greatest = values.iter().map(|(_, bits)| bits.wrapping_sub(base)).max().unwrap_or(0);
    let width = if kind == ColumnKind::Float { 8 } else { width_of(greatest) };
    let is_single = values.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let dense_bytes = rows as usize * width + rows as usize / 8;
    if is_single && dense_bytes <= values.len() * (width + size_of::<u32>()) {
        let members: Vec<u32> = values.iter().map(|(row, _)| *row).collect();
        write_set(writer, Part::Presence, kind as u8, &members, rows);
        let mut dense = vec![0; rows as usize];
        for (row, bits) in values {
            dense[*row as usize] = bits.wrapping_sub(base);
        }
        writer.block(Part::Values, kind as u8, width as u8, base, &narrowed(dense, width));
    } else {
        let members: Vec<u32> = values.iter().map(|(row, _)| *row).collect();
        writer.block(Part::Rows, kind as u8, 0, 0, bytemuck::cast_slice(&members));
        let listed = values.iter().map(|(_, bits)| bits.wrapping_sub(base));
        writer.block(Part::Values, kind as u8, width as u8, base, &narrowed(listed, width));
    }
    Ok(())
}

fn write_dictionary(writer: &mut Writer, strings: &BTreeMap<Box<str>, u32>) -> Result<()> {
    if strings.is_empty() {
        return Ok(());
    }
    let mut offsets = vec![0];
    let mut bytes = Vec::new();
    for text in strings.keys() {
        bytes.extend_from_slice(text.as_bytes());
        offsets.push(layout::count_u32(bytes.len(), "bytes of the strings of one field")?);
    }
    let kind = ColumnKind::Keyword as u8;
    writer.block(Part::DictionaryOffsets, kind, 0, 0, bytemuck::cast_slice(&offsets));
    writer.block(Part::DictionaryBytes, kind, 0, 0, &bytes);
    Ok(())
}

/// The fewest of 1, 2, 4 or 8 bytes that hold `greatest`.
fn width_of(greatest: u64) -> usize {
    match greatest {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    }
}

/// The low `width` bytes of each value.
fn narrowed(values: impl IntoIterator<Item = u64>, width: usize) -> Vec<u8> {
    values.into_iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect()
}
