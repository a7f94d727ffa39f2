"""Durable ingest over HTTP: `python tests/bench/server_ingest.py --nearfield target/release/nearfield`.

Batches of 100 rows over 4 connections, answered when durable; our JSON, our Arrow streams, Chroma's
server, in turn, several times. The same rows in two forms: `as stored` (of fashion-mnist whole numbers, the
shortest JSON there is) and `normalised` to length one, as embeddings are: JSON as `json.dumps(array.tolist())`
writes it, 17 digits for most elements. Bodies are made before the clock starts. What is not installed is said
and left out. Asserts nothing: the figures are for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

import chroma_server
import dataset
from chroma_server import ChromaServer
from nearfield_server import NearfieldServer
from process import cpus, machine
from wire import Timing, send_all

BATCH_ROWS, CONNECTIONS = 100, 4
MODES = ("JSON", "Arrow, one stream", "Arrow, 100 a request")
FORMS = ("as stored", "normalised")
Lanes = Sequence[Sequence[bytes]]


def in_form(data: dataset.Dataset, form: str) -> dataset.Dataset:
    """The rows as stored, or of length one; nothing is searched here, so the answers stay unused."""
    if form == "as stored":
        return data
    norms = np.linalg.norm(data.rows, axis=1, keepdims=True)
    return dataset.Dataset((data.rows / np.maximum(norms, 1e-12)).astype(np.float32), data.queries, data.truth)


def lanes_of(data: dataset.Dataset, make: Callable[[int, object], bytes], rows_per_request: int) -> Lanes:
    """Requests in the order of the rows, dealt to the connections in turn."""
    firsts = range(0, len(data.rows), rows_per_request)
    requests = [make(first, data.rows[first : first + rows_per_request]) for first in firsts]
    return [requests[lane::CONNECTIONS] for lane in range(CONNECTIONS)]


def line(name: str, rows: int, timing: Timing, syncs: str, server_cpu: float) -> str:
    waits = f"p50 {timing.percentile_ms(50):.1f} ms, p99 {timing.percentile_ms(99):.1f} ms a request"
    wire = f"{timing.bytes_sent / 1e6:,.0f} MB sent"
    return f"{name:34s} {rows / timing.seconds:9,.0f} rows/s  {waits}  {syncs}  {wire}  server CPU {server_cpu:.2f} s"


def bodies(server: NearfieldServer, data: dataset.Dataset, mode: str) -> Lanes:
    """What one run sends: made once, since 47 million numbers as text take longer than sending them."""
    stream_rows = -(-len(data.rows) // CONNECTIONS)
    made = {
        "JSON": (server.json_batch, BATCH_ROWS),
        "Arrow, one stream": (lambda first, rows: server.arrow_stream(first, rows, BATCH_ROWS), stream_rows),
        "Arrow, 100 a request": (lambda first, rows: server.arrow_stream(first, rows, BATCH_ROWS), BATCH_ROWS),
    }
    return lanes_of(data, *made[mode])


def ours(server: NearfieldServer, data: dataset.Dataset, lanes: Lanes, name: str) -> tuple[float, str]:
    """One run into an empty collection; rows/s and a line."""
    server.clear(data.dim)
    syncs, cpu = server.syncs(), server.cpu_seconds()
    timing = send_all(server.port, lanes)
    syncs_per_second = f"{(server.syncs() - syncs) / timing.seconds:,.0f} syncs/s"
    return len(data.rows) / timing.seconds, line(f"ours, {name}", len(data.rows), timing, syncs_per_second, server.cpu_seconds() - cpu)


def theirs(server: ChromaServer, data: dataset.Dataset, form: str) -> tuple[float, str]:
    server.clear(data.dim)
    lanes = lanes_of(data, server.json_batch, BATCH_ROWS)
    cpu = server.cpu_seconds()
    timing = send_all(server.port, lanes)
    text = line(f"chroma, {form}: base64 in JSON", len(data.rows), timing, "syncs below", server.cpu_seconds() - cpu)
    return len(data.rows) / timing.seconds, text


def chroma_syncs(command: str, data: dataset.Dataset, directory: Path, cores: set[int]) -> str:
    """Syncs a batch of Chroma under strace, which slows it: so a count, and no rate."""
    log = directory / "strace"
    traced = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync,msync,sync_file_range", "-o", str(log), command]
    try:
        subprocess.run(["strace", "-V"], capture_output=True, check=True)
        server = ChromaServer(traced, directory, cores)
    except (OSError, subprocess.CalledProcessError):
        return "chroma: syncs not counted, strace is not installed"
    part = dataset.Dataset(data.rows[:4000], data.queries, data.truth)
    theirs(server, part, "as stored")
    server.stop_traced()
    table = "\n".join(row for row in log.read_text().splitlines() if "sync" in row or "total" in row)
    return f"chroma: system calls of {len(part.rows) // BATCH_ROWS} batches, start and end included:\n{table or 'none'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nearfield", type=Path, help="our binary; without it only Chroma is measured")
    parser.add_argument("--data", type=Path, default=dataset.BESIDE)
    parser.add_argument("--rows", type=int, help="only the first rows")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="forms of the rows")
    parser.add_argument("--cpus", type=cpus, default=cpus("0,1"), help="cores of the servers")
    parser.add_argument("--tmp", type=Path, help="where the stores lie: a disk, no tmpfs")
    options = parser.parse_args()
    data = dataset.load(options.data, options.rows)
    print(f"{len(data.rows):,} x {data.dim}, batches of {BATCH_ROWS}, {CONNECTIONS} connections; {machine()}")
    with tempfile.TemporaryDirectory(dir=options.tmp) as directory:
        measure(options, data, Path(directory))


def measure(options: argparse.Namespace, data: dataset.Dataset, directory: Path) -> None:
    """All engines once, then all once more: a slow minute of the machine meets each of them."""
    runs: dict[str, Callable[[], tuple[float, str]]] = {}
    servers: list[NearfieldServer | ChromaServer] = []
    forms = {form: in_form(data, form) for form in options.forms}
    if options.nearfield:
        own = NearfieldServer(options.nearfield, directory / "nearfield", data.dim, options.cpus)
        servers.append(own)
        for form, rows in forms.items():
            for mode in MODES:
                name, lanes = f"{form}: {mode}", bodies(own, rows, mode)
                runs[name] = lambda rows=rows, lanes=lanes, name=name: ours(own, rows, lanes, name)  # type: ignore[misc]
    if command := chroma_server.binary():
        print(ChromaServer.version(command))
        chroma = ChromaServer([command], directory / "chroma", options.cpus)
        servers.append(chroma)
        for form, rows in forms.items():
            runs[f"{form}: chroma"] = lambda rows=rows, form=form: theirs(chroma, rows, form)  # type: ignore[misc]
    else:
        print("chroma: not installed (pip install chromadb)")
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repeat):
        for name, run in runs.items():
            rate, text = run()
            rates[name].append(rate)
            print(text, flush=True)
    for server in servers:
        server.stop()
    if command:
        print(chroma_syncs(command, data, directory / "traced", options.cpus))
    summary(rates, options.forms)


def summary(rates: dict[str, list[float]], forms: Sequence[str]) -> None:
    for name, values in rates.items():
        print(f"{name:34s} median {median(values):,.0f} rows/s, from {min(values):,.0f} to {max(values):,.0f}")
    middle = {name: median(values) for name, values in rates.items()}
    for form in forms:
        json, arrow, chroma = (middle.get(f"{form}: {mode}") for mode in ("JSON", "Arrow, one stream", "chroma"))
        if json and arrow:
            print(f"{form}: Arrow / JSON = {arrow / json:.2f}")
        if json and arrow and chroma:
            print(f"{form}: JSON / chroma = {json / chroma:.2f}, Arrow / chroma = {arrow / chroma:.2f}")


if __name__ == "__main__":
    main()
