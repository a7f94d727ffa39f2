"""What users get wrong, as one table: a clear error with expected and got, or the right answer.

Each case runs in a child process of its own, so that a crash is that case's failure and nothing else's.
"""

from __future__ import annotations

import decimal
import os
import pickle
import signal
import sys
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import nearfield
import numpy as np
import pytest

DIM = 8
ROWS = 50


def filled() -> nearfield.Collection:
    """Fifty points whose ids are 0 to 49, with metadata n."""
    rng = np.random.default_rng(1)
    collection = nearfield.open(mode="memory").create("c", DIM)
    vectors = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    collection.upsert(vectors, ids=range(ROWS), metadata={"n": np.arange(ROWS), "price": [1.5] * ROWS})
    return collection


def empty(metric: Any = "cosine") -> nearfield.Collection:
    return nearfield.open(mode="memory").create("c", DIM, metric=metric)


def one(value: float) -> Any:
    return np.full(DIM, value)


def ones(rows: int = 2) -> Any:
    return np.ones((rows, DIM), np.float32)


def bad_vectors(value: float, row: int = 1, column: int = 3) -> Any:
    vectors = np.ones((3, DIM), np.float32)
    vectors[row, column] = value
    return vectors


class OnlyArrow:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise AssertionError("not asked for")


def deep() -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(300):
        value = {"a": value}
    return value


