"""Bodies and connections of hostile clients, over real sockets, while others are served.

Each gets a clear 4xx with a code, the server goes on, and its memory stays bounded: the size that a request
declares is never allocated in advance.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from served import Client, Refused, Server, half_open

Start = Callable[..., Server]
DIM = 16
BODY_BYTES_MAX = 64 << 20
ROOM_KIB = 400 << 10


@pytest.fixture
def served(start: Start) -> tuple[Server, str]:
    server = start("--collection", "c", "--dim", str(DIM), "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        rows = [{"id": n, "vector": [float(n)] * DIM, "metadata": {"n": n}} for n in range(100)]
        client.post("/v2/vectors/batch", {"vectors": rows})
    return server, token


def answered(client: Client, path: str, body: bytes) -> tuple[int, Any]:
    """Status and document; also if the answer came before the body was read."""
    status, headers, answer = client.raw("POST", path, body)
    assert headers["content-type"].startswith("application/json"), headers
    assert "x-request-id" in headers
    return status, json.loads(answer)


VECTOR = json.dumps([1.0] * DIM)
NESTED = '{"and":[' * 1000 + '{"n":1}' + "]}" * 1000
BAD = [
    ("/v2/query", "", 400),
    ("/v2/query", "{", 400),
    ("/v2/query", "[]", 400),
    ("/v2/query", '{"vector": "near"}', 400),
    ("/v2/query", '{"vector": [1.0, 2.0]}', 400),
    ("/v2/query", f'{{"vector": {VECTOR}, "k": 1000000000000}}', 400),
    ("/v2/query", f'{{"vector": {VECTOR}, "k": -1}}', 400),
    ("/v2/query", f'{{"vector": {VECTOR}, "k": 1e400}}', 400),
    ("/v2/query", f'{{"vector": {VECTOR}, "filter": {NESTED}}}', 400),
    ("/v2/query", f'{{"vector": {VECTOR}, "filter": {{"n": {{"near": 3}}}}}}', 400),
    ("/v2/query", f'{{"vector": {VECTOR}, "unknown": 1}}', 400),
    ("/v2/query", '{"vector": [' + "NaN," * (DIM - 1) + "1]}", 400),
    ("/v2/query", '{"vector": [' + "1e39," * (DIM - 1) + "1]}", 422),
    ("/v2/vectors", '{"vector": [1.0]}', 400),
    ("/v2/vectors", '{"vector": [' + "1e39," * (DIM - 1) + "1]}", 422),
    ("/v2/vectors", f'{{"vector": {VECTOR}, "metadata": [1]}}', 400),
    ("/v2/vectors", f'{{"vector": {VECTOR}, "id": {-(2**63) - 1}}}', 400),
    ("/v2/vectors", f'{{"vector": {VECTOR}, "id": 1.5}}', 400),
    ("/v2/vectors/batch", f'{{"vectors": [{{"id": 1, "vector": {VECTOR}}}, {{"vector": {VECTOR}}}]}}', 400),
    ("/v2/vectors/batch", '{"vectors": ' + "[" * 100_000 + "]" * 100_000 + "}", 400),
    ("/v2/points/get", '{"ids": [{"a": 1}]}', 400),
    ("/v2/collections/nowhere/query", f'{{"vector": {VECTOR}}}', 404),
    ("/v2/collections", '{"name": "../../etc", "dim": 4}', 400),
    ("/v2/collections", '{"name": "huge", "dim": 9223372036854775807}', 400),
    ("/v2/nowhere", "{}", 404),
]


def test_a_bad_body_gets_a_clear_answer_and_changes_nothing(served: tuple[Server, str]) -> None:
    server, token = served
    with server.client(token) as client:
        for path, body, expected in BAD:
            status, document = answered(client, path, body.encode())
            where = f"{path} {body[:80]}: {status} {document}"
            assert status == expected, where
            assert document["code"] and document["message"] and "details" in document, where
            assert "panic" not in document["message"], where
        assert client.post("/v2/count")["count"] == 100
    assert "panicked" not in server.output


def declared(server: Server, length: int, headers: str = "") -> int:
    """The status for a body that is declared and never sent. Returns once the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = "POST /v2/vectors/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {length}\r\n{headers}\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split()[1])


