"""One store, two homes: written by Python and served, written by the server and opened by Python.

Ids, their order and the bits of the scores must agree, for each metric, exact and through the graph, with
and without a filter. Scores go through JSON, where a float must come back as the same float.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Client, Server

nearfield = pytest.importorskip("nearfield", reason="the wheel is not installed in this environment")

Start = Callable[..., Server]
METRICS = ("cosine", "dot", "l2")
ROWS, DIM = 6_000, 24
FILTERS: tuple[Any, ...] = (None, {"parity": "odd"}, {"n": {"lt": 40}})
UUID = "0b6e2f3a-9f0a-4c8e-8a51-7a4f4f1f7c11"


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    vectors[10] = vectors[11]
    vectors[12] *= np.float32(1e-12)
    vectors[13] *= np.float32(1e9)
    return vectors, rng.standard_normal((12, DIM)).astype(np.float32)


def document(row: int) -> dict[str, Any]:
    return {"n": row, "parity": "odd" if row % 2 else "even"}


def identity(row: int) -> Any:
    """Numbers, text, and a UUID."""
    return UUID if row == 0 else f"point {row}" if row % 5 == 0 else row


def from_server(client: Client, name: str, query: Any, where: Any, exact: bool) -> tuple[list[Any], Any]:
    body = {"vector": [float(x) for x in query], "k": 20, "exact": exact, "include_metadata": False}
    if where is not None:
        body["filter"] = where
    hits = client.post(f"/v2/collections/{name}/query", body)["results"]
    return [hit["id"] for hit in hits], np.array([hit["score"] for hit in hits], np.float32)


def from_python(collection: Any, query: Any, where: Any, exact: bool) -> tuple[list[Any], Any]:
    hits = collection.search(query, k=20, where=where, exact=exact)
    return [str(id) if not isinstance(id, int) else id for id in hits.ids.tolist()], hits.scores


def answers(ask: Callable[[str, Any, Any, bool], tuple[list[Any], Any]], queries: Any) -> list[Any]:
    asked = [(m, q, w, e) for m in METRICS for q in queries for w in FILTERS for e in (False, True)]
    found = [ask(*question) for question in asked]
    assert all(len(ids) == 20 for ids, _ in found)
    return [(ids, scores.view(np.uint32).tolist()) for ids, scores in found]


def python_answers(path: Path, queries: Any, mode: str = "r") -> list[Any]:
    with nearfield.open(path, mode=mode) as database:
        return answers(lambda name, *asked: from_python(database[name], *asked), queries)


def server_answers(server: Server, token: str, queries: Any) -> list[Any]:
    with server.client(token) as client:
        return answers(lambda name, *asked: from_server(client, name, *asked), queries)


def test_a_store_written_by_python_is_served_with_the_same_answers(start: Start, data_dir: Path) -> None:
    vectors, queries = data()
    with nearfield.open(data_dir) as database:
        for metric in METRICS:
            collection = database.create(metric, DIM, metric=metric)
            half = ROWS // 2
            for begin, end in ((0, half), (half, ROWS)):
                ids = [identity(row) for row in range(begin, end)]
                documents = [document(row) for row in range(begin, end)]
                collection.upsert(vectors[begin:end], ids=ids, metadata=documents)
                if begin == 0:
                    collection.compact()
            collection.delete([identity(3), identity(half + 5)])
    before = python_answers(data_dir, queries)
    server = start("--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    assert server_answers(server, token, queries) == before
    # Read beside the running server, and after it has ended.
    assert python_answers(data_dir, queries) == before
    assert server.stop() == 0
    assert python_answers(data_dir, queries, mode="rw") == before


def test_a_store_written_by_the_server_is_opened_by_python(start: Start, data_dir: Path) -> None:
    vectors, queries = data()
    server = start("--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        for metric in METRICS:
            client.post("/v2/collections", {"name": metric, "dim": DIM, "metric": metric})
            for begin in range(0, ROWS, 500):
                rows = [written(vectors, row) for row in range(begin, begin + 500)]
                client.post(f"/v2/collections/{metric}/vectors/batch", {"vectors": rows})
            client.post("/v2/admin/compact", {"collection": metric})
            client.post(f"/v2/collections/{metric}/points/delete", {"ids": [identity(3), identity(8)]})
    served = server_answers(server, token, queries)
    assert server.stop() == 0
    assert python_answers(data_dir, queries) == served
    with nearfield.open(data_dir, mode="r") as database:
        kept = [identity(row) for row in range(ROWS) if row not in (3, 8)]
        rows = database["l2"].get(kept, vectors=True)
        assert np.array_equal(rows.vectors, np.delete(vectors, [3, 8], axis=0))
        assert rows.metadata[3] == document(4)


def written(vectors: Any, row: int) -> dict[str, Any]:
    vector = [float(x) for x in vectors[row]]
    return {"id": identity(row), "vector": vector, "metadata": document(row)}
