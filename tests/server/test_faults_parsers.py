"""Requests that once cost far more than their bytes: filters, Arrow streams, error texts, paths, heads.

Each attack runs against a server whose address space is bounded, so that a fault ends the server and not the
machine. Afterwards the server is alive, another client is served, and the peak of memory is bounded.
"""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arrow_ipc
import pytest
from served import Client, Refused, Server, create_key, run

Start = Callable[..., Server]
DIM = 8
ADDRESS_SPACE_BYTES = 3_000_000_000
MIB = 1 << 20
# What a server may take for one request above what it had: the body three times, and room.
ROOM_KIB = 300 << 10
ERROR_BYTES_MAX = 4096
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


class Attacked:
    """A bounded server with ten points in its default collection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES,) * 2)
        self.token = server.bootstrap_key()
        server.wait_ready()
        rows = [{"id": n, "vector": [1.0] * DIM, "metadata": {"n": n}} for n in range(10)]
        with self.client() as client:
            client.post("/v2/vectors/batch", {"vectors": rows})
        self.before_kib = server.status_kib("VmHWM")

    def client(self) -> Client:
        return self.server.client(self.token)

    def send(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any, int]:
        """Status, document and length of the answer to a request on a connection of its own."""
        with self.client() as client:
            status, _, answer = client.raw("POST", path, body, headers)
        return status, json.loads(answer), len(answer)

    def check(self, points: int = 10) -> None:
        assert self.server.process.poll() is None, "the server is dead"
        with self.client() as other:
            assert other.post("/v2/count")["count"] == points
            assert other.get("/livez")["live"] is True
        grown = self.server.status_kib("VmHWM") - self.before_kib
        assert grown < ROOM_KIB, f"{grown >> 10} MiB more than before"


@pytest.fixture
def attacked(start: Start) -> Attacked:
    flags = ["--bootstrap-admin-key", "true", "--memory-budget-bytes", str(256 * MIB)]
    return Attacked(start("--dim", str(DIM), *flags))


def filled(begin: str, item: str, end: str, length: int) -> bytes:
    """`begin`, as many items as make `length` bytes, `end`."""
    return (begin + ",".join([item] * (length // (len(item) + 1))) + end).encode()


VECTOR = json.dumps([1.0] * DIM)
TERMS = ('{"filter":{"or":[', '{"n":1}', "]}}")
# Each ends at a limit that its message names. The longest just fit in what the budget leaves the reads of a key.
TREES = [
    ("/v2/count", *TERMS, 30 * MIB),
    ("/v2/count", *TERMS, 3 * MIB),
    ("/v2/count", '{"filter":{"or":[', "{}", "]}}", 3 * MIB),
    ("/v2/count", '{"filter":{"or":[', "[]", "]}}", 3 * MIB),
    ("/v2/count", '{"filter":{"n":{"in":[', "1", "]}}}", 3 * MIB),
    ("/v2/count", '{"filter":{"n":{"in":[', "1", "]}}}", 30 * MIB),
    ("/v2/query", f'{{"vector":{VECTOR},"filter":{{"or":[', '{"n":1}', "]}}", 12 * MIB),
    ("/v2/points/get", *TERMS, 12 * MIB),
    ("/v2/points/delete", *TERMS, 12 * MIB),
    ("/v2/export", *TERMS, 12 * MIB),
]


@pytest.mark.parametrize(("path", "begin", "item", "end", "length"), TREES)
def test_a_filter_of_any_size_costs_what_its_limits_allow(
    attacked: Attacked, path: str, begin: str, item: str, end: str, length: int
) -> None:
    status, answer, _ = attacked.send(path, filled(begin, item, end, length))
    assert (status, answer["code"]) == (400, "filter"), answer
    assert "at most" in answer["message"], answer
    attacked.check()


def test_a_filter_that_the_budget_does_not_allow_is_refused_and_held_by_nothing(attacked: Attacked) -> None:
    body = filled(*TERMS, 60 * MIB)
    for _ in range(3):
        status, answer, _ = attacked.send("/v2/count", body)
        assert (status, answer["code"]) == (429, "resource_exhausted"), answer
    attacked.check()


@pytest.mark.parametrize("path", ["/v2/vectors", "/v2/vectors/batch"])
@pytest.mark.parametrize(("name", "said"), [("", "each vector field once"), ("b", "no vector field")])
def test_many_vectors_of_an_unknown_or_repeated_field_cost_nothing(
    attacked: Attacked, path: str, name: str, said: str
) -> None:
    row = filled('{"vectors":{', f'"{name}":[]', "}}", 2 * MIB)
    body = row if path == "/v2/vectors" else b'{"vectors":[' + row + b"]}"
    status, answer, _ = attacked.send(path, body)
    assert (status, said in answer["message"]) == (400, True), answer
    attacked.check()


def test_filters_at_their_limits_are_answered(attacked: Attacked) -> None:
    def count(terms: int) -> tuple[int, Any]:
        body = json.dumps({"filter": {"or": [{"n": 1}] * terms}}).encode()
        return attacked.send("/v2/count", body)[:2]

    assert count(9_999) == (200, {"data": {"count": 1}})
    status, answer = count(10_000)
    assert (status, answer["code"]) == (400, "filter")
    assert answer["message"] == "nodes of a filter: expected at most 10000, got 10001"
    text = json.dumps({"filter": {"n": "x" * (5 * MIB)}}).encode()
    status, answer, _ = attacked.send("/v2/count", text)
    assert (status, answer["details"]["expected"]) == (400, "at most 4194304"), answer
    values = json.dumps({"filter": {"n": {"in": list(range(65_536))}}}).encode()
    assert attacked.send("/v2/count", values)[:2] == (200, {"data": {"count": 10}})
    attacked.check()


ROWS = 6_000
BIG = "x" * MIB


def streams() -> list[tuple[str, bytes, str]]:
    coded = [arrow_ipc.dictionary(7, [BIG])]
    document = [arrow_ipc.dictionary(7, ['{"a":"' + "x" * (MIB - 16) + '"}'])]

    def vectors(rows: int) -> arrow_ipc.Column:
        return arrow_ipc.vectors("vector", rows, DIM)

    def repeated(name: str, rows: int, dictionaries: list[bytes]) -> bytes:
        columns = [vectors(rows), arrow_ipc.coded_text(name, rows, 7)]
        return arrow_ipc.stream(rows, columns, dictionaries)

    def nulls(count: int) -> bytes:
        return arrow_ipc.stream(1, [vectors(1), arrow_ipc.list_of_nulls("tags_of", count)])

    return [
        ("keys", repeated("idempotency_key", ROWS, coded), "at most 256 bytes"),
        ("documents", repeated("metadata", ROWS, document), "budget"),
        ("texts", repeated("note", ROWS, coded), "at most 1048576 bytes"),
        ("ids", repeated("id", ROWS, coded), "1 to 256 bytes"),
        ("nulls", nulls(600_000_000), "possible length"),
        ("fewer nulls", nulls(16_000_000), "at most 1048576 bytes"),
    ]


@pytest.mark.parametrize("name", [name for name, _, _ in streams()])
def test_a_small_arrow_stream_does_not_become_gigabytes(attacked: Attacked, name: str) -> None:
    body, expected = next((body, expected) for found, body, expected in streams() if found == name)
    status, answer, _ = attacked.send("/v2/ingest", body, ARROW)
    assert status in (400, 429), answer
    assert expected in answer["message"], answer
    attacked.check()


def test_an_ordinary_arrow_stream_with_a_dictionary_is_written(attacked: Attacked) -> None:
    columns = [arrow_ipc.vectors("vector", 3, DIM), arrow_ipc.coded_text("colour", 3, 7)]
    body = arrow_ipc.stream(3, columns, [arrow_ipc.dictionary(7, ["red"])])
    status, answer, _ = attacked.send("/v2/ingest", body, ARROW)
    assert (status, answer["data"]["rows"]) == (201, 3), answer
    with attacked.client() as client:
        assert client.post("/v2/count", {"filter": {"colour": "red"}})["count"] == 3
    attacked.check(points=13)


def test_a_panic_that_a_stream_causes_is_counted_and_not_printed(attacked: Attacked) -> None:
    note = arrow_ipc.text("note", ["ab"] * 3)
    # Offsets that are no whole number of integers: the arrow crates assert that they are.
    note.buffers[1] += b"\0"
    body = arrow_ipc.stream(3, [arrow_ipc.vectors("vector", 3, DIM), note])
    status, answer, _ = attacked.send("/v2/ingest", body, ARROW)
    assert (status, answer["code"]) == (400, "parameter"), answer
    with attacked.client() as client:
        metrics = client.raw("GET", "/metrics")[2].decode()
    assert re.search("^nearfield_panics_total 1$", metrics, re.MULTILINE), metrics
    assert "panicked at" not in attacked.server.output, attacked.server.output
    attacked.check()


# Each byte became `\\u{7f}` once.
LONG = "\x7f" * (20 * MIB)
ECHOES = [
    ("/v2/query", f'{{"vector":{VECTOR},"field":"{LONG}"}}'),
    ("/v2/query", f'{{"vector":{VECTOR},"search_tier":"{LONG}"}}'),
    ("/v2/query", f'{{"vector":{VECTOR},"{LONG}":1}}'),
    ("/v2/count", f'{{"filter":{{"n":{{"{LONG[: 3 * MIB]}":1}}}}}}'),
    ("/v2/count", f'{{"filter":{{"{LONG[: 3 * MIB]}":1}}}}'),
    ("/v2/count", f'{{"filter":{{"a{LONG[:MIB]}":1,"a{LONG[:MIB]}":1}}}}'),
    ("/v2/points/get", f'{{"field":"{LONG}","include_vector":true}}'),
    ("/v2/points/get", f'{{"ids":["{LONG}"]}}'),
    ("/v2/vectors", f'{{"vectors":{{"{LONG}":{VECTOR}}}}}'),
    ("/v2/vectors", f'{{"vector":{VECTOR},"idempotency_key":"{LONG}"}}'),
    ("/v2/collections", f'{{"name":"{LONG}","dim":4}}'),
    ("/v2/collections", f'{{"name":"c","vectors":{{"{LONG}":{{"dim":0}}}}}}'),
    ("/v2/admin/verify", f'{{"collection":"{LONG}"}}'),
    ("/v2/count", '{"filter":{"' + "." * MIB + '":1}}'),
]


@pytest.mark.parametrize("index", range(len(ECHOES)))
def test_an_error_is_short_whatever_was_sent(attacked: Attacked, index: int) -> None:
    path, body = ECHOES[index]
    status, answer, length = attacked.send(path, body.encode())
    assert 400 <= status < 500, answer
    assert length <= ERROR_BYTES_MAX, f"{length} bytes"
    repeated = re.findall(r"\x7f+", json.dumps(answer, ensure_ascii=False))
    assert all(len(part) <= 64 for part in repeated), "more than 64 characters of the client"
    attacked.check()


def test_long_column_names_of_arrow_are_not_repeated(attacked: Attacked) -> None:
    body = arrow_ipc.stream(1, [arrow_ipc.text("c" * MIB, ["x"]), arrow_ipc.text("d" * MIB, ["y"])])
    status, answer, length = attacked.send("/v2/ingest", body, ARROW)
    assert (status, length <= ERROR_BYTES_MAX) == (400, True), length
    assert not re.search("[cd]{65}", answer["message"]), "more than 64 characters of the client"
    attacked.check()


def test_errors_that_nobody_reads_take_no_memory(attacked: Attacked) -> None:
    body = f'{{"vector":{VECTOR},"field":"{LONG[: 12 * MIB]}"}}'.encode()
    head = (
        f"POST /v2/query HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {attacked.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    held: list[socket.socket] = []
    try:
        for _ in range(24):
            connection = socket.create_connection(("127.0.0.1", attacked.server.port), timeout=60)
            held.append(connection)
            connection.sendall(head + body)
            # The answer has begun; the rest of it stays where it is.
            assert connection.recv(16, socket.MSG_PEEK)
        attacked.check()
    finally:
        for connection in held:
            connection.close()


def test_a_path_that_is_not_utf8_means_no_collection(attacked: Attacked) -> None:
    with attacked.client() as client:
        operations = client.raw("GET", "/v2/openapi.json")[2]
    asked = 0
    for path, item in json.loads(operations)["paths"].items():
        for method in item:
            for name in re.findall(r"\{(\w+)\}", path):
                if name == "file":
                    continue
                for bad in ("%ff", "caf%e9", "%c3%28"):
                    filled = path.replace(f"{{{name}}}", bad).replace("{name}", "default").replace("{id}", "1")
                    with attacked.client() as client:
                        body = json.dumps({"vector": [2.0] * DIM, "filter": {}}).encode()
                        if path.endswith("points/delete"):
                            body = b'{"filter":{}}'
                        status, _, answer = client.raw(method.upper(), filled, body)
                    where = f"{method} {filled}: {status} {answer[:200]!r}"
                    assert (status, json.loads(answer)["code"]) == (400, "bad_request"), where
                    asked += 1
    assert asked >= 50
    attacked.check()


def exchange(server: Server, text: str) -> bytes:
    """Sends one request as it stands; everything that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(text.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_heads_that_could_be_read_in_two_ways_are_refused(attacked: Attacked, lines: str) -> None:
    key = f"Authorization: Bearer {attacked.token}\r\nConnection: close\r\n"
    coded = "Transfer" in lines
    rest = "2\r\n{}\r\n0\r\n\r\n" if coded else "{}"
    length = "" if coded else "Content-Length: 2\r\n"
    answer = exchange(attacked.server, f"POST /v2/count HTTP/1.1\r\n{lines}{key}{length}\r\n{rest}")
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:300]
    attacked.check()


