//! From rows to the two sections: clustered, put in order, encoded.

use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::format::align64;
use crate::ids::{PointId, RowId};
use crate::kernel::Kernel;
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::vector::codec;
use crate::vector::originals::VectorRows;

use super::means::{Centroids, Points, members, squared, train};
use super::{HEADER_BYTES, RECORD_BYTES, VERSION, order};

/// A cell has about this many rows or more, so that its record in the table is small beside it.
const ROWS_PER_CELL_MIN: usize = 64;
/// No cell has more rows than this many times the mean.
const SPLIT_ABOVE: usize = 4;

/// The bytes of both sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellSections {
    /// The cell table.
    pub table: Vec<u8>,
    /// The cells.
    pub cells: Vec<u8>,
}

/// Cells of the rows `live`, which ascend; `None` if there are no rows. `id_of` names each.
/// O(rows^1.5 × dim) arithmetic on the threads of `pool`, which check `go_on` every 128 rows or each cell.
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
) -> Result<Option<CellSections>> {
    if live.is_empty() {
        return Ok(None);
    }
    let points = Points { rows, kernel };
    let cells = partition(&points, live, pool, go_on)?;
    let encoded = pool.map(&cells.members, |members| {
        if go_on() { encode_cell(&points, members, id_of) } else { Vec::new() }
    });
    cancel::check(go_on)?;
    let mut table = Vec::new();
    for field in [VERSION, live.len() as u32, rows.dim() as u32, encoded.len() as u32] {
        table.extend_from_slice(&field.to_le_bytes());
    }
    table.resize(HEADER_BYTES, 0);
    let mut codes = Vec::with_capacity(encoded.len() * rows.dim());
    let mut bytes = Vec::new();
    for (index, (members, cell)) in cells.members.iter().zip(&encoded).enumerate() {
        let scale = codec::encode(&cells.centroids.get(index)[..rows.dim()], &mut codes);
        for field in [members.len() as u32, cell.len() as u32, crc32c::crc32c(cell)] {
            table.extend_from_slice(&field.to_le_bytes());
        }
        table.extend_from_slice(&scale.to_le_bytes());
        bytes.resize(align64(bytes.len() as u64) as usize, 0);
        bytes.extend_from_slice(cell);
    }
    debug_assert_eq!(table.len(), HEADER_BYTES + encoded.len() * RECORD_BYTES);
    table.extend_from_slice(bytemuck::cast_slice(&codes));
    Ok(Some(CellSections { table, cells: bytes }))
}

/// Rows in cells, in file order.
struct Partition {
    members: Vec<Vec<RowId>>,
    centroids: Centroids,
}

/// About 5/3 · √rows cells: measured, a search of few of them reads least (docs/internals/decisions/0032).
fn cell_count(rows: usize) -> usize {
    let wanted = (rows as f64).sqrt() * 5.0 / 3.0;
    (wanted as usize).min(rows / ROWS_PER_CELL_MIN).max(1)
}

fn partition(
    points: &Points<'_>,
    live: &[RowId],
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<Partition> {
    let count = cell_count(live.len());
    let trained = train(points, live, count, pool, go_on)?;
    let nearest = trained.nearest(points, live, pool, go_on)?;
    let rows_max = (SPLIT_ABOVE * live.len()).div_ceil(count);
    let mut cells = Vec::with_capacity(count);
    for members in members(live, &nearest, count) {
        cancel::check(go_on)?;
        split(points, members, rows_max, &mut cells);
    }
    let mut centroids = Centroids { stride: points.stride(), values: Vec::new() };
    cells.iter().for_each(|members| centroids.push_mean(points, members));
    let path = order::path(&centroids);
    let values = path.iter().flat_map(|&index| centroids.get(index)).copied().collect();
    let members = path.iter().map(|&index| std::mem::take(&mut cells[index])).collect();
    Ok(Partition { members, centroids: Centroids { values, ..centroids } })
}

/// Halves a cell until no part has more than `rows_max` rows; drops it if it is empty.
fn split(points: &Points<'_>, members: Vec<RowId>, rows_max: usize, out: &mut Vec<Vec<RowId>>) {
    if members.len() > rows_max {
        let (front, back) = halves(points, &members);
        split(points, front, rows_max, out);
        split(points, back, rows_max, out);
    } else if !members.is_empty() {
        out.push(members);
    }
}

/// Two halves of a cell, across the line between two rows that are far apart. Each keeps the rows' order.
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

fn encode_cell(
    points: &Points<'_>,
    members: &[RowId],
    id_of: &(dyn Fn(RowId) -> PointId + Sync),
) -> Vec<u8> {
    let (mut scales, mut squares) = (Vec::new(), Vec::new());
    let mut codes = Vec::with_capacity(members.len() * points.rows.dim());
    let mut ids = Vec::new();
    let mut point = vec![0.0; points.stride()];
    for &row in members {
        points.read(row, &mut point);
        scales.push(codec::encode(&point[..points.rows.dim()], &mut codes));
        match points.rows.metric() {
            Metric::L2 => squares.push(squared(&point) as f32),
            Metric::Cosine | Metric::Dot => {}
        }
        id_of(row).encode(&mut ids);
    }
    let mut bytes = Vec::with_capacity(members.len() * 12 + codes.len() + ids.len());
    members.iter().for_each(|row| bytes.extend_from_slice(&row.0.to_le_bytes()));
    for value in scales.iter().chain(&squares) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(bytemuck::cast_slice(&codes));
    bytes.extend_from_slice(&ids);
    bytes
}
