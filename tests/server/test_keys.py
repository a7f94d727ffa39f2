"""Keys made and revoked by the command line beside a running server take effect on the very next request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from served import PATIENCE_SECONDS, Client, Refused, Server, create_key, run

Start = Callable[..., Server]
COLLECTION = ["--collection", "c", "--dim", "2"]


def refusal(server: Server, token: str | None, path: str = "/v2/count") -> tuple[int, str]:
    """Status and code; (200, "") if it is let through. A new connection each time."""
    with server.client(token) as client:
        try:
            client.post(path)
        except Refused as refused:
            return refused.status, refused.code
        return 200, ""


def test_a_key_works_from_the_next_request_on_and_a_revoked_one_no_more(
    start: Start, binary: Path, data_dir: Path
) -> None:
    server = start(*COLLECTION)
    server.wait_ready()
    for round in range(20):
        id, token = create_key(binary, data_dir, "query", f"round {round}")
        with server.client(token) as client:
            assert client.post("/v2/count") == {"count": 0}
            run(binary, "key-revoke", "--data-dir", data_dir, "--key-id", id)
            # The same connection, kept open.
            with pytest.raises(Refused) as refused:
                client.post("/v2/count")
            assert (refused.value.status, refused.value.code) == (403, "revoked")
    listed = run(binary, "key-list", "--data-dir", data_dir, "--json")
    assert len(json.loads(listed)["keys"]) == 20
    assert token.split(".")[1] not in listed + server.output


def test_roles_open_their_routes_and_no_others(start: Start, binary: Path, data_dir: Path) -> None:
    server = start(*COLLECTION, "--public-health-metrics", "false")
    admin, query, ingest = (create_key(binary, data_dir, role)[1] for role in ("admin", "query", "ingest"))
    row = {"vector": [1.0, 2.0]}
    with server.client(admin) as client:
        wait_ready(client)
    allowed = {
        "/v2/count": {query},
        "/v2/points/delete": {ingest},
        "/v2/admin/checkpoint": set(),
    }
    for path, tokens in allowed.items():
        for token in (query, ingest):
            with server.client(token) as client:
                status, _, _ = client.raw("POST", path, b'{"ids":[7]}' if "delete" in path else b"{}")
            assert status == (200 if token in tokens else 403), (path, status)
        assert refusal(server, None, path) == (401, "missing_authorization")
        assert refusal(server, "nfk_0123456789abcdef." + "0" * 64, path) == (401, "unauthorized")
    with server.client(ingest) as client:
        assert client.post("/v2/vectors", row)["created"] is True
    health_and_metrics(server, admin, query)


def wait_ready(client: Client) -> None:
    """Ready with a key, where health is not public."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while client.raw("GET", "/v2/health/ready")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def health_and_metrics(server: Server, admin: str, query: str) -> None:
    with server.client() as client:
        assert client.raw("GET", "/v2/health/ready")[0] == 401
        assert client.raw("GET", "/v2/metrics")[0] == 401
    with server.client(query) as client:
        assert client.raw("GET", "/v2/health/ready")[0] == 200
        assert client.raw("GET", "/v2/metrics")[0] == 403
    with server.client(admin) as client:
        assert client.raw("GET", "/v2/metrics")[0] == 200


def test_the_bootstrap_key_is_printed_once(start: Start) -> None:
    server = start(*COLLECTION, "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    assert refusal(server, token, "/v2/admin/checkpoint") == (200, "")
    assert server.stop() == 0
    assert server.output.count("BOOTSTRAP_ADMIN_KEY=") == 1
    again = start(*COLLECTION, "--bootstrap-admin-key", "true")
    again.wait_ready()
    assert refusal(again, token, "/v2/admin/checkpoint") == (200, "")
    assert again.stop() == 0
    assert "BOOTSTRAP_ADMIN_KEY" not in again.output and token.split(".")[1] not in again.output


def test_without_a_key_it_does_not_listen_beyond_this_machine(binary: Path, data_dir: Path) -> None:
    serve = ["serve-v2", "--data-dir", str(data_dir), *COLLECTION, "--port", "0", "--host", "0.0.0.0"]
    said = run(binary, *serve, code=2)
    assert "key" in said and "0.0.0.0" in said, said


def test_with_a_key_it_listens_where_told(start: Start, binary: Path, data_dir: Path) -> None:
    _, token = create_key(binary, data_dir, "query")
    server = start(*COLLECTION, "--host", "0.0.0.0")
    server.wait_ready()
    assert refusal(server, token) == (200, "")
    assert refusal(server, None)[0] == 401
