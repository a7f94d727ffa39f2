"""Dates: the answers of the oracle (make_dates.py), what declares a field, and what is refused."""

from __future__ import annotations

import json
import shutil
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import make_dates
import nearfield
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

STORE = Path(__file__).resolve().parents[1] / "fixtures" / "dates" / "store"
CASES = json.loads(make_dates.FILE.read_text())
TEXTS = [text for text, _ in CASES["dates"]]
BERLIN = timezone(timedelta(hours=1))
NOON = datetime(2020, 1, 31, 12, tzinfo=BERLIN)


def check(collection: nearfield.Collection) -> None:
    """Holds each answer against the oracle's."""
    for where, digits in CASES["questions"]:
        found = [id for rows in collection.scan(where=where, metadata=False) for id in rows.ids.tolist()]
        assert sorted(found) == [row for row, digit in enumerate(digits) if digit == "1"], where


def rows(texts: list[str]) -> list[dict[str, Any]]:
    return [{"at": text, "n": 1} for text in texts]


def vectors(count: int) -> Any:
    return np.ones((count, 1), np.float32)


def test_the_cases_are_those_of_the_oracle() -> None:
    assert make_dates.FILE.read_text() == make_dates.text()


@pytest.mark.parametrize("by", ["fields", "a date"])
def test_answers_are_those_of_the_oracle(path: Path, by: str) -> None:
    count = len(TEXTS)
    with nearfield.open(path) as database:
        collection = database.create("c", 1, metric="l2", fields={"at": "datetime"} if by == "fields" else None)
        if by == "a date":
            collection.upsert(vectors(1), ids=[count], metadata=[{"at": NOON}])
            collection.delete([count])
        collection.upsert(vectors(count), ids=range(count), metadata=rows(TEXTS))
        check(collection)
        collection.compact()
        check(collection)
        assert collection.get([2]).metadata == rows(TEXTS[2:3])
    with nearfield.open(path, mode="r") as database:
        check(database["c"])


def test_a_store_of_format_1_takes_dates(path: Path) -> None:
    shutil.copytree(STORE, path)
    with nearfield.open(path) as database:
        collection = database["c"]
        assert collection.count({"at": "1970-01-01"}) == 1
        collection.upsert(vectors(1), ids=[900], metadata=[{"at": [NOON]}])
        collection.delete([900])
        check(collection)
        collection.compact()
        check(collection)


def test_what_is_no_date_is_refused(memory: nearfield.Database) -> None:
    collection = memory.create("c", 1, fields={"at": "datetime"})
    for wrong in (7, 1.5, True, *CASES["no_dates"]):
        with pytest.raises(nearfield.FilterError, match="declared datetime"):
            collection.count({"at": wrong})
        with pytest.raises(nearfield.MetadataError, match="expected a date"):
            collection.upsert(vectors(1), metadata=[{"at": wrong}])
    with pytest.raises(nearfield.ParameterError, match="datetime"):
        memory.create("other", 1, fields={"at": "date"})  # type: ignore[dict-item]


