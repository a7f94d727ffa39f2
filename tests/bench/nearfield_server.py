"""Our server as the measurements see it: `nearfield serve-v2`, one l2 collection `bench`, an admin key."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from process import cpu_seconds, free_port, start, stop, wait_until
from wire import Connection, request

PREFIX = "/v2/collections/bench"
ARROW = "application/vnd.apache.arrow.stream"


class NearfieldServer:
    """Listens on loopback as soon as the object exists; the directory outlives it."""

    name = "nearfield"

    def __init__(self, binary: Path, directory: Path, dim: int, cores: set[int]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self.log, self.cores = free_port(), directory / "server.log", cores
        self.data_dir = directory / "data"
        self.command = [str(binary), "serve-v2", "--data-dir", str(self.data_dir), "--collection", "default"]
        self.command += ["--dim", str(dim), "--host", "127.0.0.1", "--port", str(self.port)]
        self.command += ["--public-health-metrics", "true", "--bootstrap-admin-key", "true"]
        self._start()
        found = re.search(r"BOOTSTRAP_ADMIN_KEY=(\S+)", self.log.read_text())
        if found is None:
            raise SystemExit("our server printed no BOOTSTRAP_ADMIN_KEY")
        self.headers = {"authorization": f"Bearer {found[1]}"}
        self.call("POST", "/v2/collections", {"name": "bench", "dim": dim, "metric": "l2"})

    def _start(self) -> None:
        self.process = start(self.command, self.cores, self.log)
        wait_until(self._ready, self.process, self.log)

    def copy_at_rest(self, to: Path) -> Path:
        """Stops the server, copies its directory, starts it again: the copy is another engine's."""
        self.stop()
        shutil.copytree(self.data_dir, to)
        self._start()
        return to

    def _ready(self) -> bool:
        return Connection(self.port).send(request("GET", "/v2/health/ready"))[0] == 200

    def call(self, method: str, path: str, value: object = None) -> object:
        return Connection(self.port).json(method, path, value, self.headers)

    def clear(self, dim: int) -> None:
        """A new, empty collection for the next run."""
        self.call("DELETE", PREFIX)
        self.call("POST", "/v2/collections", {"name": "bench", "dim": dim, "metric": "l2"})

    def syncs(self) -> int:
        """Syncs of the write-ahead log since the start, from the server's own metric."""
        _, text = Connection(self.port).send(request("GET", "/v2/metrics", b"", self.headers))
        values = re.findall(r"^nearfield_wal_fsyncs_total(?:\{[^}]*\})? (\S+)$", text.decode(), re.MULTILINE)
        return int(sum(float(value) for value in values))

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def json_batch(self, first: int, rows: npt.NDArray[np.float32]) -> bytes:
        """One request for rows with the ids `first`, `first + 1`, …; the shortest JSON of their values."""
        vectors = [{"id": first + index, "vector": plain(row)} for index, row in enumerate(rows)]
        body = json.dumps({"vectors": vectors, "wait": True}, separators=(",", ":")).encode()
        return request("POST", f"{PREFIX}/vectors/batch", body, self.headers)

    def arrow_stream(self, first: int, rows: npt.NDArray[np.float32], batch_rows: int) -> bytes:
        """One request with a record batch for every `batch_rows` rows."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        schema = pa.schema([("id", pa.uint64()), ("vector", pa.list_(pa.float32(), rows.shape[1]))])
        with pa.ipc.new_stream(sink, schema) as stream:
            for at in range(0, len(rows), batch_rows):
                part = rows[at : at + batch_rows]
                ids = pa.array(np.arange(first + at, first + at + len(part), dtype=np.uint64))
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), rows.shape[1])
                stream.write_batch(pa.record_batch([ids, vectors], schema=schema))
        return request("POST", f"{PREFIX}/ingest", sink.getvalue().to_pybytes(), {**self.headers, "content-type": ARROW})

    def query_path(self) -> str:
        return f"{PREFIX}/query"

    def query_body(self, vector: npt.NDArray[np.float32], ef: int) -> str:
        value = {"vector": plain(vector), "k": 10, "ef": ef, "include_metadata": False}
        return json.dumps(value, separators=(",", ":"))

    def ids(self, answer: bytes) -> list[int]:
        return [hit["id"] for hit in json.loads(answer)["data"]["results"]]

    def compact(self) -> None:
        """Returns when everything is in one file, after a compaction that may be running already."""
        whole = request("POST", "/v2/admin/compact", b"", self.headers)
        wait_until(lambda: Connection(self.port).send(whole)[0] == 200, self.process, self.log)

    def stop(self) -> None:
        stop(self.process)


def plain(row: npt.NDArray[np.float32]) -> list[float] | list[int]:
    """Whole numbers without `.0`: the form a careful client would send, and the best case of JSON."""
    whole: list[int] = row.astype(np.int64).tolist()
    return whole if np.array_equal(row, np.asarray(whole, dtype=np.float32)) else row.tolist()