def test_answers_say_how_to_authenticate_and_nothing_of_methods(attacked: Attacked) -> None:
    with attacked.server.client() as client:
        status, headers, _ = client.raw("GET", "/v2/query")
        assert status == 401
        assert headers["www-authenticate"].startswith("Bearer")
        assert "allow" not in headers
        for path in ("/v2/query", "/livez", "/metrics", "/v2/openapi.json"):
            assert client.raw("GET", path)[1]["x-content-type-options"] == "nosniff", path
    with attacked.client() as client:
        status, headers, _ = client.raw("GET", "/v2/query")
        assert (status, headers["allow"]) == (405, "POST")


def test_a_batch_without_rows_is_not_logged(attacked: Attacked) -> None:
    with attacked.client() as client:
        lsn = client.get("/v2/collections/default")["lsn"]
        for body in (b"{}", b"", b'{"vectors":null}'):
            assert client.raw("POST", "/v2/vectors/batch", body)[0] == 400
        status, _, answer = client.raw("POST", "/v2/vectors/batch", b'{"vectors":[]}')
        assert (status, json.loads(answer)) == (200, {"data": {"results": [], "lsn": lsn}})
        assert client.raw("POST", "/v2/vectors/batch", b'{"vectors":[],"idempotency_key":""}')[0] == 400
        assert client.post("/v2/points/delete", {"ids": []}) == {"deleted": 0, "lsn": lsn}
        assert client.get("/v2/collections/default")["lsn"] == lsn


