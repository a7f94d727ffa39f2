"""What format 2 costs on disk, how fast it is, and what ids cost that a client chose to be slow.

    python tests/bench/format.py bytes --data DIR [--before PYTHON]
    python tests/bench/format.py ids [--rows 1000000] [--repeat 3]
    python tests/bench/format.py speed --data DIR/SET --before PYTHON [--repeat 3]

`bytes` builds a compacted store of each set in DIR (folders with base.npy) under this interpreter and the one of
`--before`, which has an earlier build of the package, and prints the bytes of the segment files of both.

`ids` times upserts of so many ids, with four elements each, and a checkpoint: random ids; ids that share one slot of
the tables of format 1; ids that share one of format 2 if the seed of a file were 0, as a client would choose them that
knows the code. Prints each time over that of random ids, measured in the same round.

`speed` measures both interpreters in turn on one set (base.npy and query.npy, its first 200,000 rows), in a directory:
durable upserts of 1,000 rows with metadata, median of five stores; openings that replay the log of a writer that was
killed, median of nine; and searches of the compacted file on one thread after a pass that warms it, queries/s at two
ef, best of three passes. Prints the median of the rounds, their range, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BATCH = 10_000
ROWS = 200_000
FILLS = 5
OPENINGS = 9
MASK = (1 << 64) - 1

Ids = npt.NDArray[np.uint64]


def unmixed(values: Ids) -> Ids:
    """The inverse of mix64 of core/segment/src/ids.rs."""
    values = values ^ (values >> np.uint64(31)) ^ (values >> np.uint64(62))
    values = values * np.uint64(pow(0x94D049BB133111EB, -1, 1 << 64))
    values = values ^ (values >> np.uint64(27)) ^ (values >> np.uint64(54))
    values = values * np.uint64(pow(0xBF58476D1CE4E5B9, -1, 1 << 64))
    values ^= (values >> np.uint64(30)) ^ (values >> np.uint64(60))
    return values


def chosen(rows: int, seed: int) -> dict[str, Ids]:
    """Ids by the name of how they were chosen."""
    numbers = np.random.default_rng(seed).permutation(rows).astype(np.uint64)
    base = np.uint64(0x9E3779B97F4A7C15)
    # Equal low bits of the hash, far more than a table of so many rows looks at; or equal high bits.
    fixed = unmixed(numbers << np.uint64(40)) ^ base
    unseeded = unmixed(unmixed(numbers)) ^ base
    random = np.random.default_rng(seed + 1).integers(0, MASK, rows, dtype=np.uint64, endpoint=True)
    return {"random": random, "against format 1": fixed, "against a seed of 0": unseeded}


def ingest(ids: Ids, vectors: npt.NDArray[np.float32]) -> float:
    import nearfield

    with tempfile.TemporaryDirectory() as path:
        started = time.monotonic()
        with nearfield.open(Path(path) / "db") as database:
            collection = database.create("a", dim=vectors.shape[1], metric="l2")
            for start in range(0, len(ids), BATCH):
                collection.upsert(vectors[start : start + BATCH], ids=ids[start : start + BATCH])
            collection.checkpoint()
        return time.monotonic() - started


def compare_ids(rows: int, repeat: int) -> None:
    vectors = np.random.default_rng(3).standard_normal((rows, 4), dtype="float32")
    ratios: dict[str, list[float]] = {}
    for number in range(repeat):
        seconds = {name: ingest(ids, vectors) for name, ids in chosen(rows, number).items()}
        print({name: round(taken, 2) for name, taken in seconds.items()}, flush=True)
        for name, taken in seconds.items():
            ratios.setdefault(name, []).append(taken / seconds["random"])
    for name, all_of in ratios.items():
        print(f"{name}: {statistics.median(all_of):.2f} x the time of random ids")


def build(base: str) -> None:
    """Prints the bytes of the segment files of a store of these rows."""
    import nearfield

    rows = np.load(base)
    with tempfile.TemporaryDirectory() as path:
        with nearfield.open(Path(path) / "db") as database:
            collection = database.create("a", dim=rows.shape[1], metric="l2")
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH].astype("float32")
                collection.upsert(part, ids=range(start, start + len(part)))
            collection.compact()
        files = (Path(path) / "db").rglob("*.seg")
        print(json.dumps({"rows": len(rows), "bytes": sum(file.stat().st_size for file in files)}))


def compare_bytes(data: str, before: str | None) -> None:
    for base in sorted(Path(data).glob("*/base.npy")):
        found: dict[str, int] = {}
        for name, python in {"before": before, "now": sys.executable}.items():
            if python:
                command = [python, __file__, "build", str(base)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
                found[name] = json.loads(done.stdout)["bytes"]
        change = f" ({found['now'] / found['before']:.4f} x)" if "before" in found else ""
        print(f"{base.parent.name}: {found}{change}", flush=True)


def fill(base: str, path: str) -> None:
    """Prints the speed of durable upserts, and leaves their log as a writer that was killed does."""
    import nearfield

    rows = np.load(base)[:ROWS].astype("float32")
    metadata = [{"n": row, "tag": f"tag{row % 50}"} for row in range(len(rows))]
    collection = nearfield.open(path).create("a", dim=rows.shape[1], metric="l2", quantization="none")
    started = time.perf_counter()
    for start in range(0, len(rows), 1000):
        end = min(start + 1000, len(rows))
        collection.upsert(rows[start:end], ids=range(start, end), metadata=metadata[start:end])
    print(len(rows) / (time.perf_counter() - started), flush=True)
    os._exit(0)


def measure(place: str) -> None:
    """Prints the speeds of this interpreter's package."""
    import nearfield

    found = {}
    queries = np.load(Path(place) / "query.npy")[:1000].astype("float32")
    with tempfile.TemporaryDirectory() as directory:
        speeds = []
        for number in range(FILLS):
            path = str(Path(directory) / f"db{number}")
            command = [sys.executable, __file__, "fill", str(Path(place) / "base.npy"), path]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            speeds.append(float(done.stdout))
        found["upserts, rows/s"] = statistics.median(speeds)
        log_bytes = sum(file.stat().st_size for file in Path(path).rglob("wal/*"))
        openings = []
        for _ in range(OPENINGS):
            started = time.perf_counter()
            nearfield.open(path, mode="r")["a"]
            openings.append(time.perf_counter() - started)
        found["replay, MiB/s"] = log_bytes / (1 << 20) / statistics.median(openings)
        with nearfield.open(path) as database:
            database["a"].compact()
        reader = nearfield.open(path, mode="r")["a"]
        for query in queries:
            reader.search(query, k=10)
        for ef in (16, 96):
            passes = [timed(reader, queries, ef) for _ in range(3)]
            found[f"searches at ef {ef}, queries/s"] = len(queries) / min(passes)
    print(json.dumps(found))


