"""Ids below zero."""

from __future__ import annotations

import nearfield
import numpy as np

X = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_negative_ids_are_ids() -> None:
    collection = nearfield.open().create("c", dim=2, metric="l2")
    for ids in ([-(2**63), -1, 2], np.array([-(2**63), -1, 2]), np.array([-7, -1, 2], "i1")):
        collection.upsert(X[:3], ids=ids)
    hits = collection.search(X[1], k=4)
    assert hits.ids.dtype == np.int64
    assert sorted(hits.ids.tolist()) == [-(2**63), -7, -1, 2]
    collection.upsert(X[3:4], ids=[2**64 - 1])
    assert collection.get([-1, 2**64 - 1, -2]).missing == [-2]
    assert -7 in collection and collection.delete([-7]) == 1
