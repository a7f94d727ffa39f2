"""A disk that is really full: a file system of 16 MiB in memory, if this process may mount one.

Writes are answered with 507 while reads go on, readiness says why in words, and once there is space writes
go on by themselves. Nothing that was acknowledged is lost, also not by killing the full server.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mounts import mounted
from served import PATIENCE_SECONDS, Client, Refused, Server

Start = Callable[..., Server]
DIM, ROWS = 256, 50
# Recovery writes the newest log file again, so more is freed than the data can take.
BALLAST_BYTES = 9 << 20
COLLECTION = ["--collection", "c", "--dim", str(DIM)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "size=16m", "small disk") as place:
        yield place


def batch(number: int) -> dict[str, Any]:
    rows = [
        {"id": number * ROWS + row, "vector": [float(number), float(row)] + [0.25] * (DIM - 2)}
        for row in range(ROWS)
    ]
    return {"vectors": rows, "idempotency_key": f"batch {number}"}


def write_until_refused(client: Client, acknowledged: list[int]) -> Refused:
    for number in range(len(acknowledged), 10_000):
        try:
            client.post("/v2/vectors/batch", batch(number))
        except Refused as refused:
            return refused
        acknowledged.append(number)
    raise AssertionError("the disk never filled")


def check_all(client: Client, acknowledged: list[int]) -> None:
    ids = [number * ROWS + row for number in acknowledged for row in range(ROWS)]
    found = client.post("/v2/points/get", {"ids": ids, "include_vector": True})["points"]
    assert len(found) == len(ids)
    assert all(point["vector"][:2] == [point["id"] // ROWS, point["id"] % ROWS] for point in found)


def read_and_try_to_write(client: Client, acknowledged: list[int]) -> None:
    """What a full server must do: answer reads, and refuse or keep a write."""
    check_all(client, acknowledged)
    answer = client.post("/v2/query", {"vector": [1.0] * DIM, "k": 5})
    assert len(answer["results"]) == 5
    try:
        client.post("/v2/vectors/batch", batch(len(acknowledged)))
        acknowledged.append(len(acknowledged))
    except Refused as again:
        assert again.status in (503, 507), again


def write_with_patience(client: Client, acknowledged: list[int]) -> int:
    """The next batch, again while the answer is 507 or 503; how often it was refused."""
    number = len(acknowledged)
    deadline = time.monotonic() + PATIENCE_SECONDS
    refusals = 0
    while True:
        try:
            client.post("/v2/vectors/batch", batch(number))
            acknowledged.append(number)
            return refusals
        except Refused as refused:
            assert refused.status in (503, 507), refused
            assert time.monotonic() < deadline, refused
            refusals += 1
            time.sleep(0.1)


def readiness(client: Client) -> str:
    """What ready answers, in either state."""
    status, _, body = client.raw("GET", "/v2/health/ready")
    assert status in (200, 503), (status, body)
    return body.decode()


def wait_until_told(client: Client) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        said = readiness(client)
        if any(word in said.lower() for word in ("full", "no space", "space left")):
            return said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


@pytest.mark.parametrize("killed", [False, True])
def test_a_full_disk_refuses_writes_serves_reads_and_recovers(
    start: Start, small_disk: Path, killed: bool
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES))
    data = small_disk / "data"
    busy = ["--checkpoint-interval-secs", "1", "--compaction-interval-secs", "1"]
    server = start(*COLLECTION, *busy, "--bootstrap-admin-key", "true", on=data)
    token = server.bootstrap_key()
    server.wait_ready()
    acknowledged: list[int] = []
    with server.client(token) as client:
        refused = write_until_refused(client, acknowledged)
        assert (refused.status, refused.code) == (507, "storage_full"), refused
        assert len(acknowledged) > 10
        print(f"full after {len(acknowledged)} batches; ready says {wait_until_told(client)}")
        for _ in range(20):
            read_and_try_to_write(client, acknowledged)
    if killed:
        server.kill()
        server = start(*COLLECTION, *busy, on=data)
    with server.client(token) as client:
        wait_until_readable(client)
        check_all(client, acknowledged)
        ballast.unlink()
        refusals = write_with_patience(client, acknowledged)
        print(f"after there was space: written at try {refusals + 1}")
        for number in range(len(acknowledged), len(acknowledged) + 20):
            client.post("/v2/vectors/batch", batch(number))
            acknowledged.append(number)
        check_all(client, acknowledged)
    server.wait_ready()
    assert server.stop() == 0
    server = start(*COLLECTION, on=data)
    server.wait_ready()
    with server.client(token) as client:
        check_all(client, acknowledged)
        assert client.post("/v2/count")["count"] == ROWS * len(acknowledged)


def fill(place: Path) -> Path:
    """A file that takes the disk's last byte."""
    path = place / "filler"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return path


def test_a_server_starts_and_serves_reads_without_one_free_byte(start: Start, small_disk: Path) -> None:
    data = small_disk / "data"
    server = start(*COLLECTION, "--bootstrap-admin-key", "true", on=data)
    token = server.bootstrap_key()
    server.wait_ready()
    acknowledged = list(range(10))
    with server.client(token) as client:
        for number in acknowledged:
            client.post("/v2/vectors/batch", batch(number))
    # The reserve of disk space lasts for one start; the space that the last stop frees is not filled again.
    for end, filled in ((Server.stop, True), (Server.kill, True), (Server.stop, False)):
        assert end(server) in (0, None)
        filler = fill(small_disk) if filled else small_disk / "filler"
        server = start(*COLLECTION, on=data)
        with server.client(token) as client:
            wait_until_readable(client)
            check_all(client, acknowledged)
            with pytest.raises(Refused) as refused:
                client.post("/v2/vectors/batch", batch(99))
            assert refused.value.status == 507, refused.value
            assert "Free" in readiness(client), readiness(client)
            with pytest.raises(Refused) as failed:
                client.post("/v2/admin/snapshot")
            assert failed.value.code == "snapshot_failed", failed.value
    filler.unlink()
    with server.client(token) as client:
        write_with_patience(client, acknowledged)
        check_all(client, acknowledged)


def wait_until_readable(client: Client) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            client.post("/v2/count")
            return
        except Refused as refused:
            assert refused.status == 503 and time.monotonic() < deadline, refused
            time.sleep(0.05)
