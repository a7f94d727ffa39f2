"""State that is visible: damage, closed collections, freed space, jobs and the audit; how a start fails.

Everything is asked of the running program: its answers, its metrics, its log and its exit code.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Start
from served import PATIENCE_SECONDS, Client, Json, Refused, Server, create_key, run

DIM = 64
ROWS = 400
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


def serve(start: Start, *arguments: str, **more: Path) -> tuple[Server, Client]:
    """A server with an admin key, and its client."""
    server = start("--dim", str(DIM), "--bootstrap-admin-key", "true", *arguments, **more)
    server.wait_ready()
    return server, server.client(server.bootstrap_key())


def again(start: Start, token: str | None, *arguments: str) -> tuple[Server, Client]:
    """A server on a directory that has a key already; it need not be ready."""
    server = start(*arguments)
    wait_until(lambda: "recovering" not in report(server))
    return server, server.client(token)


def report(server: Server) -> str:
    with server.client() as client:
        _, _, body = client.raw("GET", "/v2/health/ready")
    return str(json.loads(body)["data"]["report"])


def readiness(client: Client) -> tuple[int, Json]:
    status, _, body = client.raw("GET", "/readyz")
    return status, json.loads(body)["data"]


def wait_until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def vector_of(row: int) -> list[float]:
    return [((7 * row + column) % 13) / 13 + 0.01 for column in range(DIM)]


def write(client: Client, rows: int = ROWS, first: int = 0) -> None:
    batch = [
        {"id": first + row, "vector": vector_of(row), "metadata": {"text": f"needle-{first + row}-" + "x" * 300}}
        for row in range(rows)
    ]
    client.post("/v2/vectors/batch", {"vectors": batch})


def segments(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("c/*/segments/*.seg"))


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def vector_offset(path: Path) -> int:
    """Where a vector stands in a file."""
    beginning = struct.pack("<8f", *vector_of(3)[:8])
    return path.read_bytes().index(beginning)


def metric(client: Client, name: str) -> float:
    text = client.call("GET", "/metrics")
    found = re.search(rf"^nearfield_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} in\n{text}"
    return float(found[1])


def is_shown(server: Server, client: Client, segment: Path) -> None:
    """Damage in a segment blocks readiness, is counted and stands in the log."""
    status, ready = readiness(client)
    assert status == 503 and segment.name in " ".join(ready["blockers"]), ready
    assert metric(client, "failed_segments") == 1
    assert re.search(rf"ERROR.*{segment.name}", server.output), server.output


def test_damage_that_verify_finds_is_seen_everywhere_until_it_is_mended(start: Start, data_dir: Path) -> None:
    server, client = serve(start)
    write(client)
    client.post("/v2/admin/checkpoint")
    [segment] = segments(data_dir)
    flip(segment, vector_offset(segment))
    findings = client.post("/v2/admin/verify")["details"]["findings"]
    assert [segment.name in finding["file"] for finding in findings] == [True]
    status, ready = readiness(client)
    assert status == 503 and segment.name in " ".join(ready["blockers"]), ready
    assert metric(client, "failed_segments") >= 1 and metric(client, "ready") == 0
    assert client.get("/v2/admin/stats")["failed_segments"] >= 1
    assert re.search(rf"(ERROR|WARN).*{segment.name}", server.output), server.output
    with pytest.raises(Refused) as refused:
        client.post("/v2/admin/snapshot")
    assert segment.name in refused.value.body["message"]
    assert not list(data_dir.glob("snapshots/*/database-*"))
    client.post("/v2/admin/verify")
    assert readiness(client)[0] == 503, "it is damaged still"
    client.call("DELETE", "/v2/collections/default")
    assert readiness(client)[0] == 200 and metric(client, "failed_segments") == 0


def test_damage_that_opening_meets_is_seen_too(start: Start, data_dir: Path) -> None:
    server, client = serve(start)
    write(client)
    client.post("/v2/admin/checkpoint")
    server.stop()
    [segment] = segments(data_dir)
    # In its front, which is all of a file that opening reads.
    flip(segment, 100)
    server, client = again(start, client.token)
    with pytest.raises(Refused) as refused:
        client.post("/v2/points/get", {"ids": list(range(ROWS))})
    assert refused.value.code == "collection_unavailable", refused.value
    assert segment.name in refused.value.body["details"]["file"]
    is_shown(server, client, segment)


@pytest.mark.parametrize("scrub", ["0", "3600"])
def test_damage_behind_the_front_fails_what_reads_it_and_nothing_else(
    start: Start, data_dir: Path, scrub: str
) -> None:
    server, client = serve(start)
    write(client)
    client.post("/v2/admin/checkpoint")
    server.stop()
    [segment] = segments(data_dir)
    at = segment.read_bytes().rindex(b"needle-200-")
    flip(segment, at)
    server, client = again(start, client.token, "--scrub-interval-secs", scrub)
    query = {"vector": vector_of(3), "k": 3}
    assert len(client.post("/v2/query", query)["results"]) == 3
    if scrub == "0":
        assert readiness(client)[0] == 200, "nothing has read there"
        with pytest.raises(Refused) as refused:
            client.post("/v2/points/get", {"ids": list(range(ROWS))})
        details = refused.value.body["details"]
        assert refused.value.code == "corrupt" and segment.name in details["file"], refused.value
        assert details["offset"] <= at < details["offset"] + details["length"], refused.value
    wait_until(lambda: readiness(client)[0] == 503)
    is_shown(server, client, segment)
    assert len(client.post("/v2/query", query)["results"]) == 3


def test_verify_of_the_command_line_tells_the_server_beside_it(
    start: Start, binary: Path, data_dir: Path
) -> None:
    _, client = serve(start)
    write(client)
    client.post("/v2/admin/checkpoint")
    [segment] = segments(data_dir)
    flip(segment, vector_offset(segment))
    assert segment.name in run(binary, "verify", data_dir, code=5)
    assert readiness(client)[0] == 503
    assert metric(client, "failed_segments") == 1


def test_a_collection_that_cannot_be_opened_is_listed_and_answers_503(start: Start, data_dir: Path) -> None:
    server, client = serve(start)
    write(client)
    client.post("/v2/collections", {"name": "other", "dim": 2})
    server.stop()
    [segment] = segments(data_dir)
    segment.unlink()
    _, client = again(start, client.token)
    listed = {collection["name"]: collection for collection in client.get("/v2/collections")["collections"]}
    assert sorted(listed) == ["default", "other"]
    assert segment.name in json.dumps(listed["default"])
    stats = client.get("/v2/admin/stats")
    assert segment.name in json.dumps([c for c in stats["collections"] if c["name"] == "default"])
    assert 'collection="default"' in client.call("GET", "/metrics")
    vector = [0.5] * DIM
    for method, path, body in [
        ("POST", "/v2/query", {"vector": vector, "k": 1}),
        ("POST", "/v2/collections/default/query", {"vector": vector, "k": 1}),
        ("POST", "/v2/points/get", {"ids": [1]}),
        ("POST", "/v2/count", {}),
        ("POST", "/v2/vectors", {"vector": vector}),
        ("GET", "/v2/collections/default", None),
    ]:
        with pytest.raises(Refused) as refused:
            client.call(method, path, body)
        assert refused.value.status == 503, (path, refused.value)
        assert segment.name in refused.value.body["message"], path
    with pytest.raises(Refused) as refused:
        client.post("/v2/collections", {"name": "default", "dim": DIM})
    assert refused.value.status == 409
    for job in ("compact", "checkpoint"):
        with pytest.raises(Refused) as refused:
            client.post(f"/v2/admin/{job}")
        assert refused.value.status >= 500 and "default" in refused.value.body["message"], refused.value
    assert client.post("/v2/admin/verify", {"collection": "default"})["details"]["findings"]


def test_the_log_shrinks_with_a_checkpoint_and_a_snapshot_does_not_copy_it(
    start: Start, data_dir: Path
) -> None:
    _, client = serve(start)
    [before] = client.get("/v2/admin/stats")["collections"]
    for round in range(3):
        write(client, first=ROWS * round)
        [filled] = client.get("/v2/admin/stats")["collections"]
        assert filled["wal_size_bytes"] > 100_000
        client.post("/v2/admin/checkpoint")
        [after] = client.get("/v2/admin/stats")["collections"]
        assert after["wal_size_bytes"] < 1000, after
    made = client.post("/v2/admin/snapshot")["details"]
    logs = list((data_dir / made["snapshot_dir"]).glob("c/*/wal/*"))
    assert sum(path.stat().st_size for path in logs) < 1000
    assert before["wal_size_bytes"] < 1000


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 50)


@pytest.mark.parametrize("harm", [cut, Path.unlink])
def test_a_snapshot_without_all_of_its_log_is_refused_by_name(
    start: Start, binary: Path, data_dir: Path, tmp_path: Path, harm: object
) -> None:
    server, client = serve(start)
    write(client)
    made = client.post("/v2/admin/snapshot")["details"]
    server.stop()
    snapshot = tmp_path / "moved"
    shutil.copytree(data_dir / made["snapshot_dir"], snapshot)
    [log] = snapshot.glob("c/*/wal/*")
    assert callable(harm)
    harm(log)
    into = tmp_path / "into"
    said = run(binary, "snapshot-restore", "--data-dir", into, "--snapshot-dir", snapshot, code=5)
    assert log.name in said
    assert not list(into.glob("database-*"))
    assert log.name in run(binary, "verify", snapshot, code=5)


def test_a_snapshot_of_an_earlier_version_is_restored_with_a_warning(
    start: Start, binary: Path, data_dir: Path, tmp_path: Path
) -> None:
    server, client = serve(start)
    write(client)
    server.stop(signal.SIGKILL)
    # Any closed database will do: its document lists no log either.
    into = tmp_path / "into"
    shutil.copytree(data_dir, snapshot := tmp_path / "copy", ignore=shutil.ignore_patterns("control.sock"))
    ended = subprocess.run(
        [binary, "snapshot-restore", "--data-dir", into, "--snapshot-dir", snapshot],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "default" in ended.stdout and "log" in ended.stderr, ended
    assert ended.stderr.count("WARN") == 1, ended.stderr


def test_what_opening_removes_from_quarantine_is_counted_and_orphans_are_named(
    start: Start, data_dir: Path
) -> None:
    server, client = serve(start)
    write(client)
    client.post("/v2/admin/checkpoint")
    server.stop()
    directory = segments(data_dir)[0].parent
    for name in ("one", "two", "three"):
        (directory / f"{name}.seg").write_bytes(b"left by unfinished work")
    server, client = again(start, client.token, "--quarantine-max-files", "1")
    assert metric(client, "quarantine_evictions_total") == 2
    for name in ("one", "two", "three"):
        assert f"{name}.seg" in server.output, server.output


def failed_start(binary: Path, data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    command = [binary, "serve-v2", "--data-dir", data_dir, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    return ended.returncode, ended.stdout, ended.stderr


def test_a_start_whose_port_is_taken_prints_no_key_and_makes_none(
    start: Start, binary: Path, data_dir: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, out, error = failed_start(binary, data_dir, "--port", port, "--bootstrap-admin-key", "true")
    assert (code, out) == (1, "") and port in error, (code, out, error)
    serve(start)[1].get("/v2/admin/stats")


def test_a_start_beside_another_server_prints_no_address_and_no_key(
    start: Start, binary: Path, data_dir: Path
) -> None:
    start()
    flags = ("--port", "0", "--bootstrap-admin-key", "true")
    code, out, error = failed_start(binary, data_dir, *flags)
    assert (code, out) == (4, ""), (code, out, error)
    assert "lock" in error


@pytest.mark.parametrize("flag", ["--dim=8", "--metric=l2"])
def test_flags_that_contradict_the_collection_are_refused_by_name(
    start: Start, binary: Path, data_dir: Path, flag: str
) -> None:
    server, _ = serve(start)
    server.stop()
    code, out, error = failed_start(binary, data_dir, "--port", "0", flag)
    assert (code, out) == (2, "") and flag.replace("=", " ") in error, (code, out, error)
    start("--dim", str(DIM), "--metric", "dot").wait_ready()


def test_a_collection_that_does_not_exist_is_named(start: Start) -> None:
    server, _ = serve(start)
    server.stop()
    server = start("--collection", "absent")
    server.wait_ready()
    assert re.search(r"WARN.*absent", server.output), server.output


def test_a_data_directory_that_is_a_file_is_refused_as_usage(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    code, out, error = failed_start(binary, tmp_path / "file", "--port", "0", "--bootstrap-admin-key", "true")
    assert (code, out) == (2, "") and "directory" in error, (code, out, error)


def test_a_data_directory_behind_a_symbolic_link_is_served(start: Start, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    _, client = serve(start, on=tmp_path / "link")
    write(client, 10)
    assert client.post("/v2/count")["count"] == 10


def test_a_hangup_ends_nothing(start: Start) -> None:
    server, client = serve(start)
    for _ in range(3):
        server.process.send_signal(signal.SIGHUP)
        write(client, 10)
    assert client.post("/v2/count")["count"] == 10
    assert server.stop() == 0


def test_the_log_says_when_and_shows_recovery_and_truncation(start: Start) -> None:
    server, client = serve(start)
    write(client)
    server.stop(signal.SIGKILL)
    server, client = again(start, client.token)
    client.post("/v2/admin/checkpoint")
    wait_until(lambda: "wal_truncated" in server.output)
    assert re.search(rf"^{TIME}\s+INFO recovered.*default", server.output, re.MULTILINE), server.output
    assert re.search(rf"^{TIME}\s+INFO wal_truncated", server.output, re.MULTILINE), server.output
    server.stop()
    assert re.search(rf"^{TIME}\s+INFO shutting down", server.output, re.MULTILINE), server.output


def test_readiness_counts_what_is_there_now(start: Start) -> None:
    server, client = serve(start)
    assert "0 points" in report(server)
    write(client)
    assert f"{ROWS} points" in report(server)


def test_a_running_job_says_how_far_it_is(start: Start) -> None:
    _, client = serve(start)
    for round in range(30):
        write(client, first=ROWS * round)
    job = client.call("POST", "/v2/admin/compact?wait=false", {})
    details = []
    while job["state"] == "running":
        details.append(job["details"])
        job = client.get(f"/v2/admin/jobs/{job['job_id']}")
    assert job["state"] == "completed", job
    assert any(seen.get("collection") == "default" for seen in details), details


def test_the_audit_has_keys_addresses_and_the_default_collection(
    start: Start, binary: Path, data_dir: Path
) -> None:
    server, client = serve(start)
    key_id, token = create_key(binary, data_dir, "query")
    with server.client(token) as other:
        other.post("/v2/count")
    run(binary, "key-revoke", "--data-dir", data_dir, "--key-id", key_id)
    server.stop()
    lines = run(binary, "audit", "--data-dir", data_dir, "--json").splitlines()
    rows = [json.loads(line) for line in lines]
    of_key = [row["action"] for row in rows if row["key_id"] == key_id]
    # The server writes its rows a moment later than a command that ran meanwhile.
    assert sorted(of_key) == ["count", "key_create", "key_revoke"], rows
    [count] = [row for row in rows if row["action"] == "count"]
    assert (count["collection"], count["address"]) == ("default", "127.0.0.1")


def test_a_restore_says_where_the_older_past_is(start: Start, binary: Path, data_dir: Path) -> None:
    server, client = serve(start)
    write(client)
    made = client.post("/v2/admin/snapshot")["details"]
    server.stop()
    snapshot = data_dir / made["snapshot_dir"]
    said = run(binary, "snapshot-restore", "--data-dir", data_dir, "--snapshot-dir", snapshot)
    backup = re.search(r"tmp/restore_backup_\d+", said)
    assert backup and "replay-to-lsn" in said, said
