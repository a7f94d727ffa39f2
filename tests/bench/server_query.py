"""Queries over HTTP: `python tests/bench/server_query.py --nearfield target/release/nearfield`.

k = 10 over real rows at the least setting with recall@10 >= .95, measured through the same door: our
server and Chroma's under `wrk`, pgvector under `pgbench`, 16 connections, server and load on cores of
their own; our engine in process on the server's cores; our latency at a fifth of that speed, idle and
while rows are written and a compaction runs. What is not installed is said and left out. Asserts nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

import chroma_server
import dataset
import postgres_server
import wrk
from chroma_server import ChromaServer
from nearfield_server import NearfieldServer
from postgres_server import PostgresServer
from process import cpus, machine
from wire import Connection, request, send_all

EFS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 200)
RECALL_LEAST, BATCH_ROWS, WRITTEN_ROWS_PER_SECOND = 0.95, 100, 500
HttpServer = NearfieldServer | ChromaServer


def least_ef(name: str, data: dataset.Dataset, found: Callable[[int], list[list[int]]]) -> int:
    """The first setting with enough recall; all settings tried are printed."""
    tried = []
    for ef in EFS:
        recall = data.recall_at_10(found(ef))
        tried.append(f"{ef}: {recall:.4f}")
        if recall >= RECALL_LEAST:
            break
    print(f"{name}: recall@10 by ef {', '.join(tried)}", flush=True)
    return ef


def found_by(server: HttpServer, data: dataset.Dataset) -> Callable[[int], list[list[int]]]:
    """Answers of a server to all queries, one request each."""

    def found(ef: int) -> list[list[int]]:
        if isinstance(server, ChromaServer):
            server.set_ef(ef)
        connection, answers = Connection(server.port), []
        headers = getattr(server, "headers", {})
        for query in data.queries:
            body = server.query_body(query, ef).encode()
            status, answer = connection.send(request("POST", server.query_path(), body, headers))
            if status != 200:
                raise SystemExit(f"{server.name}: {status} {answer[:300]!r}")
            answers.append(server.ids(answer))
        return answers

    return found


def fill(server: HttpServer, data: dataset.Dataset) -> None:
    firsts = range(0, len(data.rows), BATCH_ROWS)
    requests = [server.json_batch(first, data.rows[first : first + BATCH_ROWS]) for first in firsts]
    timing = send_all(server.port, [requests[lane::4] for lane in range(4)])
    print(f"{server.name}: filled in {timing.seconds:.1f} s", flush=True)


class Measured:
    """A filled HTTP server, its setting, and the file of its bodies."""

    def __init__(self, server: HttpServer, data: dataset.Dataset, directory: Path, load_cpus: set[int]) -> None:
        self.server, self.load_cpus = server, load_cpus
        fill(server, data)
        if isinstance(server, NearfieldServer):
            server.compact()
        self.ef = least_ef(server.name, data, found_by(server, data))
        self.bodies = directory / f"{server.name}.bodies"
        self.bodies.write_text("".join(server.query_body(query, self.ef) + "\n" for query in data.queries))

    def run(self, seconds: int, per_second: float | None = None) -> tuple[wrk.Load, float]:
        """The load, and the server's processor time of one answer in microseconds."""
        cpu = self.server.cpu_seconds()
        load = wrk.run(self.server.port, self.server.query_path(), self.bodies, self.load_cpus, seconds=seconds,
                       headers=getattr(self.server, "headers", {}), per_second=per_second)
        return load, (self.server.cpu_seconds() - cpu) / load.requests * 1e6


class InProcess:
    """Searches of a copy of the server's directory, in a process of its own."""

    def __init__(self, data_dir: Path, queries: Path, ef: int) -> None:
        self.arguments = [str(data_dir), str(queries), str(ef)]

    def run(self, cores: set[int], threads: int, seconds: float) -> dict[str, float]:
        script = str(Path(__file__).with_name("in_process.py"))
        command = [sys.executable, script, *self.arguments, str(threads), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, cores))
        return {name: float(value) for name, value in json.loads(done.stdout).items()}


def compact(server: NearfieldServer, connection: Connection) -> None:
    """Starts a compaction, unless one runs already: that is as good."""
    status, answer = connection.send(request("POST", "/v2/admin/compact?wait=false", b"", server.headers))
    if status // 100 != 2 and status != 409:
        print(f"no compaction: {status} {answer[:300]!r}")


