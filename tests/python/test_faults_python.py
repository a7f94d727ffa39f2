"""Types with a meaning, tables of other libraries, calls that are interrupted: as a data scientist meets them."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import nearfield
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

DIM = 8
ROWS = 6
X = np.arange(ROWS * DIM, dtype=np.float32).reshape(ROWS, DIM)
STRINGS = ["a", None, "c", "d", "e", "f"]


@pytest.fixture
def empty(memory: nearfield.Database) -> nearfield.Collection:
    return memory.create("c", DIM, metric="l2")


def stored(collection: nearfield.Collection, metadata: Any) -> Any:
    """Writes the rows of X with this metadata; what comes back."""
    collection.upsert(X, ids=range(ROWS), metadata=metadata)
    return collection.get(range(ROWS)).metadata


MOMENT = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
HINT = "an integer such as microseconds"
#: What is neither a date nor anything that JSON has.
TIMES: dict[str, Any] = {
    "time": MOMENT.time(),
    "timedelta": datetime.timedelta(1),
    "timedelta64": np.timedelta64(3, "s"),
    "Period": pd.Period("2020-01"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_a_time_in_a_filter_is_refused_with_what_to_store_instead(empty: nearfield.Collection, kind: str) -> None:
    empty.upsert(X, metadata={"t": ["2020-01-02"] * ROWS})
    for where in ({"t": TIMES[kind]}, {"t": {"lte": TIMES[kind]}}, {"t": {"in": [TIMES[kind]]}}):
        for call in (empty.count, lambda where: empty.delete(where=where), lambda where: empty.search(X[0], where=where)):
            with pytest.raises(nearfield.FilterError, match=HINT):
                call(where)
    assert len(empty) == ROWS


@pytest.mark.parametrize("kind", TIMES)
def test_a_time_in_a_row_or_a_list_is_refused_with_its_place(empty: nearfield.Collection, kind: str) -> None:
    rows: list[Any] = [{"t": 1}] * (ROWS - 1) + [{"t": {"inner": [TIMES[kind]]}}]
    with pytest.raises(nearfield.MetadataError, match=HINT) as refused:
        empty.upsert(X, metadata=rows)
    assert refused.value.row == ROWS - 1
    with pytest.raises(nearfield.MetadataError, match=HINT) as refused:
        empty.upsert(X, metadata={"t": [1] * (ROWS - 1) + [TIMES[kind]]})
    assert (refused.value.row, refused.value.column) == (ROWS - 1, "t")
    assert len(empty) == 0


DAYS = pd.date_range("2020-01-01", periods=ROWS)
TIME_COLUMNS: dict[str, Any] = {
    "numpy durations": np.arange(ROWS).astype("m8[s]"),
    "numpy durations in rows": np.arange(2 * ROWS).astype("m8[s]").reshape(ROWS, 2),
    "pandas periods": pd.Series(DAYS.to_period("M")),
    "pandas durations": pd.Series(pd.to_timedelta(np.arange(ROWS), unit="s")),
    "polars times": pl.Series([MOMENT.time()] * ROWS),
    "polars durations": pl.Series([datetime.timedelta(1)] * ROWS),
    "arrow time": pa.array([MOMENT.time()] * ROWS),
    "arrow duration": pa.array(list(range(ROWS)), pa.duration("s")),
}


@pytest.mark.parametrize("kind", TIME_COLUMNS)
def test_a_column_of_times_is_refused_by_name(empty: nearfield.Collection, kind: str) -> None:
    with pytest.raises(nearfield.MetadataError, match=HINT) as refused:
        empty.upsert(X, metadata={"n": np.arange(ROWS), "t": TIME_COLUMNS[kind]})
    assert refused.value.column == "t" and len(empty) == 0


def test_text_that_looks_like_a_date_is_text(empty: nearfield.Collection) -> None:
    assert stored(empty, {"t": ["2020-01-02T03:04:05Z"] * ROWS})[0] == {"t": "2020-01-02T03:04:05Z"}
    assert empty.count({"t": "2020-01-02T03:04:05Z"}) == ROWS


NAN = float("nan")
NULLS: dict[str, tuple[Any, list[Any]]] = {
    "pandas objects": (pd.Series(STRINGS, dtype=object), STRINGS),
    "pandas NaN in objects": (pd.Series(["a", NAN, "c", "d", "e", "f"], dtype=object), STRINGS),
    "pandas NA in objects": (pd.Series(["a", pd.NA, "c", "d", "e", "f"], dtype=object), STRINGS),
    "pandas NaT in objects": (pd.Series(["a", pd.NaT, "c", "d", "e", "f"], dtype=object), STRINGS),
    "pandas string": (pd.Series(STRINGS, dtype="string"), STRINGS),
    "pandas str": (pd.Series(STRINGS), STRINGS),
    "pandas Int64": (pd.Series([1, None, 3, 4, 5, 2**62], dtype="Int64"), [1, None, 3, 4, 5, 2**62]),
    "pandas boolean": (pd.Series([True, None] * 3, dtype="boolean"), [True, None] * 3),
    "pandas float": (pd.Series([0.5, None] * 3), [0.5, None] * 3),
    "pandas float32": (pd.Series([0.1, None] * 3, dtype="float32"), [0.1, None] * 3),
    "pandas Float64": (pd.Series([0.5, None] * 3, dtype="Float64"), [0.5, None] * 3),
    "pandas of Arrow": (pd.Series([1, None] * 3, dtype="int64[pyarrow]"), [1, None] * 3),
    "pandas category": (pd.Series(STRINGS, dtype="category"), STRINGS),
    "pandas index": (pd.Index(STRINGS), STRINGS),
    "polars strings": (pl.Series(STRINGS), STRINGS),
    "polars ints": (pl.Series([1, None] * 3), [1, None] * 3),
    "polars floats": (pl.Series([0.5, None] * 3), [0.5, None] * 3),
    "polars float32": (pl.Series([0.1, None] * 3, dtype=pl.Float32), [0.1, None] * 3),
    "polars bools": (pl.Series([True, None] * 3), [True, None] * 3),
    "polars lists": (pl.Series([[1, None], None] * 3), [[1, None], None] * 3),
    "polars categories": (pl.Series(STRINGS, dtype=pl.Categorical), STRINGS),
    "polars nulls": (pl.Series([None] * ROWS), [None] * ROWS),
    "arrow strings": (pa.array(STRINGS), STRINGS),
    "arrow ints": (pa.array([1, None] * 3), [1, None] * 3),
    "arrow floats": (pa.array([0.5, None] * 3), [0.5, None] * 3),
    "arrow float32": (pa.array([0.1, None] * 3, pa.float32()), [0.1, None] * 3),
    "arrow bools": (pa.array([True, None] * 3), [True, None] * 3),
    "arrow dictionary": (pa.array(STRINGS).dictionary_encode(), STRINGS),
    "arrow chunks": (pa.chunked_array([STRINGS[:2], STRINGS[2:]]), STRINGS),
    "arrow lists": (pa.array([[1, None], None] * 3), [[1, None], None] * 3),
    "NA in a list": (["a", pd.NA, "c", "d", "e", "f"], STRINGS),
    "NaT in a list": (["a", pd.NaT, "c", "d", "e", "f"], STRINGS),
    "numpy masked": (np.ma.masked_equal(np.array([1, 2, 1, 1, 1, 1]), 2), [1, None, 1, 1, 1, 1]),
}


@pytest.mark.parametrize("kind", NULLS)
def test_null_of_every_library_is_null(empty: nearfield.Collection, kind: str) -> None:
    column, expected = NULLS[kind]
    assert [row["a"] for row in stored(empty, {"a": column})] == expected
    assert empty.count({"a": None}) >= expected.count(None) >= 1
    assert stored(empty, [{"a": value} for value in expected]) == [{"a": value} for value in expected]


def test_nan_is_null_only_where_a_library_means_null_by_it(empty: nearfield.Collection) -> None:
    frame = pd.DataFrame({"a": [1.5, NAN, 2.5, 3.5, 4.5, 5.5]})
    assert stored(empty, frame)[1] == {"a": None}
    for column in (frame["a"].to_numpy(), frame["a"].tolist(), pl.Series(frame["a"].to_numpy()), pa.array(frame["a"].to_numpy())):
        with pytest.raises(nearfield.MetadataError, match='row 1, field "a".*NaN'):
            empty.upsert(X, metadata={"a": column})


ROW_DICTS = [{"n": n, "f": n / 2, "s": f"s{n}", "l": [n, n + 1], "o": {"x": n, "y": "q"}} for n in range(ROWS)]


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(ROW_DICTS),
        pl.DataFrame(ROW_DICTS),
        pa.Table.from_pylist(ROW_DICTS),
        pa.RecordBatch.from_pylist(ROW_DICTS),
        pa.Table.from_pylist(ROW_DICTS[:2]).to_pandas().pipe(lambda _: pa.concat_tables([
            pa.Table.from_pylist(ROW_DICTS[:2]), pa.Table.from_pylist(ROW_DICTS[2:])])),
        {name: pl.DataFrame(ROW_DICTS)[name] for name in ROW_DICTS[0]},
    ],
    ids=["pandas", "polars", "arrow", "batch", "chunks", "columns"],
)
def test_tables_are_read_with_their_structs_and_lists(empty: nearfield.Collection, table: Any) -> None:
    assert stored(empty, table) == ROW_DICTS
    assert empty.count({"o.x": {"gte": 3}}) == 3


def test_a_table_that_is_only_a_stream_of_arrow_is_read(empty: nearfield.Collection) -> None:
    class Relation:
        """Such as a relation of DuckDB."""

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.Table.from_pylist(ROW_DICTS).__arrow_c_stream__(requested_schema)

    assert stored(empty, Relation()) == ROW_DICTS


def test_column_names_that_would_be_mixed_up_are_refused_by_name(empty: nearfield.Collection) -> None:
    twice = pa.Table.from_arrays([pa.array(range(ROWS))] * 2, names=["a", "a"])
    levels = pd.DataFrame([[1, 2]] * ROWS, columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    for table, name in (
        (pd.DataFrame([[1, 2]] * ROWS, columns=["a", "a"]), "'a'"),
        (pd.DataFrame([[1, 2]] * ROWS, columns=[1, "1"]), "'1'"),
        (twice, "'a'"),
        (levels, "('a', 'b')"),
    ):
        with pytest.raises(nearfield.MetadataError) as refused:
            empty.upsert(X, metadata=table)
        assert name in str(refused.value) and refused.value.column is not None
    assert len(empty) == 0


def test_what_is_no_table_is_refused_in_our_words(empty: nearfield.Collection) -> None:
    class Broken:
        columns = ("a",)

        def __getitem__(self, name: str) -> Any:
            raise RuntimeError("from elsewhere")

    for table, word in ((pl.DataFrame(ROW_DICTS).lazy(), "collect"), (Broken(), "from elsewhere"), (3, "a dict of columns")):
        bad: Any = table
        with pytest.raises(nearfield.MetadataError, match=word) as refused:
            empty.upsert(X, metadata=bad)
        assert "a dict of columns" in str(refused.value.expected)


VECTOR_COLUMNS: dict[str, Any] = {
    "pandas lists": pd.Series(X.tolist()),
    "pandas arrays": pd.Series(list(X)),
    "pandas of Arrow": pd.Series(X.tolist(), dtype=pd.ArrowDtype(pa.list_(pa.float32()))),
    "object array": pd.Series(list(X)).to_numpy(),
    "polars lists": pl.Series(X.tolist()),
    "polars arrays": pl.Series(X.tolist(), dtype=pl.Array(pl.Float32, DIM)),
    "arrow lists": pa.array(X.tolist()),
    "arrow fixed": pa.array(X.tolist(), pa.list_(pa.float32(), DIM)),
    "arrow slice": pa.array([[9.0] * DIM, *X.tolist()], pa.list_(pa.float32(), DIM)).slice(1),
    "arrow chunks": pa.chunked_array([X.tolist()[:2], X.tolist()[2:]]),
    "a list of arrays": list(X),
    "a list of lists": X.tolist(),
}


@pytest.mark.parametrize("kind", VECTOR_COLUMNS)
def test_a_column_of_lists_is_a_table_of_vectors(empty: nearfield.Collection, kind: str) -> None:
    empty.upsert(VECTOR_COLUMNS[kind], ids=range(ROWS))
    vectors = empty.get(range(ROWS), vectors=True).vectors
    assert vectors is not None and np.array_equal(vectors, X)
    assert empty.search(VECTOR_COLUMNS[kind], k=1).ids.tolist() == [[id] for id in range(ROWS)]


def test_rows_of_different_length_or_none_are_refused(empty: nearfield.Collection) -> None:
    lists: list[Any] = [*X.tolist()[:5], [1.0]]
    for column in (lists, pd.Series(lists), pl.Series(lists), pa.array(lists)):
        bad: Any = column
        with pytest.raises(nearfield.DimensionError, match="ragged"):
            empty.upsert(bad)
    gap: list[Any] = [*X.tolist()[:5], None]
    for column in (pl.Series(gap), pa.array(gap)):
        bad = column
        with pytest.raises(nearfield.NonFiniteError, match="row 5"):
            empty.upsert(bad)
    bad = pa.table({"vector": X.tolist()})
    with pytest.raises(nearfield.InputTypeError, match="column"):
        empty.upsert(bad)
    bad = pd.Series([{"a": 1}] * ROWS, dtype=object)
    with pytest.raises(nearfield.InputTypeError, match="np.stack"):
        empty.upsert(bad)


def test_a_mistake_far_down_a_list_is_named_by_its_row(memory: nearfield.Database) -> None:
    collection = memory.create("long", 300)
    rows = np.ones((200, 300)).tolist()
    rows[150][7] = 1e300
    with pytest.raises(nearfield.NonFiniteError, match="row 150, column 7"):
        collection.upsert(rows)
    rows[150] = [1.0]
    with pytest.raises(nearfield.DimensionError, match="ragged"):
        collection.upsert(rows)


def test_uuids_come_back_as_the_text_that_json_has(empty: nearfield.Collection) -> None:
    texts = [str(uuid.UUID(int=n)) for n in range(1, 4)]
    empty.upsert(X[:3], ids=texts)
    empty.upsert(X[3:], ids=[uuid.UUID(int=9), 7, "seven"])
    hits = empty.search(X[0], k=ROWS)
    assert sorted(map(str, hits.ids.tolist())) == sorted([*texts, str(uuid.UUID(int=9)), "7", "seven"])
    assert {type(id) for id in hits.ids.tolist()} == {int, str}
    assert [row["id"] for row in hits.to_rows()] == hits.ids.tolist()
    assert empty.get(texts).ids.tolist() == texts
    assert empty.get([uuid.UUID(int=1), uuid.UUID(int=77)]).missing == [str(uuid.UUID(int=77))]
    assert uuid.UUID(int=9) in empty and str(uuid.UUID(int=9)) in empty
    assert {type(id) for batch in empty.scan() for id in batch.ids.tolist()} == {int, str}


def test_float32_is_found_by_its_shortest_decimals(empty: nearfield.Collection) -> None:
    column = np.array([0.1, 0.2, 0.3, 1e-7, 1e10, 16_777_216], np.float32)
    for metadata in (
        {"f": column},
        {"f": pd.Series(column)},
        {"f": pl.Series(column)},
        {"f": pa.array(column)},
        [{"f": value} for value in column],
        [{"f": np.array(value)} for value in column],
    ):
        rows = stored(empty, metadata)
        assert [row["f"] for row in rows] == [0.1, 0.2, 0.3, 1e-7, 1e10, 16_777_216]
        assert np.array_equal(np.array([row["f"] for row in rows], np.float32), column)
        assert empty.count({"f": 0.1}) == empty.count({"f": np.float32(0.1)}) == 1


def test_an_unknown_field_is_refused_with_and_without_metadata(memory: nearfield.Database) -> None:
    for metadata in (None, {"known": [1] * ROWS}):
        collection = memory.create("with" if metadata else "without", DIM)
        collection.upsert(X, metadata=metadata)
        for call in (
            lambda c, where: c.count(where),
            lambda c, where: c.search(X[0], where=where),
            lambda c, where: c.search(X, where=where),
            lambda c, where: list(c.scan(where=where)),
            lambda c, where: c.delete(where=where),
            lambda c, where: c.recall(k=1, where=where),
        ):
            for where in ({"zzz": 1}, {"zzz": {"ne": 1}}):
                with pytest.raises(nearfield.FilterError, match="zzz"):
                    call(collection, where)
        assert len(collection) == ROWS


def test_a_field_of_a_deleted_row_stays_known_through_a_compaction_and_a_file(path: Path) -> None:
    with nearfield.open(path) as database:
        collection = database.create("c", DIM)
        collection.upsert(X, ids=range(ROWS), metadata=[{"a": 1}] * 5 + [{"x": 1}])
        collection.delete([5])
        assert collection.count({"x": 1}) == 0
        collection.compact()
        assert collection.count({"x": 1}) == 0
    with nearfield.open(path) as database:
        assert database["c"].count({"x": 1}) == 0 and database["c"].count({"x": {"ne": 1}}) == 5
        database.export(path.parent / "c.near")
    with nearfield.open(path.parent / "c.near") as export:
        assert export["c"].count({"x": {"ne": 1}}) == 5


def test_a_filter_of_text_that_is_no_json_is_refused_with_an_example(empty: nearfield.Collection) -> None:
    with pytest.raises(nearfield.FilterError, match="a dict like .*'a > 1'"):
        empty.count("a > 1")


def test_paths_that_are_none_make_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for url in ("http://localhost:1", "https://example.org/a.near", "s3://bucket/key"):
        with pytest.raises(nearfield.ParameterError, match="HTTP"):
            nearfield.open(url)
    with nearfield.open(":memory:") as database:
        assert database.mode == "memory" and database.path is None
    with pytest.raises(nearfield.ParameterError):
        nearfield.open(":memory:", mode="r")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "home").mkdir()
    with nearfield.open("~/x") as database:
        assert Path(str(database.path)) == tmp_path / "home" / "x"
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]


def test_a_dropped_collection_answers_no_call(path: Path) -> None:
    with nearfield.open(path) as database:
        one, other = database.create("c", DIM), database["c"]
        one.upsert(X, ids=range(ROWS))
        database.drop("c")
        for collection in (one, other):
            calls = (
                lambda: len(collection),
                lambda: collection.search(X[0]),
                lambda: collection.get(1),
                lambda: collection.count(),
                lambda: collection.upsert(X),
                lambda: collection.delete(1),
                lambda: list(collection.scan()),
                lambda: collection.compact(),
                lambda: collection.stats(),
                lambda: 1 in collection,
            )
            for call in calls:
                with pytest.raises((nearfield.ClosedError, nearfield.NotFoundError), match="dropped"):
                    call()
        fresh = database.create("c", DIM)
        fresh.upsert(X)
        assert len(fresh) == ROWS
        with pytest.raises((nearfield.ClosedError, nearfield.NotFoundError)):
            len(one)


def test_threads_are_checked_for_one_query_too(empty: nearfield.Collection) -> None:
    empty.upsert(X)
    for threads in (-5, 0, 5_000, True):
        for queries in (X[0], X):
            with pytest.raises(nearfield.ParameterError, match="threads"):
                empty.search(queries, threads=threads)


def test_slices_of_hits_and_iterating_over_points(empty: nearfield.Collection) -> None:
    empty.upsert(X, ids=range(ROWS))
    single, many = empty.search(X[0], k=4), empty.search(X, k=2)
    assert [row["id"] for row in single[1:3]] == single.ids[1:3].tolist()
    part = many[::-2]
    assert isinstance(part, nearfield.Hits) and part.ids.tolist() == many.ids[::-2].tolist()
    with pytest.raises(TypeError, match="an integer or a slice"):
        single["id"]  # type: ignore[call-overload]
    assert sorted(empty) == list(range(ROWS))


def test_the_total_of_progress_does_not_change_within_a_call(memory: nearfield.Database) -> None:
    collection = memory.create("c", DIM)
    collection.upsert(np.random.default_rng(0).standard_normal((5_000, DIM)))
    seen: list[tuple[int, int]] = []
    collection.compact(progress=lambda done, total: seen.append((done, total)))
    assert len({total for _, total in seen}) == 1 and seen == sorted(seen) and seen[-1][0] == seen[-1][1]


INTERRUPTED = """
import nearfield, numpy, os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
path, call = sys.argv[1:]
data = numpy.random.default_rng(1).standard_normal((30_000, 64)).astype("f4")
def press(*_):
    os.kill(os.getpid(), signal.SIGINT)
