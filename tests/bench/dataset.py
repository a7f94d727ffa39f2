"""Real rows with exact answers, from a folder of base.npy, query.npy, gt100.npy and meta.json.

Read-only; everything is float32. The default folder lies beside the checkout and is not part of it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "bench" / "data" / "fashion-mnist-784"


@dataclass(frozen=True)
class Dataset:
    """`truth[i]` are the rows nearest to `queries[i]`, nearest first."""

    rows: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]
    truth: npt.NDArray[np.int32]

    @property
    def dim(self) -> int:
        return int(self.rows.shape[1])

    def recall_at_10(self, found: list[list[int]]) -> float:
        """The part of the exact ten among the first ten found; `found[i]` answers query `i`."""
        exact = self.truth[: len(found), :10].tolist()
        return float(np.mean([len(set(row[:10]) & set(ten)) / 10 for row, ten in zip(found, exact)]))


def load(folder: Path, row_count: int | None) -> Dataset:
    """Ends the program with a reason, and without a failure, if the data are not there."""
    if not (folder / "base.npy").exists():
        print(f"skipped: no data in {folder} (base.npy, query.npy, gt100.npy); name another with --data")
        sys.exit(0)
    rows = np.load(folder / "base.npy")[:row_count].astype(np.float32)
    queries = np.load(folder / "query.npy")[:2000].astype(np.float32)
    if len(rows) == len(np.load(folder / "base.npy", mmap_mode="r")):
        return Dataset(rows, queries, np.load(folder / "gt100.npy")[: len(queries)])
    return Dataset(rows, queries, exact_ten(rows, queries))


def exact_ten(rows: npt.NDArray[np.float32], queries: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """For a part of the rows the answers that came with the data do not hold: l2, by brute force."""
    norms = (rows.astype(np.float64) ** 2).sum(axis=1)
    return np.stack([np.argsort(norms - 2.0 * (rows @ query), kind="stable")[:10] for query in queries]).astype(np.int32)