def test_a_gibibyte_is_refused_before_it_is_sent(served: tuple[Server, str]) -> None:
    server, token = served
    before = server.status_kib("VmHWM")
    assert declared(server, 1 << 30) == 401
    assert declared(server, 1 << 30, "Authorization: Bearer nfk_0.0\r\n") == 401
    assert declared(server, 1 << 30, f"Authorization: Bearer {token}\r\n") == 413
    assert declared(server, BODY_BYTES_MAX + 1, f"Authorization: Bearer {token}\r\n") == 413
    assert server.status_kib("VmHWM") - before < ROOM_KIB


def test_a_body_without_length_is_cut_at_the_limit(served: tuple[Server, str]) -> None:
    server, token = served
    before = server.status_kib("VmHWM")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v2/vectors/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n"
        )
        piece = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
        sent = 0
        try:
            while sent < 8 * BODY_BYTES_MAX:
                connection.sendall(piece)
                sent += 1 << 20
        except OSError:
            pass
        try:
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    # After the refusal some is thrown away, so that the client gets to read the answer; not all of it.
    assert sent < 4 * BODY_BYTES_MAX, "it took more than four times the limit"
    assert answer == b"" or answer.split()[1] == b"413", answer
    assert server.status_kib("VmHWM") - before < ROOM_KIB


SLOW_HEAD = b"POST /v2/query HTTP/1.1\r\nHost: x\r\nX-Slow: "
SLOW_BODY = b"POST /v2/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n"


def test_half_open_connections_do_not_keep_others_waiting(served: tuple[Server, str]) -> None:
    server, token = served
    before = server.status_kib("VmHWM")
    keyed = SLOW_BODY + f"Authorization: Bearer {token}\r\n\r\n{{".encode()
    with (
        half_open(server.port, SLOW_HEAD, 140) as heads,
        half_open(server.port, keyed, 100) as bodies,
        server.client(token, timeout=20) as client,
    ):
        assert len(heads) + len(bodies) == 240  # one address has at most 256
        for _ in range(50):
            assert len(client.post("/v2/query", {"vector": [1.0] * DIM})["results"]) == 10
        # Bounded: the server gives each of them up by itself.
        for connection in heads[:3] + bodies[:3]:
            connection.settimeout(120)
            while connection.recv(4096):
                pass
        assert client.get("/v2/health/ready")["ready"] is True
    assert server.status_kib("VmHWM") - before < ROOM_KIB
    assert server.stop() == 0


def test_many_large_batches_at_once_stay_within_the_memory_budget(start: Start) -> None:
    budget = 256 << 20
    server = start(
        "--collection", "c", "--dim", str(DIM), "--bootstrap-admin-key", "true",
        "--memory-budget-bytes", str(budget),
    )  # fmt: skip
    token = server.bootstrap_key()
    server.wait_ready()
    padding = "x" * 60_000
    rows = [{"vector": [1.0] * DIM, "metadata": {"padding": padding}} for _ in range(500)]
    body = json.dumps({"vectors": rows}).encode()
    statuses: list[int] = []

    def send() -> None:
        with server.client(token) as client:
            for _ in range(4):
                statuses.append(client.raw("POST", "/v2/vectors/batch", body)[0])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {201, 429}, statuses
    assert 201 in statuses
    with server.client(token) as client:
        assert client.post("/v2/count")["count"] == 500 * statuses.count(201)
    peak = server.status_kib("VmHWM")
    print(f"{len(body) >> 20} MiB bodies, {statuses.count(201)} taken, {statuses.count(429)} refused, peak {peak} KiB")
    assert peak < (budget >> 10) + ROOM_KIB, "the budget does not bound memory"


def test_refusals_carry_the_request_id_that_was_sent(served: tuple[Server, str]) -> None:
    server, _ = served
    with server.client() as client:
        status, headers, _ = client.raw("POST", "/v2/query", b"{}", {"x-request-id": "mine-7"})
        assert (status, headers["x-request-id"]) == (401, "mine-7")
        with pytest.raises(Refused) as refused:
            client.post("/v2/query")
        assert refused.value.code == "missing_authorization"
