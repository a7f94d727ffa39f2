"""Types with a meaning, over HTTP and from the command line: times are refused, ids are text as in JSON."""

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
HINT = "an integer such as microseconds"
ARROW = "application/vnd.apache.arrow.stream"
COLUMNS = {
    "time": pa.array([datetime.time(3, 4)] * 2),
    "duration": pa.array([1, 2], pa.duration("s")),
    "list of times": pa.array([[datetime.time(3, 4)], []]),
    "struct with a duration": pa.array([{"inner": datetime.timedelta(1)}] * 2),
}


def table(times: Any) -> Any:
    return pa.table({"id": ["a", "b"], "vector": pa.array([[1.0, 0.0]] * 2, pa.list_(pa.float32(), 2)), "at": times})


def stream(rows: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def test_columns_of_times_are_refused_over_http_with_what_to_store_instead(start: Start) -> None:
    server = start("--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        client.post("/v2/collections", {"name": "c", "dim": 2})
        for kind, times in COLUMNS.items():
            status, _, body = client.raw(
                "POST", "/v2/collections/c/ingest", stream(table(times)), {"content-type": ARROW}
            )
            answer = body.decode()
            assert 400 <= status < 500 and HINT in answer and "at" in answer, (kind, status, answer)
        assert client.get("/v2/collections/c")["points"] == 0


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_columns_of_times_are_refused_by_import(binary: Path, data_dir: Path, tmp_path: Path, ending: str) -> None:
    import pyarrow.feather
    import pyarrow.parquet

    file, rows = tmp_path / f"rows.{ending}", table(COLUMNS["time"])
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
