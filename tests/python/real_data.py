"""Recall and reopening on real data: `python tests/python/real_data.py DATA_DIR`.

Each folder of DATA_DIR holds base.npy, query.npy, gt100.npy and meta.json, as in the benchmark data
beside a checkout. Prints what docs/benchmarks.md quotes; asserts nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import nearfield

EFS = (None, 16, 32, 64, 128, 256, 400)

REOPEN = """
import sys, time
import numpy as np, nearfield
query = np.load(sys.argv[2])[0].astype(np.float32)
begun = time.perf_counter()
with nearfield.open(sys.argv[1]) as db:
    db.collection("points").search(query, k=10)
    print(f"{time.perf_counter() - begun:.3f}")
"""


def recall(points: nearfield.Collection, queries: npt.NDArray[np.float32], truth: npt.NDArray[np.int32]) -> str:
    """Recall@10 by the ids of the exact ten, for each setting of ef."""
    figures = []
    for ef in EFS:
        hits = points.search(queries, k=10, ef=ef)
        found = [len(set(row) & set(exact)) for row, exact in zip(np.asarray(hits.ids).tolist(), truth[:, :10].tolist())]
        figures.append(f"{ef or 'default'}: {np.mean(found) / 10:.4f}")
    return ", ".join(figures)


def first_answer(directory: Path, queries: Path) -> str:
    """Seconds from opening the directory to the first answer, in five new processes, in their order."""
    command = [sys.executable, "-c", REOPEN, str(directory), str(queries)]
    seconds = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() for _ in range(5)]
    return ", ".join(seconds)


def measure(data: Path) -> None:
    """Ingests one set, closes, reopens, compacts, reopens; prints recall and times on the way."""
    metric = {"cos": "cosine"}.get(json.loads((data / "meta.json").read_text())["metric"], "l2")
    rows = np.load(data / "base.npy").astype(np.float32)
    queries = np.load(data / "query.npy").astype(np.float32)
    truth = np.load(data / "gt100.npy")
    print(f"{data.name}: {len(rows):,} x {rows.shape[1]}, {metric}")
    with tempfile.TemporaryDirectory() as directory:
        with nearfield.open(directory) as db:
            points = db.create("points", dim=rows.shape[1], metric=metric)
            begun = time.perf_counter()
            points.upsert(rows, metadata={"row": np.arange(len(rows))})
            print(f"  upsert {time.perf_counter() - begun:.2f} s, durable")
        print(f"  first answer after reopening: {first_answer(Path(directory), data / 'query.npy')} s")
        with nearfield.open(directory) as db:
            points = db.collection("points")
            print(f"  before compact, ef {recall(points, queries[:1000], truth)}")
            begun = time.perf_counter()
            points.compact()
            print(f"  compact {time.perf_counter() - begun:.2f} s")
            print(f"  after compact, ef {recall(points, queries[:1000], truth)}")
        print(f"  first answer after reopening: {first_answer(Path(directory), data / 'query.npy')} s")


if __name__ == "__main__":
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        measure(folder)