def timed(reader: Any, queries: npt.NDArray[np.float32], ef: int) -> float:
    started = time.perf_counter()
    for query in queries:
        reader.search(query, k=10, ef=ef)
    return time.perf_counter() - started


def compare_speed(data: str, before: str, repeat: int) -> None:
    found: dict[str, list[dict[str, float]]] = {before: [], sys.executable: []}
    for _ in range(repeat):
        for python, runs in found.items():
            done = subprocess.run([python, __file__, "measure", data], check=True, stdout=subprocess.PIPE)
            runs.append(json.loads(done.stdout))
    for name in found[before][0]:
        old, new = ([run[name] for run in found[python]] for python in (before, sys.executable))
        shown = [f"{statistics.median(of):,.0f} ({min(of):,.0f}-{max(of):,.0f})" for of in (old, new)]
        ratio = statistics.median(new) / statistics.median(old)
        print(f"{name}: {shown[0]} before, {shown[1]} now: {ratio:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sizes = commands.add_parser("bytes")
    sizes.add_argument("--data", required=True)
    sizes.add_argument("--before")
    ids = commands.add_parser("ids")
    ids.add_argument("--rows", type=int, default=1_000_000)
    ids.add_argument("--repeat", type=int, default=3)
    speed = commands.add_parser("speed")
    speed.add_argument("--data", required=True)
    speed.add_argument("--before", required=True)
    speed.add_argument("--repeat", type=int, default=3)
    commands.add_parser("build").add_argument("base")
    commands.add_parser("measure").add_argument("place")
    filling = commands.add_parser("fill")
    filling.add_argument("base")
    filling.add_argument("path")
    arguments = parser.parse_args()
    if arguments.command == "bytes":
        compare_bytes(arguments.data, arguments.before)
    elif arguments.command == "ids":
        compare_ids(arguments.rows, arguments.repeat)
    elif arguments.command == "speed":
        compare_speed(arguments.data, arguments.before, arguments.repeat)
    elif arguments.command == "fill":
        fill(arguments.base, arguments.path)
    elif arguments.command == "measure":
        measure(arguments.place)
    else:
        build(arguments.base)


if __name__ == "__main__":
    main()
