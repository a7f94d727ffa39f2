"""pgvector in the PostgreSQL of the PyPI package `pgserver`, measured by its own `pgbench`.

`pgbench` keeps the statement prepared and takes the query vector from a table, so no vector is sent or
parsed, and talks over a Unix socket: all in pgvector's favour. Memory is set for the whole index.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dataset import Dataset
from wrk import Load

SETTINGS = {"shared_buffers": "'2GB'", "maintenance_work_mem": "'2GB'", "max_parallel_maintenance_workers": "2"}
NEAREST = "SELECT id FROM items ORDER BY v <-> (SELECT v FROM queries WHERE queries.id = :i) LIMIT 10"


def missing() -> str | None:
    """Why pgvector cannot be measured here, or None.

    Run by root, pgserver starts PostgreSQL as another user and for that opens every folder above its
    package to everyone. A private one, such as root's home, must not be opened by a benchmark.
    """
    found, driver = importlib.util.find_spec("pgserver"), importlib.util.find_spec("psycopg")
    if found is None or found.origin is None or driver is None:
        return "not installed (pip install pgserver psycopg[binary])"
    closed = [folder for folder in Path(found.origin).parents if folder.stat().st_mode & 0o055 != 0o055]
    if os.geteuid() == 0 and closed:
        return f"as root, pgserver would open {closed[-1]} to everyone: make the environment outside of it"
    return None


class PostgresServer:
    """Rows and queries loaded and indexed as soon as the object exists."""

    name = "pgvector"

    def __init__(self, directory: Path, data: Dataset, cores: set[int]) -> None:
        import pgserver

        directory.mkdir(parents=True, exist_ok=True)
        self.bin = Path(pgserver.__file__).parent / "pginstall" / "bin"
        before = os.sched_getaffinity(0)
        self.query_count, self.cores = len(data.queries), cores
        pgserver.get_server(directory, cleanup_mode="stop").psql(
            "".join(f"ALTER SYSTEM SET {name} = {value};" for name, value in SETTINGS.items()))
        pgserver.get_server(directory).cleanup()
        os.sched_setaffinity(0, cores)
        self.server = pgserver.get_server(directory, cleanup_mode="stop")
        os.sched_setaffinity(0, before)
        self._load(data)

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(self.server.get_uri(), autocommit=True)

    def _load(self, data: Dataset) -> None:
        with self._connect() as session:
            session.execute("CREATE EXTENSION vector")
            for table, rows in (("items", data.rows), ("queries", data.queries)):
                session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v vector({data.dim}))")
                session.execute(f"ALTER TABLE {table} ALTER COLUMN v SET STORAGE PLAIN")
                with session.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    for index, row in enumerate(rows):
                        copy.write_row((index, "[" + ",".join(map(repr, row.tolist())) + "]"))
            session.execute("CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 64)")
            session.execute("VACUUM ANALYZE items")

    def found(self, ef: int) -> list[list[int]]:
        """The ten nearest ids of every query, through the index."""
        with self._connect() as session:
            session.execute(f"SET hnsw.ef_search = {ef}")
            session.execute("SET enable_seqscan = off")
            nearest = NEAREST.replace("(SELECT v FROM queries WHERE queries.id = :i)", "%s::vector")
            literals = session.execute("SELECT v::text FROM queries ORDER BY id").fetchall()
            return [[hit[0] for hit in session.execute(nearest, row, prepare=True)] for row in literals]

    def run(self, ef: int, cores: set[int], *, seconds: int, connections: int = 16) -> Load:
        """`pgbench -M prepared`, random queries, latencies from its log of every transaction."""
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory) / "nearest.sql"
            script.write_text(f"\\set i random(0, {self.query_count - 1})\n{NEAREST};\n")
            command = [str(self.bin / "pgbench"), "-n", "-M", "prepared", f"-c{connections}", "-j1", f"-T{seconds}",
                       "-f", str(script), "--log", f"--log-prefix={directory}/log", self.server.get_uri()]
            environment = {**os.environ, "PGOPTIONS": f"-c hnsw.ef_search={ef} -c enable_seqscan=off"}
            subprocess.run(command, check=True, capture_output=True, env=environment,
                           preexec_fn=lambda: os.sched_setaffinity(0, cores))
            lines = [line.split() for log in Path(directory).glob("log*") for line in log.read_text().splitlines()]
        milliseconds = np.array([int(line[2]) for line in lines]) / 1e3
        p50, p99 = np.percentile(milliseconds, (50, 99))
        return Load(len(lines) / seconds, float(p50), float(p99), len(lines), 0)

    def stop(self) -> None:
        self.server.cleanup()
