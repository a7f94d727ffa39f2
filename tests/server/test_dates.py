"""Dates over HTTP and in imported files: the answers of the oracle (tests/dates.json), and what declares a field."""

from __future__ import annotations

import datetime
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import ROOT, Client, Refused, Server, run

np = pytest.importorskip("numpy", reason="NumPy is not installed in this environment")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed in this environment")

Start = Callable[..., Server]
CASES = json.loads((ROOT / "tests" / "dates.json").read_text())
TEXTS = [text for text, _ in CASES["dates"]]
STORE = ROOT / "tests" / "fixtures" / "dates" / "store"
ARROW = "application/vnd.apache.arrow.stream"
DAY = datetime.date(2020, 1, 2)
NOON = datetime.datetime(2020, 1, 2, 12)
#: A column, the field that it declares, and what comes back of its first row.
COLUMNS: dict[str, tuple[Any, str, Any]] = {
    "timestamp": (pa.array([NOON, None]), "at", "2020-01-02T12:00:00"),
    "timestamp with a zone": (
        pa.array([NOON, NOON], pa.timestamp("ns", "Europe/Paris")), "at", "2020-01-02T12:00:00Z",
    ),
    "date": (pa.array([DAY, DAY]), "at", "2020-01-02"),
    "date64": (pa.array([DAY, DAY], pa.date64()), "at", "2020-01-02T00:00:00"),
    "list of dates": (pa.array([[DAY], []]), "at", ["2020-01-02"]),
    "struct with a date": (pa.array([{"inner": DAY}] * 2), "at.inner", {"inner": "2020-01-02"}),
}


def check(client: Client, name: str) -> None:
    """Holds each answer against the oracle's."""
    asked = {"vector": [1], "k": len(TEXTS) + 1, "exact": True, "include_metadata": False}
    for filter, digits in CASES["questions"]:
        hits = client.post(f"/v2/collections/{name}/query", asked | {"filter": filter})["results"]
        passing = [row for row, digit in enumerate(digits) if digit == "1"]
        assert sorted(hit["id"] for hit in hits) == passing, filter


def table(dates: Any) -> Any:
    vectors = pa.array([[1.0, 0.0]] * len(dates), pa.list_(pa.float32(), 2))
    return pa.table({"id": [f"p{n}" for n in range(len(dates))], "vector": vectors, "at": dates})


def ingest(client: Client, name: str, rows: Any) -> Any:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    path = f"/v2/collections/{name}/ingest"
    status, _, body = client.raw("POST", path, sink.getvalue(), {"content-type": ARROW})
    answer = json.loads(body)
    if status // 100 != 2:
        raise Refused(status, answer)
    return answer["data"]


def served(start: Start) -> Client:
    server = start("--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    return server.client(token)


def test_answers_are_those_of_the_oracle(start: Start) -> None:
    with served(start) as client:
        client.post("/v2/collections", {"name": "c", "dim": 1, "metric": "l2", "fields": {"at": "datetime"}})
        rows = [{"id": row, "vector": [1], "metadata": {"at": text}} for row, text in enumerate(TEXTS)]
        client.post("/v2/collections/c/vectors/batch", {"vectors": rows})
        check(client, "c")
        client.post("/v2/admin/compact", {"collection": "c"})
        check(client, "c")
        for wrong in (7, True, *CASES["no_dates"]):
            with pytest.raises(Refused) as refused:
                client.post("/v2/collections/c/count", {"filter": {"at": wrong}})
            assert (refused.value.status, refused.value.code) == (400, "filter")
            with pytest.raises(Refused) as refused:
                client.post("/v2/collections/c/vectors", {"vector": [1], "metadata": {"at": wrong}})
            assert (refused.value.status, refused.value.code) == (400, "metadata")


def test_a_store_of_format_1_takes_dates(start: Start, data_dir: Path) -> None:
    shutil.copytree(STORE, data_dir)
    with served(start) as client:
        assert client.get("/v2/collections/c")["fields"] == {}
        date = pa.table({"id": [900], "vector": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "at": [DAY]})
        ingest(client, "c", date)
        assert client.get("/v2/collections/c")["fields"] == {"at": "datetime"}
        client.post("/v2/collections/c/points/delete", {"ids": [900]})
        check(client, "c")
        client.post("/v2/admin/compact", {"collection": "c"})
        check(client, "c")


def test_columns_of_dates_declare_their_field(start: Start) -> None:
    with served(start) as client:
        for number, (dates, field, first) in enumerate(COLUMNS.values()):
            name = f"c{number}"
            client.post("/v2/collections", {"name": name, "dim": 2})
            ingest(client, name, table(dates))
            assert client.get(f"/v2/collections/{name}")["fields"] == {field: "datetime"}
            found = client.post(f"/v2/collections/{name}/points/get", {"ids": ["p0"]})
            assert found["points"][0]["metadata"] == {"at": first}
            since = {"filter": {field: {"gte": "2020-01-02T01:00:00+01:00"}}}
            assert client.post(f"/v2/collections/{name}/count", since)["count"] > 0
        client.post("/v2/collections", {"name": "texts", "dim": 2})
        ingest(client, "texts", table(pa.array(["soon", None])))
        with pytest.raises(Refused, match='point p0, which is stored: .*at.*expected a date') as refused:
            ingest(client, "texts", table(pa.array([None, DAY])))
        assert (refused.value.status, refused.value.code) == (400, "metadata")
        assert client.get("/v2/collections/texts")["fields"] == {}


@pytest.mark.parametrize("ending", ["parquet", "arrow", "npz"])
def test_imported_files_with_dates_declare_their_field(
    binary: Path, start: Start, data_dir: Path, tmp_path: Path, ending: str
) -> None:
    import pyarrow.feather
    import pyarrow.parquet

    file, rows = tmp_path / f"rows.{ending}", table(COLUMNS["timestamp with a zone"][0])
    if ending == "parquet":
        pyarrow.parquet.write_table(rows, file)
    elif ending == "arrow":
        pyarrow.feather.write_feather(rows, str(file))
    else:
        at = np.array([NOON, "NaT"], "M8[ns]")
        np.savez(file, vectors=np.eye(2, dtype=np.float32), ids=np.array(["p0", "p1"]), at=at)
    run(binary, "import", data_dir, "c", file)
    # The table that is exported says it, too.
    exported = tmp_path / "out.parquet"
    run(binary, "export", data_dir, exported)
    run(binary, "import", data_dir, "copy", exported)
    with served(start) as client:
        server = ["--server", f"http://127.0.0.1:{client.connection.port}", "--key", str(client.token)]
        run(binary, "import", *server, "--collection", "remote", file)
        for name in ("c", "copy", "remote"):
            assert client.get(f"/v2/collections/{name}")["fields"] == {"at": "datetime"}
            noon = {"filter": {"at": "2020-01-02T13:00:00+01:00"}}
            assert client.post(f"/v2/collections/{name}/count", noon)["count"] == (1 if ending == "npz" else 2)
