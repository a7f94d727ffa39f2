"""Writers whose batches can be distinguished afterwards, and the check that they are there.

A batch is known by its number: rows, vectors and idempotency key follow from it. A writer that lost its
connection does not know whether its last batch was written; it tries that one again under the same key.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from served import Client, Refused, Server

ROWS = 10
DIM = 8
# Numbers of batches of one writer begin at its multiple of this.
SPAN = 10_000_000
# Ids asked for in one request.
PAGE = 5_000
Id = int | str


def vectors(batch: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(batch).standard_normal((ROWS, DIM)).astype(np.float32)


def request(batch: int, assigned: bool, wait: bool) -> dict[str, Any]:
    """The body of a batch. The server gives the ids if they are `assigned`."""
    rows: list[dict[str, Any]] = [
        {"vector": [float(x) for x in vector], "metadata": {"batch": batch, "row": row}}
        for row, vector in enumerate(vectors(batch))
    ]
    if not assigned:
        for row, document in enumerate(rows):
            # Text, since assigned numbers go on above the highest number that was given.
            document["id"] = f"{batch}-{row}"
    body: dict[str, Any] = {"vectors": rows}
    return body | ({"idempotency_key": f"batch {batch}"} if wait else {"wait": False})


@dataclass
class Writer:
    """Writes one batch after another until the connection breaks or `stop` is set."""

    number: int
    token: str
    wait: bool = True
    stop: threading.Event = field(default_factory=threading.Event)
    # Batch → ids, in the order of rows; None where the answer does not tell them (wait=false).
    acknowledged: dict[int, list[Id] | None] = field(default_factory=dict)
    # Monotonic seconds; a batch that is tried again counts from its last try.
    sent_at: dict[int, float] = field(default_factory=dict)
    acknowledged_at: dict[int, float] = field(default_factory=dict)
    # The batch whose answer never came.
    unsure: int | None = None
    repeated: int = 0
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.next = self.number * SPAN

    @property
    def assigned(self) -> bool:
        return self.wait and self.number % 2 == 1

    def run(self, server: Server) -> None:
        try:
            with server.client(self.token, timeout=60) as client:
                while not self.stop.is_set():
                    if not self.write(client):
                        return
        except BaseException as error:
            self.failure = error

    def write(self, client: Client) -> bool:
        """One batch, or the unsure one again. False when the connection broke."""
        if self.unsure is None or not self.wait:
            batch, self.next = self.next, self.next + 1
        else:
            batch = self.unsure
        body = request(batch, self.assigned, self.wait)
        self.sent_at[batch] = time.monotonic()
        try:
            answer = client.post("/v2/vectors/batch", body)
        except Refused as refused:
            if refused.status not in (429, 503):
                raise
            # Refused is not written: without waiting the same batch is the next one again.
            self.unsure, self.next = (batch, self.next) if self.wait else (None, batch)
            time.sleep(0.02)
            return True
        except (OSError, http.client.HTTPException):
            self.unsure = batch
            return False
        self.acknowledge(batch, answer)
        return True

    def acknowledge(self, batch: int, answer: Any) -> None:
        self.acknowledged_at[batch] = time.monotonic()
        if not self.wait:
            assert answer == {"accepted": ROWS}, answer
            self.acknowledged[batch] = None
            return
        created = {row["created"] for row in answer["results"]}
        assert len(created) == 1, f"half of batch {batch} was there: {answer}"
        if self.unsure == batch:
            self.repeated += created == {False}
            self.unsure = None
        else:
            assert created == {True}, (batch, answer)
        self.acknowledged[batch] = [row["id"] for row in answer["results"]]


def chunks(items: list[Any], length: int) -> Iterator[list[Any]]:
    return (items[begin : begin + length] for begin in range(0, len(items), length))


def rows_of(client: Client, batch: int) -> int:
    """How many rows of a batch are there, by its metadata. Before the first row no filter knows the field."""
    if int(client.post("/v2/count", {})["count"]) == 0:
        return 0
    return int(client.post("/v2/count", {"filter": {"batch": batch}})["count"])


def check_acknowledged(client: Client, acknowledged: dict[int, list[Id]]) -> None:
    """Every row of these batches is there, with its vector bit for bit and its metadata."""
    expected = {id: (batch, row) for batch, ids in acknowledged.items() for row, id in enumerate(ids)}
    assert len(expected) == ROWS * len(acknowledged), "an id was given twice"
    for ids in chunks(list(expected), PAGE):
        found = client.post("/v2/points/get", {"ids": ids, "include_vector": True})["points"]
        missing = set(ids) - {point["id"] for point in found}
        assert not missing, f"{len(missing)} acknowledged rows are lost, of batches {lost(expected, missing)}"
        for point in found:
            batch, row = expected[point["id"]]
            assert point["metadata"] == {"batch": batch, "row": row}, point
            assert np.array_equal(np.array(point["vector"], np.float32), vectors(batch)[row]), point


def lost(expected: dict[Id, tuple[int, int]], missing: set[Id]) -> list[int]:
    return sorted({expected[id][0] for id in missing})[:10]
