"""Calls that take a while: they let other threads run, show progress, and stop when asked to."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nearfield
import numpy as np
import pytest


def clustered(rows: int, dim: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((50, dim))
    return (centres[rng.integers(0, 50, rows)] + 0.3 * rng.standard_normal((rows, dim))).astype(np.float32)


def test_other_threads_run_during_long_calls(memory: nearfield.Database) -> None:
    """A Python thread counts while the main thread is inside one call; a held interpreter would stop it."""
    data = clustered(8_000, 32)
    collection = memory.create("c", 32)
    count, stop = 0, threading.Event()

    def tick() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1

    ticking = threading.Thread(target=tick)
    ticking.start()
    during: dict[str, int] = {}
    calls: dict[str, Any] = {
        "compact": lambda: collection.compact(threads=1),
        "search": lambda: collection.search(data[:1_500], k=10, exact=True, threads=1),
        "recall": lambda: collection.recall(data[:500]),
    }
    collection.upsert(data)
    for name, call in calls.items():
        before = count
        call()
        during[name] = count - before
    stop.set()
    ticking.join()
    assert all(ticks > 1_000 for ticks in during.values()), during


def test_progress_is_told_in_order_and_to_the_end(memory: nearfield.Database) -> None:
    collection = memory.create("c", 8)
    written: list[tuple[int, int]] = []
    collection.upsert(clustered(20_000, 8), progress=lambda done, total: written.append((done, total)))
    assert written == [(0, 20_000), (8_192, 20_000), (16_384, 20_000), (20_000, 20_000)]
    merged: list[tuple[int, int]] = []
    collection.compact(progress=lambda done, total: merged.append((done, total)))
    shares = [done / total for done, total in merged]
    assert len(merged) > 2 and shares == sorted(shares) and 0 < shares[-1] <= 1


def test_progress_true_writes_to_stderr_only(memory: nearfield.Database, capfd: Any) -> None:
    collection = memory.create("c", 8)
    collection.upsert(clustered(100, 8), progress=True)
    collection.compact()
    out, err = capfd.readouterr()
    assert out == "" and "100/100" in err and err.endswith("\n")


@pytest.mark.parametrize("call", ["upsert", "compact"])
def test_an_exception_in_progress_stops_at_an_edge(path: Path, call: str) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > 0:
            raise Enough

    with nearfield.open(path) as database:
        collection = database.create("c", 8)
        data = clustered(20_000, 8)
        if call == "compact":
            collection.upsert(data, ids=range(20_000))
        with pytest.raises(Enough):
            if call == "upsert":
                collection.upsert(data, ids=range(20_000), progress=stop)
            else:
                collection.compact(progress=stop)
        count = len(collection)
        assert count == (8_192 if call == "upsert" else 20_000)
    with nearfield.open(path) as database:
        assert len(database["c"]) == count and database.verify().ok


INTERRUPTED = """
import nearfield, numpy, signal, sys
path, call = sys.argv[1:]
# Ignored where the tests run in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
db = nearfield.open(path)
c = db["c"]
data = numpy.random.default_rng(1).standard_normal((60_000, 64)).astype("f4")
first = True
def begun(done, total):
    global first
    if first and done > 0:
        print("begun", flush=True)
        first = False
try:
    if call == "upsert":
        while True:
            c.upsert(data, ids=numpy.arange(len(data)), progress=begun)
    elif call == "search":
        print("begun", flush=True)
        c.search(data, k=100, exact=True, threads=1)
    else:
        c.compact(threads=1, progress=begun)
except KeyboardInterrupt:
    print("interrupted", len(c), flush=True)
    c.upsert(data[:1], ids=["after"])
    db.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("call", ["upsert", "compact", "search"])
def test_ctrl_c_leaves_a_consistent_store(path: Path, call: str) -> None:
    with nearfield.open(path) as database:
        database.create("c", 64).upsert(clustered(30_000, 64), ids=range(100_000, 130_000))
    command = [sys.executable, "-c", INTERRUPTED, str(path), call]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0 and output.startswith("interrupted"), output
    with nearfield.open(path) as database:
        collection = database["c"]
        assert len(collection) == int(output.split()[1]) + 1 and "after" in collection
        written = len(collection) - 30_001
        assert written == 0 or written % 8_192 == 0 or written == 60_000
        assert database.verify().ok


def test_upkeep_runs_by_itself_and_reports_no_error(path: Path) -> None:
    """More than one memtable's worth: the thread checkpoints it, without being asked."""
    with nearfield.open(path) as database:
        # Long vectors: many bytes, and too few rows for a graph, which would take its time.
        collection = database.create("c", 16_384)
        done = threading.Event()

        def written() -> bool:
            stats = collection.stats()
            assert stats["background_error"] is None
            return any(segment["level"] is not None for segment in stats["segments"])

        for batch in range(8):
            collection.upsert(clustered(100, 16_384, seed=batch), ids=range(batch * 100, batch * 100 + 100))
        deadline = 600
        while not written() and deadline:
            done.wait(0.1)
            deadline -= 1
        assert written() and len(collection) == 800
    with nearfield.open(path) as database:
        assert len(database["c"]) == 800 and database.verify().ok


def test_closing_waits_for_changes_in_other_threads(path: Path) -> None:
    database = nearfield.open(path)
    collection = database.create("c", 16)
    data, started = clustered(200, 16), threading.Event()
    written: list[int] = []

    def write() -> None:
        try:
            for number in range(10_000):
                collection.upsert(data, ids=range(number * 200, (number + 1) * 200))
                written.append(number)
                started.set()
        except nearfield.ClosedError:
            pass

    writing = threading.Thread(target=write)
    writing.start()
    started.wait()
    database.close()
    # The lock is free: from here on this process is the only writer.
    with nearfield.open(path) as again:
        count = len(again["c"])
        writing.join()
        assert count == len(written) * 200 == len(again["c"])