# name, what is done, exception, words of the message (expected and got among them)
REFUSED: list[tuple[str, Callable[[], object], str, list[str]]] = [
    ("add: wrong dim", lambda: empty().upsert(np.ones((3, 5))), "DimensionError", ["8", "(3, 5)"]),
    ("add: one vector of wrong dim", lambda: empty().upsert(np.ones(5)), "DimensionError", ["8", "(5,)"]),
    ("add: three dimensions", lambda: empty().upsert(np.ones((2, 2, 8))), "DimensionError", ["(2, 2, 8)"]),
    ("add: a scalar", lambda: empty().upsert(3.0), "DimensionError", ["8", "()"]),
    ("add: no rows of wrong dim", lambda: empty().upsert(np.ones((0, 3))), "DimensionError", ["(0, 3)"]),
    ("add: ragged list", lambda: empty().upsert([[1.0] * 8, [1.0]]), "DimensionError", ["ragged"]),
    ("add: NaN", lambda: empty().upsert(bad_vectors(np.nan)), "NonFiniteError", ["row 1, column 3", "NaN"]),
    ("add: infinity", lambda: empty().upsert(bad_vectors(np.inf)), "NonFiniteError", ["row 1", "inf"]),
    ("add: NaN in float64", lambda: empty().upsert(bad_vectors(np.nan).astype("f8")), "NonFiniteError", ["NaN"]),
    (
        "add: float64 beyond float32",
        lambda: empty().upsert(np.where(bad_vectors(5) == 5, 1e300, 1.0)),
        "NonFiniteError",
        ["row 1, column 3", "1e+300"],
    ),
    ("add: too long to compare", lambda: empty().upsert(ones() * 3e38), "NonFiniteError", ["row 0", "length"]),
    ("add: strings", lambda: empty().upsert([["a"] * 8]), "InputTypeError", ["numbers", "<U1"]),
    ("add: a string", lambda: empty().upsert("abc"), "InputTypeError", ["numbers"]),
    ("add: None", lambda: empty().upsert(None), "InputTypeError", ["numbers", "NoneType"]),
    ("add: None inside", lambda: empty().upsert([[1.0] * 7 + [None]]), "InputTypeError", ["object"]),
    ("add: complex", lambda: empty().upsert(ones() + 1j), "InputTypeError", ["complex64"]),
    ("add: Arrow only", lambda: empty().upsert(OnlyArrow()), "InputTypeError", ["to_numpy"]),
    (
        "add: masked elements",
        lambda: empty().upsert(np.ma.masked_equal(bad_vectors(5), 5)),
        "NonFiniteError",
        ["masked"],
    ),
    ("add: duplicate ids", lambda: empty().upsert(ones(), ids=[7, 7]), "DuplicateIdError", ["7"]),
    (
        "add: duplicate ids far apart",
        lambda: empty().upsert(ones(20_000), ids=[*range(19_999), 3]),
        "DuplicateIdError",
        ["3"],
    ),
    ("add: too few ids", lambda: empty().upsert(ones(3), ids=[1]), "ParameterError", ["3", "1"]),
    ("add: id beyond 64 bits", lambda: empty().upsert(ones(1), ids=[2**64]), "IdError", ["2**64-1"]),
    ("add: id below 64 bits", lambda: empty().upsert(ones(), ids=[1, -(2**63) - 1]), "IdError", ["ids[1]", "-2**63"]),
    ("add: float ids", lambda: empty().upsert(ones(), ids=np.array([0.0, 1.0])), "IdError", ["0.0 (float)"]),
    ("add: bool ids", lambda: empty().upsert(ones(), ids=[True, False]), "IdError", ["True (bool)"]),
    ("add: None as an id", lambda: empty().upsert(ones(), ids=[1, None]), "IdError", ["ids[1]", "None"]),
    ("add: bytes as an id", lambda: empty().upsert(ones(1), ids=[b"a"]), "IdError", ["b'a'"]),
    ("add: bytes as ids", lambda: empty().upsert(ones(2), ids=b"ab"), "IdError", ["bytes"]),
    ("add: a set of ids", lambda: empty().upsert(ones(2), ids={1, 2}), "IdError", ["set"]),
    ("add: table of ids", lambda: empty().upsert(ones(), ids=np.zeros((2, 1), int)), "IdError", ["(2, 1)"]),
    ("add: empty id", lambda: empty().upsert(ones(1), ids=[""]), "IdError", ["256", "0 bytes"]),
    ("add: over-long id", lambda: empty().upsert(ones(1), ids=["x" * 257]), "IdError", ["256", "257"]),
    ("add: over-long id in bytes", lambda: empty().upsert(ones(1), ids=["é" * 129]), "IdError", ["258"]),
    ("add: lone surrogate", lambda: empty().upsert(ones(1), ids=["\ud800"]), "IdError", ["ids[0]"]),
    (
        "metadata: too short",
        lambda: empty().upsert(ones(3), metadata={"a": [1, 2]}),
        "MetadataError",
        ['"a"', "3", "2"],
    ),
    ("metadata: too few rows", lambda: empty().upsert(ones(3), metadata=[{}]), "MetadataError", ["3", "1"]),
    (
        "metadata: NaN in a column",
        lambda: empty().upsert(ones(), metadata={"a": np.array([1.0, np.nan])}),
        "MetadataError",
        ["row 1", '"a"', "NaN"],
    ),
    (
        "metadata: NaN in a row",
        lambda: empty().upsert(ones(), metadata=[{}, {"a": [float("nan")]}]),
        "MetadataError",
        ["row 1", "NaN"],
    ),
    (
        "metadata: no duration",
        lambda: empty().upsert(ones(1), metadata={"t": np.array(["NaT"], "m8[s]")}),
        "MetadataError",
        ["'t'", "microseconds"],
    ),
    ("metadata: a set", lambda: empty().upsert(ones(1), metadata=[{"a": {1}}]), "MetadataError", ["set"]),
    ("metadata: bytes", lambda: empty().upsert(ones(1), metadata=[{"a": b"x"}]), "MetadataError", ["bytes"]),
    (
        "metadata: a decimal",
        lambda: empty().upsert(ones(1), metadata=[{"a": decimal.Decimal(1)}]),
        "MetadataError",
        ["Decimal"],
    ),
    ("metadata: key no string", lambda: empty().upsert(ones(1), metadata=[{1: 2}]), "MetadataError", ["1 (int)"]),
    ("metadata: column no string", lambda: empty().upsert(ones(1), metadata={1: [2]}), "MetadataError", ["1 (int)"]),
    ("metadata: row no dict", lambda: empty().upsert(ones(1), metadata=[[1]]), "MetadataError", ["dict", "list"]),
    ("metadata: a number", lambda: empty().upsert(ones(1), metadata=5), "MetadataError", ["dict", "int"]),
    ("metadata: one string", lambda: empty().upsert(ones(1), metadata={"a": "x"}), "MetadataError", ["'x'"]),
    ("metadata: huge integer", lambda: empty().upsert(ones(1), metadata=[{"a": 2**70}]), "MetadataError", ["64 bits"]),
    ("metadata: too deep", lambda: empty().upsert(ones(1), metadata=[deep()]), "MetadataError", ["row 0"]),
    ("query: wrong dim", lambda: filled().search(np.ones(5)), "DimensionError", ["8", "(5,)"]),
    ("query: wrong dim, many", lambda: filled().search(np.ones((2, 5))), "DimensionError", ["8", "(2, 5)"]),
    ("query: NaN", lambda: filled().search(one(np.nan)), "NonFiniteError", ["column 0", "NaN"]),
    ("query: NaN in the second", lambda: filled().search(bad_vectors(np.nan)), "NonFiniteError", ["row 1"]),
    ("query: infinity", lambda: filled().search(one(-np.inf)), "NonFiniteError", ["inf"]),
    ("query: NaN on nothing", lambda: empty().search(one(np.nan)), "NonFiniteError", ["NaN"]),
    ("query: None", lambda: filled().search(None), "InputTypeError", ["NoneType"]),
    ("query: k = 0", lambda: filled().search(one(1), k=0), "ParameterError", ["k", "at least 1", "0"]),
    ("query: k negative", lambda: filled().search(one(1), k=-3), "ParameterError", ["k", "-3"]),
    ("query: k enormous", lambda: filled().search(one(1), k=2**70), "ParameterError", ["k", str(2**70)]),
    ("query: k a float", lambda: filled().search(one(1), k=2.5), "ParameterError", ["k", "2.5"]),
    ("query: k above the limit", lambda: filled().search(one(1), k=10**9), "ParameterError", ["1000000"]),
    ("query: ef = 0", lambda: filled().search(one(1), ef=0), "ParameterError", ["ef", "0"]),
    ("query: threads = 0", lambda: filled().search(ones(), threads=0), "ParameterError", ["threads", "0"]),
    ("query: threads enormous", lambda: filled().search(ones(), threads=10**6), "ParameterError", ["1024"]),
    (
        "filter: unknown field",
        lambda: filled().search(one(1), where={"prise": 1}),
        "FilterError",
        ["prise", "price"],
    ),
    ("filter: unknown operator", lambda: filled().count({"n": {"lessthan": 1}}), "FilterError", ["lessthan"]),
    ("filter: operand of wrong type", lambda: filled().count({"n": {"lt": [1]}}), "FilterError", ["lt"]),
    ("filter: no dict", lambda: filled().count(5), "FilterError", ["dict", "5 (int)"]),
    ("filter: broken JSON", lambda: filled().count('{"n":'), "FilterError", ["EOF", "column 5"]),
    ("filter: NaN", lambda: filled().count({"n": float("nan")}), "FilterError", ["NaN"]),
    ("filter: too deep", lambda: filled().count(deep()), "FilterError", []),
    ("create: dim 0", lambda: nearfield.open().create("a", 0), "ParameterError", ["dim", "0"]),
    ("create: dim negative", lambda: nearfield.open().create("a", -4), "ParameterError", ["dim", "-4"]),
    ("create: dim enormous", lambda: nearfield.open().create("a", 10**6), "ParameterError", ["65536", "1000000"]),
    (
        "create: metric",
        lambda: nearfield.open().create("a", 4, metric="euclid"),
        "ParameterError",
        ["euclid", "cosine", "l2"],
    ),
    ("create: store", lambda: nearfield.open().create("a", 4, store="f8"), "ParameterError", ["f8", "f16"]),
    (
        "create: quantization",
        lambda: nearfield.open().create("a", 4, quantization="pq"),
        "ParameterError",
        ["pq", "none", "auto"],
    ),
    ("create: twice", lambda: empty_twice(), "ConflictError", ["c"]),
    ("create: empty name", lambda: nearfield.open().create("", 4), "ParameterError", []),
    ("collection: unknown", lambda: filled_database().collection("paprs"), "NotFoundError", ["paprs", "papers"]),
    ("open: unknown mode", lambda: nearfield.open("x", mode="w"), "ParameterError", ["mode", "rw", '"w"']),
    ("open: nothing to read", lambda: nearfield.open("/nowhere/at/all", mode="r"), "NotFoundError", ["/nowhere"]),
    ("delete: neither", lambda: filled().delete(), "ParameterError", ["neither"]),
    ("delete: both", lambda: filled().delete([1], where={"n": 1}), "ParameterError", ["both"]),
    ("progress: a number", lambda: filled().compact(progress=3), "InputTypeError", ["progress", "3"]),
]


