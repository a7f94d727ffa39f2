"""Space that compaction and checkpoints free is freed on disk at once."""

from __future__ import annotations

from pathlib import Path

import nearfield
import numpy as np
import pytest

EMPTY_LOG_BYTES = 1000


def log_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*.log"))


@pytest.mark.parametrize("finish", ["compact", "checkpoint"])
def test_the_log_is_freed_by(finish: str, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).standard_normal((1000, 32)).astype(np.float32)
    with nearfield.open(tmp_path / "store") as store:
        collection = store.create("c", 32, metric="l2")
        for _ in range(3):
            collection.upsert(vectors)
            assert log_bytes(tmp_path) > vectors.nbytes
            getattr(collection, finish)()
            assert log_bytes(tmp_path) < EMPTY_LOG_BYTES
    assert log_bytes(tmp_path) < EMPTY_LOG_BYTES
    with nearfield.open(tmp_path / "store") as store:
        assert len(store["c"]) == 3000
