"""The server killed (-9) at random moments, under four writers, checkpoints and compactions every second.

With wait=true every acknowledged batch is there, whole, with its vectors, and a batch tried again under
its idempotency key is there once. With wait=false what is lost was accepted within one flush interval, however
slow the machine, and each writer loses an end of its batches, never one from the middle.
"""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from collections.abc import Callable

from batches import ROWS, Id, Writer, check_acknowledged, rows_of
from served import Client, Refused, Server

KILLS = int(os.environ.get("NEARFIELD_TEST_KILLS", "10"))
WRITERS = 4
EVERY_SECOND = ["--checkpoint-interval-secs", "1", "--compaction-interval-secs", "1"]
COLLECTION = ["--collection", "c", "--dim", "8"]
FLUSH_INTERVAL_SECONDS = 1.0
Start = Callable[..., Server]


def random_moments() -> random.Random:
    seed = int(os.environ.get("NEARFIELD_TEST_SEED", random.randrange(2**32)))
    print(f"NEARFIELD_TEST_SEED={seed}")
    return random.Random(seed)


def upkeep(server: Server, token: str, stop: threading.Event, strange: list[Refused]) -> None:
    """Checkpoint and compaction by request, each about once a second, until the server is gone."""
    with server.client(token, timeout=60) as client:
        while not stop.wait(0.5):
            for verb in ("checkpoint", "compact"):
                try:
                    client.post(f"/v2/admin/{verb}")
                except Refused as refused:
                    # Another of its kind runs, or the server is about to recover.
                    strange.extend([refused] if refused.status not in (409, 429, 503) else [])
                except (OSError, http.client.HTTPException):
                    return


def write_until_killed(server: Server, writers: list[Writer], token: str, seconds: float) -> float:
    """Runs all writers, kills the server after `seconds`; the moment of the kill."""
    stop, strange = threading.Event(), list[Refused]()
    threads = [threading.Thread(target=writer.run, args=(server,)) for writer in writers]
    threads.append(threading.Thread(target=upkeep, args=(server, token, stop, strange)))
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    killed_at = time.monotonic()
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    for writer in writers:
        if writer.failure is not None:
            raise AssertionError(f"writer {writer.number}\n{server.output[-3000:]}") from writer.failure
    assert not strange, strange
    return killed_at


def check_round(client: Client, writers: list[Writer], checked: set[int]) -> None:
    """What is new since the last look, and that nothing else is there."""
    fresh: dict[int, list[Id]] = {}
    whole = 0
    for writer in writers:
        new = {batch: ids for batch, ids in writer.acknowledged.items() if batch not in checked}
        fresh |= {batch: ids for batch, ids in new.items() if ids is not None}
        if writer.unsure is not None:
            there = rows_of(client, writer.unsure)
            assert there in (0, ROWS), f"half of batch {writer.unsure}: {there} rows"
            whole += there
    check_acknowledged(client, fresh)
    checked |= set(fresh)
    total = client.post("/v2/count")["count"]
    assert total == ROWS * len(checked) + whole, "rows of batches that were never acknowledged, or rows lost"


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(start: Start) -> None:
    moments = random_moments()
    server = start(*COLLECTION, *EVERY_SECOND, "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    writers = [Writer(number, token) for number in range(WRITERS)]
    checked: set[int] = set()
    for _ in range(KILLS):
        server.wait_ready()
        with server.client(token) as client:
            check_round(client, writers, checked)
        write_until_killed(server, writers, token, moments.uniform(0.05, 2.0))
        server = start(*COLLECTION, *EVERY_SECOND)
    server.wait_ready()
    with server.client(token) as client:
        check_round(client, writers, checked)
        finish_unsure(client, writers)
        everything = {b: ids for writer in writers for b, ids in writer.acknowledged.items() if ids}
        check_acknowledged(client, everything)
        assert client.post("/v2/count")["count"] == ROWS * len(everything), "a batch is there twice"
        assert client.post("/v2/admin/verify")["state"] == "completed"
    repeated = sum(writer.repeated for writer in writers)
    print(f"{KILLS} kills, {len(everything)} batches acknowledged, {repeated} found written when repeated")
    assert len(everything) > 10 * KILLS
    assert server.stop() == 0


def finish_unsure(client: Client, writers: list[Writer]) -> None:
    """Each unsure batch again, twice: the second time it must be known."""
    for writer in writers:
        batch = writer.unsure
        if batch is not None:
            assert writer.write(client) and writer.unsure is None
            writer.unsure = batch
            known = writer.repeated
            assert writer.write(client) and writer.repeated == known + 1


def test_what_was_not_waited_for_is_lost_only_within_one_flush_interval(start: Start) -> None:
    moments = random_moments()
    flush = ["--flush-interval-ms", str(int(FLUSH_INTERVAL_SECONDS * 1000))]
    server = start(*COLLECTION, *EVERY_SECOND, *flush, "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    writers = [Writer(number, token, wait=False) for number in range(WRITERS)]
    lost = accepted = 0
    for _ in range(6):
        server.wait_ready()
        first = {writer.number: writer.next for writer in writers}
        killed_at = write_until_killed(server, writers, token, moments.uniform(1.5, 4.0))
        server = start(*COLLECTION, *EVERY_SECOND, *flush)
        server.wait_ready()
        with server.client(token) as client:
            gone = [(writer, b) for writer in writers for b in lost_end(client, writer, first[writer.number])]
        check_window(gone, killed_at)
        accepted += sum(writer.next - first[writer.number] for writer in writers)
        lost += len(gone)
    print(f"accepted without waiting: {accepted} batches, of these lost by 6 kills: {lost}")
    assert accepted > 100
    assert server.stop() == 0


def lost_end(client: Client, writer: Writer, first: int) -> list[int]:
    """The batches from `first` on that were accepted and are lost: only the last ones."""
    def whole(batch: int) -> bool:
        there = rows_of(client, batch)
        assert there in (0, ROWS), f"half of batch {batch}: {there} rows"
        return there == ROWS

    present = [whole(batch) for batch in range(first, writer.next)]
    kept = sum(present)
    assert all(present[:kept]), f"writer {writer.number} lost batches before batches that are there"
    return [batch for batch in range(first + kept, writer.next) if batch in writer.acknowledged_at]


def check_window(gone: list[tuple[Writer, int]], killed_at: float) -> None:
    """A batch was accepted between its sending and its answer, so this needs no allowance for slowness."""
    if not gone:
        return
    oldest = min(writer.acknowledged_at[batch] for writer, batch in gone)
    youngest = max(writer.sent_at[batch] for writer, batch in gone)
    print(f"lost {len(gone)} batches; the oldest {killed_at - oldest:.2f} s after 202, within {youngest - oldest:.2f} s")
    assert youngest - oldest <= FLUSH_INTERVAL_SECONDS
