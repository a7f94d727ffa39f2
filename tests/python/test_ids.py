"""Ids below zero, and fields that are declared to hold dates."""

from __future__ import annotations

import nearfield
import numpy as np
import pytest

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


def test_dates_of_a_declared_field_compare_as_moments() -> None:
    database = nearfield.open()
    news = database.create("news", dim=1, fields={"at": "datetime"})
    texts = ["2020-01-01T00:00:00+09:00", "2019-12-31T20:00:00Z", "2020-01-01"]
    news.upsert([[1.0]] * 3, ids=[1, 2, 3], metadata={"at": texts})
    assert news.count({"at": {"lt": "2019-12-31T18:00:00Z"}}) == 1
    assert news.count({"at": "2019-12-31T15:00:00Z"}) == 1
    for wrong in (7, "soon"):
        with pytest.raises(nearfield.FilterError, match="declared datetime"):
            news.count({"at": wrong})
        with pytest.raises(nearfield.MetadataError, match="expected a date"):
            news.upsert([[1.0]], metadata=[{"at": wrong}])
    with pytest.raises(nearfield.ParameterError, match="datetime"):
        database.create("other", dim=1, fields={"at": "date"})
    assert database.create("news", dim=1, fields={"at": "datetime"}, exist_ok=True).count() == 3
    with pytest.raises(nearfield.ConflictError):
        database.create("news", dim=1, exist_ok=True)
