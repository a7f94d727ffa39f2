"""A user's program whose types are checked strictly; run by mypy, not by pytest."""

from __future__ import annotations

import uuid
from pathlib import Path

import nearfield
import numpy as np


def main(path: Path) -> list[int]:
    vectors = np.zeros((3, 4), dtype=np.float32)
    with nearfield.open(path) as database:
        collection: nearfield.Collection = database.create("papers", 4, metric="cosine", exist_ok=True)
        report = collection.upsert(vectors, ids=[1, "two", uuid.uuid4()], metadata={"year": [1, 2, 3]})
        print(report.inserted + report.replaced)
        collection.upsert([[1, 2, 3, 4]], metadata=[{"a": [1, None, {"b": "c"}]}], progress=lambda done, total: None)
        hits: nearfield.Hits = collection.search(vectors[0], k=5, where={"year": {"gte": 2}}, ef=64)
        for row in hits.to_rows():
            print(row["id"], row["score"])
        for batch in collection.scan(where='{"year": 1}', vectors=True):
            if batch.vectors is not None:
                print(batch.vectors.shape, len(batch))
        deleted: int = collection.delete([1, "two"]) + collection.delete(where={"year": 3})
        recall: nearfield.RecallReport = collection.recall(k=5)
        print(deleted, recall.low, recall.high)
        if database.verify().ok:
            snapshot = database.snapshot()
            nearfield.restore(snapshot.path, to=path / "copy")
    try:
        nearfield.open(path, mode="r")
    except nearfield.LockedError as error:
        print(error.pid, error.kind)
    found: list[int] = hits.ids.tolist()
    return found
