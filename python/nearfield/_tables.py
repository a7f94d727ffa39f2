"""What is known of values from pandas, polars and Arrow: which library, which type, which rows are null.

No library is imported here: a value that came from one is recognised by the module of its class.
"""

from __future__ import annotations

import datetime
import importlib
from typing import Any

import numpy as np

#: What to give instead of what is no date: metadata has no type for it.
NO_TIMES = "a date, or a number instead of a time of day, duration or period: store an integer such as microseconds"
#: Units of NumPy whose texts are no dates, and the nearest finer ones whose texts are.
_FINER = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s"}


def library(value: Any) -> str:
    """The package that defines the class of a value, or a base of it: "pandas", "polars", "pyarrow", or ""."""
    for base in type(value).__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("pandas", "polars", "pyarrow"):
            return package
    return ""


def is_a(value: Any, name: str) -> bool:
    """Whether the class of a value, or a base of it, has that name in one of the libraries."""
    packages = ("pandas", "polars", "pyarrow")
    bases = type(value).__mro__
    return any(base.__name__ == name and base.__module__.partition(".")[0] in packages for base in bases)


def arrow_types() -> Any:
    """The tests of Arrow types; pyarrow is there where a value of it is."""
    return importlib.import_module("pyarrow.types")


def holds_times(column: Any) -> bool:
    """Whether all values of a column are dates, times or durations by the type of the column."""
    package = library(column)
    if package == "polars":
        return bool(column.dtype.is_temporal())
    if package == "pyarrow":
        return bool(arrow_types().is_temporal(column.type))
    dtype = getattr(column, "dtype", None)
    return getattr(dtype, "kind", "") in ("m", "M") or type(dtype).__name__ == "PeriodDtype"


def date_text(value: datetime.date) -> str:
    """A date, or a date with a time, as ISO 8601 has it: with its offset from UTC, if it has one."""
    if isinstance(value, datetime.datetime):
        offset = value.utcoffset()
        if offset is not None and offset % datetime.timedelta(minutes=1):
            # Offsets of long ago have seconds, which the text of a date has not.
            value = value.astimezone(datetime.timezone.utc)
    return value.isoformat()


def datetime64_texts(values: Any) -> Any:
    """Values of datetime64 as texts of their own unit, in lists of the same shape; None for NaT."""
    array = np.asarray(values)
    finer = _FINER.get(np.datetime_data(array.dtype)[0])
    exact = array if finer is None else array.astype(f"datetime64[{finer}]")
    texts = np.asarray(np.datetime_as_string(exact)).astype(object)
    texts[np.isnat(array)] = None
    return texts.tolist()


def date_texts(column: Any) -> list[Any] | None:
    """A column of dates by its type (1-D) as texts with None for null; None if its values are other times.

    A time zone of polars and Arrow says how to show moments of UTC: their texts are those of UTC.
    """
    package, zone, days = library(column), None, column
    if package == "polars":
        zone = getattr(column.dtype, "time_zone", None)
        if zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        days = column.to_numpy()
    elif package == "pyarrow":
        zone = getattr(column.type, "tz", None)
        whole = column.combine_chunks() if is_a(column, "ChunkedArray") else column
        days = whole.to_numpy(zero_copy_only=False)
    elif package == "pandas" and getattr(column.dtype, "kind", "") == "M" and not isinstance(column.dtype, np.dtype):
        null = np.asarray(column.isna(), dtype=bool).tolist()
        moments = column.astype(object).tolist()
        return [None if absent else date_text(moment) for moment, absent in zip(moments, null)]
    if isinstance(days, np.ma.MaskedArray):
        days = days.filled(np.datetime64("NaT"))
    array = np.asarray(days)
    if array.dtype.kind != "M":
        return None
    texts: list[Any] = datetime64_texts(array)
    return texts if zone is None else [text and text + "Z" for text in texts]


def shortest(values: np.ndarray[Any, Any]) -> list[float]:
    """32-bit floats as the doubles with the shortest decimals that read back the same: .1 stays .1."""
    decimals: list[float] = values.astype(np.float32).astype("U32").astype(np.float64).tolist()
    return decimals


def column_values(column: Any) -> np.ndarray[Any, Any] | list[Any]:
    """A column of a library, or an array, as a 1-D array of numbers or bools without nulls, or as a list with None for null.

    NaN is a null in pandas, which has no other for floats; elsewhere it stays NaN.
    """
    package = library(column)
    if package == "pandas":
        return _of_pandas(column)
    if package == "polars":
        return _of_polars(column)
    if package == "pyarrow":
        return _of_arrow(column)
    values: list[Any] = column.tolist()
    return values


def _of_pandas(column: Any) -> np.ndarray[Any, Any] | list[Any]:
    null, kind = np.asarray(column.isna(), dtype=bool), getattr(column.dtype, "kind", "O")
    if kind == "f":
        return _with_nulls(column.to_numpy(dtype=_float(column.dtype.itemsize), na_value=np.nan), null)
    if kind in ("b", "i", "u") and not null.any():
        return np.asarray(column.to_numpy(dtype={"b": np.bool_, "i": np.int64, "u": np.uint64}[kind]))
    values = column.astype(object).tolist()
    return [None if absent else value for value, absent in zip(values, null.tolist())]


def _of_polars(column: Any) -> np.ndarray[Any, Any] | list[Any]:
    if column.dtype.is_float():
        return _with_nulls(column.to_numpy(), column.is_null().to_numpy())
    if column.dtype.is_integer() and column.null_count() == 0:
        return np.asarray(column.to_numpy())
    values: list[Any] = column.to_list()
    return values


def _of_arrow(column: Any) -> np.ndarray[Any, Any] | list[Any]:
    types = arrow_types()
    whole = column.combine_chunks() if is_a(column, "ChunkedArray") else column
    if types.is_floating(whole.type):
        numbers = whole.to_numpy(zero_copy_only=False)
        return _with_nulls(numbers, whole.is_null().to_numpy(zero_copy_only=False))
    if types.is_integer(whole.type) and whole.null_count == 0:
        return np.asarray(whole.to_numpy(zero_copy_only=False))
    values: list[Any] = whole.to_pylist()
    return values


def _float(size: int) -> type[np.float32] | type[np.float64]:
    return np.float32 if size <= 4 else np.float64


def _with_nulls(numbers: Any, null: Any) -> np.ndarray[Any, Any] | list[Any]:
    """Floats as they are if none is null, else as a list."""
    array = np.asarray(numbers)
    if not null.any():
        return array
    values = shortest(array) if array.dtype.itemsize <= 4 else array.tolist()
    return [None if absent else value for value, absent in zip(values, null.tolist())]


def table_columns(table: Any) -> list[tuple[Any, Any]] | None:
    """The columns of a table with their names, in order; None if the value is no table.

    A pandas MultiIndex gives tuples as names.
    """
    if is_a(table, "DataFrame") and library(table) == "pandas":
        return [(name, table.iloc[:, place]) for place, name in enumerate(table.columns)]
    if is_a(table, "DataFrame"):
        return [(column.name, column) for column in table.get_columns()]
    if is_a(table, "Table") or is_a(table, "RecordBatch"):
        return [(name, table.column(place)) for place, name in enumerate(table.schema.names)]
    if hasattr(table, "__arrow_c_stream__") and not is_a(table, "Series"):
        pyarrow: Any = importlib.import_module("pyarrow")
        return table_columns(pyarrow.RecordBatchReader.from_stream(table).read_all())
    if hasattr(table, "columns") and hasattr(table, "__getitem__"):
        return [(name, table[name]) for name in table.columns]
    return None
