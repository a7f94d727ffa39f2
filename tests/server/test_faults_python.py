"""Types with a meaning, over HTTP and from the command line: dates are refused, ids are text as in JSON."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import Refused, Server, run

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed in this environment")

Start = Callable[..., Server]
DAY = datetime.date(2020, 1, 2)
MOMENT = datetime.datetime(2020, 1, 2, 3, 4, 5)
HINT = "microseconds since 1970"
ARROW = "application/vnd.apache.arrow.stream"
COLUMNS = {
    "timestamp": pa.array([MOMENT, None]),
    "timestamp with a zone": pa.array([MOMENT, MOMENT], pa.timestamp("ns", "Europe/Paris")),
    "date": pa.array([DAY, DAY]),
    "date64": pa.array([DAY, DAY], pa.date64()),
    "time": pa.array([MOMENT.time()] * 2),
    "duration": pa.array([1, 2], pa.duration("s")),
    "list of dates": pa.array([[DAY], []]),
    "struct with a date": pa.array([{"inner": DAY}] * 2),
}


def table(times: Any) -> Any:
    return pa.table({"id": ["a", "b"], "vector": pa.array([[1.0, 0.0]] * 2, pa.list_(pa.float32(), 2)), "at": times})


def stream(rows: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def test_columns_of_dates_are_refused_over_http_with_what_to_store_instead(start: Start) -> None:
    server = start("--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        client.post("/v2/collections", {"name": "c", "dim": 2})

        def ingest(times: Any) -> tuple[int, str]:
            status, _, body = client.raw(
                "POST", "/v2/collections/c/ingest", stream(table(times)), {"content-type": ARROW}
            )
            return status, body.decode()

        for kind, times in COLUMNS.items():
            status, answer = ingest(times)
            assert 400 <= status < 500 and HINT in answer and "at" in answer, (kind, status, answer)
        assert client.get("/v2/collections/c")["points"] == 0
        micros = COLUMNS["timestamp"].cast(pa.timestamp("us")).cast(pa.int64())
        status, answer = ingest(micros)
        assert status == 201, answer
        found = client.post("/v2/collections/c/points/get", {"ids": ["a"]})
        assert found["points"][0]["metadata"] == {"at": micros[0].as_py()}


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_columns_of_dates_are_refused_by_import(binary: Path, data_dir: Path, tmp_path: Path, ending: str) -> None:
    import pyarrow.feather
    import pyarrow.parquet

    file = tmp_path / f"rows.{ending}"
    rows = table(COLUMNS["timestamp with a zone"])
    if ending == "parquet":
        pyarrow.parquet.write_table(rows, file)
    else:
        pyarrow.feather.write_feather(rows, str(file))
    said = run(binary, "import", data_dir, "c", file, code=2)
    assert HINT in said and '"at"' in said


def test_an_unknown_field_is_refused_also_where_no_point_has_metadata(start: Start) -> None:
    server = start("--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        client.post("/v2/collections", {"name": "c", "dim": 2})
        client.post("/v2/collections/c/vectors/batch", {"vectors": [{"vector": [1, 0]}]})
        calls = {
            "query": {"vector": [1, 0], "k": 1, "filter": {"zzz": 1}},
            "points/delete": {"filter": {"zzz": {"ne": 1}}},
        }
        for path, body in calls.items():
            with pytest.raises(Refused, match="zzz") as refused:
                client.post(f"/v2/collections/c/{path}", body)
            assert refused.value.status in (400, 422), refused.value
        assert client.get("/v2/collections/c")["points"] == 1
