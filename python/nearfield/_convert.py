"""Vectors and ids that are not yet in the form the extension reads: converted by NumPy, or refused by name.

Long lists are converted some rows at a time, so that other threads run, and Ctrl-C is seen, in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _tables
from .errors import DimensionError, IdError, InputTypeError, NearfieldError, NonFiniteError

_NUMBERS = "an array or list of numbers"
_HINT = "; give rows of one length, such as np.stack(column) or table.to_numpy()"
#: Elements of a list that are converted without a pause: less than a millisecond.
_ELEMENTS_AT_ONCE = 8_192

_Floats = np.ndarray[Any, np.dtype[np.float32]]


def vectors(value: Any) -> _Floats:
    """The value as an aligned, C-contiguous array of f32 of its own."""
    try:
        rows = _rows(value)
    except NearfieldError:
        raise
    except Exception as error:
        got = f"{type(value).__name__} ({type(error).__name__}: {error})"
        raise _not_numbers(got, _HINT) from None
    if isinstance(rows, (list, tuple)) and rows and isinstance(rows[0], (list, tuple, np.ndarray)):
        return _stack(rows)
    return _narrow(_as_numbers(rows), 0)


def _not_numbers(got: str, hint: str = "") -> InputTypeError:
    message = f"vectors: expected {_NUMBERS}, got {got}{hint}"
    return InputTypeError(message, expected=_NUMBERS, got=got)


def _rows(value: Any) -> Any:
    """A column of lists of another library as a table of numbers or a list of rows; other values as they are."""
    package = _tables.library(value)
    if package == "polars" and _tables.is_a(value, "Series") and value.dtype.is_nested():
        return _of_polars(value)
    if package == "pyarrow" and hasattr(value, "type"):
        return _of_arrow(value)
    if package == "pandas" and _tables.is_a(value, "Series") and value.dtype.kind == "O":
        return list(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.ndim == 1:
        return list(value)
    is_table = _tables.is_a(value, "Table") or _tables.is_a(value, "RecordBatch")
    if is_table or not hasattr(value, "__array__") and hasattr(value, "__arrow_c_stream__"):
        hint = "; give its column of vectors, such as table[\"vector\"], or convert it with .to_numpy()"
        raise _not_numbers(type(value).__name__, hint)
    return value


def _of_polars(column: Any) -> Any:
    """The rows of a polars column of lists or arrays as one table."""
    null = column.is_null().to_numpy()
    if null.any():
        raise _no_vector(int(null.argmax()))
    if type(column.dtype).__name__ != "Array":
        lengths = column.list.len()
        if lengths.n_unique() > 1:
            raise _ragged(f"lengths {lengths.min()} to {lengths.max()}")
    return _table(column.explode(), len(column))


def _of_arrow(column: Any) -> Any:
    """The rows of an Arrow column of lists as one table."""
    types = _tables.arrow_types()
    whole = column.combine_chunks() if _tables.is_a(column, "ChunkedArray") else column
    is_fixed = types.is_fixed_size_list(whole.type)
    if not is_fixed and not types.is_list(whole.type) and not types.is_large_list(whole.type):
        return whole.to_numpy(zero_copy_only=False)
    if whole.null_count:
        raise _no_vector(int(whole.is_null().to_numpy(zero_copy_only=False).argmax()))
    if not is_fixed and len(whole):
        lengths = whole.value_lengths().to_numpy(zero_copy_only=False)
        if lengths.min() != lengths.max():
            raise _ragged(f"lengths {lengths.min()} to {lengths.max()}")
    return _table(whole.flatten(), len(whole))


def _table(elements: Any, rows: int) -> np.ndarray[Any, Any]:
    """Elements of all rows, row by row, as a table. Nulls are refused: as NaN they would be, too."""
    if elements.null_count() if callable(elements.null_count) else elements.null_count:
        raise NonFiniteError("vectors: expected a number everywhere, got null",
                             expected="a number everywhere", got="null")
    array = np.asarray(elements)
    return array.reshape(rows, -1) if rows else array


def _no_vector(row: int) -> NonFiniteError:
    message = f"vectors: row {row}: expected a vector, got null"
    return NonFiniteError(message, expected="a vector", got="null", row=row)


def _ragged(got: str) -> DimensionError:
    message = f"vectors: expected rows of equal length, got a ragged list ({got})"
    return DimensionError(message, expected="rows of equal length", got="a ragged list")


def _stack(rows: list[Any] | tuple[Any, ...]) -> _Floats:
    """Rows as one table, some at a time."""
    dim = len(rows[0])
    if dim == 0 or np.ndim(rows[0][0]) > 0:
        return _narrow(_as_numbers(rows), 0)
    table = np.empty((len(rows), dim), np.float32)
    step = max(1, _ELEMENTS_AT_ONCE // dim)
    for start in range(0, len(rows), step):
        part = _narrow(_as_numbers(rows[start : start + step]), start)
        if part.ndim != 2 or part.shape[1] != dim:
            raise _ragged(f"row {start} has another length than row 0, which has {dim}")
        table[start : start + step] = part
    return table


def _as_numbers(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise NonFiniteError("vectors: expected a number everywhere, got masked elements",
                             expected="a number everywhere", got="masked elements")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise _ragged(str(error)) from None
    if array.dtype.kind not in "fiub":
        hint = _HINT if array.dtype.kind == "O" else ""
        raise _not_numbers(f"{type(value).__name__} of {array.dtype}", hint)
    return array


def _narrow(array: np.ndarray[Any, Any], first_row: int) -> _Floats:
    """Numbers as 32-bit floats; `first_row` is the index of the first row in the caller's argument."""
    if array.dtype == np.float32:
        return np.require(array, np.float32, ["C", "A"]).view(np.ndarray)
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.require(array.astype(np.float32, order="C"), None, ["C", "A"])
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        _check_overflow(array, narrow, first_row)
    return narrow


def _check_overflow(wide: np.ndarray[Any, Any], narrow: _Floats, first_row: int) -> None:
    lost = np.isinf(narrow) & np.isfinite(wide)
    if not lost.any():
        return
    place = tuple(int(axis) for axis in np.argwhere(lost)[0])
    row, column = (0, *place)[-2:]
    row, got = row + first_row, str(wide[place])
    raise NonFiniteError(f"row {row}, column {column}: expected a 32-bit float, got {got}",
                         expected="at most 3.4e38", got=got, row=row, column=column)


def id_list(ids: Any) -> list[Any]:
    """Ids as a list, in order."""
    if isinstance(ids, (list, tuple)):
        return list(ids)
    expected = "a sequence of ids"
    if isinstance(ids, (bytes, dict, set, frozenset)):
        got = type(ids).__name__
        raise IdError(f"ids: expected {expected}, got {got}", expected=expected, got=got)
    if hasattr(ids, "__array__"):
        array = np.asarray(ids)
        if array.ndim == 1:
            return list(array.tolist())
        if array.ndim == 0 and array.dtype.kind in "iuU":
            return [array.item()]
        got = f"an array of shape {array.shape}"
        raise IdError(f"ids: expected {expected}, got {got}", expected=expected, got=got)
    try:
        return list(ids)
    except TypeError:
        got = f"{ids!r} ({type(ids).__name__})"
        raise IdError(f"ids: expected {expected}, got {got}", expected=expected, got=got) from None


def masked(values: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of different length as one table whose missing ends are masked."""
    mask = np.arange(values.shape[1]) >= counts[:, None]
    return np.ma.MaskedArray(values, mask=mask)
