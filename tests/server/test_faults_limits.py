"""Clients that take more than their share, and what the others still get.

Each test counts answers, compares their order, or reads a number of the server: none measures time. The server
runs under a limit of its address space, so that a fault costs the server and not the machine.
"""

from __future__ import annotations

import collections
import contextlib
import json
import re
import resource
import select
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import arrow_ipc
import pytest
from served import Client, Refused, Server, create_key

Start = Callable[..., Server]
DIM = 8
ROWS = 50_000
# More than any of these tests waits where all is well; less than a connection may stay idle.
PROBE_SECONDS = 8.0
ADDRESS_SPACE_BYTES = 6 << 30


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Servers inherit the limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


Keys = dict[str, str]


def prepared(start: Start, binary: Path, data_dir: Path, *flags: str, dim: int = DIM) -> tuple[Server, Keys]:
    """A server with keys of its own for an attacker and for others."""
    keys = {}
    for name, roles in (("admin", "admin"), ("attacker", "query"), ("writer", "ingest"), ("other", "query,ingest")):
        keys[name + "_id"], keys[name] = create_key(binary, data_dir, roles, name)
    server = start("--collection", "c", "--dim", str(dim), "--http-threads", "2", *flags)
    server.wait_ready()
    return server, keys


def fill(server: Server, token: str, rows: int, text: str = "", dim: int = DIM) -> None:
    with server.client(token) as client:
        for first in range(0, rows, 5_000):
            batch = [
                {"id": n, "vector": [float(n % 97 + d) for d in range(dim)], "metadata": {"n": n, "text": text + str(n)}}
                for n in range(first, min(first + 5_000, rows))
            ]
            while True:
                try:
                    client.post("/v2/vectors/batch", {"vectors": batch})
                    break
                except Refused as refused:
                    assert refused.status == 429, refused
                    time.sleep(0.05)


def request(path: str, token: str | None, document: object, method: str = "POST", length: int | None = None) -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body) if length is None else length}\r\n"
    head += "" if token is None else f"authorization: Bearer {token}\r\n"
    return head.encode() + b"\r\n" + body