def test_a_collection_has_vector_fields_that_are_said_once(attacked: Attacked) -> None:
    field = {"dim": 3}
    for document in ({"vectors": {}}, {"vectors": {"a": field}, "dim": 3}, {}):
        body = json.dumps({"name": "c"} | document).encode()
        status, answer, _ = attacked.send("/v2/collections", body)
        assert (status, answer["code"]) == (400, "parameter"), answer
    many = json.dumps({"name": "c", "vectors": {f"f{n}": field for n in range(257)}}).encode()
    assert attacked.send("/v2/collections", many)[0] == 400
    two = json.dumps({"name": "c", "vectors": {"": field, "b": field}}).encode()
    assert attacked.send("/v2/collections", two)[0] == 201


def test_a_key_that_may_not_list_learns_no_names(attacked: Attacked, binary: Path) -> None:
    _, token = create_key(binary, attacked.server.data_dir, "ingest")
    with attacked.client() as client:
        client.post("/v2/collections", {"name": "secret-name", "dim": 3})
    with attacked.server.client(token) as client:
        status, _, answer = client.raw("POST", "/v2/collections/nowhere/vectors", b"{}")
    assert status == 404 and b"secret-name" not in answer, answer


def test_malformed_requests_are_no_queries(attacked: Attacked) -> None:
    def queries() -> str:
        with attacked.client() as client:
            metrics = client.raw("GET", "/metrics")[2].decode()
        found = re.search(r"^nearfield_query_requests_total (\S+)$", metrics, re.MULTILINE)
        assert found, metrics
        return found[1]

    before = queries()
    for body in (b"{", b'{"vector":[1]}', b'{"vector":"x"}', b'{"filter":{}}'):
        assert attacked.send("/v2/query", body)[0] == 400
    assert queries() == before
    assert attacked.send("/v2/query", f'{{"vector":{VECTOR}}}'.encode())[0] == 200
    assert queries() == str(int(before) + 1)


