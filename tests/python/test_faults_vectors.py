"""Queries without a direction and vectors too short for 32-bit floats are refused by name; stored zeros are rows."""

from __future__ import annotations

from pathlib import Path

import nearfield
import numpy as np
import pytest

DIM = 8


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_vectors_too_short_to_compare_are_refused(tmp_path: Path, metric: str) -> None:
    rows = np.random.default_rng(1).standard_normal((50, DIM)).astype(np.float32)
    with nearfield.open(tmp_path / "store") as store:
        collection = store.create("c", DIM, metric=metric)
        with pytest.raises(nearfield.NonFiniteError) as refused:
            collection.upsert(rows * np.float32(1e-25))
        assert refused.value.row == 0 and "length" in str(refused.value)
        assert len(collection) == 0
        collection.upsert(rows)
        for query in (rows[0] * np.float32(1e-25), rows[:3] * np.float32(1e-25)):
            with pytest.raises(nearfield.NonFiniteError, match="row 0"):
                collection.search(query)


def test_zeros_are_no_query_for_cosine(tmp_path: Path) -> None:
    rows = np.vstack([np.zeros(DIM), np.ones(DIM), -np.ones(DIM)]).astype(np.float32)
    zeros = np.zeros(DIM, np.float32)
    with nearfield.open(tmp_path / "store") as store:
        collection = store.create("c", DIM, metric="cosine")
        collection.upsert(rows, ids=[0, 1, 2])
        calls = (
            lambda: collection.search(zeros),
            lambda: collection.search(zeros, exact=True),
            lambda: collection.search(np.vstack([np.ones(DIM), zeros])),
            lambda: collection.explain(zeros),
            lambda: collection.recall(zeros[None, :]),
        )
        for call in calls:
            with pytest.raises(nearfield.NonFiniteError, match="direction"):
                call()
        assert collection.search(np.ones(DIM)).ids.tolist() == [1, 0, 2]
        # Drawn queries leave stored zeros out.
        assert collection.recall(sample=3).recall == 1
        others = store.create("d", DIM, metric="dot")
        others.upsert(rows)
        assert len(others.search(zeros).ids) == 3