@contextlib.contextmanager
def sent(server: Server, requests: list[bytes], source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """One connection for each request, which is sent and whose answer is not read."""
    sockets: list[socket.socket] = []
    try:
        for data in requests:
            connection = socket.create_connection(("127.0.0.1", server.port), 30, (source, 0))
            sockets.append(connection)
            connection.sendall(data)
        yield sockets
    finally:
        for connection in sockets:
            connection.close()


def answered(sockets: list[socket.socket]) -> int:
    """How many of them have an answer or an end to read by now."""
    return len(select.select(sockets, [], [], 0)[0])


def probe(server: Server, path: str = "/livez", token: str | None = None, source: str = "127.0.0.1") -> int:
    """The status of a request over a connection of its own; 0 if it got none."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), PROBE_SECONDS, (source, 0)) as connection:
            body = {"vector": [1.0] * DIM} if path.endswith("query") else None
            connection.sendall(request(path, token, body, "POST" if body else "GET"))
            answer = connection.recv(65536)
            return int(answer.split()[1]) if answer else 0
    except OSError:
        return 0


def metric(server: Server, token: str, name: str) -> float:
    with server.client(token) as client:
        text = client.call("GET", "/v2/metrics")
    found = re.search(rf"^nearfield_{name} (\S+)$", text, re.MULTILINE)
    assert found, f"no metric {name}"
    return float(found[1])


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


LONG_TEXT = "x" * 400


def long_filter(leaves: int) -> dict[str, object]:
    """No row passes, and every text is read for each leaf."""
    return {"filter": {"or": [{"text": {"lt": f"a{n}"}} for n in range(leaves)]}}


def test_long_filters_do_not_delay_health(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir)
    fill(server, keys["writer"], ROWS, LONG_TEXT)
    attack = [request("/v2/count", keys["attacker"], long_filter(1_000)) for _ in range(3)]
    with sent(server, attack) as sockets:
        with server.client(keys["other"]) as client:
            for _ in range(20):
                assert client.get("/livez")["live"] is True
                assert len(client.post("/v2/query", {"vector": [1.0] * DIM})["results"]) == 10
        assert answered(sockets) == 0, "the others waited for the attack"


def test_long_bodies_do_not_delay_health(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir)
    # A vector of far too many elements, which are all read before it is refused.
    body = b'{"vector":[' + b"0.12345678," * 2_900_000 + b"1]}"
    head = request("/v2/query", keys["attacker"], None, length=len(body))
    with sent(server, [head] * 4) as sockets:
        for connection in sockets:
            connection.sendall(body[:-1])
        for connection in sockets:
            connection.sendall(body[-1:])
        with server.client() as client:
            assert client.get("/livez")["live"] is True
        assert answered(sockets) < 2, "health waited for the attack"


def test_a_search_ends_when_its_client_disconnects(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir)
    fill(server, keys["writer"], ROWS, LONG_TEXT)
    exact = {"vectors": [[1.0] * DIM] * 10_000, "exact": True, "k": 1, "filter": long_filter(2_000)["filter"]}
    attack = [
        request("/v2/count", keys["attacker"], long_filter(2_000)),
        request("/v2/query", keys["attacker"], exact),
        request("/v2/points/get", keys["attacker"], long_filter(2_000)),
        request("/v2/export", keys["attacker"], long_filter(2_000)),
    ]
    with sent(server, attack):
        until("all are being answered", lambda: metric(server, keys["admin"], "active_http_requests") >= 5)
    until("all are cancelled", lambda: metric(server, keys["admin"], "searches_cancelled_total") == len(attack))
    with server.client(keys["attacker"]) as client:
        assert client.post("/v2/count", {"filter": {"text": {"gt": "x"}}})["count"] == ROWS


FILTERED = ("/v2/count", "/v2/points/get", "/v2/points/delete", "/v2/export")


def test_a_search_that_misses_its_deadline_is_refused(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir, "--search-timeout-secs", "1")
    fill(server, keys["writer"], ROWS, LONG_TEXT)
    with server.client(keys["other"]) as client:
        for path in FILTERED:
            with pytest.raises(Refused) as refused:
                client.post(path, long_filter(5_000))
            assert (refused.value.status, refused.value.code) == (504, "deadline_exceeded")
        assert client.post("/v2/count")["count"] == ROWS
        paths = json.loads(client.raw("GET", "/v2/openapi.json")[2])["paths"]
    assert metric(server, keys["admin"], "searches_timed_out_total") == len(FILTERED)
    late = {path for path, item in paths.items() for operation in item.values() if "504" in operation["responses"]}
    assert late == {path.replace("/v2", base) for path in (*FILTERED, "/v2/query") for base in ("/v2", "/v2/collections/{name}")}


def test_long_searches_of_one_key_do_not_keep_another_key_waiting(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir, "--search-threads", "1")
    fill(server, keys["writer"], ROWS)
    exact = {"vectors": [[1.0] * DIM] * 1_000, "exact": True, "k": 1, "include_metadata": False}
    with sent(server, [request("/v2/query", keys["attacker"], exact)] * 16) as sockets:
        until("all are being answered", lambda: metric(server, keys["admin"], "active_http_requests") >= 17)
        with server.client(keys["other"]) as client:
            assert len(client.post("/v2/query", exact)["results"]) == 1_000
        assert answered(sockets) <= 8, "it was answered after most of those that came before"


@pytest.mark.parametrize("path", ["/nope", "/livez"])
def test_connections_without_a_key_do_not_lock_others_out(
    start: Start, binary: Path, data_dir: Path, path: str
) -> None:
    server, keys = prepared(start, binary, data_dir)
    attack = [request(path, None, None, "GET")] * 256
    with sent(server, attack, "127.0.0.3") as one, sent(server, attack, "127.0.0.4") as two:
        for connection in one + two:
            connection.settimeout(PROBE_SECONDS)
            connection.recv(65536)
        answers = [probe(server), probe(server, "/v2/query", keys["other"])]
    assert answers == [200, 200]


def test_connections_that_are_refused_for_their_key_are_closed(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir)
    for token, status in ((None, 401), ("nfk_0.0", 401), (keys["writer"], 403)):
        with socket.create_connection(("127.0.0.1", server.port), PROBE_SECONDS) as connection:
            connection.sendall(request("/v2/query", token, {}))
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert int(answer.split()[1]) == status and b"\r\nconnection: close\r\n" in answer.lower()


def test_health_is_answered_while_all_connections_are_busy(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir, "--connections-per-address", "0")
    slow = request("/v2/query", keys["attacker"], None, length=100)
    with sent(server, [slow] * 512):
        answers = [probe(server) for _ in range(3)]
    assert answers == [200] * 3


BUDGET = 256 << 20


def write_succeeds(server: Server, token: str) -> bool:
    body = {"vectors": [{"vector": [1.0] * DIM, "metadata": {"text": LONG_TEXT}}] * 500}
    with server.client(token) as client:
        try:
            client.post("/v2/vectors/batch", body)
        except Refused as refused:
            assert refused.status == 429, refused
            return False
    return True


def test_bodies_that_are_declared_and_not_sent_hold_no_memory(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir, "--memory-budget-bytes", str(BUDGET))
    declared = request("/v2/query", keys["attacker"], None, length=1_000_000)
    with sent(server, [declared + b"{"] * 120):
        until("all are being answered", lambda: metric(server, keys["admin"], "active_http_requests") >= 80)
        assert write_succeeds(server, keys["writer"])
        assert metric(server, keys["admin"], "memory_proxy_bytes") < 16 << 20


def test_streams_of_a_few_bytes_hold_next_to_no_memory(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir, "--memory-budget-bytes", str(BUDGET))
    head = (
        "POST /v2/ingest HTTP/1.1\r\nhost: x\r\ncontent-type: application/vnd.apache.arrow.stream\r\n"
        f"transfer-encoding: chunked\r\nauthorization: Bearer {keys['writer']}\r\n\r\n"
    )
    begin = head.encode() + b"8\r\n\xff\xff\xff\xff\x00\x02\x00\x00\r\n"
    with sent(server, [begin] * 230):
        until("streams have come", lambda: metric(server, keys["admin"], "active_arrow_streams") >= 200)
        assert write_succeeds(server, keys["other"])


def test_answers_that_are_not_read_leave_memory_to_writes(start: Start, binary: Path, data_dir: Path) -> None:
    dim = 512
    server, keys = prepared(start, binary, data_dir, "--memory-budget-bytes", str(BUDGET), dim=dim)
    fill(server, keys["writer"], 4_000, dim=dim)
    with server.client(keys["admin"]) as client:
        client.post("/v2/admin/checkpoint")
    page = request("/v2/points/get", keys["attacker"], {"limit": 4_000, "include_vector": True})
    answers = (b"HTTP/1.1 200", b"HTTP/1.1 429", b"HTTP/1.1 504")
    with sent(server, [page] * 20) as sockets:
        for connection in sockets:
            connection.settimeout(120)
            assert connection.recv(12) in answers, "answered, refused, or out of time on a busy machine"
        with server.client(keys["writer"]) as client:
            for _ in range(5):
                client.post("/v2/vectors", {"vector": [1.0] * dim})
        with server.client(keys["other"]) as client:
            assert len(client.post("/v2/query", {"vector": [1.0] * dim})["results"]) == 10


AUDIT_ROWS_MAX = 1_000_000


def test_a_flood_of_reads_displaces_no_audit_row_of_another_key(start: Start, binary: Path, data_dir: Path) -> None:
    server, keys = prepared(start, binary, data_dir)
    with server.client(keys["writer"]) as client:
        for n in range(10):
            client.call("DELETE", f"/v2/points/{n}")
    assert server.stop() == 0
    catalog = sqlite3.connect(data_dir / "catalog.sqlite3")
    by_writer = "SELECT count(*) FROM audit WHERE key_id = ?"
    (of_writer,) = catalog.execute(by_writer, [keys["writer_id"]]).fetchone()
    (count,) = catalog.execute("SELECT count(*) FROM audit").fetchone()
    row = (1_700_000_000_000, keys["attacker_id"], "query", "c", 200, 100, "req_1", 0)
    insert = (
        "INSERT INTO audit (time_ms, key_id, action, collection, status, latency_us, request_id, rows_lost) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )
    with catalog:
        catalog.executemany(insert, (row for _ in range(AUDIT_ROWS_MAX - count)))
    # The key was made by the command line, which is a row too.
    assert of_writer == 11
    server = start("--collection", "c")
    server.wait_ready()
    with server.client(keys["attacker"]) as client:
        for _ in range(2_000):
            client.post("/v2/count")
    assert server.stop() == 0
    rows = catalog.execute("SELECT key_id, count(*) FROM audit GROUP BY key_id").fetchall()
    catalog.close()
    assert dict(rows)[keys["writer_id"]] == of_writer, rows
    assert sum(count for _, count in rows) <= AUDIT_ROWS_MAX + 500


def own_memory_group() -> Path | None:
    """The memory group of version 1 that this process is in, if a group can be made in it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            group = Path("/sys/fs/cgroup/memory") / path.lstrip("/")
            return group if group.is_dir() else Path("/sys/fs/cgroup/memory")
    return None


def test_the_default_budget_is_half_of_what_a_nested_group_allows(binary: Path, start: Start, data_dir: Path) -> None:
    around = own_memory_group()
    if around is None:
        pytest.skip("there is no memory group of version 1; unit tests cover version 2")
    group = around / f"nearfield-test-{time.time_ns()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no group can be made here")
    try:
        (group / "memory.limit_in_bytes").write_text(str(1 << 30))
        _, token = create_key(binary, data_dir, "admin", "admin")
        program = data_dir.parent / "nearfield-in-group"
        program.write_text(f'#!/bin/sh\necho $$ > {group}/tasks\nexec {binary} "$@"\n')
        program.chmod(0o755)
        server = start("--collection", "c", "--dim", str(DIM), program=program)
        server.wait_ready()
        assert metric(server, token, "memory_budget_bytes") == 512 << 20
        server.stop()
    finally:
        group.rmdir()


