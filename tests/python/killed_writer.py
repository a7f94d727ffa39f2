"""A writer that is killed: run by test_killed.py, never by pytest itself.

It goes on from the batch after the last one it finds, tags every row with its batch, deletes an earlier
batch now and then, and writes a line for each change once the call has returned.
"""

from __future__ import annotations

import sys

import nearfield
import numpy as np

ROWS = 60
DIM = 16
KEPT = 40


def vectors(batch: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The vectors of a batch, known from its number."""
    return np.random.default_rng(batch).standard_normal((ROWS, DIM)).astype(np.float32)


def next_batch(collection: nearfield.Collection) -> int:
    """One more than the highest batch that is there."""
    if len(collection) == 0:
        return 0
    newest = max(row["batch"] for part in collection.scan() for row in part.metadata or [] if row)
    return int(newest) + 1


def main(path: str, acknowledgements: str) -> None:
    database = nearfield.open(path)
    collection = database.create("c", DIM, exist_ok=True)
    batch = next_batch(collection)
    with open(acknowledgements, "a", buffering=1) as acknowledged:
        while True:
            ids = range(batch * ROWS, (batch + 1) * ROWS)
            collection.upsert(vectors(batch), ids=ids, metadata={"batch": [batch] * ROWS})
            acknowledged.write(f"+{batch}\n")
            if batch >= KEPT:
                collection.delete(where={"batch": batch - KEPT})
                acknowledged.write(f"-{batch - KEPT}\n")
            if batch % 50 == 7:
                collection.checkpoint(threads=1)
            if batch % 90 == 11:
                collection.compact(threads=1)
            batch += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
