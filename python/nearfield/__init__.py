"""Vectors in, right answers out, nothing lost: an embedded vector search engine.

    import nearfield
    db = nearfield.open("my.nearfield")
    papers = db.create("papers", dim=384)
    papers.upsert(vectors, ids=ids, metadata={"year": years})
    hits = papers.search(query, k=10, where={"year": {"gte": 2020}})
    hits.ids, hits.scores, hits.metadata

Acknowledged means durable: what ``upsert`` and ``delete`` returned from survives a kill or a power cut.
"""

from __future__ import annotations

import os as _os

from ._nearfield import Collection, Database, Hits, Scan, __version__, _forked, info, open, restore
from ._results import (
    ExportReport,
    Finding,
    Id,
    RecallReport,
    Rows,
    SnapshotReport,
    UpsertReport,
    VerifyReport,
)
from .errors import (
    CancelledError,
    ClosedError,
    ConflictError,
    CorruptError,
    DimensionError,
    DuplicateIdError,
    FilterError,
    IdError,
    InputTypeError,
    Interrupted,
    LockedError,
    MetadataError,
    NearfieldError,
    NonFiniteError,
    NotFoundError,
    ParameterError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
    VersionError,
)

__all__ = [
    "CancelledError",
    "ClosedError",
    "Collection",
    "ConflictError",
    "CorruptError",
    "Database",
    "DimensionError",
    "DuplicateIdError",
    "ExportReport",
    "FilterError",
    "Finding",
    "Hits",
    "Id",
    "IdError",
    "InputTypeError",
    "Interrupted",
    "LockedError",
    "MetadataError",
    "NearfieldError",
    "NonFiniteError",
    "NotFoundError",
    "ParameterError",
    "ReadOnlyError",
    "RecallReport",
    "Rows",
    "Scan",
    "SnapshotReport",
    "StorageError",
    "StorageFullError",
    "UpsertReport",
    "VerifyReport",
    "VersionError",
    "__version__",
    "info",
    "open",
    "restore",
]

# A child must not use, or give up, what its parent has open.
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_forked)
