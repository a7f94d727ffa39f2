"""What calls return besides arrays: small records."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np
import numpy.typing as npt

#: What names a point in a call. Results have ``int`` and ``str``: a UUID comes back as its text, as in JSON.
Id = Union[int, str, uuid.UUID]


@dataclass(frozen=True)
class UpsertReport:
    """What an upsert did."""

    #: Points that are new.
    inserted: int
    #: Points that replaced one of the same id.
    replaced: int
    #: The ids given to points that came without, in the order of the rows; ``None`` if ids were given.
    ids: npt.NDArray[Any] | None


@dataclass(frozen=True)
class RecallReport:
    """Recall over some queries, with a 95 % confidence interval from ``low`` to ``high``."""

    recall: float
    low: float
    high: float
    #: Number of queries.
    queries: int
    #: Neighbours per query.
    k: int

    def __str__(self) -> str:
        interval = f"{self.low:.4f} to {self.high:.4f}"
        return f"recall@{self.k} {self.recall:.4f} (95 %: {interval}, {self.queries} queries)"


@dataclass(frozen=True)
class Finding:
    """One piece of damage."""

    #: File, from the root of the database.
    file: str
    #: What is wrong and where.
    message: str
    #: Where in the file, if that is known.
    offset: int | None
    #: True if the damaged part is rebuilt by the next compaction.
    derived: bool
    #: True if only earlier moments are hurt: what is there now is whole.
    past: bool = False


@dataclass(frozen=True)
class VerifyReport:
    """What a verification read and found."""

    collections: int
    files: int
    bytes: int
    #: Batches in the log that no segment file contains yet.
    log_batches: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing is damaged."""
        return not self.findings


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote."""

    path: str
    bytes: int
    points: int


@dataclass(frozen=True)
class SnapshotReport:
    """A snapshot that was written."""

    #: Its directory; pass it to :func:`nearfield.restore`, or open it with ``mode="r"``.
    path: str
    collections: int
    files: int


def ids_of(batches: Iterable[Rows]) -> Iterator[int | str]:
    """The ids of points that come in batches, one by one."""
    for batch in batches:
        yield from batch.ids.tolist()


@dataclass(frozen=True)
class Rows:
    """Points as stored, aligned: the i-th of each belongs together."""

    #: int64 if all fit, else objects (``int`` and ``str``).
    ids: npt.NDArray[Any]
    #: A dict for each, ``None`` where there is none; ``None`` as a whole if it was not asked for.
    metadata: list[dict[str, Any] | None] | None
    #: float32, one row a point; ``None`` if they were not asked for.
    vectors: npt.NDArray[np.float32] | None
    #: Requested ids that do not exist.
    missing: list[int | str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each point as a dict with the requested parts."""
        for place, id in enumerate(self.ids.tolist()):
            row: dict[str, Any] = {"id": id}
            if self.metadata is not None:
                row["metadata"] = self.metadata[place]
            if self.vectors is not None:
                row["vector"] = self.vectors[place]
            yield row