def test_exports_of_near_files_have_a_limit_and_end_when_their_client_disconnects(
    start: Start, binary: Path, data_dir: Path
) -> None:
    """One file whose cells take seconds to compute before the first byte is sent."""
    server, keys = prepared(start, binary, data_dir)
    fill(server, keys["writer"], 100)
    rows, dim = 5_000, 1_024
    with server.client(keys["admin"]) as client:
        client.post("/v2/collections", {"name": "wide", "dim": dim})
        with server.client(keys["writer"]) as writer:
            for _ in range(4):
                body = arrow_ipc.stream(rows, [arrow_ipc.vectors("vector", rows, dim)])
                kind = {"content-type": "application/vnd.apache.arrow.stream"}
                assert writer.raw("POST", "/v2/collections/wide/ingest", body, kind)[0] == 201
        client.post("/v2/admin/checkpoint", {"collection": "wide"})
    wide = "/v2/collections/wide/export.near"
    with sent(server, [request(wide, keys["attacker"], None, "GET")] * 4) as sockets:
        until("all are being made", lambda: metric(server, keys["admin"], "active_http_requests") >= 5)
        with server.client(keys["attacker"]) as client:
            for path in (wide, "/v2/export.near"):
                status, headers, answer = client.raw("GET", path)
                assert (status, headers["retry-after"]) == (429, "1"), answer
                assert "exports" in json.loads(answer)["message"]
        with server.client(keys["other"]) as client:
            assert client.raw("GET", "/v2/export.near")[0] == 200
        assert answered(sockets) == 0, "they are still computed"
    until("all are cancelled", lambda: metric(server, keys["admin"], "exports_cancelled_total") == 4)
    with server.client(keys["attacker"]) as client:
        assert client.raw("GET", "/v2/export.near")[0] == 200


