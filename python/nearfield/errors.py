"""What can go wrong, by what a program would do about it.

Every error of this package is a :class:`NearfieldError`. Besides the message it carries what the message
is made of, as attributes; those that do not apply are ``None``.
"""

from __future__ import annotations

import errno as _errno
from typing import Any


class NearfieldError(Exception):
    """Base of all errors. The attributes say what the message says."""

    #: A stable name of the kind of error.
    kind: str = "error"

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message)
        #: What would have been right.
        self.expected: Any = details.get("expected")
        #: What was found.
        self.got: Any = details.get("got")
        #: Index of the row (or id) in the argument.
        self.row: int | None = details.get("row")
        #: Index of the element in its vector, or name of the metadata field.
        self.column: int | str | None = details.get("column")
        #: Ids concerned, at most ten.
        self.ids: list[Any] | None = details.get("ids")
        #: Existing names that look like the one given.
        self.near: list[str] | None = details.get("near")
        #: Where in a filter, as a path of keys.
        self.position: Any = details.get("position")
        #: File concerned.
        self.file: str | None = details.get("file")
        #: Byte in that file.
        self.offset: int | None = details.get("offset")
        #: Process that holds the lock.
        self.pid: int | None = details.get("pid")
        #: After an ``upsert`` that failed on the way: rows, from the first, that are written and durable.
        self.written: int | None = details.get("written")


class DimensionError(NearfieldError, ValueError):
    """A vector with the wrong number of elements, or an array of the wrong shape."""

    kind = "dimension"


class NonFiniteError(NearfieldError, ValueError):
    """NaN, infinity, or a vector too large or too small for 32-bit floats; ``row`` and ``column`` say where.

    Also a query of zeros under cosine: it has no direction.
    """

    kind = "non_finite"


class DuplicateIdError(NearfieldError, ValueError):
    """The same id twice in one call; ``ids`` names them."""

    kind = "duplicate_id"


class IdError(NearfieldError, ValueError):
    """Something that is no id; ``row`` says which."""

    kind = "id"


class FilterError(NearfieldError, ValueError):
    """A filter that cannot be read, or names a field that no point has (``near`` lists similar ones)."""

    kind = "filter"


class MetadataError(NearfieldError, ValueError):
    """Metadata that has no JSON form; ``row`` and ``column`` say where."""

    kind = "metadata"


class ParameterError(NearfieldError, ValueError):
    """An argument out of range."""

    kind = "parameter"


class InputTypeError(NearfieldError, TypeError):
    """An argument of a type that means nothing here."""

    kind = "type"


class NotFoundError(NearfieldError, LookupError):
    """No collection, directory or file of that name; ``near`` lists similar ones."""

    kind = "not_found"


class ConflictError(NearfieldError):
    """The name is taken, or another writer was faster."""

    kind = "conflict"


class CorruptError(NearfieldError):
    """Bytes on disk are not what was written; ``file`` says where. Restore a snapshot."""

    kind = "corrupt"


class VersionError(NearfieldError):
    """The file was written by a format this version does not read."""

    kind = "version"


class LockedError(NearfieldError):
    """Another process is writing to this directory; ``pid`` says which."""

    kind = "locked"


class ReadOnlyError(NearfieldError):
    """A change of a database that is open for reading."""

    kind = "read_only"


class StorageError(NearfieldError, OSError):
    """The operating system failed. After a failed write: close, open again, and see what is there."""

    kind = "storage"


class StorageFullError(StorageError):
    """The disk is full. Reads go on; make room and write again."""

    kind = "storage_full"

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.errno = _errno.ENOSPC


class CancelledError(NearfieldError):
    """The work was cancelled; nothing was changed."""

    kind = "cancelled"


class ClosedError(NearfieldError):
    """The database was closed, or opened by the process this one was forked from; or the collection was dropped."""

    kind = "closed"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during an ``upsert``. The first ``written`` rows are there and durable, the others are not."""

    def __init__(self, message: str = "", *, written: int = 0, rows: int = 0, ids: Any = None) -> None:
        super().__init__(message)
        #: Rows of the call, from the first, that are written and durable.
        self.written: int = written
        #: Rows of the call; 0 if it was interrupted before they were counted.
        self.rows: int = rows
        #: The ids given to the written rows, as an array; ``None`` if ids were given.
        self.ids: Any = ids