with nearfield.open(path) as db:
    c = db.create("c", 64)
    if call == "upsert":
        def stop(done, total):
            if done == 16_384:
                press()
        try:
            c.upsert(data, metadata={"n": numpy.arange(len(data))}, progress=stop)
        except nearfield.Interrupted as stopped:
            assert isinstance(stopped, KeyboardInterrupt)
            written, ids = stopped.written, stopped.ids.tolist()
            assert stopped.rows == 30_000 and len(c) == written == len(ids) and written % 8_192 == 0, written
            assert c.get(ids).metadata == [{"n": n} for n in range(written)]
            assert str(written) in str(stopped)
            print("stopped")
    else:
        c.upsert(data)
        # All of these questions would take minutes.
        many = numpy.tile(data, (40, 1))
        threading.Timer(0.3, press).start()
        try:
            c.recall(many, k=10) if call == "recall" else c.search(many, exact=True)
        except KeyboardInterrupt:
            print("stopped")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("call", ["upsert", "recall", "search"])
def test_ctrl_c_stops_a_long_call_and_says_what_is_written(path: Path, call: str) -> None:
    """The limit of time is far below what the whole call takes, and far above what stopping takes."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path), call], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


PRESSED = """
import nearfield, numpy, os, pathlib, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
root, name = pathlib.Path(sys.argv[1]), sys.argv[2]
gate = threading.Lock()