DAYS = pd.date_range("2020-01-01 10:00", periods=3, tz="Europe/Paris")
NAIVE = DAYS.tz_localize(None)
NANOS = np.array(["2020-01-01T00:00:00.123456789", "NaT", "1969-12-31T23:59:59.999999999"], "M8[ns]")
#: A column, and the texts that come back.
COLUMNS: dict[str, tuple[Any, list[str | None]]] = {
    "datetimes": ([NOON, None, NOON.replace(tzinfo=None)], ["2020-01-31T12:00:00+01:00", None, "2020-01-31T12:00:00"]),
    "dates": ([NOON.date(), date(1, 1, 1), None], ["2020-01-31", "0001-01-01", None]),
    "an offset with seconds": (
        [datetime(1880, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))] * 3, ["1879-12-31T23:06:32+00:00"] * 3,
    ),
    "datetime64": (NANOS, ["2020-01-01T00:00:00.123456789", None, "1969-12-31T23:59:59.999999999"]),
    "datetime64 values": (list(NANOS), ["2020-01-01T00:00:00.123456789", None, "1969-12-31T23:59:59.999999999"]),
    "months": (np.array(["2020-01", "2020-02", "NaT"], "M8[M]"), ["2020-01-01", "2020-02-01", None]),
    "hours": (np.array(["2020-01-01T05"] * 3, "M8[h]"), ["2020-01-01T05:00:00"] * 3),
    "masked": (np.ma.array(NANOS, mask=[True] * 3), [None] * 3),
    "pandas": (pd.Series(NAIVE.astype("M8[s]")), [f"2020-01-0{n}T10:00:00" for n in (1, 2, 3)]),
    "pandas with a zone": (pd.Series(DAYS), [f"2020-01-0{n}T10:00:00+01:00" for n in (1, 2, 3)]),
    "an index": (DAYS, [f"2020-01-0{n}T10:00:00+01:00" for n in (1, 2, 3)]),
    "pandas values": (list(DAYS), [f"2020-01-0{n}T10:00:00+01:00" for n in (1, 2, 3)]),
    "pandas, null only": (pd.Series([pd.NaT] * 3), [None] * 3),
    "pandas of Arrow": (
        pd.Series([NAIVE[0], None, NAIVE[2]]).astype("timestamp[us][pyarrow]"),
        ["2020-01-01T10:00:00", None, "2020-01-03T10:00:00"],
    ),
    "pandas of Arrow dates": (
        pd.Series(NAIVE).astype("date32[pyarrow]"), ["2020-01-01", "2020-01-02", "2020-01-03"],
    ),
    "categories": (pd.Series(NAIVE).astype("category"), [f"2020-01-0{n}T10:00:00" for n in (1, 2, 3)]),
    "polars": (pl.Series([NAIVE[0], None, NAIVE[2]]).dt.cast_time_unit("ms"),
               ["2020-01-01T10:00:00.000", None, "2020-01-03T10:00:00.000"]),
    "polars with a zone": (
        pl.Series(NAIVE.to_list()).dt.cast_time_unit("ms").dt.replace_time_zone("Asia/Tokyo"),
        [f"2020-01-0{n}T01:00:00.000Z" for n in (1, 2, 3)],
    ),
    "polars dates": (pl.Series([NOON.date()] * 3), ["2020-01-31"] * 3),
    "Arrow": (pa.array([NAIVE[0], None, NAIVE[2]], pa.timestamp("s")),
              ["2020-01-01T10:00:00", None, "2020-01-03T10:00:00"]),
    "Arrow with a zone": (pa.array(DAYS.to_list(), pa.timestamp("s", "Europe/Paris")),
                          [f"2020-01-0{n}T09:00:00Z" for n in (1, 2, 3)]),
    "Arrow dates": (pa.array([NOON.date(), None, NOON.date()]), ["2020-01-31", None, "2020-01-31"]),
    "Arrow chunks": (pa.chunked_array([pa.array([NOON.date()]), pa.array([NOON.date()] * 2)]), ["2020-01-31"] * 3),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_dates_declares_its_field(memory: nearfield.Database, kind: str) -> None:
    column, texts = COLUMNS[kind]
    collection = memory.create("c", 1, metric="l2")
    collection.upsert(vectors(3), ids=range(3), metadata={"at": column, "n": [1, 2, 3]})
    assert [row["at"] for row in collection.get(range(3)).metadata] == texts
    for text in filter(None, texts):
        moment = pd.Timestamp(text)
        aware = moment if moment.tzinfo else moment.tz_localize("UTC")
        assert collection.count({"at": aware.tz_convert("Asia/Tokyo")}) == texts.count(text)
    with pytest.raises(nearfield.FilterError, match="declared datetime"):
        collection.count({"at": 7})
    with pytest.raises(nearfield.MetadataError, match="expected a date"):
        collection.upsert(vectors(1), metadata=[{"at": "soon"}])


