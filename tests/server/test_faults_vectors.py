"""Queries without a direction and vectors too short for 32-bit floats get 422 over HTTP, and say which row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from served import Refused, Server

DIM = 4


def test_vectors_that_cannot_be_compared_are_refused(start: Callable[..., Server]) -> None:
    server = start("--collection", "c", "--dim", str(DIM), "--metric", "cosine", "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    short = [1e-25] * DIM
    with server.client(token) as client:
        rows = [{"id": n, "vector": [float(n), 1, 0, 0]} for n in range(20)]
        client.post("/v2/vectors/batch", {"vectors": rows})
        refused = [
            ("/v2/query", {"vector": [0.0] * DIM}, "direction"),
            ("/v2/query", {"vector": short}, "length"),
            ("/v2/vectors", {"id": 99, "vector": short}, "length"),
            ("/v2/vectors/batch", {"vectors": [{"id": 98, "vector": [1.0] * DIM}, {"id": 99, "vector": short}]}, "row 1"),
        ]
        for path, body, words in refused:
            with pytest.raises(Refused) as answer:
                client.post(path, body)
            assert answer.value.status == 422 and answer.value.code == "non_finite", answer.value
            assert words in str(answer.value), answer.value
        assert len(client.post("/v2/query", {"vector": [1.0, 1, 0, 0], "k": 50})["results"]) == 20