def test_exports_left_unread_by_one_key_leave_room_for_others(attacked: Attacked, binary: Path) -> None:
    rows, dim = 20_000, 256
    with attacked.client() as client:
        client.post("/v2/collections", {"name": "wide", "dim": dim})
    body = arrow_ipc.stream(rows, [arrow_ipc.vectors("vector", rows, dim)])
    assert attacked.send("/v2/collections/wide/ingest", body, ARROW)[0] == 201
    _, token = create_key(binary, attacked.server.data_dir, "query")
    head = (
        f"POST /v2/collections/wide/export HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()
    held: list[socket.socket] = []
    try:
        for _ in range(8):
            connection = socket.create_connection(("127.0.0.1", attacked.server.port), timeout=60)
            held.append(connection)
            connection.sendall(head)
            assert connection.recv(16, socket.MSG_PEEK)
        with attacked.client() as other:
            assert other.raw("POST", "/v2/export", b"{}")[0] == 200
    finally:
        for connection in held:
            connection.close()


def test_metrics_are_public_on_loopback_only(start: Start, tmp_path: Path, binary: Path) -> None:
    data_dir = tmp_path / "outside"
    _, token = create_key(binary, data_dir, "admin")
    outside = start("--dim", "3", "--host", "0.0.0.0", on=data_dir)
    outside.wait_ready()
    with outside.client(token) as client:
        assert client.raw("GET", "/metrics")[0] == 200
    with outside.client() as client:
        assert client.raw("GET", "/metrics")[0] == 401
        for path in ("/readyz", "/livez", "/v2/health/ready"):
            status, _, answer = client.raw("GET", path)
            # Probes without a key see the status, and no names.
            assert status == 200 and b"segments" not in answer and b"points" not in answer, answer
            assert json.loads(answer)["data"]["blockers"] == []
    asked = start("--dim", "3", "--host", "0.0.0.0", "--public-health-metrics", "true", on=data_dir_of(tmp_path, binary))
    asked.wait_ready()
    with asked.client() as client:
        assert client.raw("GET", "/metrics")[0] == 200


def data_dir_of(tmp_path: Path, binary: Path) -> Path:
    data_dir = tmp_path / "asked"
    create_key(binary, data_dir, "admin")
    return data_dir


def test_a_page_whose_name_leads_to_loopback_reads_no_metrics(attacked: Attacked) -> None:
    request = "GET /metrics HTTP/1.1\r\nHost: evil.example:8080\r\nConnection: close\r\n\r\n"
    assert exchange(attacked.server, request).startswith(b"HTTP/1.1 401 ")
    for host in ("localhost", "127.0.0.1:1", "[::1]:8080"):
        request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert exchange(attacked.server, request).startswith(b"HTTP/1.1 200 "), host


def test_ids_reach_a_terminal_without_commands(start: Start, data_dir: Path, binary: Path) -> None:
    server = start("--dim", "3", "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        client.post("/v2/vectors", {"id": "\x1b[31mred\nFAKE", "vector": [1, 0, 0]})
    assert server.stop() == 0
    query = ["search", "--vector", "[1,0,0]", str(data_dir), "default"]
    printed = subprocess.run([binary, *query], capture_output=True, text=True, check=True).stdout
    assert "\x1b" not in printed and "\nFAKE" not in printed, printed
    assert "\\u{1b}[31mred\\nFAKE" in printed


def test_the_document_says_what_requests_and_answers_are(binary: Path) -> None:
    document = json.loads(run(binary, "openapi"))
    shapes, paths = document["components"]["schemas"], document["paths"]
    asked = {"Row", "WriteOne", "WriteBatch", "Query", "PointsGet", "PointsDelete", "Filtered", "Export", "Create"}
    assert all(shapes[name]["additionalProperties"] is False for name in asked | {"NewField", "JobOf"})
    for path, method in [
        ("/v2/vectors", "post"), ("/v2/vectors/batch", "post"), ("/v2/points/delete", "post"),
        ("/v2/points/{id}", "delete"), ("/v2/admin/compact", "post"), ("/v2/admin/verify", "post"),
        ("/v2/admin/snapshot", "post"), ("/v2/admin/checkpoint", "post"), ("/v2/admin/jobs/{id}", "delete"),
    ]:  # fmt: skip
        assert "202" in paths[path][method]["responses"], (method, path)
    assert shapes["Row"]["properties"]["idempotency_key"]["maxLength"] == 256
    assert shapes["SearchTier"]["enum"] == ["all", "active", "archive"]


def test_null_is_the_same_as_leaving_a_key_out(attacked: Attacked) -> None:
    nothing = {"k": None, "ef": None, "exact": None, "filter": None, "search_tier": None, "field": None}
    with attacked.client() as client:
        assert len(client.post("/v2/query", {"vector": [1.0] * DIM, "vectors": None} | nothing)["results"]) == 10
        points = {"ids": None, "filter": None, "limit": None, "after": None, "include_vector": None}
        assert len(client.post("/v2/points/get", points)["points"]) == 10
        with pytest.raises(Refused) as refused:
            client.post("/v2/points/delete", {"ids": None, "filter": None})
        assert refused.value.status == 400
        assert client.raw("GET", "/v2/points/1?as=null")[0] == 400
        assert client.post("/v2/count")["count"] == 10
