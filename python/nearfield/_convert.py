"""Inputs that are not yet in the form the extension reads: converted by NumPy, or refused by name."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import numpy as np

from .errors import DimensionError, IdError, InputTypeError, MetadataError, NonFiniteError

_NUMBERS = "an array or list of numbers"


def vectors(value: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The value as an aligned, C-contiguous array of f32 of its own."""
    array = _as_numbers(value)
    if array.dtype == np.float32:
        return np.require(array, np.float32, ["C", "A"]).view(np.ndarray)
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.require(array.astype(np.float32, order="C"), None, ["C", "A"])
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        _check_overflow(array, narrow)
    return narrow


def _as_numbers(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise NonFiniteError("vectors: expected a number everywhere, got masked elements",
                             expected="a number everywhere", got="masked elements")
    if not hasattr(value, "__array__") and hasattr(value, "__arrow_c_stream__"):
        kind = type(value).__name__
        raise InputTypeError(f"vectors: expected {_NUMBERS}, got {kind}; convert it with .to_numpy()",
                             expected=_NUMBERS, got=kind)
    try:
        array = np.asarray(value)
    except ValueError as error:
        message = f"vectors: expected rows of equal length, got a ragged list ({error})"
        raise DimensionError(message, expected="rows of equal length", got="a ragged list") from None
    if array.dtype.kind not in "fiub":
        got = f"{type(value).__name__} of {array.dtype}"
        raise InputTypeError(f"vectors: expected {_NUMBERS}, got {got}", expected=_NUMBERS, got=got)
    return array


def _check_overflow(wide: np.ndarray[Any, Any], narrow: np.ndarray[Any, Any]) -> None:
    lost = np.isinf(narrow) & np.isfinite(wide)
    if not lost.any():
        return
    place = tuple(int(axis) for axis in np.argwhere(lost)[0])
    row, column = (0, *place)[-2:]
    got = str(wide[place])
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


def metadata(value: Any) -> dict[str, Any] | list[Any]:
    """Rows as a list, or columns each as a list or a contiguous array of a 64-bit type or bool."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return {name: _column(name, values) for name, values in value.items()}
    if hasattr(value, "columns") and hasattr(value, "__getitem__"):
        return {str(name): _column(name, value[name]) for name in value.columns}
    got = type(value).__name__
    expected = "a dict of columns or a list of dicts"
    raise MetadataError(f"metadata: expected {expected}, got {got}", expected=expected, got=got)


def _column(name: Any, values: Any) -> Any:
    if isinstance(values, list):
        return values
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__len__"):
        got, expected = f"{values!r} ({type(values).__name__})", "a value for each row"
        raise MetadataError(f"metadata column {name!r}: expected {expected}, got {got}",
                            expected=expected, got=got, column=str(name))
    if not hasattr(values, "__array__") or np.ma.is_masked(values):
        return list(values) if not isinstance(values, np.ma.MaskedArray) else values.tolist()
    array = np.asarray(values)
    wide = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}.get(array.dtype.kind)
    if array.ndim == 1 and wide is not None:
        return np.require(array, wide, ["C", "A"])
    if array.dtype.kind in "mM":
        return list(array)
    return array.tolist()


def plain(value: Any) -> Any:
    """A value in terms of what JSON has, for the few types with one obvious form."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufU":
        return value.tolist()
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return str(value)
    if isinstance(value, (datetime.datetime, datetime.date)) and value == value:
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(type(value).__name__)


def masked(values: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of different length as one table whose missing ends are masked."""
    mask = np.arange(values.shape[1]) >= counts[:, None]
    return np.ma.MaskedArray(values, mask=mask)
