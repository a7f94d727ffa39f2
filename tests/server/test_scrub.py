"""Files that rot under a running server are found without a request: readiness, metrics and log name them.

The server reads its files again in rounds. These tests wait for rounds to be counted, and for nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Start
from served import Refused
from test_faults_visible import again, flip, metric, readiness, segments, serve, vector_offset, wait_until, write

ROUNDS = ["--scrub-interval-secs", "1"]


def text_offset(path: Path) -> int:
    """Where a metadata text stands in a file."""
    return path.read_bytes().index(b"needle-3-")


def test_rot_under_a_running_server_is_found_and_blocks_readiness(start: Start, data_dir: Path) -> None:
    server, client = serve(start, *ROUNDS)
    write(client)
    client.post("/v2/admin/checkpoint")
    [segment] = segments(data_dir)
    flip(segment, text_offset(segment))
    wait_until(lambda: readiness(client)[0] == 503)
    assert segment.name in " ".join(readiness(client)[1]["blockers"])
    assert metric(client, "failed_segments") == 1 and metric(client, "ready") == 0
    assert len(re.findall(rf"ERROR.*damage found.*{segment.name}", server.output)) == 1
    with pytest.raises(Refused) as refused:
        client.post("/v2/admin/snapshot")
    assert segment.name in refused.value.body["message"]
    # The rounds go on, and the same damage is not news.
    rounds = metric(client, "scrubs_total")
    wait_until(lambda: metric(client, "scrubs_total") > rounds + 1)
    assert len(re.findall(r"ERROR.*damage found", server.output)) == 1
    flip(segment, damaged_text_offset(segment))
    wait_until(lambda: readiness(client)[0] == 200)
    assert "the damage is mended" in server.output
    # Vectors are read from memory, and from the file by the next start: that it would fail is seen now.
    flip(segment, vector_offset(segment))
    wait_until(lambda: readiness(client)[0] == 503)


def damaged_text_offset(path: Path) -> int:
    """As `text_offset`, after `flip` has turned the first letter."""
    return path.read_bytes().index(bytes([b"n"[0] ^ 0x40]) + b"eedle-3-")


def test_a_merge_beside_rot_fails_and_keeps_the_damaged_file_as_it_is(start: Start, data_dir: Path) -> None:
    _, client = serve(start, "--scrub-interval-secs", "0")
    write(client)
    client.post("/v2/admin/checkpoint")
    [segment] = segments(data_dir)
    flip(segment, text_offset(segment))
    # Fewer rows than the damaged file has: the checkpoint does not draw it in.
    write(client, rows=100, first=1000)
    client.post("/v2/admin/checkpoint")
    with pytest.raises(Refused) as refused:
        client.post("/v2/admin/compact")
    assert segment.name in refused.value.body["message"]
    assert segment in segments(data_dir)
    status, ready = readiness(client)
    assert status == 503 and segment.name in " ".join(ready["blockers"]), ready
    # Writing and checkpoints go on beside it.
    write(client, first=2000)
    client.post("/v2/admin/checkpoint")
    assert client.get("/v2/admin/stats")["wal_pending"] == 0
    assert segment in segments(data_dir)


def test_a_server_closes_in_the_middle_of_a_round(start: Start, data_dir: Path) -> None:
    server, client = serve(start, *ROUNDS)
    write(client)
    client.post("/v2/admin/checkpoint")
    wait_until(lambda: metric(client, "scrubs_total") > 0)
    token = client.token
    assert server.stop() == 0
    _, client = again(start, token, "--scrub-interval-secs", "0")
    assert readiness(client)[0] == 200 and metric(client, "scrubs_total") == 0
