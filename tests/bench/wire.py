"""Requests as bytes made before the clock starts, and the plainest connection that can send them.

HTTP/1.1 with kept connections and `content-length` answers, as the measured servers give. It leaves
out everything else of HTTP, so that the clock reads the server and not a client library.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def request(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """One request, whole."""
    fields = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class Connection:
    """One TCP connection to loopback, one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def send(self, whole: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self.socket.sendall(whole)
        status = int(self.input.readline().split()[1])
        length = 0
        while (line := self.input.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self.input.read(length)

    def json(self, method: str, path: str, value: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The decoded answer; anything but 2xx ends the measurement with what the server said."""
        body = b"" if value is None else json.dumps(value).encode()
        status, answer = self.send(request(method, path, body, headers))
        if status // 100 != 2:
            raise SystemExit(f"{method} {path}: {status} {answer[:500]!r}")
        return json.loads(answer) if answer else None


@dataclass(frozen=True)
class Timing:
    """What several connections did at once."""

    seconds: float
    latencies_ms: list[float]
    bytes_sent: int

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms, percent))


def _sender(port: int, requests: Sequence[bytes], barrier: Any, results: Any) -> None:
    connection = Connection(port)
    latencies_ms = []
    barrier.wait()
    begun = time.monotonic()
    for whole in requests:
        sent = time.monotonic()
        status, answer = connection.send(whole)
        latencies_ms.append((time.monotonic() - sent) * 1e3)
        if status // 100 != 2:
            results.put(f"{status} {answer[:300]!r}")
            return
    results.put((begun, time.monotonic(), latencies_ms))


def send_all(port: int, lanes: Sequence[Sequence[bytes]]) -> Timing:
    """Each lane over its own connection from its own process; they start together."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(len(lanes)), context.Queue()
    senders = [context.Process(target=_sender, args=(port, lane, barrier, results)) for lane in lanes]
    for sender in senders:
        sender.start()
    answers = [results.get(timeout=1800) for _ in senders]
    for sender in senders:
        sender.join()
    for answer in answers:
        if isinstance(answer, str):
            raise SystemExit(f"port {port} refused a batch: {answer}")
    seconds = max(end for _, end, _ in answers) - min(begun for begun, _, _ in answers)
    return Timing(seconds, [ms for _, _, lane in answers for ms in lane], sum(len(r) for lane in lanes for r in lane))
