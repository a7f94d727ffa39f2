"""Snapshot beside a running server, restore, replay to an LSN, and an end that loses nothing."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batches import ROWS, Writer, check_acknowledged
from served import Client, Server, run

Start = Callable[..., Server]
COLLECTION = ["--collection", "c", "--dim", "8"]


@pytest.fixture
def served(start: Start) -> tuple[Server, str]:
    server = start(*COLLECTION, "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    return server, token


def put(client: Client, value: int, id: int | str = 1) -> int:
    """One batch of one row; its LSN."""
    row = {"id": id, "vector": [float(value)] * 8, "metadata": {"value": value}}
    return int(client.post("/v2/vectors/batch", {"vectors": [row]})["lsn"])


def value_of(client: Client, id: int | str = 1) -> Any:
    found = client.post("/v2/points/get", {"ids": [id]})["points"]
    return found[0]["metadata"]["value"] if found else None


def snapshot(binary: Path, data_dir: Path) -> Path:
    printed = run(
        binary, "snapshot-create", "--data-dir", data_dir, "--collection", "c", "--json"
    )
    document = json.loads(printed)
    assert document["snapshot_id"]
    return Path(document.get("snapshot_dir") or data_dir / "snapshots" / document["snapshot_id"])


def test_a_snapshot_beside_a_busy_server_holds_whole_batches_and_is_restored(
    served: tuple[Server, str], start: Start, binary: Path, data_dir: Path
) -> None:
    server, token = served
    writers = [Writer(number, token) for number in range(2)]
    threads = [threading.Thread(target=writer.run, args=(server,)) for writer in writers]
    for thread in threads:
        thread.start()
    while min(len(writer.acknowledged) for writer in writers) < 20 and all(t.is_alive() for t in threads):
        threads[0].join(0.01)
    known = {b: ids for w in writers for b, ids in dict(w.acknowledged).items() if ids}
    taken = snapshot(binary, data_dir)
    for writer in writers:
        writer.stop.set()
    for thread in threads:
        thread.join()
    assert all(writer.failure is None for writer in writers), [w.failure for w in writers]
    with server.client(token) as client:
        put(client, 77, id="after")
    refused = run(binary, "snapshot-restore", "--data-dir", data_dir, "--snapshot-dir", taken, code=4)
    assert "lock" in refused.lower() or "server" in refused.lower(), refused
    assert server.stop() == 0
    run(binary, "snapshot-restore", "--data-dir", data_dir, "--snapshot-dir", taken)
    backups = list((data_dir / "tmp").glob("restore_backup_*"))
    assert len(backups) == 1
    server = start(*COLLECTION)
    server.wait_ready()
    with server.client(token) as client:
        check_acknowledged(client, known)
        count = client.post("/v2/count")["count"]
        assert count >= ROWS * len(known) and count % ROWS == 0
        assert value_of(client, id="after") is None
        assert put(client, 78, id="after") > 0
    assert server.stop() == 0
    # The state that the restore replaced is a database of its own.
    assert "damage" not in run(binary, "verify", backups[0]).lower()


def test_a_damaged_snapshot_is_refused_and_nothing_changes(
    served: tuple[Server, str], start: Start, binary: Path, data_dir: Path, tmp_path: Path
) -> None:
    server, token = served
    with server.client(token) as client:
        for value in range(200):
            put(client, value, id=value)
        client.post("/v2/admin/checkpoint")
    taken = tmp_path / "copied"
    shutil.copytree(snapshot(binary, data_dir), taken)
    assert server.stop() == 0
    segment = max(taken.rglob("*.seg"), key=lambda path: path.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    said = run(binary, "snapshot-restore", "--data-dir", data_dir, "--snapshot-dir", taken, code=5)
    assert segment.name in said, said
    assert not list((data_dir / "tmp").glob("restore_backup_*"))
    server = start(*COLLECTION)
    server.wait_ready()
    with server.client(token) as client:
        assert client.post("/v2/count")["count"] == 200


def test_replay_goes_back_to_an_lsn_and_writing_goes_on_above(
    served: tuple[Server, str], start: Start, binary: Path, data_dir: Path, tmp_path: Path
) -> None:
    server, token = served
    with server.client(token) as client:
        lsns = []
        for value in range(30):
            lsns.append(put(client, value))
            if value % 10 == 9:
                client.post("/v2/admin/checkpoint")
    assert server.stop() == 0
    replay: list[str | Path] = ["replay-to-lsn", "--data-dir", data_dir, "--collection", "c", "--target-lsn"]
    said = run(binary, *replay, str(lsns[-1] + 1_000_000), code=2)
    assert str(lsns[-1]) in said, f"the reachable range is not named: {said}"
    run(binary, *replay, str(lsns[14]), "--into", tmp_path / "elsewhere")
    run(binary, *replay, str(lsns[17]))
    assert len(list((data_dir / "tmp").glob("replay_backup_*"))) == 1
    server = start(*COLLECTION)
    server.wait_ready()
    with server.client(token) as client:
        assert value_of(client) == 17
        assert put(client, 1000) > lsns[-1], "an LSN was given twice"
    elsewhere = start(*COLLECTION, "--bootstrap-admin-key", "true", on=tmp_path / "elsewhere")
    other = elsewhere.bootstrap_key()
    elsewhere.wait_ready()
    with elsewhere.client(other) as client:
        assert value_of(client) == 14


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_graceful_end_under_load_loses_nothing_and_leaves_nothing_to_replay(
    served: tuple[Server, str], start: Start, by: signal.Signals
) -> None:
    server, token = served
    writers = [Writer(0, token), Writer(1, token), Writer(2, token, wait=False)]
    threads = [threading.Thread(target=writer.run, args=(server,)) for writer in writers]
    for thread in threads:
        thread.start()
    while min(len(writer.acknowledged) for writer in writers) < 20 and all(t.is_alive() for t in threads):
        threads[0].join(0.01)
    code = server.stop(by)
    for writer in writers:
        writer.stop.set()
    for thread in threads:
        thread.join()
    assert code == 0, server.output
    assert all(writer.failure is None for writer in writers), [w.failure for w in writers]
    server = start(*COLLECTION)
    server.wait_ready()
    with server.client(token) as client:
        check_acknowledged(client, {b: ids for w in writers for b, ids in w.acknowledged.items() if ids})
        for batch in writers[2].acknowledged:
            assert client.post("/v2/count", {"filter": {"batch": batch}})["count"] == ROWS
        assert client.get("/v2/admin/stats")["wal_pending"] == 0, "the end wrote no checkpoint"
