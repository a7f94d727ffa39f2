//! Builds the two sections of inverted lists from the rows of a field: clusters the rows by k-means (`means`), orders
//! the lists (`order`), encodes them. Entry: `build` (rows → `ListSections`), called when an export is written.

use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::format::{SectionKey, SectionKind, align64};
use crate::ids::{PointId, RowId};
use crate::kernel::Kernel;
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::vector::codec::EncodedRows;
use crate::vector::codes::ListCodec;
use crate::vector::originals::VectorRows;

use super::means::{Centroids, Points, members, train};
use super::{HEADER_BYTES, RECORD_BYTES, VERSION, order};

/// A list has about this many rows or more, so that its record in the table is small beside it.
const ROWS_PER_LIST_MIN: usize = 64;
/// No list has more rows than this many times the mean.
const SPLIT_ABOVE: usize = 4;

/// The bytes of both sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSections {
    /// The list table.
    pub table: Vec<u8>,
    /// The lists.
    pub lists: Vec<u8>,
}

impl ListSections {
    /// The sections as those of the field at position `field` of the schema.
    pub fn by_key(&self, field: u16) -> [(SectionKey, &[u8]); 2] {
        [
            (SectionKey::of_field(SectionKind::CellTable, field), &self.table),
            (SectionKey::of_field(SectionKind::Cells, field), &self.lists),
        ]
    }
}

/// Lists of the rows `live`, which ascend; `None` if there are no rows. `id_of` names each.
/// O(rows^1.5 × dim) arithmetic on the threads of `pool`, which check `go_on` every 128 rows or each list.
///
/// # Errors
/// `Cancelled`.
///
/// # Panics
/// If `live` names rows that there are not.
pub fn build(
    rows: &VectorRows<'_>,
    live: &[RowId],
    id_of: &(dyn Fn(RowId) -> PointId + Sync),
    kernel: Kernel,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<Option<ListSections>> {
    if live.is_empty() {
        return Ok(None);
    }
    let points = Points { rows, kernel };
    let lists = partition(&points, live, pool, go_on)?;
    let encoded = pool.map(&lists.members, |members| {
        if go_on() { encode_list(&points, members, id_of) } else { Vec::new() }
    });
    cancel::check(go_on)?;
    let mut table = Vec::new();
    for field in [VERSION, live.len() as u32, rows.dim() as u32, encoded.len() as u32] {
        table.extend_from_slice(&field.to_le_bytes());
    }
    table.resize(HEADER_BYTES, 0);
    let mut centroids = EncodedRows::with_capacity(ListCodec::of(rows), encoded.len());
    let mut bytes = Vec::new();
    for (index, (members, list)) in lists.members.iter().zip(&encoded).enumerate() {
        centroids.push(&lists.centroids.get(index)[..rows.dim()])?;
        for field in [members.len() as u32, list.len() as u32, crc32c::crc32c(list)] {
            table.extend_from_slice(&field.to_le_bytes());
        }
        table.extend_from_slice(&centroids.factors()[index].scale.to_le_bytes());
        bytes.resize(align64(bytes.len() as u64) as usize, 0);
        bytes.extend_from_slice(list);
    }
    debug_assert_eq!(table.len(), HEADER_BYTES + encoded.len() * RECORD_BYTES);
    table.extend_from_slice(centroids.codes());
    Ok(Some(ListSections { table, lists: bytes }))
}

/// Rows in lists, in file order.
struct Partition {
    members: Vec<Vec<RowId>>,
    centroids: Centroids,
}

/// About 5/3 · √rows lists: measured, a search of few of them reads least (docs/internals/decisions/0032).
fn list_count(rows: usize) -> usize {
    let wanted = (rows as f64).sqrt() * 5.0 / 3.0;
    (wanted as usize).min(rows / ROWS_PER_LIST_MIN).max(1)
}

fn partition(
    points: &Points<'_>,
    live: &[RowId],
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<Partition> {
    let count = list_count(live.len());
    let trained = train(points, live, count, pool, go_on)?;
    let nearest = trained.nearest(points, live, pool, go_on)?;
    let rows_max = (SPLIT_ABOVE * live.len()).div_ceil(count);
    let mut lists = Vec::with_capacity(count);
    for members in members(live, &nearest, count) {
        cancel::check(go_on)?;
        split(points, members, rows_max, &mut lists);
    }
    let mut centroids = Centroids { stride: points.stride(), values: Vec::new() };
    lists.iter().for_each(|members| centroids.push_mean(points, members));
    let path = order::path(&centroids);
    let values = path.iter().flat_map(|&index| centroids.get(index)).copied().collect();
    let members = path.iter().map(|&index| std::mem::take(&mut lists[index])).collect();
    Ok(Partition { members, centroids: Centroids { values, ..centroids } })
}

/// Halves a list until no part has more than `rows_max` rows; drops it if it is empty.
fn split(points: &Points<'_>, members: Vec<RowId>, rows_max: usize, out: &mut Vec<Vec<RowId>>) {
    if members.len() > rows_max {
        let (front, back) = halves(points, &members);
        split(points, front, rows_max, out);
        split(points, back, rows_max, out);
    } else if !members.is_empty() {
        out.push(members);
    }
}

/// Two halves of a list, across the line between two rows that are far apart. Each keeps the rows' order.
fn halves(points: &Points<'_>, members: &[RowId]) -> (Vec<RowId>, Vec<RowId>) {
    let read = |row: RowId| {
        let mut point = vec![0.0; points.stride()];
        points.read(row, &mut point);
        point
    };
    let farthest = |from: &[f32]| {
        let mut best = (-1.0, members[0]);
        for &row in members {
            let distance = order::squared_distance(from, &read(row));
            if distance > best.0 {
                best = (distance, row);
            }
        }
        read(best.1)
    };
    let one = farthest(&read(members[0]));
    let other = farthest(&one);
    let along = |row: RowId| -> f64 {
        let point = read(row);
        let terms = point.iter().zip(one.iter().zip(&other));
        terms.map(|(x, (a, b))| f64::from(*x) * (f64::from(*b) - f64::from(*a))).sum()
    };
    let mut placed: Vec<(f64, RowId)> = members.iter().map(|&row| (along(row), row)).collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut front: Vec<RowId> = placed.into_iter().map(|(_, row)| row).collect();
    let mut back = front.split_off(front.len() / 2);
    front.sort_unstable();
    back.sort_unstable();
    (front, back)
}

fn encode_list(
    points: &Points<'_>,
    members: &[RowId],
    id_of: &(dyn Fn(RowId) -> PointId + Sync),
) -> Vec<u8> {
    let rows = points.rows;
    let mut encoded = EncodedRows::with_capacity(ListCodec::of(rows), members.len());
    let mut ids = Vec::new();
    let mut point = vec![0.0; points.stride()];
    for &row in members {
        points.read(row, &mut point);
        encoded.push(&point[..rows.dim()]).expect("stored rows are finite");
        id_of(row).encode(&mut ids);
    }
    let squared_norms = match rows.metric() {
        Metric::L2 => encoded.factors(),
        Metric::Cosine | Metric::Dot => &[],
    };
    let squared_norms = squared_norms.iter().map(|factors| factors.squared_norm);
    let scales = encoded.factors().iter().map(|factors| factors.scale);
    let mut bytes = Vec::with_capacity(members.len() * (12 + rows.dim()) + ids.len());
    members.iter().for_each(|row| bytes.extend_from_slice(&row.0.to_le_bytes()));
    for value in scales.chain(squared_norms) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(encoded.codes());
    bytes.extend_from_slice(&ids);
    bytes
}