def test_dates_in_rows_declare_the_path_that_leads_to_them(memory: nearfield.Database) -> None:
    collection = memory.create("c", 1)
    row = {"a": {"b.c": [{"at": NOON}, {"at": np.array(["2020-01-01", "NaT"], "M8[D]")}]}, "text": "2020-01-01"}
    collection.upsert(vectors(2), ids=[1, 2], metadata=[{"text": "2019-01-01"}, row])
    path = r"a.b\.c.at"
    assert collection.fields == {path: "datetime"}
    assert collection.count({path: NOON.astimezone(timezone.utc)}) == 1
    assert collection.count({"field": ["a", "b.c", "at"], "gte": date(2020, 1, 31)}) == 1
    assert collection.count({"and": [{path: {"in": [None, date(1970, 1, 1)]}}, {"not": {path: NOON}}]}) == 0
    assert collection.count({path: None}) == 1
    with pytest.raises(nearfield.MetadataError, match="a date"):
        collection.upsert(vectors(1), metadata=[{"a": {"b.c": {"at": 7}}}])
    # Texts alone declare nothing, and are compared as texts only.
    assert collection.count({"text": {"lt": "2020-01-01T00:00:00+09:00"}}) == 2
    for where in ({"text": NOON}, {"not": {"text": {"lt": NOON}}}, {"field": ["text"], "lt": NOON}):
        with pytest.raises(nearfield.FilterError, match="'text'|\"text\""):
            collection.count(where)


@pytest.mark.parametrize("stored", [7, True, "soon", {"x": 1}, "2" * 300])
def test_a_field_that_holds_something_else_is_not_declared(memory: nearfield.Database, stored: Any) -> None:
    collection = memory.create("c", 1)
    collection.upsert(vectors(2), ids=["old", "fine"], metadata=[{"at": stored}, {"at": "2020-01-01"}])
    with pytest.raises(nearfield.MetadataError, match='point old.*"at": expected a date'):
        collection.upsert(vectors(1), metadata={"at": [NOON]})
    with pytest.raises(nearfield.MetadataError, match='row 1: "at": expected a date'):
        collection.upsert(vectors(2), metadata={"at": [NOON, stored]})
    assert collection.fields == {}
    assert len(collection) == 2 and collection.count({"at": stored} if stored != {"x": 1} else {"at.x": 1}) == 1
    collection.delete(["old"])
    collection.upsert(vectors(1), metadata={"at": [NOON]})
    assert collection.count({"at": {"gte": date(2020, 1, 1)}}) == 2


def test_no_batch_of_a_call_is_written_if_one_has_something_else(memory: nearfield.Database) -> None:
    collection = memory.create("c", 1)
    count = 10_000
    with pytest.raises(nearfield.MetadataError, match='row 0: "at"'):
        collection.upsert(vectors(count), metadata={"at": [7, *[None] * (count - 2), NOON]})
    assert len(collection) == 0


def test_what_dates_have_declared_lasts(path: Path) -> None:
    with nearfield.open(path) as database:
        collection = database.create("c", 1)
        collection.upsert(vectors(2), ids=[1, 2], metadata={"at": [NOON, date(2021, 1, 1)]})
    with nearfield.open(path) as database:
        collection = database.create("c", 1, exist_ok=True)
        assert collection.count({"at": {"lt": NOON}}) == 0
        assert database.create("c", 1, exist_ok=True, fields={"at": "datetime"}).count({"at": NOON}) == 1
        with pytest.raises(nearfield.ConflictError):
            database.create("c", 1, exist_ok=True, fields={"other": "datetime"})
        database.export(path.with_suffix(".near"))
    with nearfield.open(path.with_suffix(".near")) as database:
        assert database["c"].count({"at": {"gte": NOON.astimezone(timezone.utc)}}) == 2


@pytest.mark.parametrize("year", ["9999", "10000", "-0001"])
def test_years_that_no_date_has_are_refused(memory: nearfield.Database, year: str) -> None:
    collection = memory.create("c", 1)
    column = np.array([f"{year}-12-31"], "M8[D]")
    if year == "9999":
        collection.upsert(vectors(1), metadata={"at": column})
        return
    with pytest.raises(nearfield.MetadataError, match='row 0: "at": expected a date'):
        collection.upsert(vectors(1), metadata={"at": column})
