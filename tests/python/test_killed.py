"""A writer killed (-9) at random moments, with two readers beside it.

After each restart every acknowledged change is there and no batch is half there. The readers, which live
through all of it, never see an error, half a batch, or a batch go and come back.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nearfield
import numpy as np
import pytest
from killed_writer import DIM, KEPT, ROWS, vectors

KILLS = int(os.environ.get("NEARFIELD_TEST_KILLS", "10"))
READER = """
import json, sys, time
import nearfield
from collections import Counter
path, rows = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + 120
while True:
    try:
        collection = nearfield.open(path, mode="r")["c"]
        break
    except nearfield.NotFoundError:
        # The writer has not created it yet.
        assert time.monotonic() < deadline
refreshes, newest, lsn = 0, -1, 0
print("reading", flush=True)
while not sys.stdin.closed:
    now = collection.refresh()
    assert now >= lsn, ("went back", lsn, now)
    lsn = now
    counts = Counter(row["batch"] for part in collection.scan() for row in part.metadata)
    assert all(count == rows for count in counts.values()), ("half a batch", counts)
    assert len(collection) == rows * len(counts)
    assert max(counts, default=-1) >= newest, ("a batch went", newest, counts)
    newest = max(counts, default=-1)
    if counts:
        hits = collection.search([1.0] * collection.dim, k=10)
        assert len(hits) == 10 and all(found["batch"] in counts for found in hits.metadata)
    refreshes += 1
    print(json.dumps([refreshes, newest]), flush=True)
"""


def changes(acknowledgements: Path) -> list[str]:
    """Changes that have returned, in order: `+batch` and `-batch`."""
    return acknowledgements.read_text().split("\n")[:-1] if acknowledgements.exists() else []


def check(path: Path, acknowledgements: Path) -> None:
    """All that was acknowledged, nothing torn, every vector as written."""
    lines = changes(acknowledgements)
    added = {int(line[1:]) for line in lines if line[0] == "+"}
    deleted = {int(line[1:]) for line in lines if line[0] == "-"}
    found = batches(path)
    missing, undead, surplus = added - deleted - found, deleted & found, found - added
    # What was under way when the writer was killed may have happened: one change, and which one is known.
    deleting = {int(lines[-1][1:]) - KEPT} if lines and lines[-1][0] == "+" else set()
    assert not undead and missing <= deleting and len(surplus) <= 1, (missing, undead, surplus, lines[-3:])
    assert not (missing and surplus), "one change at a time"
    with acknowledgements.open("a") as settled:
        settled.writelines([f"-{batch}\n" for batch in missing] + [f"+{batch}\n" for batch in surplus])


def batches(path: Path) -> set[int]:
    """The batches that are there, each of them checked to be whole."""
    counts: Counter[int] = Counter()
    with nearfield.open(path) as database:
        collection = database["c"] if "c" in database else database.create("c", DIM)
        for part in collection.scan(vectors=True):
            assert part.metadata is not None and part.vectors is not None
            for id, row, vector in zip(part.ids.tolist(), part.metadata, part.vectors, strict=True):
                assert row is not None and id // ROWS == row["batch"]
                counts[row["batch"]] += 1
                assert np.array_equal(vector, vectors(row["batch"])[id % ROWS])
    assert set(counts.values()) <= {ROWS}, counts
    return set(counts)


def has_changes(acknowledgements: Path, count: int) -> bool:
    """True if so many changes have returned."""
    return len(changes(acknowledgements)) >= count


class Reader:
    """A process that reads all the time; its output is drained so that it never waits for us."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(path), str(ROWS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.last = ""
        self.draining = threading.Thread(target=self._drain)
        self.draining.start()

    def _drain(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.last = line

    def looks(self) -> int:
        """How often it has looked so far."""
        refreshes: int = json.loads(self.last)[0] if self.last.startswith("[") else 0
        return refreshes

    def finish(self) -> None:
        """Ends it. Fails if it had stopped by itself."""
        failed = self.process.poll() is not None
        self.process.kill()
        self.draining.join()
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.wait()
        assert not failed, errors


def wait_until(condition: Callable[[], bool], writer: subprocess.Popen[bytes]) -> None:
    """Returns once the condition holds; fails if the writer has ended or after two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        assert writer.poll() is None, f"the writer ended by itself: {writer.returncode}"
        assert time.monotonic() < deadline, "nothing was written or read for two minutes"
        time.sleep(0.002)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(path: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("NEARFIELD_TEST_SEED", random.randrange(2**32)))
    print(f"NEARFIELD_TEST_SEED={seed}")
    moments = random.Random(seed)
    acknowledgements = tmp_path / "acknowledged"
    script = str(Path(__file__).with_name("killed_writer.py"))
    nearfield.open(path).close()
    readers: list[Reader] = []
    try:
        for kill in range(KILLS):
            writer = subprocess.Popen([sys.executable, script, str(path), str(acknowledgements)])
            if kill == 0:
                readers = [Reader(path), Reader(path)]
            if kill % 4 == 3:
                # Interpreter and import take about 0.2 s: it is killed while it opens.
                time.sleep(moments.uniform(0.15, 0.5))
            else:
                enough = len(changes(acknowledgements)) + moments.randrange(1, 40)
                wait_until(partial(has_changes, acknowledgements, enough), writer)
                time.sleep(moments.uniform(0, 0.02))
            if kill == KILLS - 1:
                wait_until(lambda: any(line[0] == "-" for line in changes(acknowledgements)), writer)
                wait_until(lambda: min(reader.looks() for reader in readers) > KILLS // 2, writer)
            assert writer.poll() is None, f"the writer ended by itself: {writer.returncode}"
            writer.kill()
            writer.wait()
            check(path, acknowledgements)
    finally:
        for reader in readers:
            reader.finish()
