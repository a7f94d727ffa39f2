"""Every layout and type of vectors gives the answers of brute force in NumPy over the same numbers."""

from __future__ import annotations

from typing import Any

import nearfield
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import best, scores

DTYPES = ["f2", "f4", "f8", ">f4", ">f8", "i1", "i4", "i8", "u1", "u8", "?"]
LAYOUTS = ["C", "F", "strided", "reversed rows", "reversed columns", "misaligned", "read-only", "list", "rows"]


def laid_out(vectors: Any, layout: str) -> Any:
    """The same numbers in another shape of memory."""
    rows, columns = vectors.shape
    if layout == "F":
        return np.asfortranarray(vectors)
    if layout == "strided":
        wide = np.zeros((2 * rows, 3 * columns), vectors.dtype)
        wide[::2, 1::3] = vectors
        return wide[::2, 1::3]
    if layout == "reversed rows":
        return np.ascontiguousarray(vectors[::-1])[::-1]
    if layout == "reversed columns":
        return np.ascontiguousarray(vectors[:, ::-1])[:, ::-1]
    if layout == "misaligned":
        raw = b"\0" + vectors.tobytes()
        return np.frombuffer(raw, vectors.dtype, offset=1).reshape(rows, columns)
    if layout == "read-only":
        copy = vectors.copy()
        copy.setflags(write=False)
        return copy
    if layout == "list":
        return vectors.tolist()
    return list(vectors) if layout == "rows" else vectors


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    dim=st.integers(1, 70),
    dtype=st.sampled_from(DTYPES),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    metric=st.sampled_from(["cosine", "dot", "l2"]),
    k=st.integers(1, 80),
)
def test_any_layout_and_type_gives_the_right_answers(
    seed: int, rows: int, dim: int, dtype: str, layouts: tuple[str, str], metric: Any, k: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((rows, dim)) * 5).round(3)
    vectors = (np.abs(vectors) if dtype in ("u1", "u8") else vectors).astype(dtype)
    # A query of zeros is refused under cosine.
    vectors[~vectors.any(axis=1)] = 1
    queries = vectors[rng.integers(0, rows, 3)]
    with nearfield.open() as database:
        collection = database.create("c", dim, metric=metric)
        collection.upsert(laid_out(vectors, layouts[0]), ids=np.arange(rows))
        stored = collection.get(np.arange(rows), vectors=True).vectors
        assert np.array_equal(stored, vectors.astype(np.float32))  # type: ignore[arg-type]
        hits = collection.search(laid_out(queries, layouts[1]), k=k)
        expected = scores(metric, vectors.astype(np.float32), queries.astype(np.float32))
        check(metric, hits, expected, min(k, rows))
        for query in range(3):
            alone = collection.search(queries[query], k=k)
            assert alone.ids.tolist() == hits.ids[query].tolist()
            assert alone.scores.tobytes() == np.ascontiguousarray(hits.scores[query]).tobytes()


def check(metric: str, hits: nearfield.Hits, expected: Any, count: int) -> None:
    """The best scores, and each id with its own."""
    size = max(1.0, float(np.abs(expected).max()))
    assert hits.ids.shape == hits.scores.shape == (len(expected), count)
    assert hits.counts.tolist() == [count] * len(expected)
    # l2 takes the root of a difference: small distances have lost digits.
    tolerance = 1e-5 * size if metric != "l2" else 2e-3 * size
    assert np.allclose(hits.scores, best(metric, expected, count), rtol=1e-5, atol=tolerance)
    own = np.take_along_axis(expected, hits.ids, axis=1)
    assert np.allclose(hits.scores, own, rtol=1e-5, atol=tolerance)
    assert all(len(set(row)) == count for row in hits.ids.tolist())


def test_contiguous_f32_is_not_copied(memory: nearfield.Database) -> None:
    """A query of another type is copied by NumPy; one of the right type is read in place: both agree."""
    collection = memory.create("c", 16)
    vectors = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float32)
    collection.upsert(vectors)
    assert collection.search(vectors[7]).ids.tolist() == collection.search(vectors[7].tolist()).ids.tolist()


def test_half_precision_stores_rounded_values(memory: nearfield.Database, rng: np.random.Generator) -> None:
    collection = memory.create("c", 24, store="f16", metric="l2")
    vectors = rng.standard_normal((300, 24)).astype(np.float32)
    collection.upsert(vectors, ids=np.arange(300))
    stored = collection.get(np.arange(300), vectors=True).vectors
    assert np.array_equal(stored, vectors.astype(np.float16).astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(nearfield.NonFiniteError, match="65504"):
        collection.upsert(np.full((1, 24), 70_000.0))


def test_ties_are_ordered_by_kind_and_value_of_the_id(memory: nearfield.Database) -> None:
    import uuid

    ids: list[nearfield.Id] = ["b", 3, uuid.UUID(int=2), "a", 1, uuid.UUID(int=1), 2**63, 10]
    collection = memory.create("c", 3)
    collection.upsert(np.ones((8, 3)), ids=ids)
    found = collection.search(np.ones(3)).ids
    assert found.dtype == object
    assert found.tolist() == [1, 3, 10, 2**63, str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), "a", "b"]


def test_queries_with_different_counts_are_masked(memory: nearfield.Database) -> None:
    """A filter keeps as many for each query; different counts arise only where hits are cut by hand."""
    collection = memory.create("c", 2)
    collection.upsert(np.eye(2), ids=[1, 2])
    hits = collection.search(np.eye(2), k=10)
    assert hits.ids.tolist() == [[1, 2], [2, 1]] and hits.counts.tolist() == [2, 2]
    from nearfield._convert import masked

    table = masked(np.array([[1, 2], [3, 9]]), np.array([2, 1]))
    assert table.tolist() == [[1, 2], [3, None]]


def test_graph_and_exact_search_agree_on_clusters(memory: nearfield.Database, rng: np.random.Generator) -> None:
    """Above the size from which graphs are built; the figure is low because the data is random."""
    centres = rng.standard_normal((40, 32))
    vectors = centres[rng.integers(0, 40, 6_000)] + 0.3 * rng.standard_normal((6_000, 32))
    collection = memory.create("c", 32)
    collection.upsert(vectors)
    collection.compact(threads=2)
    assert collection.stats()["segments"][0]["graph"]
    report = collection.recall(vectors[:100] + 0.05, k=10)
    assert report.recall >= 0.95 and report.low <= report.recall <= report.high and report.queries == 100
    assert collection.recall(vectors[:100], k=10, ef=400).recall >= 0.99