def empty_twice() -> None:
    database = nearfield.open()
    database.create("c", 4)
    database.create("c", 4)


def filled_database() -> nearfield.Database:
    database = nearfield.open()
    database.create("papers", 4)
    return database


def found(hits: nearfield.Hits) -> list[Any]:
    """Ids, after checking that nothing made up is among ids and scores."""
    ids, scores = np.asarray(hits.ids), np.asarray(hits.scores)
    assert ids.shape == scores.shape and not np.isnan(scores).any()
    assert ids.dtype == object or (ids >= 0).all()
    result: list[Any] = ids.tolist()
    return result


def answers_k_above_n() -> None:
    hits = filled().search(one(1), k=1_000)
    assert sorted(found(hits)) == list(range(ROWS)) and hits.counts.tolist() == [ROWS]


def answers_empty_collection() -> None:
    assert found(empty().search(one(1))) == [] and empty().search(ones(3)).ids.shape == (3, 0)


def answers_no_queries() -> None:
    assert filled().search(np.ones((0, DIM))).ids.shape == (0, 0)


def answers_empty_add() -> None:
    for nothing in ([], np.ones((0, DIM)), np.ones((0, DIM), np.float32)):
        collection = empty()
        assert collection.upsert(nothing).inserted == 0 and len(collection) == 0