def press():
    with gate:
        os.kill(os.getpid(), signal.SIGINT)

def interrupted(call):
    # The other thread gets the interpreter when the call gives it up, and gives it back after the signal only.
    gate.acquire()
    threading.Thread(target=press).start()
    time.sleep(0.2)
    sys.setswitchinterval(1_000)
    gate.release()
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setswitchinterval(0.005)
    return False

data = numpy.random.default_rng(1).standard_normal((40_000, 64)).astype("f4")
with nearfield.open(root / "db") as db:
    c = db.create("c", 64)
    c.upsert(data[:10_000], ids=range(10_000))
    c.checkpoint()
    c.upsert(data[10_000:], ids=range(10_000, 40_000))
    if name == "restore":
        c.checkpoint()
        snapshot = db.snapshot().path
    calls = {
        "checkpoint": c.checkpoint,
        "compact": c.compact,
        "export": lambda: db.export(root / "out" / "x.near"),
        "restore": lambda: nearfield.restore(snapshot, to=root / "out"),
    }
    (root / "out").mkdir()
    assert interrupted(calls[name])
    assert (c.stats()["memory_bytes"] > 0) == (name != "restore"), "it was carried out"
    left = [path.name for path in (root / "out").rglob("*") if path.is_file() and path.name != "lock"]
    assert left == [], left
    assert len(c) == 40_000
    calls[name]()
    print("stopped", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("call", ["checkpoint", "compact", "export", "restore"])
def test_ctrl_c_stops_a_call_that_writes_files_and_loses_nothing(tmp_path: Path, call: str) -> None:
    """The call is carried out the second time."""
    done = subprocess.run(
        [sys.executable, "-c", PRESSED, str(tmp_path), call], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
    places = [tmp_path / "db"]
    if call == "export":
        places.append(tmp_path / "out" / "x.near")
    if call == "restore":
        places.append(tmp_path / "out")
    for place in places:
        with nearfield.open(place) as database:
            assert len(database["c"]) == 40_000 and database.verify().ok


def test_an_error_on_the_way_says_what_is_written(path: Path) -> None:
    """The file size limit of the child makes the log full after some batches."""
    program = (
        "import nearfield, numpy, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "db = nearfield.open(sys.argv[1]); c = db.create('c', 256)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "try:\n"
        "    c.upsert(numpy.ones((40_000, 256), 'f4'))\n"
        "except nearfield.StorageError as error:\n"
        "    print(error.written, len(c))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    written, count = map(int, done.stdout.split())
    assert written == count and 0 < written < 40_000 and written % 8_192 == 0, done.stderr


def test_lists_are_converted_a_piece_at_a_time(memory: nearfield.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pieces the interpreter may run other threads: no call of NumPy converts more than one piece."""
    rows = np.ones((6_000, 384)).tolist()
    collection = memory.create("c", 384)
    longest, convert = 0, np.asarray

    def counting(value: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal longest
        if isinstance(value, list):
            longest = max(longest, len(value))
        return convert(value, *arguments, **named)

    monkeypatch.setattr(np, "asarray", counting)
    collection.upsert(rows)
    assert 0 < longest * 384 <= 32_768, longest
    assert len(collection) == 6_000