def written_meanwhile(server: NearfieldServer, data: dataset.Dataset, seconds: int) -> threading.Thread:
    """Batches at a fixed rate under new ids, and one compaction after a quarter of the time."""
    batches = [server.json_batch(len(data.rows) + index * BATCH_ROWS, data.rows[index * BATCH_ROWS :][:BATCH_ROWS])
               for index in range(seconds * WRITTEN_ROWS_PER_SECOND // BATCH_ROWS)]

    def write() -> None:
        connection, begun = Connection(server.port), time.monotonic()
        for index, batch in enumerate(batches):
            time.sleep(max(0.0, begun + index * BATCH_ROWS / WRITTEN_ROWS_PER_SECOND - time.monotonic()))
            status, answer = connection.send(batch)
            if status // 100 != 2:
                print(f"a write was refused: {status} {answer[:300]!r}")
            if index == len(batches) // 4:
                compact(server, connection)
        took = time.monotonic() - begun
        print(f"  written: {len(batches) * BATCH_ROWS / took:,.0f} rows/s over {took:.1f} s", flush=True)

    return threading.Thread(target=write)


def latency(own: Measured, data: dataset.Dataset, full_rate: float, options: argparse.Namespace) -> None:
    """p99 at a fifth of full speed: idle, then beside writes and a compaction."""
    ratios = []
    for _ in range(options.repeat):
        idle, _ = own.run(options.seconds * 2, per_second=full_rate / 5)
        assert isinstance(own.server, NearfieldServer)
        writer = written_meanwhile(own.server, data, options.seconds * 2)
        writer.start()
        busy, _ = own.run(options.seconds * 2, per_second=full_rate / 5)
        writer.join()
        own.server.compact()
        ratios.append(busy.p99_ms / idle.p99_ms)
        print(f"ours, a fifth of full speed: idle {idle}; written and compacted {busy}; p99 ratio {ratios[-1]:.2f}", flush=True)
    print(f"p99 ratio: median {median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


def set_up(options: argparse.Namespace, data: dataset.Dataset, directory: Path) -> tuple[dict[str, Measured], PostgresServer | None]:
    """Every server there is, filled and tuned, one after another."""
    measured, postgres = {}, None
    if options.nearfield:
        own = NearfieldServer(options.nearfield, directory / "nearfield", data.dim, options.cpus)
        measured["nearfield"] = Measured(own, data, directory, options.load_cpus)
    if "chroma" not in options.peers:
        pass
    elif command := chroma_server.binary():
        print(ChromaServer.version(command))
        chroma = ChromaServer([command], directory / "chroma", options.cpus)
        measured["chroma"] = Measured(chroma, data, directory, options.load_cpus)
    else:
        print("chroma: not installed (pip install chromadb)")
    if "pgvector" not in options.peers:
        pass
    elif reason := postgres_server.missing():
        print(f"pgvector: {reason}")
    else:
        postgres = PostgresServer(directory / "postgres", data, options.cpus)
    return measured, postgres


def in_process_of(own: Measured, data: dataset.Dataset, directory: Path) -> InProcess | None:
    """Copies the directory of our server while it is stopped, then leaves the copy to the engine."""
    if importlib.util.find_spec("nearfield") is None:
        print("in process: the Python package is not installed (maturin develop --profile dist)")
        return None
    assert isinstance(own.server, NearfieldServer)
    queries = directory / "queries.npy"
    np.save(queries, data.queries)
    return InProcess(own.server.copy_at_rest(directory / "copy"), queries, own.ef)


def measure(options: argparse.Namespace, data: dataset.Dataset, directory: Path) -> None:
    """Everything once, then all once more: a slow minute of the machine meets each of them."""
    measured, postgres = set_up(options, data, directory)
    alone = in_process_of(measured["nearfield"], data, directory) if "nearfield" in measured else None
    postgres_ef = least_ef("pgvector", data, postgres.found) if postgres else 0
    rates: dict[str, list[float]] = {}
    for _ in range(options.repeat):
        for name, one in measured.items():
            load, cpu = one.run(options.seconds)
            rates.setdefault(name, []).append(load.per_second)
            print(f"{name}, ef {one.ef}: {load}, server CPU {cpu:.1f} us a query", flush=True)
        if postgres:
            load = postgres.run(postgres_ef, options.load_cpus, seconds=options.seconds)
            rates.setdefault("pgvector", []).append(load.per_second)
            print(f"pgvector, ef {postgres_ef}: {load}", flush=True)
        if alone:
            for threads in sorted({1, len(options.cpus)}):
                for form, value in alone.run(options.cpus, threads, options.seconds).items():
                    rates.setdefault(f"in process, {form}, {threads} threads", []).append(value)
                    print(f"in process, {form}, {threads} threads: {value:,.0f}/s", flush=True)
    summary(rates)
    if "nearfield" in measured:
        latency(measured["nearfield"], data, median(rates["nearfield"]), options)
    for one in measured.values():
        one.server.stop()
    if postgres:
        postgres.stop()


def summary(rates: dict[str, list[float]]) -> None:
    """Medians, spreads, and our ratio to each of the others."""
    own = median(rates["nearfield"]) if "nearfield" in rates else None
    for name, values in rates.items():
        ratio = f"; ours / this = {own / median(values):.2f}" if own and name != "nearfield" else ""
        print(f"{name}: median {median(values):,.0f}/s, from {min(values):,.0f} to {max(values):,.0f}{ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nearfield", type=Path, help="our binary; without it only the peers are measured")
    parser.add_argument("--peers", default="chroma,pgvector", type=lambda text: text.split(","), help="which peers")
    parser.add_argument("--data", type=Path, default=dataset.BESIDE)
    parser.add_argument("--rows", type=int, help="only the first rows")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of one run")
    parser.add_argument("--cpus", type=cpus, default=cpus("0"), help="cores of the servers")
    parser.add_argument("--load-cpus", type=cpus, default=cpus("1"), help="cores of wrk and pgbench")
    parser.add_argument("--tmp", type=Path, help="where the stores lie: a disk, no tmpfs")
    options = parser.parse_args()
    if reason := wrk.missing():
        print(f"skipped: {reason}")
        return
    data = dataset.load(options.data, options.rows)
    print(f"{len(data.rows):,} x {data.dim}, servers on cores {options.cpus}, load on {options.load_cpus}; {machine()}")
    with tempfile.TemporaryDirectory(dir=options.tmp) as directory:
        measure(options, data, Path(directory))


if __name__ == "__main__":
    main()