def figures(server: Server, token: str) -> dict[str, float]:
    """Every metric without a label; 0 for one that the server does not have."""
    with server.client(token) as client:
        text = client.call("GET", "/v2/metrics")
    found = re.findall(r"^nearfield_(\w+) (\S+)$", text, re.MULTILINE)
    return collections.defaultdict(float, {name: float(value) for name, value in found})


def test_the_budget_bounds_the_process_under_ingest(start: Start, binary: Path, data_dir: Path) -> None:
    """Memory that no file backs, but for segments of files, stays within the budget and a quarter of it: while four
    clients write, checkpoints and merges run beside them, and a compaction follows. What is written is more than the
    budget, so that one merge of all files would pass the bound."""
    budget = 128 << 20
    flags = ["--checkpoint-interval-secs", "1", "--compaction-interval-secs", "1", "--audio-colocated", "false"]
    flags += ["--memory-budget-bytes", str(budget), "--background-io-mb-per-sec", "0"]
    server, keys = prepared(start, binary, data_dir, *flags, dim=128)
    row = {"vector": [0.5] * 128, "metadata": {"text": LONG_TEXT * 5}}
    body = json.dumps({"vectors": [row] * 1_000}).encode()
    acknowledged: list[int] = []
    peaks = {"process": 0.0, "beside segments": 0.0}
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            resident = figures(server, keys["admin"])["resident_segment_bytes"]
            process = server.status_kib("RssAnon") * 1024
            for name, value in (("process", process), ("beside segments", process - resident)):
                peaks[name] = max(peaks[name], value)
            over.wait(0.05)

    def write(token: str) -> None:
        with server.client(token) as client:
            for _ in range(20):
                while (status := client.raw("POST", "/v2/vectors/batch", body)[0]) == 429:
                    over.wait(0.05)
                assert status == 201, status
                acknowledged.append(1_000)

    watcher = threading.Thread(target=watch)
    writers = [threading.Thread(target=write, args=(keys[name],)) for name in ("writer", "other") * 2]
    watcher.start()
    try:
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        with server.client(keys["admin"]) as client:
            client.post("/v2/admin/compact")
    finally:
        over.set()
        watcher.join()
    shown = {name: f"{value / 2**20:.0f} MiB" for name, value in peaks.items()}
    assert peaks["beside segments"] <= budget * 5 / 4, shown
    done = figures(server, keys["admin"])
    assert done["checkpoint_total"] > 0 and done["compaction_total"] > 0
    assert len(acknowledged) == 80
    with server.client(keys["other"]) as client:
        assert client.post("/v2/count")["count"] == sum(acknowledged)
        assert len(client.post("/v2/query", {"vector": [1.0] * 128})["results"]) == 10
