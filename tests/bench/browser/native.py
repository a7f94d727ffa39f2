"""The Python package as one more engine of the run: a line of JSON in, a line of JSON out.

`{"open": FILE}`, then `{"from": a, "to": b, "ef": n, "filtered": bool}`: one thread, one query a call; answers
the milliseconds and the ids of each query. Ends with its standard input.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import nearfield


def run(points: Any, queries: Any, asked: dict[str, Any]) -> dict[str, Any]:
    where = {"part": {"eq": asked["part"]}} if asked["filtered"] else None
    times, found = [], []
    for query in queries[asked["from"] : asked["to"]]:
        begun = time.perf_counter()
        hits = points.search(query, k=10, where=where, ef=asked["ef"], threads=1)
        times.append((time.perf_counter() - begun) * 1e3)
        found.append([int(row) for row in hits.ids])
    return {"ms": times, "found": found}


def main() -> None:
    points: Any = None
    queries: Any = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "open" in asked:
            file = Path(asked["open"])
            begun = time.perf_counter()
            points = nearfield.open(str(file)).collection("points")
            answer = {"ms": (time.perf_counter() - begun) * 1e3, **nearfield.info()}
            queries = np.fromfile(file.parent / "queries.f32", np.float32).reshape(-1, points.dim)
        else:
            answer = run(points, queries, asked)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
