"""Metadata in: rows, columns or a table, as what the extension writes; single values in terms of JSON.

A null of any library is None, which is null. What is a date by its type becomes its text in ISO 8601, marked as a date:
the extension declares its field. Times of day and durations are refused. Values of 32 bits are written with the
shortest decimals that read back the same, as Arrow tables are over HTTP: a float32 of .1 is .1, and a filter for .1
finds it.
"""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import numpy as np

from . import _tables
from .errors import MetadataError, NearfieldError


class Date(str):
    """The text of a value that was given as a date."""


class Dates(list[Any]):
    """The texts of a column of dates, None for null."""


_EXPECTED = "a dict of columns, a list of dicts, or a table of pandas, polars or Arrow"


def metadata(value: Any) -> dict[str, Any] | list[Any]:
    """Rows as a list, or columns each as a list or a contiguous array of float32, a 64-bit type or bool."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return {name: _column(name, values) for name, values in value.items()}
    kind = type(value).__name__
    if hasattr(value, "collect") and _tables.library(value) == "polars":
        raise _refusal(_EXPECTED, f"{kind}, which is not computed yet: call .collect()")
    try:
        columns = _tables.table_columns(value)
    except ImportError:
        raise _refusal(_EXPECTED, f"{kind}, which takes pyarrow to be read: install it") from None
    except Exception as error:
        raise _refusal(_EXPECTED, f"{kind} ({type(error).__name__}: {error})") from None
    if columns is None:
        raise _refusal(_EXPECTED, kind)
    return _of_table(columns)


def _refusal(expected: str, got: str, column: str | None = None) -> MetadataError:
    place = "metadata" if column is None else f"metadata column {column!r}"
    return MetadataError(f"{place}: expected {expected}, got {got}", expected=expected, got=got, column=column)


def _of_table(columns: list[tuple[Any, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for given, values in columns:
        if isinstance(given, tuple):
            expected = "one name a column (join the levels of the MultiIndex, or drop all but one)"
            raise _refusal(expected, "several levels of names", str(given))
        name = str(given)
        if name in read:
            raise _refusal("each name of a column once", "it twice", name)
        read[name] = _column(name, values)
    return read


def _column(name: Any, values: Any) -> Any:
    if isinstance(values, list):
        return values
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__len__"):
        raise _refusal("a value for each row", f"{values!r} ({type(values).__name__})", str(name))
    source = _tables.library(values) or "numpy"
    try:
        if _tables.holds_times(values) and getattr(values, "ndim", 1) == 1:
            return _dates(values, str(name))
        return _plain_column(values, source)
    except NearfieldError:
        raise
    except Exception as error:
        got = f"{type(values).__name__} ({type(error).__name__}: {error})"
        raise _refusal("a list or array with a value for each row", got, str(name)) from None


def _dates(values: Any, name: str) -> Dates:
    texts = _tables.date_texts(values)
    if texts is None:
        kind = getattr(values, "dtype", None) or getattr(values, "type", None)
        raise _refusal(_tables.NO_TIMES, f"{type(values).__name__} of {kind}", name)
    return Dates(texts)


def _plain_column(values: Any, source: str) -> Any:
    """A list, or a contiguous array without nulls."""
    if source != "numpy":
        values = _tables.column_values(values)
    if not hasattr(values, "__array__"):
        return list(values)
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            return values.tolist()
        values = values.data
    array = np.asarray(values)
    wide: Any = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}.get(array.dtype.kind)
    if array.dtype.kind == "f" and array.dtype.itemsize <= 4:
        wide = np.float32
    if array.ndim == 1 and wide is not None:
        return np.require(array, wide, ["C", "A"])
    if array.dtype.kind == "f" and array.dtype.itemsize <= 4 or array.dtype.kind in "mM":
        return plain(array)
    return array.tolist()


def plain(value: Any) -> Any:
    """A value in terms of what JSON has, for the few types with one obvious form.

    Raises ValueError with what is expected instead, or TypeError.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return _of_numpy(value)
    if _tables.is_a(value, "NAType") or _tables.is_a(value, "NaTType"):
        return None
    if isinstance(value, datetime.date):
        return Date(_tables.date_text(value))
    if isinstance(value, (datetime.time, datetime.timedelta)) or _tables.is_a(value, "Period"):
        raise ValueError(_tables.NO_TIMES)
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(type(value).__name__)


def _marked(texts: Any) -> Any:
    """Texts of dates, also in lists, as dates."""
    if isinstance(texts, list):
        return [_marked(text) for text in texts]
    return None if texts is None else Date(texts)


def _of_numpy(value: np.ndarray[Any, Any] | np.generic[Any]) -> Any:
    kind = value.dtype.kind
    if kind == "M":
        return _marked(_tables.datetime64_texts(value))
    if kind == "m":
        raise ValueError(_tables.NO_TIMES)
    if kind == "f" and value.dtype.itemsize <= 4:
        return _tables.shortest(np.asarray(value))
    if kind in "biufU":
        return value.tolist()
    raise TypeError(type(value).__name__)
