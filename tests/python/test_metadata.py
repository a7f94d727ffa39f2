"""Metadata in and out, and filters against the same filter over Python dicts."""

from __future__ import annotations

import json
from typing import Any

import nearfield
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import passes

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-1.5, 0.0, 0.5, 2.0, 1e300]),
    st.sampled_from(["", "a", "b", "ä", "a b"]),
)
ROWS = st.dictionaries(st.sampled_from("xyz"), st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=3)
COMPARED = st.one_of(st.integers(-3, 3), st.sampled_from([-1.5, 0.5, 2.0]), st.sampled_from(["", "a", "b"]))
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne", "contains"]), SCALARS),
    st.tuples(st.sampled_from(["in", "nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.sampled_from(["lt", "lte", "gt", "gte"]), COMPARED),
    st.tuples(st.just("exists"), st.booleans()),
)
LEAVES = st.one_of(
    st.builds(lambda field, operator: {field: dict([operator])}, st.sampled_from("xyz"), OPERATORS),
    st.builds(lambda field, value: {field: value}, st.sampled_from("xyz"), SCALARS),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=5,
)
# Every field is known to the collection, so that no filter is refused for a misspelt name.
KNOWN = {"x": 1, "y": 1, "z": 1}


@given(rows=st.lists(st.one_of(st.none(), ROWS), max_size=30), where=FILTERS, as_text=st.booleans())
def test_filters_keep_what_they_keep_over_dicts(rows: list[Any], where: dict[str, Any], as_text: bool) -> None:
    rows = [KNOWN, *rows]
    expected = [place for place, row in enumerate(rows) if passes(where, row)]
    with nearfield.open() as database:
        collection = database.create("c", 2)
        collection.upsert(np.ones((len(rows), 2)), ids=range(len(rows)), metadata=rows)
        given_filter: Any = json.dumps(where) if as_text else where
        assert collection.count(given_filter) == len(expected)
        hits = collection.search([1, 0], k=len(rows), where=given_filter)
        assert sorted(hits.ids.tolist()) == expected
        scanned = [id for batch in collection.scan(where=given_filter, batch_size=4) for id in batch.ids.tolist()]
        assert sorted(scanned) == expected
        assert collection.delete(where=given_filter) == len(expected)
        assert len(collection) == len(rows) - len(expected)


@given(rows=st.lists(st.one_of(st.none(), ROWS), min_size=1, max_size=20))
def test_metadata_comes_back_as_it_was_given(rows: list[Any]) -> None:
    with nearfield.open() as database:
        collection = database.create("c", 2)
        collection.upsert(np.ones((len(rows), 2)), ids=range(len(rows)), metadata=rows)
        assert collection.get(list(range(len(rows)))).metadata == rows
        assert collection.search([1, 1], k=len(rows)).metadata == rows


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array([1, 2], "i2"), [1, 2]),
        (np.array([1, 2**64 - 1], "u8"), [1, 2**64 - 1]),
        (np.array([0.1, 1e300]), [0.1, 1e300]),
        (np.array([0.1, 2], "f4"), [0.1, 2.0]),
        (np.array([True, False]), [True, False]),
        (np.array(["a", "ü"]), ["a", "ü"]),
        (np.array([1, "x"], object), [1, "x"]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.arange(4)[::-2], [3, 1]),
        (range(2), [0, 1]),
        ((None, "x"), [None, "x"]),
        ([["a"], []], [["a"], []]),
    ],
)
def test_columns_of_any_kind_become_values(memory: nearfield.Database, column: Any, expected: list[Any]) -> None:
    collection = memory.create("c", 2)
    collection.upsert(np.ones((2, 2)), ids=[0, 1], metadata={"a": column, "b": [1, 2]})
    expected_rows = [{"a": value, "b": place + 1} for place, value in enumerate(expected)]
    assert collection.get([0, 1]).metadata == expected_rows


def test_a_frame_like_object_is_read_by_its_columns(memory: nearfield.Database) -> None:
    class Frame:
        columns = ("a", "b")

        def __getitem__(self, name: str) -> Any:
            return np.array([1, 2]) if name == "a" else ["x", "y"]

    collection = memory.create("c", 2)
    frame: Any = Frame()
    collection.upsert(np.ones((2, 2)), ids=[0, 1], metadata=frame)
    assert collection.get([1]).metadata == [{"a": 2, "b": "y"}]


def test_hits_keep_the_metadata_of_their_moment(memory: nearfield.Database) -> None:
    collection = memory.create("c", 2)
    collection.upsert([[1, 0]], ids=[1], metadata=[{"version": 1}])
    hits = collection.search([1, 0])
    collection.upsert([[1, 0]], ids=[1], metadata=[{"version": 2}])
    collection.delete([1])
    assert hits.metadata == [{"version": 1}] and hits[0]["metadata"] == {"version": 1}


def test_a_mistake_in_the_last_row_writes_nothing(memory: nearfield.Database) -> None:
    """Three batches, the mistake in the third; the row is named as the caller counts."""
    collection = memory.create("c", 4)
    vectors = np.ones((20_000, 4), np.float32)
    vectors[19_999, 2] = np.nan
    with pytest.raises(nearfield.NonFiniteError) as refused:
        collection.upsert(vectors)
    assert (refused.value.row, refused.value.column, len(collection)) == (19_999, 2, 0)
    column = np.zeros(20_000)
    column[17_000] = np.inf
    with pytest.raises(nearfield.MetadataError, match='row 17000, field "a"'):
        collection.upsert(np.ones((20_000, 4)), metadata={"a": column})
    assert len(collection) == 0


def test_assigned_ids_are_reported_in_row_order(memory: nearfield.Database) -> None:
    collection = memory.create("c", 2)
    collection.upsert(np.ones((1, 2)), ids=[100])
    report = collection.upsert(np.ones((10_000, 2)), metadata={"row": np.arange(10_000)})
    assert report.ids is not None and report.ids.tolist() == list(range(101, 10_101))
    assert report.inserted == 10_000 and report.replaced == 0
    assert collection.get(report.ids[[5, 9_999]]).metadata == [{"row": 5}, {"row": 9_999}]


def test_get_reports_what_is_missing(memory: nearfield.Database) -> None:
    collection = memory.create("c", 2)
    collection.upsert(np.eye(2), ids=["a", 7])
    rows = collection.get([7, "b", "a", 8], vectors=True)
    assert rows.ids.tolist() == [7, "a"] and rows.missing == ["b", 8] and rows.metadata == [None, None]
    assert [row["vector"].tolist() for row in rows] == [[0, 1], [1, 0]]
    assert "a" in collection and "b" not in collection and collection.get("a").ids.tolist() == ["a"]


def test_scan_visits_every_point_of_its_moment_once(memory: nearfield.Database) -> None:
    collection = memory.create("c", 3)
    for start in range(0, 1_000, 50):
        collection.upsert(np.full((50, 3), start), ids=range(start, start + 50), metadata={"n": range(start, start + 50)})
    collection.delete(range(0, 1_000, 7))
    scan = collection.scan(vectors=True, batch_size=64)
    collection.delete(where={})
    seen: dict[int, Any] = {}
    for batch in scan:
        assert 0 < len(batch) <= 64 and batch.vectors is not None and batch.metadata is not None
        seen.update({row["id"]: (row["metadata"]["n"], row["vector"][0]) for row in batch})
    assert seen == {id: (id, id // 50 * 50) for id in range(1_000) if id % 7}
    assert len(collection) == 0