def answers_duplicate_later() -> None:
    collection = filled()
    report = collection.upsert(ones(1), ids=[7])
    assert (report.inserted, report.replaced, len(collection)) == (0, 1, ROWS)
    assert collection.get([7], vectors=True).vectors.tolist() == [[1.0] * DIM]  # type: ignore[union-attr]


def answers_zero_vector() -> None:
    collection = empty()
    collection.upsert(np.vstack([np.zeros(DIM), np.ones(DIM), -np.ones(DIM)]), ids=[0, 1, 2])
    hits = collection.search(one(1))
    assert found(hits) == [1, 0, 2] and np.allclose(hits.scores, [1, 0, -1])
    with pytest.raises(nearfield.NonFiniteError, match="direction"):
        collection.search(one(0))


def answers_mixed_types() -> None:
    collection = empty()
    collection.upsert(ones(4), metadata={"a": [1, "1", 1.0, None]})
    assert collection.count({"a": 1}) == 2 and collection.count({"a": "1"}) == 1
    assert collection.count({"a": None}) == 1 and collection.count({"a": {"lt": 2}}) == 2


def answers_float64_and_lists() -> None:
    for vectors in (np.eye(DIM), np.eye(DIM).tolist(), list(np.eye(DIM, dtype=np.float32))):
        collection = empty()
        collection.upsert(vectors, ids=list(range(DIM)))
        assert found(collection.search(np.eye(DIM)[3].tolist(), k=1)) == [3]


def answers_short_rows_are_masked() -> None:
    collection = empty()
    collection.upsert(ones(2), ids=[5, "a"], metadata=[{"t": 1}, {"t": 2}])
    hits = collection.search(ones(2), k=5, where={"t": 1})
    assert hits.ids.tolist() == [[5], [5]] and not np.ma.is_masked(hits.ids)


def answers_all_kinds_of_values() -> None:
    collection = empty()
    name = uuid.UUID(int=5)
    row = {"u": name, "f": np.float32(0.5), "i": np.int8(3), "b": np.bool_(True), "a": np.arange(2)}
    collection.upsert(ones(1), ids=[1], metadata=[row])
    expected = {"u": str(name), "f": 0.5, "i": 3, "b": True, "a": [0, 1]}
    assert collection.get(1).metadata == [expected]


def answers_pickle() -> None:
    for value in (filled(), nearfield.open(), filled().search(one(1))):
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(value)


def answers_conveniences() -> None:
    with nearfield.open() as database, database.create("c", DIM) as collection:
        assert len(collection) == 0 and collection and "c" in database and list(database) == ["c"]
        collection.upsert(ones(1), metadata=[{"<b>": "&"}])
        shown = database._repr_html_() + collection._repr_html_() + collection.search(one(1))._repr_html_()
        assert "<table>" in shown and "<b>" not in shown and "&amp;" in shown
        assert "<table>" in collection.search(ones())._repr_html_()


ANSWERED = {name: value for name, value in globals().items() if name.startswith("answers_")}


def in_child(case: Callable[[], None]) -> tuple[int, str]:
    """Runs `case` in a forked child; its wait status and, if it failed, its traceback."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            case()
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-4_000:])
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        output = pipe.read().decode()
    return os.waitpid(child, 0)[1], output


def refuses(call: Callable[[], object], exception: str, words: list[str]) -> None:
    try:
        result = call()
    except nearfield.NearfieldError as error:
        assert type(error).__name__ == exception, repr(error)
        missing = [word for word in words if word not in str(error)]
        assert not missing, f"{missing} not in {error}"
        if exception not in ("ConflictError", "NotFoundError", "FilterError", "DuplicateIdError", "IdError"):
            assert error.expected is not None and error.got is not None, vars(error)
        return
    raise AssertionError(f"accepted: {result!r}")


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("case", REFUSED, ids=[case[0] for case in REFUSED])
def test_wrong_input_is_refused_with_expected_and_got(case: Any) -> None:
    _, call, exception, words = case
    status, output = in_child(lambda: refuses(call, exception, words))
    assert status == 0, f"wait status {status}\n{output}"


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("name", ANSWERED)
def test_odd_but_meaningful_input_is_answered(name: str) -> None:
    status, output = in_child(ANSWERED[name])
    assert status == 0, f"wait status {status}\n{output}"


def test_a_crash_would_be_noticed() -> None:
    status, _ = in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert os.WIFSIGNALED(status)
