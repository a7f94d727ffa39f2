"""What every engine of the run gets: `python prepare.py WORK DATA ROWS...`

Writes to WORK, once for each number of rows: `rows-N.f32` (normalised, so that every engine's metric ranks
alike), `queries.f32`, `truth-N.json` (the exact ten of each query, of all rows and of those the filter allows)
and `N.near`, with the seconds its graph took, and `N-f16.near`, of rows in half precision. DATA is a folder of base.npy and query.npy.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import nearfield

QUERIES, K, PARTS, WANTED_PART = 300, 10, 10, 3
Floats = npt.NDArray[np.float32]


def normalised(path: Path) -> Floats:
    vectors = np.load(path).astype(np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def exact(rows: Floats, queries: Floats, allowed: npt.NDArray[Any]) -> list[list[int]]:
    scores = queries.astype(np.float64) @ rows[allowed].astype(np.float64).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return [[int(row) for row in allowed[ten]] for ten in best]


def export(file: Path, rows: Floats, parts: npt.NDArray[Any], store: Literal["f32", "f16"]) -> dict[str, float]:
    with nearfield.open(mode="memory") as db:
        points = db.create("points", dim=rows.shape[1], metric="cosine", store=store)
        begun = time.perf_counter()
        points.upsert(rows, ids=np.arange(len(rows)), metadata={"part": parts})
        points.compact(threads=1)
        built = time.perf_counter()
        db.export(str(file))
        return {"build_s": built - begun, "export_s": time.perf_counter() - built, "bytes": file.stat().st_size}


def main() -> None:
    work, data = Path(sys.argv[1]), Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    base, queries = normalised(data / "base.npy"), normalised(data / "query.npy")
    # Spread over the file: its halves are of two kinds.
    queries = np.ascontiguousarray(queries[np.arange(QUERIES) * len(queries) // QUERIES])
    queries.tofile(work / "queries.f32")
    for count in map(int, sys.argv[3:]):
        if count > len(base):
            raise SystemExit(f"{data} has {len(base)} rows, fewer than {count}")
        if (work / f"truth-{count}.json").exists():
            continue
        rows, numbers = base[:count], np.arange(count)
        rows.tofile(work / f"rows-{count}.f32")
        parts = numbers % PARTS
        truth = {"rows": count, "dim": rows.shape[1], "wanted_part": WANTED_PART, "parts": PARTS}
        truth |= {"plain": exact(rows, queries, numbers)}
        truth |= {"filtered": exact(rows, queries, numbers[parts == WANTED_PART])}
        truth |= {"native": export(work / f"{count}.near", rows, parts, "f32")}
        export(work / f"{count}-f16.near", rows, parts, "f16")
        (work / f"truth-{count}.json").write_text(json.dumps(truth))


if __name__ == "__main__":
    main()
