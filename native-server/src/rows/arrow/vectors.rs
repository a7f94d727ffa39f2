//! `elements`: converts an Arrow column of lists of floats to rows of f32. Called by `table`.
//!
//! Fixed-size lists of f32 are one copy of the whole column. Every row must have the same number of
//! elements, and none may be null.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, OffsetSizeTrait};
use nearfield_engine::{Error, Fault};
use nearfield_segment::DIM_MAX;

/// An error, and the row of the batch it is about.
#[derive(Debug)]
pub(super) struct RowFault {
    pub(super) row: usize,
    pub(super) error: Error,
}

type Result<T> = std::result::Result<T, RowFault>;

/// All elements, row-major. `dim` is checked, or learned if it is not known yet.
///
/// # Errors
/// `InvalidInput(Dimension)` for a row of another length, `InvalidInput(Parameter)` for a null.
pub(super) fn elements(column: &ArrayRef, dim: &mut Option<usize>) -> Result<Vec<f32>> {
    if let Some(row) = first_null(column) {
        return Err(null(row));
    }
    if column.is_empty() {
        return Ok(Vec::new());
    }
    let values = if let Some(lists) = column.as_fixed_size_list_opt() {
        let size = lists.value_length() as usize;
        check_dim(0, size, dim)?;
        lists.values().slice(lists.value_offset_at(0), lists.len() * size)
    } else if column.as_list_opt::<i64>().is_some() {
        values_of_lists::<i64>(column, dim)?
    } else {
        values_of_lists::<i32>(column, dim)?
    };
    let dim = dim.expect("learned from the first row");
    if let Some(index) = first_null(&values) {
        return Err(null(index / dim));
    }
    Ok(floats(&values))
}

/// Elements of all rows. The column's type was checked by [`super::columns`].
pub(super) fn count(column: &ArrayRef) -> usize {
    let Some(last) = column.len().checked_sub(1) else { return 0 };
    if let Some(lists) = column.as_fixed_size_list_opt() {
        return column.len() * lists.value_length() as usize;
    }
    if let Some(lists) = column.as_list_opt::<i64>() {
        let offsets = lists.value_offsets();
        return (offsets[last + 1] - offsets[0]) as usize;
    }
    let offsets = column.as_list::<i32>().value_offsets();
    (offsets[last + 1] - offsets[0]) as usize
}

/// O(1) for a column without nulls.
fn first_null(column: &ArrayRef) -> Option<usize> {
    let nulls = column.nulls()?;
    (0..nulls.len()).find(|&index| nulls.is_null(index))
}

/// The values of consecutive lists, each as long as the first.
fn values_of_lists<O: OffsetSizeTrait>(
    column: &ArrayRef,
    dim: &mut Option<usize>,
) -> Result<ArrayRef> {
    let lists = column.as_list::<O>();
    for row in 0..lists.len() {
        check_dim(row, lists.value_length(row).as_usize(), dim)?;
    }
    let offsets = lists.value_offsets();
    let (start, end) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
    Ok(lists.values().slice(start, end - start))
}

fn check_dim(row: usize, len: usize, dim: &mut Option<usize>) -> Result<()> {
    let expected = match *dim {
        Some(dim) if dim == len => return Ok(()),
        Some(dim) => dim.to_string(),
        None if (1..=DIM_MAX).contains(&len) => {
            *dim = Some(len);
            return Ok(());
        }
        None => format!("1 to {DIM_MAX}"),
    };
    let message = format!("expected {expected} elements, got {len}");
    let error = Error::invalid(Fault::Dimension, message);
    Err(RowFault { row, error: error.with("expected", expected).with("got", len) })
}

fn null(row: usize) -> RowFault {
    let error = Error::invalid(Fault::Parameter, "expected a vector without nulls, found null");
    RowFault { row, error }
}

fn floats(values: &ArrayRef) -> Vec<f32> {
    if let Some(floats) = values.as_primitive_opt::<Float32Type>() {
        return floats.values().to_vec();
    }
    if let Some(halves) = values.as_primitive_opt::<Float16Type>() {
        return halves.values().iter().map(|half| half.to_f32()).collect();
    }
    values.as_primitive::<Float64Type>().values().iter().map(|&float| float as f32).collect()
}
