"""Real embeddings: recall at the default setting, before and after compaction, and after reopening.

Needs the benchmark data beside the checkout (../shared, or NEARFIELD_BENCH_DATA); skipped without it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nearfield
import numpy as np
import pytest

DATA = Path(os.environ.get("NEARFIELD_BENCH_DATA", Path(__file__).parents[2] / "../shared/bench/data"))
SET = DATA / "docs-minilm-384"
ROWS = int(os.environ.get("NEARFIELD_TEST_ROWS", "20000"))

pytestmark = pytest.mark.skipif(not SET.is_dir(), reason=f"no benchmark data in {SET}")


def load() -> tuple[Any, Any]:
    vectors = np.load(SET / "base.npy", mmap_mode="r")[:ROWS].astype(np.float32)
    return vectors, np.load(SET / "query.npy")[:200].astype(np.float32)


def test_recall_of_real_embeddings_before_and_after_compaction(path: Path) -> None:
    vectors, queries = load()
    with nearfield.open(path) as database:
        collection = database.create("docs", vectors.shape[1])
        collection.upsert(vectors, metadata={"part": np.arange(len(vectors)) % 10})
        for ask in ({}, {"where": {"part": 3}}, {"where": {"part": {"lt": 5}}}):
            assert collection.recall(queries, k=10, **ask).recall >= 0.95  # type: ignore[arg-type]
        collection.compact()
        assert collection.stats()["segments"][0]["graph"]
        for ask in ({}, {"where": {"part": 3}}, {"where": {"part": {"lt": 5}}}):
            assert collection.recall(queries, k=10, **ask).recall >= 0.95  # type: ignore[arg-type]
        assert collection.recall(queries, k=10, ef=400).recall >= 0.99
        hits = collection.search(queries, where={"part": 3})
        assert {row["part"] for rows in hits.metadata for row in rows} == {3}
        expected = hits.ids.tolist()
    with nearfield.open(path, mode="r") as database:
        assert database["docs"].search(queries, where={"part": 3}).ids.tolist() == expected
