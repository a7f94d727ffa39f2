"""Chroma's own server (`chroma run` of the PyPI package), through its HTTP interface.

Bodies are those its Python client sends, vectors as base64 of little-endian floats, made beforehand.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from process import cpu_seconds, free_port, start, stop, wait_until
from wire import Connection, request

ROOT = "/api/v2/tenants/default_tenant/databases/default_database/collections"


def binary() -> str | None:
    """The command beside the running Python, or on the path; None if there is none."""
    return shutil.which("chroma", path=str(Path(sys.executable).parent)) or shutil.which("chroma")


class ChromaServer:
    """Listens on loopback as soon as the object exists; the directory outlives it."""

    name = "chroma"

    def __init__(self, command: list[str], directory: Path, cores: set[int]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self.log, self.cores = free_port(), directory / "server.log", cores
        arguments = ["run", "--path", str(directory / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        self.command = [*command, *arguments]
        self._start()
        self.id = self._create()

    def _start(self) -> None:
        self.process = start(self.command, self.cores, self.log)
        wait_until(self._ready, self.process, self.log)
        self.connection = Connection(self.port)

    @staticmethod
    def version(command: str) -> str:
        return subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def _ready(self) -> bool:
        return Connection(self.port).send(request("GET", "/api/v2/heartbeat"))[0] == 200

    def _create(self) -> str:
        hnsw = {"space": "l2", "ef_construction": 200, "max_neighbors": 16}
        value = {"name": "bench", "configuration": {"hnsw": hnsw}}
        return str(self.connection.json("POST", ROOT, value)["id"])

    def clear(self, dim: int) -> None:
        """A new, empty collection; Chroma learns `dim` from the first rows."""
        self.connection.json("DELETE", f"{ROOT}/bench")
        self.id = self._create()

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def json_batch(self, first: int, rows: npt.NDArray[np.float32]) -> bytes:
        """One request for rows with the ids `first`, `first + 1`, … as text, as Chroma wants them."""
        vectors = [base64.b64encode(row.tobytes()).decode() for row in rows]
        ids = [str(first + index) for index in range(len(rows))]
        return request("POST", f"{ROOT}/{self.id}/add", json.dumps({"ids": ids, "embeddings": vectors}).encode())

    def set_ef(self, ef: int) -> None:
        """Changes the collection and restarts the server: a loaded index keeps the setting it had."""
        self.connection.json("PUT", f"{ROOT}/{self.id}", {"new_configuration": {"hnsw": {"ef_search": ef}}})
        self.stop()
        self._start()

    def query_path(self) -> str:
        return f"{ROOT}/{self.id}/query"

    def query_body(self, vector: npt.NDArray[np.float32], ef: int) -> str:
        """`ef` is a setting of the collection here, see `set_ef`."""
        value = {"query_embeddings": [vector.astype(int).tolist()], "n_results": 10, "include": ["distances"]}
        return json.dumps(value, separators=(",", ":"))

    def ids(self, answer: bytes) -> list[int]:
        return [int(name) for name in json.loads(answer)["ids"][0]]

    def stop(self) -> None:
        stop(self.process)

    def stop_traced(self) -> None:
        """Ends the server under strace, which then writes its table."""
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGTERM)
        self.process.wait(60)
